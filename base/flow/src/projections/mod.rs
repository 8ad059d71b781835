//! Projections: groups whose handlers only write what is read, so that they can be built anew. A version is a group of its own,
//! which takes in from the beginning of the log into tables of its own, beside the one that is read from meanwhile; when it has
//! caught up, it is the one that is read from.

mod declared;

pub(crate) use declared::{Declared, group_of};
pub use declared::{Rewound, RewoundPlace};

use crate::Failure;
use crate::ctx::{Ctx, Shared};
use crate::groups::lag_of;
use crate::outage::{Outage, Whose};
use crate::storage::offsets::{self, Offset};
use crate::storage::parked;
use crate::storage::projections::{self, Stored};
use crate::wakes::LEASES;
use artel_message::{Fault, Time};
use artel_store::{Lane, Read, Write};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often versions that are being built are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What a version of a projection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It takes in what there is, while another version is read from.
    Building,
    /// It is read from.
    Serving,
    /// A later version is read from; it still takes in, for nodes that know no later one.
    Replaced,
    /// An operator removed it: it takes in nothing.
    Retired,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Building => "building",
            Phase::Serving => "serving",
            Phase::Replaced => "replaced",
            Phase::Retired => "retired",
        }
    }

    pub(crate) fn of(word: &str) -> Phase {
        match word {
            "serving" => Phase::Serving,
            "replaced" => Phase::Replaced,
            "retired" => Phase::Retired,
            _ => Phase::Building,
        }
    }
}

/// A version as operators see it.
#[derive(Debug, Clone)]
pub struct ProjectionInfo {
    pub name: String,
    pub version: u32,
    /// The full name of its group.
    pub group: String,
    pub phase: Phase,
    pub changed_at: Time,
    /// Whether a living node has its handlers.
    pub runs: bool,
    /// The topics it has places in.
    pub topics: Vec<String>,
}

/// The projections of one service.
#[derive(Clone)]
pub struct Projections {
    pub(crate) shared: Arc<Shared>,
}

impl Ctx {
    pub fn projections(&self) -> Projections {
        Projections { shared: self.shared.clone() }
    }
}

impl Projections {
    /// Every version, by name and version.
    pub async fn list(&self) -> Result<Vec<ProjectionInfo>, Fault> {
        let shared = &self.shared;
        let mut read = shared.db.read().await?;
        let mut all = Vec::new();
        for stored in projections::list(&mut read).await? {
            let group = shared.service.group_name(&group_of(&stored.name, stored.version));
            let places = offsets::of_group(&mut read, &group).await?;
            let mut topics: Vec<String> = places.into_iter().map(|place| place.topic).collect();
            topics.dedup();
            let Stored { name, version, phase, changed_at } = stored;
            let runs = !shared.members.living_with(shared.name(), &group).is_empty();
            all.push(ProjectionInfo { name, version, group, phase, changed_at, runs, topics });
        }
        Ok(all)
    }
}

/// The version to read from: the one that serves; for a program that does not know it, the latest before it that it knows.
pub(crate) async fn serving(
    read: &mut Read,
    shared: &Shared,
    name: &str,
) -> Result<u32, artel_store::StoreError> {
    Ok(serving_of(&projections::of_name(read, name).await?, shared, name))
}

pub(crate) fn serving_of(stored: &[Stored], shared: &Shared, name: &str) -> u32 {
    let known: Vec<u32> = shared.service.versions(name).map(|declared| declared.version).collect();
    choose(stored, &known)
}

fn choose(stored: &[Stored], known: &[u32]) -> u32 {
    let serving = stored.iter().find(|s| s.phase == Phase::Serving).map(|s| s.version);
    let on = |version: &&u32| !stored.iter().any(|s| s.version == **version && s.phase == Phase::Retired);
    let before = known.iter().filter(on).filter(|version| serving.is_none_or(|s| **version <= s)).max();
    before.or_else(|| known.iter().filter(on).min()).or_else(|| known.iter().max()).copied().unwrap_or(0)
}

