//! Failed attempts that the same effect makes again: stored before it waits.

use super::desk::{Desk, Recorded};
use super::effects::Attempted;
use super::feedback::{self, Guards, Heard};
use super::key;
use super::receipts;
use super::steps::{self, Tell, Telling};
use crate::store::deliveries;
use artel_contract::notify::DeliveryId;
use artel_flow::{Ctx, Tx};
use artel_message::{Command, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Stores attempts whose effects go on. Of this service's own nodes only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.record", reply = ())]
pub struct Record {
    pub attempts: Vec<Made>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Made {
    pub delivery: DeliveryId,
    pub leg: u32,
    /// Where it was written down that it began.
    pub begun: Uuid,
    #[schemars(with = "Value")]
    pub attempt: Attempted,
    /// It may have been stored already, so that nothing is counted down again.
    pub again: bool,
    /// The provider tells of it by our name, and may have done so before its answer.
    #[serde(default)]
    pub by_key: bool,
}

pub async fn record(tx: &mut Tx, record: Record) -> Result<(), Fault> {
    let mut begun: BTreeMap<Uuid, i64> = BTreeMap::new();
    let (mut told, mut heard) = (Vec::with_capacity(record.attempts.len()), Vec::new());
    let mut named = Vec::new();
    for Made { delivery, leg, begun: row, attempt, again, by_key } in record.attempts {
        if by_key {
            named.push(attempt.named(delivery, leg, key::of(delivery, leg, attempt.attempt)));
        }
        *begun.entry(row).or_default() += i64::from(!again);
        if !again {
            heard.push(Heard::of(delivery, leg, &attempt));
        }
        let tell = Tell::Attempt { leg: leg as usize, attempt, retried: true };
        told.push(Telling { delivery, tell });
    }
    let stepped = steps::apply(tx, Vec::new(), told).await?;
    // An attempt that another one follows says nothing of a token.
    feedback::learn(tx, &Guards::default(), &stepped, heard).await?;
    deliveries::ended(tx, begun.into_iter()).await?;
    if !named.is_empty() {
        receipts::take_early(tx, &named).await?;
    }
    Ok(())
}

/// Pauses between tries to store what is known, and how many there are: what is forgotten here is an attempt that nobody knows the
/// end of.
const PAUSE: Duration = Duration::from_millis(250);
const TRIES: u32 = 40;

impl Desk {
    /// Stores one, together with others.
    pub(super) async fn record(&self, ctx: &Ctx, mut recorded: Recorded) -> Result<(), Fault> {
        let mut left = TRIES;
        loop {
            let ctx_of = ctx.clone();
            let stored = self.records.ask(recorded.clone(), move |all| {
                let ctx = ctx_of.clone();
                async move { round(&ctx, all).await }
            });
            match stored.await {
                Err(fault) if left > 0 && !fault.code.is_final() => {
                    left -= 1;
                    recorded.again = true;
                    tracing::debug!(error = %fault, "a failed attempt could not be stored; that is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

async fn round(ctx: &Ctx, all: Vec<Recorded>) -> Result<Vec<()>, Fault> {
    let answers = vec![(); all.len()];
    let made = |one: Recorded| {
        let Recorded { delivery, leg, attempt, begun, again, by_key } = one;
        Made { delivery, leg, begun, attempt, again, by_key }
    };
    ctx.ask(Record { attempts: all.into_iter().map(made).collect() }).await?;
    Ok(answers)
}
