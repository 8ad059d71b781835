//! When a version that is being built is read from: it has taken in all there is, and nothing of it waits for anybody.

use super::{Declared, Phase, group_of};
use crate::Failure;
use crate::consumer::partition::mismatch;
use crate::ctx::Shared;
use crate::outage::{Outage, Whose};
use crate::storage::offsets::{self, Offset};
use crate::storage::projections::{self, Stored};
use crate::storage::{dead, leases, parked};
use artel_store::{Lane, Read};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often versions that are being built are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Letters are counted up to here.
const COUNTED: i64 = 1_000;

/// The ends of a version's partitions when it came near them.
type Ends = BTreeMap<(String, u32), i64>;

/// How a version stands that is being built.
enum Standing {
    /// Why it is not switched to, for a person.
    Waits(String),
    /// So few messages are left.
    Near { places: Vec<Offset>, ends: Ends, left: i64 },
}

/// Switches to versions that have caught up, until stopped. Any node that has a version may.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if shared.service.projections.is_empty() {
        return;
    }
    let of = Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of, "projections wait for the infrastructure", "projections go on");
    let mut goals = BTreeMap::new();
    while !stop.is_cancelled() {
        match look(&shared, &mut goals).await {
            Ok(()) => outage.over(),
            Err(failure) => outage.failed(failure),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(shared: &Arc<Shared>, goals: &mut BTreeMap<Arc<str>, Ends>) -> Result<(), Failure> {
    let stored = projections::list(&mut shared.db.read().await?).await?;
    for declared in shared.service.projections.values() {
        let is = |s: &&Stored| s.name == declared.name && s.version == declared.version;
        if !stored.iter().find(is).is_some_and(|s| s.phase == Phase::Building) {
            goals.remove(&declared.group);
            continue;
        }
        let Standing::Near { places, ends, left } = stand(shared, declared, &stored).await? else {
            goals.remove(&declared.group);
            continue;
        };
        // A few messages may always be on their way. But all there were when it came near are taken in first: one that is stuck
        // before the last of them, or has begun with none, does not get there.
        let there = left == 0
            || match goals.get(&declared.group) {
                Some(goal) => places.iter().all(|p| has_reached(goal, p)),
                None => {
                    goals.insert(declared.group.clone(), ends);
                    false
                }
            };
        if there && fits(shared, &places).await? && switch(shared, declared, &places).await? {
            goals.remove(&declared.group);
            tracing::info!(
                service = shared.name(),
                projection = declared.name,
                version = declared.version,
                "projection has caught up: it is read from now"
            );
            shared.progressed();
        }
    }
    Ok(())
}

fn has_reached(goal: &Ends, place: &Offset) -> bool {
    // A partition that came since is in no goal.
    goal.get(&(place.topic.clone(), place.partition)).is_some_and(|end| place.next >= *end)
}

/// Why a version is not switched to yet; none where it is not being built, or this program does not have it.
pub(super) async fn waits_for(
    shared: &Shared,
    version: &Stored,
    stored: &[Stored],
) -> Result<Option<String>, Failure> {
    let is = |d: &&Declared| d.name == version.name && d.version == version.version;
    let declared = shared.service.projections.values().find(is);
    let Some(declared) = declared.filter(|_| version.phase == Phase::Building) else { return Ok(None) };
    Ok(Some(match stand(shared, declared, stored).await? {
        Standing::Waits(reason) => reason,
        Standing::Near { left: 0, .. } => "it has caught up, and is switched to soon".to_owned(),
        Standing::Near { left, .. } => format!("it takes in the last messages, {left} are left"),
    }))
}

async fn stand(shared: &Shared, declared: &Declared, stored: &[Stored]) -> Result<Standing, Failure> {
    let serving = stored.iter().find(|s| s.name == declared.name && s.phase == Phase::Serving);
    if let Some(later) = serving.filter(|s| s.version > declared.version) {
        return Ok(Standing::Waits(format!(
            "version {} serves, so this one is passed over: artel groups retire removes it",
            later.version
        )));
    }
    let grp = shared.service.group_name(&declared.group);
    let mut read = shared.db.read().await?;
    let places = offsets::of_group(&mut read, &grp).await?;
    if let Some(reason) = what_waits(&mut read, &grp, &places).await? {
        return Ok(Standing::Waits(reason));
    }
    if !declared.from_retained {
        let before = serving.map(|s| shared.service.group_name(&group_of(&s.name, s.version)));
        if let Some(reason) = what_is_gone(&mut read, &grp, before.as_deref()).await? {
            return Ok(Standing::Waits(reason));
        }
    }
    drop(read);
    for topic in shared.service.groups().remove(&grp).unwrap_or_default() {
        let partitions = shared.topics.describe(&topic).await?.partitions;
        let begun = places.iter().filter(|place| place.topic == topic).count();
        if begun < partitions as usize {
            return Ok(Standing::Waits(format!(
                "it has begun with {begun} of {partitions} partitions of {topic}"
            )));
        }
    }
    let (mut ends, mut left) = (Ends::new(), 0);
    for place in &places {
        let end = shared.topics.bus().bounds(&place.topic, place.partition).await?.end;
        left += (end - place.next).max(0);
        ends.insert((place.topic.clone(), place.partition), end);
    }
    let behind = i64::try_from(declared.behind()).unwrap_or(i64::MAX);
    if left > behind {
        return Ok(Standing::Waits(format!("it is {left} messages behind, and switched to at {behind}")));
    }
    Ok(Standing::Near { places, ends, left })
}

/// What was given up on or is tried again is missing until somebody has decided, or it is taken in.
async fn what_waits(read: &mut Read, grp: &str, places: &[Offset]) -> Result<Option<String>, Failure> {
    let letters = dead::count(read, grp, COUNTED).await?;
    if letters > 0 {
        let more = if letters == COUNTED { " or more" } else { "" };
        return Ok(Some(format!(
            "{letters}{more} of its messages were given up on: try them again or drop them (artel dead list --group {grp})"
        )));
    }
    for place in places {
        if parked::any(read, grp, &place.topic, place.partition).await? {
            return Ok(Some(format!(
                "messages of {}/{} are parked and tried again (artel parked list --group {grp})",
                place.topic, place.partition
            )));
        }
    }
    Ok(None)
}

/// Where it began later than the version that is read from, since the log had no more by then.
async fn what_is_gone(read: &mut Read, grp: &str, before: Option<&str>) -> Result<Option<String>, Failure> {
    let served = match before {
        Some(before) => projections::begun(read, before).await?,
        None => Vec::new(),
    };
    for (topic, partition, begun) in projections::begun(read, grp).await? {
        let begun = begun.unwrap_or_default();
        let has = served.iter().find(|(t, p, _)| (t, *p) == (&topic, partition));
        let since = has.and_then(|(.., begun)| *begun).unwrap_or_default();
        if begun > since {
            return Ok(Some(format!(
                "{topic}/{partition} began at {begun} when it was begun: what retention had taken before that is missing in it, and \
                 the version that is read from {}; where it may serve without that, say .from_retained() on its handlers",
                if has.is_some() {
                    format!("has taken in from {since} on")
                } else {
                    "does not read it".to_owned()
                }
            )));
        }
    }
    Ok(None)
}

/// Whether its places are ones of this log: a partition whose place is not stands still, whatever is left.
async fn fits(shared: &Shared, places: &[Offset]) -> Result<bool, Failure> {
    for place in places {
        let log = shared.topics.describe(&place.topic).await?.id;
        if mismatch(shared.topics.bus().as_ref(), place, log).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False = somebody was faster, a later version serves, or its places are not those that were looked at: somebody has moved them.
async fn switch(shared: &Shared, declared: &Declared, places: &[Offset]) -> Result<bool, Failure> {
    let now = shared.now();
    let (name, version) = (declared.name, declared.version);
    let mut write = shared.begin_own(Lane::Interactive).await?;
    // Whoever moves it back holds its row for as long as that takes; it is looked at again then.
    leases::wait_shortly(&mut write, shared.db.engine()).await?;
    projections::lock(&mut write).await?;
    let stored = projections::of_name_here(&mut write, name).await?;
    let later = stored.iter().any(|s| s.phase == Phase::Serving && s.version > version);
    let changed = !later
        && projections::change(&mut write, (name, version), (Phase::Building, Phase::Serving), now).await?;
    let grp = shared.service.group_name(&declared.group);
    if !changed || projections::epochs(&mut write, &grp).await? != epochs_of(places) {
        write.rollback().await?;
        return Ok(false);
    }
    // One that is still being built was never read from, and never is.
    for before in stored.iter().filter(|s| s.version < version && s.phase == Phase::Serving) {
        projections::change(&mut write, (name, before.version), (before.phase, Phase::Replaced), now).await?;
    }
    write.commit().await?;
    Ok(true)
}

fn epochs_of(places: &[Offset]) -> Vec<(String, u32, i64)> {
    places.iter().map(|place| (place.topic.clone(), place.partition, place.epoch)).collect()
}
