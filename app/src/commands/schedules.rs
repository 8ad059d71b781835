//! `artel schedules`: when schedules run, and running one now.

use super::show::{items, rows};
use crate::cli::{ScheduleStep, Schedules};
use crate::connect::{self, check, read};
use crate::line::compact;
use anyhow::Result;
use artel_frame::client::{Outgoing, segment};
use http::Method;
use serde_json::Value;
use std::io::Write;

const SCHEDULES: &str = "/api/admin/schedules";

pub async fn run(args: Schedules) -> Result<()> {
    let client = connect::client(&args.target)?;
    let mut out = std::io::stdout();
    match args.step {
        ScheduleStep::List { json } => {
            let answer = client.get(SCHEDULES).await?;
            check(&answer)?;
            if json {
                writeln!(out, "{}", compact(&answer.text()))?;
                return Ok(());
            }
            let list = items(&read::<Value>(&answer)?, "items");
            if list.is_empty() {
                writeln!(out, "no service that runs here has a schedule")?;
                return Ok(());
            }
            let fields = ["service", "schedule", "when", "zone", "next", "last", "rule", "missed"];
            write!(out, "{}", rows(&list, &fields))?;
        }
        ScheduleStep::Run { service, schedule } => {
            let path = format!("{SCHEDULES}/{}/{}/run", segment(&service), segment(&schedule));
            check(&client.send(Outgoing::new(Method::POST, path)).await?)?;
            writeln!(out, "{schedule} of {service} is due now")?;
        }
    }
    Ok(())
}
