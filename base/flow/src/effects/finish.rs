//! What comes after calls: all whose calls have ended meanwhile are told and deleted in one transaction. Only where that does not work
//! the results are stored, and then those that fail are told by themselves. All of it waits for the infrastructure as long as it takes: the
//! calls were made, and must not be made again for want of a database.

use super::Work;
use super::call::pause;
use super::pace::{MOST, Pace};
use super::told::{Ending, Told, keep_untold, stored_form, together};
use super::turn::Turn;
use crate::Failure;
use crate::apart::apart;
use crate::erase::decode;
use crate::failure::Class;
use crate::outage::{Outage, Whose};
use crate::storage::effects::{self, Effect, Given, Later};
use artel_message::Fault;
use artel_store::Lane;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

/// What a call, or a claim, leads to.
pub(super) enum Ended {
    Over(Over),
    Again(Later),
}

impl Ended {
    /// How large a result it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Ended::Over(Over { ending: Ok(body), .. }) => body.len(),
            _ => 0,
        }
    }
}

/// An effect whose call has ended for good.
#[derive(Clone)]
pub(super) struct Over {
    pub effect: Effect,
    pub ending: Ending,
    /// The result stands in its row.
    pub stored: bool,
    /// The service is not told that it was given up.
    pub deaf: bool,
}

impl Over {
    pub fn fresh(effect: Effect, ending: Ending) -> Over {
        Over { effect, ending, stored: false, deaf: false }
    }

    /// One whose result was stored before; `None` = it was not.
    pub fn known(name: &str, effect: Effect) -> Option<Over> {
        let ending = match effect.result.clone()? {
            (true, body) => Ok(body),
            (false, body) => Err(decode::<Fault>(name, &body).unwrap_or_else(Failure::into_fault)),
        };
        Some(Over { effect, ending, stored: true, deaf: false })
    }
}

/// Rounds of telling at a time: one that writes, one that computes.
const ROUNDS: usize = 2;

/// Finishes what comes, as much as is there at a time, until nothing can come any more. While one round writes the next one computes.
pub(super) async fn run(work: Arc<Work>, mut come: UnboundedReceiver<Ended>) {
    let beside = work.ctx.shared.limits.effects_beside;
    let (mut rounds, mut some, mut open) = (JoinSet::new(), Vec::new(), true);
    let (mut pace, mut turn) = (Pace::default(), Turn::first());
    while open || !some.is_empty() || !rounds.is_empty() {
        let room = MOST.saturating_sub(some.len());
        tokio::select! {
            biased;
            Some(over) = rounds.join_next() => pace = left(over),
            came = come.recv_many(&mut some, room), if open && room > 0 => open = came > 0,
        }
        let enough = if rounds.is_empty() { 1 } else { beside };
        if some.len() >= enough && rounds.len() < ROUNDS {
            let next = turn.next();
            let mine = std::mem::replace(&mut turn, next);
            // Where so many are told there are thousands of calls beside them.
            let many = some.len() >= beside;
            let round = round(work.clone(), std::mem::take(&mut some), pace, mine);
            if many {
                rounds.spawn(apart(round));
            } else {
                rounds.spawn(round);
            }
        }
    }
}

/// The pace that a round leaves to the next one.
fn left(over: Result<Pace, JoinError>) -> Pace {
    match over.map_err(JoinError::try_into_panic) {
        Ok(pace) => pace,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is going down.
        Err(Err(_)) => Pace::default(),
    }
}

/// Finishes these; gives the pace for the next ones.
async fn round(work: Arc<Work>, some: Vec<Ended>, mut pace: Pace, turn: Turn) -> Pace {
    let (mut over, mut again, number) = (Vec::new(), Vec::new(), some.len());
    for ended in some {
        match ended {
            Ended::Over(of) => over.push(of),
            Ended::Again(later) => again.push(later),
        }
    }
    // Calls end in any order.
    over.sort_by_key(|over| (over.effect.made_at, over.effect.id));
    put_off(&work, again).await;
    finish(&work, over, &mut pace, &turn).await;
    turn.come().await;
    work.held.finished(number);
    work.woken();
    pace
}

/// Finishes one effect by itself.
pub(super) async fn alone(work: &Arc<Work>, over: Over) {
    finish(work, vec![over], &mut Pace::default(), &Turn::first()).await;
    work.woken();
}