/// Notes the versions that this program has. The first one ever serves at once; later ones are built first.
pub(crate) async fn declare(
    write: &mut Write,
    shared_name: &str,
    declared: &BTreeMap<(&'static str, u32), Declared>,
    now: Time,
) -> Result<(), artel_store::StoreError> {
    if declared.is_empty() {
        return Ok(());
    }
    projections::lock(write).await?;
    for (name, version) in declared.keys() {
        let stored = projections::of_name_here(write, name).await?;
        let serving = stored.iter().find(|s| s.phase == Phase::Serving).map(|s| s.version);
        let phase = match serving {
            None if stored.is_empty() => Phase::Serving,
            Some(serving) if *version < serving => Phase::Replaced,
            _ => Phase::Building,
        };
        projections::declare(write, name, *version, phase, now).await?;
        if let Some(serving) = serving.filter(|s| s < version && !declared.contains_key(&(*name, *s))) {
            tracing::warn!(
                service = shared_name,
                projection = name,
                serving,
                version,
                "the version that is read from is not in this program: it reads from this one while that is built; keep both \
                 until the switch"
            );
        }
    }
    Ok(())
}

/// The versions that an operator has removed: their groups don't run.
pub(crate) async fn retired(read: &mut Read) -> Result<Vec<(String, u32)>, artel_store::StoreError> {
    let stored = projections::list(read).await?;
    Ok(stored.into_iter().filter(|s| s.phase == Phase::Retired).map(|s| (s.name, s.version)).collect())
}

/// Switches to versions that have caught up, until stopped. Any node that has a version may.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if shared.service.projections.is_empty() {
        return;
    }
    let of = Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of, "projections wait for the infrastructure", "projections go on");
    while !stop.is_cancelled() {
        match look(&shared).await {
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

async fn look(shared: &Arc<Shared>) -> Result<(), Failure> {
    let stored = projections::list(&mut shared.db.read().await?).await?;
    for declared in shared.service.projections.values() {
        let is = |s: &&Stored| s.name == declared.name && s.version == declared.version;
        let building = stored.iter().find(is).is_some_and(|s| s.phase == Phase::Building);
        if building && has_caught_up(shared, declared).await? && switch(shared, declared).await? {
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

/// Whether it has a place in every partition, is no further behind than it may be, and nothing of it waits.
async fn has_caught_up(shared: &Shared, declared: &Declared) -> Result<bool, Failure> {
    let grp = shared.service.group_name(&declared.group);
    let mut read = shared.db.read().await?;
    let places = offsets::of_group(&mut read, &grp).await?;
    let topics = shared.service.groups().remove(&grp).unwrap_or_default();
    for topic in &topics {
        let partitions = shared.topics.describe(topic).await?.partitions;
        let begun = places.iter().filter(|place| place.topic == *topic).count();
        if begun < partitions as usize {
            return Ok(false);
        }
    }
    for place in &places {
        if parked::any(&mut read, &grp, &place.topic, place.partition).await? {
            return Ok(false);
        }
    }
    drop(read);
    let places: Vec<((String, u32), i64)> =
        places.into_iter().map(|Offset { topic, partition, next, .. }| ((topic, partition), next)).collect();
    let lag = lag_of(shared, places.iter().map(|(place, next)| (place, *next))).await;
    Ok(lag.and_then(|lag| u64::try_from(lag).ok()).is_some_and(|lag| lag <= declared.behind))
}

/// False = somebody was faster, or a later version serves.
async fn switch(shared: &Shared, declared: &Declared) -> Result<bool, Failure> {
    let now = shared.now();
    let mut write = shared.begin_own(Lane::Interactive).await?;
    projections::lock(&mut write).await?;
    let (name, version) = (declared.name, declared.version);
    let stored = projections::of_name_here(&mut write, name).await?;
    let later = stored.iter().any(|s| s.phase == Phase::Serving && s.version > version);
    let is_building = stored.iter().any(|s| s.version == version && s.phase == Phase::Building);
    if later || !is_building {
        write.rollback().await?;
        return Ok(false);
    }
    projections::change(&mut write, (name, version), (Phase::Building, Phase::Serving), now).await?;
    for before in stored.iter().filter(|s| s.version < version && s.phase != Phase::Retired) {
        projections::change(&mut write, (name, before.version), (before.phase, Phase::Replaced), now).await?;
    }
    write.commit().await?;
    Ok(true)
}

/// Takes a version's group and its places away. For operators, who have looked at what it is for.
pub(crate) async fn retire(
    write: &mut Write,
    grp: &str,
    stored: &Stored,
    now: Time,
) -> Result<bool, Failure> {
    projections::lock(write).await?;
    let place = (stored.name.as_str(), stored.version);
    let retired = projections::change(write, place, (stored.phase, Phase::Retired), now).await?;
    if retired {
        projections::forget(write, grp).await?;
    }
    Ok(retired)
}

impl Shared {
    /// Whoever has partitions, here or elsewhere, reads its places again.
    pub(crate) fn places_moved(&self) {
        self.held.partitions.tell();
        self.held.look.notify_one();
        self.wake_others(LEASES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(versions: &[(u32, Phase)]) -> Vec<Stored> {
        let of = |(version, phase): &(u32, Phase)| Stored {
            name: "sales".to_owned(),
            version: *version,
            phase: *phase,
            changed_at: Time::from_micros(0),
        };
        versions.iter().map(of).collect()
    }

    #[test]
    fn a_program_reads_from_what_serves_or_from_the_latest_before_it_that_it_knows() {
        use Phase::{Building, Replaced, Retired, Serving};
        let (building, switched) =
            (stored(&[(1, Serving), (2, Building)]), stored(&[(1, Replaced), (2, Serving)]));
        assert_eq!(choose(&building, &[1, 2]), 1);
        assert_eq!(choose(&building, &[2]), 2);
        assert_eq!(choose(&switched, &[1]), 1);
        assert_eq!(choose(&switched, &[1, 2]), 2);
        assert_eq!(choose(&stored(&[(1, Retired), (2, Serving)]), &[1, 2]), 2);
        assert_eq!(choose(&[], &[3]), 3);
    }
}
