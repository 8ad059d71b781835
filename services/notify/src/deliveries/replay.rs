//! Sending many again that were given up: a step at a time, each a transaction that sets the next one, so that a hundred thousand of
//! them take no more memory than one step does.

use super::steps::{self, Tell, Telling};
use crate::domain::replay::{Candidate, Looked, look, said};
use crate::domain::state::{Decision, Entry, Happened};
use crate::store::deliveries::{self, Changes, Stored, Update};
use crate::store::replays::{self, Running};
use crate::store::rows::Rows;
use artel_contract::notify::replay::{
    GetReplay, ListReplays, Replay, ReplayDeliveries, ReplayExample, ReplayFilter, ReplayId, ReplayRefusal,
    ReplayState, StopReplay, TriedReplay, TryReplay, USUAL_RATE, WINDOW,
};
use artel_flow::{Read, Tx};
use artel_message::{Command, Cursor, Fault, Page, Time};
use artel_store::StoreError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// In the audit trail of a delivery that was meant and can't be sent again.
pub const REFUSED: &str = "replay_refused";
/// Deliveries of one step, and pages that it looks through for them.
const AT_ONCE: u32 = 500;
const PAGES: usize = 10;
/// Deliveries that are counted before, and those that are shown.
const COUNTED: usize = 200_000;
const PAGES_COUNTED: usize = 2_000;
const SHOWN: usize = 10;
/// Characters of who decides.
const BY: usize = 200;

/// Goes on with a replay. Of this service's own nodes only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.replay-step", reply = ())]
pub struct Step {
    pub replay: ReplayId,
}

fn none(id: ReplayId) -> Fault {
    Fault::not_found(format!("there is no replay {id}"))
}

/// Up to when; the fault names the field.
fn until(filter: &ReplayFilter, now: Time) -> Result<Time, Fault> {
    let until = filter.until.unwrap_or(now);
    if until.since(filter.since) > WINDOW {
        let days = WINDOW.as_secs() / 86_400;
        return Err(Fault::field("filter.since", format!("is more than {days} days ago; name an until")));
    }
    match filter.since >= until {
        true => Err(Fault::field("filter.since", format!("is not before {until}"))),
        false => Ok(until),
    }
}

pub async fn replay(tx: &mut Tx, command: ReplayDeliveries) -> Result<Replay, Fault> {
    let ReplayDeliveries { filter, per_second, why, by } = command;
    let now = tx.now();
    let (behind, before) = replays::ids(filter.since, until(&filter, now)?);
    let replay = Replay {
        id: ReplayId::from_uuid(tx.new_id()),
        state: ReplayState::Running,
        filter,
        per_second: per_second.unwrap_or(USUAL_RATE),
        why,
        by: by.chars().take(BY).collect(),
        looked: 0,
        again: 0,
        refused: BTreeMap::new(),
        started_at: now,
        ended_at: None,
    };
    let running = Running { replay, behind, before };
    replays::insert(tx, &running).await?;
    next(tx, &running.replay, Duration::ZERO);
    tracing::info!(replay = %running.replay.id, by = %running.replay.by, "deliveries are sent again");
    Ok(running.replay)
}

fn next(tx: &mut Tx, replay: &Replay, wait: Duration) {
    tx.after(replay.id.to_string(), wait, Step { replay: replay.id });
}

/// A part of them; the rest follows at the rate.
pub async fn step(tx: &mut Tx, Step { replay }: Step) -> Result<(), Fault> {
    let Some(mut running) = replays::find(tx, replay).await? else { return Ok(()) };
    if running.replay.state != ReplayState::Running {
        return Ok(());
    }
    let (rate, most) = (running.replay.per_second, running.replay.per_second.min(AT_ONCE));
    let (mut left, mut through) = (most, false);
    for _ in 0..PAGES {
        if left == 0 || through {
            break;
        }
        let found = page(tx, (running.behind, running.before), left).await?;
        (running.behind, through) = (found.behind, found.last);
        left = left.saturating_sub(send(tx, &mut running.replay, found.all).await?);
    }
    if through {
        (running.replay.state, running.replay.ended_at) = (ReplayState::Ended, Some(tx.now()));
    } else {
        let wait = u64::from(most - left) * 1_000_000 / u64::from(rate.max(1));
        next(tx, &running.replay, Duration::from_micros(wait));
    }
    Ok(replays::update(tx, &running).await?)
}

/// Candidates, up to where they were looked for, and whether there are none behind.
struct Found {
    all: Vec<Stored>,
    behind: Uuid,
    last: bool,
}

async fn page(rows: &mut impl Rows, (behind, before): (Uuid, Uuid), limit: u32) -> Result<Found, StoreError> {
    let end = replays::page_end(rows, behind, before).await?;
    let to = end.unwrap_or(replays::below(before));
    let all = replays::candidates(rows, (behind, to), i64::from(limit)).await?;
    let full = all.len() >= limit as usize;
    let behind = all.last().filter(|_| full).map_or(to, |last| last.id.uuid());
    Ok(Found { all, behind, last: !full && end.is_none() })
}

fn looked(filter: &ReplayFilter, stored: &Stored, now: Time) -> Looked {
    let addresses: Vec<bool> = stored.content.legs.iter().map(|leg| leg.address.is_some()).collect();
    let Stored { plan, content, .. } = stored;
    let candidate =
        Candidate { plan, template: &content.template, topic: &content.topic, addresses: &addresses };
    look(filter, &candidate, now)
}