/// Tells of all of these, in transactions of as many as go well together.
async fn finish(work: &Arc<Work>, mut left: Vec<Over>, pace: &mut Pace, turn: &Turn) {
    let mut later = Vec::new();
    let mut outage = outage(work, false);
    while !left.is_empty() {
        let rest = left.split_off(pace.rows().min(left.len()));
        let some = std::mem::replace(&mut left, rest);
        let (rows, early, mut runs) = (some.len(), !turn.has_come(), 0u32);
        let mut tell = || {
            runs += 1;
            together(work, &some, turn.after(), runs > 1)
        };
        let mut told = work.ctx.shared.rerun(&mut tell).await;
        if early && !matches!(told, Ok(Told::Done(_))) {
            // It has waited for its turn, and was not at fault in that.
            turn.come().await;
            told = work.ctx.shared.rerun(&mut tell).await;
        }
        if let Ok(Told::Done(held)) = &told {
            outage.over();
            pace.well(rows, *held);
            work.held.over(some.iter().map(|over| over.effect.id));
            continue;
        }
        turn.pass();
        let (doubt, gone) = (told.is_err(), matches!(told, Ok(Told::Gone)));
        let kept = match some.iter().all(|over| over.stored) && !gone {
            true => Some(some),
            false => keep(work, some, doubt).await,
        };
        let Some(mut kept) = kept else { break };
        match told {
            Err(failure) if failure.is_contended() && rows > 1 => pace.failed(None, rows),
            Err(failure) => {
                if !patient(work, &mut outage, failure, false).await {
                    break;
                }
            }
            Ok(Told::Deaf(0)) if rows == 1 => kept.iter_mut().for_each(|over| over.deaf = true),
            Ok(Told::Failed(_, failure)) if rows == 1 => {
                for over in kept.drain(..) {
                    later.extend(untold(work, over, failure.clone()).await);
                }
            }
            Ok(Told::Deaf(well)) => pace.failed(Some(well), rows),
            Ok(Told::Failed(well, _)) => pace.failed(well, rows),
            Ok(Told::Gone | Told::Done(_)) => {}
        }
        kept.append(&mut left);
        left = kept;
    }
    put_off(work, later).await;
}

/// A done handler has failed for this one alone. It is tried again later, from the stored result; in the end a letter keeps that
/// result.
async fn untold(work: &Arc<Work>, mut over: Over, failure: Failure) -> Option<Later> {
    let shared = &work.ctx.shared;
    shared.topics.look_for_missing().await;
    let (now, limits) = (shared.now(), &shared.limits);
    let effect = &mut over.effect;
    let since = *effect.failed_at.get_or_insert(now);
    effect.untold = effect.untold.saturating_add(1);
    let (id, untold) = (effect.id, effect.untold);
    let ends = untold >= limits.effect_tries || now.since(since) >= limits.effect_age;
    if ends || failure.class() == Class::Never {
        bury(work, over, &failure).await;
        return None;
    }
    tracing::warn!(effect = work.name, %id, error = %failure, untold, "done handler failed; it is tried again");
    let due = now + pause(limits.effect_pause, effect, untold);
    Some(Later { id, due, untold, failed_at: Some(since) })
}

async fn bury(work: &Arc<Work>, over: Over, failure: &Failure) {
    let mut told = true;
    loop {
        let kept = until(work, true, || keep_untold(&work.ctx.shared, work.name, &over, failure, told)).await;
        match kept {
            Some(Ok(false)) => told = false,
            Some(_) => return work.held.over(std::iter::once(over.effect.id)),
            None => return,
        }
    }
}

/// Stores the results of all of these that have none in their rows yet. Gives those that are still to be told by this node; `None`
/// when the node stops before.
async fn keep(work: &Arc<Work>, all: Vec<Over>, doubt: bool) -> Option<Vec<Over>> {
    let (mut kept, mut parts) = (Vec::new(), vec![all]);
    while let Some(mut part) = parts.pop() {
        match until(work, false, || store(work, &part)).await? {
            Ok(there) => kept.extend(still_ours(work, part, there, doubt).await),
            Err(_) if part.len() > 1 => {
                let right = part.split_off(part.len() / 2);
                parts.extend([right, part]);
            }
            Err(_) => part.into_iter().for_each(|over| work.beside(insist(work.clone(), over))),
        }
    }
    Some(kept)
}

/// What stands in the rows that are there, unless these are all of them and have got what they had to.
type There = Option<Vec<(Uuid, Option<bool>, Option<Bytes>)>>;

