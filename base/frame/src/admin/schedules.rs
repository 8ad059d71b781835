//! Schedules: when each runs next, when it ran last; and running one now.

use super::Admin;
use crate::edge::{Json, Needs, Operate, Path, Problem, Routes};
use artel_flow::Scheduled;
use artel_message::{Code, Time};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// The schedules of the services that run here.
#[derive(Serialize, JsonSchema)]
struct Schedules {
    items: Vec<ScheduleRow>,
}

#[derive(Serialize, JsonSchema)]
struct ScheduleRow {
    service: String,
    schedule: String,
    /// A pattern, or a distance.
    when: String,
    /// The zone the pattern is read in; of a distance UTC.
    zone: String,
    next: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Time>,
    /// What becomes of runs that came due while nobody could run them: `once`, `skip`, or `all` and how many.
    rule: String,
    /// Runs that came due and never were.
    missed: i64,
}

impl From<Scheduled> for ScheduleRow {
    fn from(of: Scheduled) -> ScheduleRow {
        let Scheduled { service, name, when, zone, next, last, rule, missed } = of;
        ScheduleRow { service, schedule: name, when, zone, next, last, rule, missed }
    }
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/schedules", list, |op| {
            op.summary("List schedules with their next and last run")
                .answers::<Schedules>(200, "by service and name")
        })
        .post("/api/admin/schedules/{service}/{schedule}/run", run, |op| {
            op.summary("Run a schedule now")
                .description(
                    "The node that keeps the service's schedules runs it; its next regular run stays.",
                )
                .answers_empty(202, "it is due")
                .refuses(&[Code::NotFound])
        })
}

async fn list(State(admin): State<Admin>, _: Needs<Operate>) -> Result<Json<Schedules>, Problem> {
    let items = admin.0.runtime.schedules().await?;
    Ok(Json(Schedules { items: items.into_iter().map(ScheduleRow::from).collect() }))
}

async fn run(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path((service, schedule)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    admin.0.runtime.run_schedule(&service, &schedule).await?;
    tracing::info!(service, schedule, user.name = &*caller.name, "a schedule was made due");
    Ok(StatusCode::ACCEPTED)
}