/// Sends those of them again that are meant, and writes down of the others why not; how many were.
async fn send(tx: &mut Tx, replay: &mut Replay, found: Vec<Stored>) -> Result<u32, Fault> {
    let now = tx.now();
    let why = format!("{} (replay {})", replay.why, replay.id);
    let (mut again, mut told, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for stored in found {
        replay.looked += 1;
        match looked(&replay.filter, &stored, now) {
            Looked::Other => {}
            Looked::Again(legs) => {
                for leg in legs {
                    let (decision, by) = (Decision::SendAgain, replay.by.clone());
                    let happened = Happened::Decided { leg, decision, by, why: Some(why.clone()) };
                    told.push(Telling { delivery: stored.id, tell: Tell::Happened(happened, now) });
                }
                again.push(stored);
            }
            Looked::Refused(legs, refusal) => {
                *replay.refused.entry(refusal).or_default() += 1;
                let trail: Vec<Entry> =
                    legs.iter().map(|leg| entry(&stored, *leg, refusal, replay, now)).collect();
                refused.push((stored, trail));
            }
        }
    }
    let sent = u32::try_from(again.len()).unwrap_or(u32::MAX);
    replay.again += u64::from(sent);
    steps::apply(tx, again, told).await?;
    let updates = refused.iter().map(|(stored, trail)| Update {
        id: stored.id,
        rev: stored.rev,
        plan: &stored.plan,
        trail,
    });
    if !deliveries::update(tx, Changes::of(updates)?).await? {
        return Err(tx.outdated().into());
    }
    Ok(sent)
}

/// A line of the audit for one that is not sent again.
fn entry(stored: &Stored, leg: usize, refusal: ReplayRefusal, replay: &Replay, now: Time) -> Entry {
    let state = stored.plan.legs[leg].state();
    Entry {
        at: now,
        what: REFUSED.to_owned(),
        channel: Some(stored.plan.legs[leg].channel),
        attempt: None,
        from: state,
        to: state,
        reason: Some(format!("{} (replay {})", said(refusal, &stored.plan), replay.id)),
        by: Some(replay.by.clone()),
        repeated: false,
        contradicts: false,
    }
}

pub async fn stop_replay(tx: &mut Tx, command: StopReplay) -> Result<Replay, Fault> {
    let StopReplay { replay: id, by } = command;
    let mut running = replays::find(tx, id).await?.ok_or_else(|| none(id))?;
    if running.replay.state == ReplayState::Running {
        (running.replay.state, running.replay.ended_at) = (ReplayState::Stopped, Some(tx.now()));
        replays::update(tx, &running).await?;
        tracing::info!(replay = %id, by = %by, "a replay was stopped");
    }
    Ok(running.replay)
}

pub async fn get_replay(mut read: &Read, query: GetReplay) -> Result<Replay, Fault> {
    let found = replays::find(&mut read, query.replay).await?;
    Ok(found.ok_or_else(|| none(query.replay))?.replay)
}

pub async fn list_replays(mut read: &Read, query: ListReplays) -> Result<Page<Replay>, Fault> {
    let before = query.cursor.map(|text| Cursor(text).key::<ReplayId>()).transpose()?;
    let limit = query.limit.unwrap_or(50) as usize;
    let found = replays::list(&mut read, before, i64::try_from(limit + 1).unwrap_or(i64::MAX)).await?;
    let items = found.into_iter().map(|running| running.replay).collect();
    Ok(crate::recipients::subscribers::page(items, limit, |one: &Replay| Cursor::of(&one.id)))
}

/// Counts what a replay would do, and shows the first ones.
pub async fn try_replay(mut read: &Read, query: TryReplay) -> Result<TriedReplay, Fault> {
    let (filter, now) = (query.filter, read.now());
    let (mut behind, before) = replays::ids(filter.since, until(&filter, now)?);
    let mut tried = TriedReplay { again: 0, refused: BTreeMap::new(), examples: Vec::new(), complete: false };
    let mut seen = 0;
    for _ in 0..PAGES_COUNTED {
        let found = page(&mut read, (behind, before), AT_ONCE).await?;
        behind = found.behind;
        for stored in &found.all {
            count(&mut tried, stored, looked(&filter, stored, now));
        }
        seen += found.all.len();
        tried.complete = found.last;
        if found.last || seen >= COUNTED {
            break;
        }
    }
    Ok(tried)
}

fn count(tried: &mut TriedReplay, stored: &Stored, looked: Looked) {
    let (legs, refused) = match looked {
        Looked::Other => return,
        Looked::Again(legs) => (legs, None),
        Looked::Refused(legs, refusal) => (legs, Some(refusal)),
    };
    match refused {
        None => tried.again += 1,
        Some(refusal) => *tried.refused.entry(refusal).or_default() += 1,
    }
    if tried.examples.len() < SHOWN
        && let Some(at) = legs.first()
    {
        let leg = &stored.plan.legs[*at];
        tried.examples.push(ReplayExample {
            delivery: stored.id,
            channel: leg.channel,
            address: stored.content.address(*at).map_or_else(String::new, |address| address.masked()),
            account: leg.attempts.last().map(|last| last.provider.clone()),
            reason: leg.reason().map(str::to_owned),
            refused,
        });
    }
}