async fn store(work: &Work, all: &[Over]) -> Result<There, Failure> {
    let given = |over: &Over| {
        let (ok, body) = stored_form(work.name, &over.ending);
        Given { id: over.effect.id, ok, body }
    };
    let fresh: Vec<Given> = all.iter().filter(|over| !over.stored).map(given).collect();
    let mut write = work.ctx.shared.begin_own(Lane::Background).await?;
    let there = match effects::store_results(&mut write, &fresh).await? {
        first if first == all.len() => None,
        _ => Some(effects::results(&mut write, all.iter().map(|over| over.effect.id)).await?),
    };
    write.commit().await?;
    Ok(there)
}

/// Leaves out those that are gone, and those that another result came first for: these are told from that one, by whoever has them.
async fn still_ours(work: &Arc<Work>, mut all: Vec<Over>, there: There, doubt: bool) -> Vec<Over> {
    let shared = &work.ctx.shared;
    if let Some(there) = there {
        let mut there: BTreeMap<Uuid, _> =
            there.into_iter().map(|(id, ok, body)| (id, ok.zip(body))).collect();
        let mut others = Vec::new();
        all.retain(|over| {
            let id = over.effect.id;
            let stands = there.remove(&id).flatten();
            if stands.as_ref() == Some(&stored_form(work.name, &over.ending)) {
                return true;
            }
            if stands.is_some() || !over.stored && !doubt {
                shared.metrics.effect_late(shared.name(), work.name);
                tracing::info!(effect = work.name, %id, "another result of this effect came first; this one is dropped");
            }
            match stands {
                Some(_) => others.push(Later { id, due: shared.now(), untold: over.effect.untold, failed_at: None }),
                None => work.held.over(std::iter::once(id)),
            }
            false
        });
        put_off(work, others).await;
    }
    all.into_iter().map(|over| Over { stored: true, ..over }).collect()
}

/// One that can't be stored for a mistake of ours: it is tried again for as long as the node lives, and holds up no other.
fn insist(work: Arc<Work>, over: Over) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if let Some(Ok(there)) = until(&work, true, || store(&work, std::slice::from_ref(&over))).await {
            let kept = still_ours(&work, vec![over], there, true).await;
            finish(&work, kept, &mut Pace::default(), &Turn::first()).await;
            work.woken();
        }
    })
}

/// Gives claims back; the effects are looked at again when they are due.
async fn put_off(work: &Arc<Work>, all: Vec<Later>) {
    let mut parts = vec![all];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match until(work, false, || put_off_once(work, &part)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(_)) if part.len() > 1 => {
                let right = part.split_off(part.len() / 2);
                parts.extend([right, part]);
            }
            Some(Err(_)) => {
                let insisting = work.clone();
                work.beside(async move {
                    until(&insisting, true, || put_off_once(&insisting, &part)).await;
                    insisting.woken();
                });
            }
        }
    }
}

async fn put_off_once(work: &Work, all: &[Later]) -> Result<(), Failure> {
    let shared = &work.ctx.shared;
    let mut write = shared.begin_own(Lane::Background).await?;
    effects::put_off(&mut write, shared.node, all).await?;
    write.commit().await?;
    work.held.over(all.iter().map(|later| later.id));
    shared.progressed();
    Ok(())
}

fn outage(work: &Work, insists: bool) -> Outage {
    let waits = match insists {
        true => "what came of an effect can't be written, and is tried again until it can",
        false => "what came of an effect waits for the infrastructure",
    };
    let goes_on = "what came of an effect could be written in the end";
    Outage::new(Whose::Effect(work.name.to_owned()), waits, goes_on)
}

/// A mistake of ours is mended by people: it is not tried again as often.
const MISTAKE: u32 = 10;

/// Does this until the infrastructure lets it; `None` when the node stops before. Where it insists, it waits for mistakes of ours to
/// be mended as well: the claim stays with this node, and nobody makes the call again.
async fn until<T, F>(work: &Work, insist: bool, mut what: impl FnMut() -> F) -> Option<Result<T, Failure>>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut outage = outage(work, insist);
    loop {
        match work.ctx.shared.rerun(&mut what).await {
            Ok(value) => {
                outage.over();
                return Some(Ok(value));
            }
            Err(failure) if failure.class() != Class::Infrastructure && !insist => return Some(Err(failure)),
            Err(failure) => {
                let mistake = failure.class() != Class::Infrastructure;
                if !patient(work, &mut outage, failure, mistake).await {
                    return None;
                }
            }
        }
    }
}

/// Waits before the next try; false when the node stops before.
async fn patient(work: &Work, outage: &mut Outage, failure: Failure, mistake: bool) -> bool {
    let shared = &work.ctx.shared;
    outage.failed(failure);
    let pause: Duration = outage.pause(&shared.limits) * if mistake { MISTAKE } else { 1 };
    tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}
