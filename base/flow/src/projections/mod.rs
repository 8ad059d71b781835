//! Projections: groups whose handlers only write what is read, so that they can be built anew. A version is a group of its own,
//! which takes in from the beginning of the log into tables of its own, beside the one that is read from meanwhile; when it has
//! caught up, it is the one that is read from.

mod declared;
mod switch;

pub(crate) use declared::{Declared, group_of};
pub use declared::{Rewound, RewoundPlace};
pub(crate) use switch::run;

use crate::Failure;
use crate::ctx::{Ctx, Shared};
use crate::storage::offsets;
use crate::storage::projections::{self, Stored};
use crate::wakes::LEASES;
use artel_message::{Fault, Time};
use artel_store::{Read, Write};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a version of a projection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It takes in what there is, while another version is read from. It has never served.
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
    /// Why one that is being built is not switched to yet, as this node sees it.
    pub waits_for: Option<String>,
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
        let stored = projections::list(&mut shared.db.read().await?).await?;
        let mut all = Vec::new();
        for version in &stored {
            let group = shared.service.group_name(&group_of(&version.name, version.version));
            let places = offsets::of_group(&mut shared.db.read().await?, &group).await?;
            let mut topics: Vec<String> = places.into_iter().map(|place| place.topic).collect();
            topics.dedup();
            let runs = !shared.members.living_with(shared.name(), &group).is_empty();
            let waits_for = switch::waits_for(shared, version, &stored).await.map_err(Failure::into_fault)?;
            let Stored { name, version, phase, changed_at } = version.clone();
            all.push(ProjectionInfo { name, version, group, phase, changed_at, waits_for, runs, topics });
        }
        Ok(all)
    }
}

/// The version to read from: the one that serves; for a program that does not know it, the latest that has served of those that
/// it knows, and one that was never switched to only where it knows no other.
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
    let phase = |version: u32| stored.iter().find(|s| s.version == version).map(|s| s.phase);
    let serving = stored.iter().find(|s| s.phase == Phase::Serving).map(|s| s.version);
    let has_served = |v: &&u32| matches!(phase(**v), Some(Phase::Serving | Phase::Replaced));
    let on = |v: &&u32| phase(**v) != Some(Phase::Retired);
    let served = known.iter().filter(has_served).max();
    let before = || known.iter().filter(on).filter(|v| serving.is_none_or(|s| **v <= s)).max();
    let any = || known.iter().filter(on).min().or_else(|| known.iter().max());
    served.or_else(before).or_else(any).copied().unwrap_or(0)
}

/// The living nodes that read from a version: what each knows tells which one that is.
pub(crate) fn readers_of(shared: &Shared, stored: &[Stored], name: &str, version: u32) -> Vec<Uuid> {
    let living = shared.members.living(shared.name());
    let reads = |groups: &[String]| {
        let has = |v: u32| groups.contains(&shared.service.group_name(&group_of(name, v)));
        let known: Vec<u32> = stored.iter().map(|s| s.version).filter(|v| has(*v)).collect();
        !known.is_empty() && choose(stored, &known) == version
    };
    let members = shared.members.list();
    members.into_iter().filter(|m| living.contains(&m.id) && reads(&m.groups)).map(|m| m.id).collect()
}

/// Notes the versions that this program has. The first one ever serves at once; all others are built first.
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
        let phase = if stored.is_empty() { Phase::Serving } else { Phase::Building };
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

    #[test]
    fn one_that_was_passed_over_while_it_was_built_is_read_from_only_where_no_other_is_known() {
        use Phase::{Building, Replaced, Serving};
        let passed = stored(&[(1, Replaced), (2, Building), (3, Serving)]);
        assert_eq!(choose(&passed, &[1, 2]), 1);
        assert_eq!(choose(&passed, &[2]), 2);
        assert_eq!(choose(&passed, &[1, 2, 3]), 3);
        assert_eq!(choose(&stored(&[(1, Building), (3, Serving)]), &[1, 3]), 3);
    }
}
