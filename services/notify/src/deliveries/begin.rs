//! Before anything is written to a wire it is written down that it may be: of many attempts in one row, with one commit.

use super::desk::Desk;
use super::effects::{Leg, Outcome};
use super::wanted::unwanted;
use crate::domain::state::{Refused, Wait, Why};
use crate::store::deliveries::{self, BegunEntry, Filled};
use crate::store::rows::Rows;
use artel_contract::notify::DeliveryId;
use artel_flow::{Ctx, Read, Tx};
use artel_message::{Command, Fault, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Rows of attempts under way that are looked through for one whose end nobody knows.
const MOST_ROWS: i64 = 100_000;

/// Writes down that these attempts are about to be sent. Of this service's own nodes only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.begin", reply = Uuid)]
pub struct Begin {
    pub attempts: Vec<(DeliveryId, u32, u32, String)>,
}

pub async fn begin(tx: &mut Tx, begin: Begin) -> Result<Uuid, Fault> {
    let id = tx.new_id();
    deliveries::begin(tx, id, &begin.attempts).await?;
    Ok(id)
}

/// Attempts that may be on a wire, by delivery, leg and number: when they began, and at which account.
pub(super) type Open = HashMap<(DeliveryId, u32, u32), (Time, String)>;

pub(super) async fn open(rows: &mut impl Rows) -> Result<Open, Fault> {
    let begun = deliveries::begun(rows, MOST_ROWS).await?;
    Ok(begun
        .into_iter()
        .map(|(at, (id, leg, attempt, account))| ((id, leg, attempt), (at, account)))
        .collect())
}

/// A leg that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub leg: Leg,
    /// The account that takes it.
    pub account: Arc<str>,
    /// Nobody has called the effect before: nothing of it can be under way.
    pub first: bool,
}

/// What becomes of it.
#[derive(Debug, Clone)]
pub(super) enum Going {
    /// It is to be sent: the attempt's number, when it began, and where that is written down.
    Go {
        filled: Arc<Filled>,
        attempt: u32,
        at: Time,
        begun: Uuid,
    },
    /// It was begun before by somebody who died, or who is too slow: nobody knows whether it was sent.
    Lost {
        attempt: u32,
        at: Time,
        account: String,
    },
    Not(Outcome),
    /// Not before this moment.
    Early(Time),
}

impl Desk {
    /// Begins an attempt, together with others of the same effect.
    pub(super) async fn begin(
        &self,
        ctx: &Ctx,
        name: &'static str,
        beginning: Beginning,
    ) -> Result<Going, Fault> {
        let ctx = ctx.clone();
        self.begins(name)
            .ask(beginning, move |all| {
                let ctx = ctx.clone();
                async move { round(&ctx, all).await }
            })
            .await
    }
}

async fn round(ctx: &Ctx, all: Vec<Beginning>) -> Result<Vec<Going>, Fault> {
    let mut ids: Vec<DeliveryId> = all.iter().map(|one| one.leg.delivery).collect();
    ids.sort_unstable();
    ids.dedup();
    let read = ctx.read().await?;
    let found = deliveries::filled(&read, &ids).await?;
    let open = match all.iter().all(|one| one.first) {
        true => Open::new(),
        false => open(&mut &read).await?,
    };
    let found: HashMap<DeliveryId, Arc<Filled>> =
        found.into_iter().map(|filled| (filled.stored.id, Arc::new(filled))).collect();
    let now = ctx.now();
    let mut going: Vec<Going> = all.iter().map(|one| look(one, &found, &open, now)).collect();
    leave_out(&read, &all, &mut going, now).await?;
    drop(read);
    let attempts: Vec<BegunEntry> = all
        .iter()
        .zip(&going)
        .filter_map(|(one, going)| match going {
            Going::Go { attempt, .. } => {
                Some((one.leg.delivery, one.leg.leg, *attempt, one.account.to_string()))
            }
            _ => None,
        })
        .collect();
    if !attempts.is_empty() {
        let row = ctx.ask(Begin { attempts }).await?;
        for one in &mut going {
            if let Going::Go { begun, .. } = one {
                *begun = row;
            }
        }
    }
    Ok(going)
}

/// Takes out what would go to an address that nothing is sent to by now.
async fn leave_out(read: &Read, all: &[Beginning], going: &mut [Going], now: Time) -> Result<(), Fault> {
    let legs = all.iter().zip(&*going).filter_map(|(one, going)| match going {
        Going::Go { filled, .. } => Some((&filled.stored, one.leg.leg)),
        _ => None,
    });
    let mut unwanted = unwanted(read, legs, now).await?;
    if unwanted.is_empty() {
        return Ok(());
    }
    for (one, going) in all.iter().zip(going) {
        if let Some(reason) = unwanted.remove(&(one.leg.delivery, one.leg.leg)) {
            *going = Going::Not(Outcome::Suppressed(reason));
        }
    }
    Ok(())
}

fn look(one: &Beginning, found: &HashMap<DeliveryId, Arc<Filled>>, open: &Open, now: Time) -> Going {
    let Some(filled) = found.get(&one.leg.delivery) else { return Going::Not(Outcome::Nothing) };
    let (stored, index) = (&filled.stored, one.leg.leg as usize);
    let Some(leg) = stored.plan.legs.get(index) else { return Going::Not(Outcome::Nothing) };
    let attempt = leg.next_attempt();
    if let Some((at, account)) = open.get(&(one.leg.delivery, one.leg.leg, attempt)) {
        return Going::Lost { attempt, at: *at, account: account.clone() };
    }
    if let Some(until) = stored.content.waits(index, leg.channel, now) {
        let wait = Wait { until, why: Why::QuietHours };
        return Going::Not(Outcome::PutOff(wait));
    }
    if stored.content.address(index).is_none() {
        return Going::Not(Outcome::Suppressed("there is no address".to_owned()));
    }
    match stored.plan.may_begin(index, attempt, now) {
        Ok(()) => Going::Go { filled: filled.clone(), attempt, at: now, begun: Uuid::nil() },
        Err(Refused::TooEarly { until }) => Going::Early(until),
        Err(Refused::TooLate { .. }) => Going::Not(Outcome::Expired),
        Err(refused @ Refused::TooMany) => Going::Not(Outcome::GivenUp(refused.to_string())),
        // Sent, ended, or replaced meanwhile.
        Err(_) => Going::Not(Outcome::Nothing),
    }
}
