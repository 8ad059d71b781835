//! The rules of what happens later and outside.

use crate::judge::{by_key, once};
use crate::later::{EVERY, MADE_UP, is_dialed, is_mailed};
use crate::oracle::{Thing, effects, rows};
use crate::run::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use uuid::Uuid;

/// An effect is called at least once, told of once, and what it tells takes effect once and in order. Calls of one key don't
/// overlap: none comes again once another one of its key has come.
pub fn effects_of(world: &World, caused: &[Thing], counted: &[Thing]) {
    let dialed = effects(world, "bob", "dialed");
    told_once(world, "dialed", caused.iter().filter(|thing| is_dialed(thing.n)), &dialed);
    by_key(world, "filed", &dialed, &effects(world, "cat", "filed"));
    let mailed = effects(world, "cat", "mailed");
    told_once(world, "mailed", counted.iter().filter(|thing| is_mailed(thing.n)), &mailed);
    for (what, told) in [("dial", &dialed), ("mail", &mailed)] {
        let called: BTreeSet<Uuid> = world.outside.begun(what).into_iter().map(|deed| deed.id).collect();
        let stale = world.stage.counts().freezes > 0;
        for thing in told.iter().filter(|thing| !stale && !called.contains(&thing.id)) {
            world.stage.broke(format!("{what}: {} of key {} was never called", thing.n, thing.key));
        }
    }
    let mut keys: BTreeMap<String, (Uuid, BTreeSet<Uuid>)> = BTreeMap::new();
    for deed in world.outside.begun("dial") {
        let (last, over) = keys.entry(deed.key.clone()).or_insert((deed.id, BTreeSet::new()));
        if *last != deed.id {
            over.insert(std::mem::replace(last, deed.id));
        }
        if over.contains(&deed.id) && world.stage.counts().restores == 0 {
            world.stage.broke(format!("dial: {} of key {} is called among others of it", deed.n, deed.key));
        }
    }
}

/// Once for each, or as often at most as what causes it came: a repeat that comes while the first one waits replaces it.
fn told_once<'t>(world: &World, what: &str, causes: impl Iterator<Item = &'t Thing>, there: &[Thing]) {
    let mut times: BTreeMap<Uuid, i64> = BTreeMap::new();
    causes.for_each(|thing| *times.entry(thing.id).or_default() += 1);
    let twice: BTreeSet<Uuid> = times.iter().filter(|(_, times)| **times > 1).map(|(id, _)| *id).collect();
    let mut seen = BTreeSet::new();
    let but_repeats: Vec<Thing> =
        there.iter().filter(|thing| seen.insert(thing.id) || !twice.contains(&thing.id)).cloned().collect();
    once(world, what, &times.keys().copied().collect::<Vec<_>>(), &but_repeats);
    if there.len() > but_repeats.len() + twice.len() {
        world.stage.broke(format!("{what}: {} in all, {} of which may come twice", there.len(), twice.len()));
    }
}

/// Each run at most once, in order, at a moment of its schedule; and all of them either ran or were counted as missed, as its rule
/// says.
pub fn schedules(world: &World) {
    let begun = world.schedules.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (name, distance) in EVERY {
        let distance = i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
        let sql = format!("SELECT due, missed FROM ran WHERE name = '{name}' ORDER BY pos");
        let runs: Vec<(i64, i64)> = rows(world, "cat", &sql)
            .iter()
            .map(|row| (row.get(0).expect("a time"), row.get(1).expect("a number")))
            .collect();
        let sql = format!("SELECT next, missed FROM flow_schedule WHERE name = '{name}'");
        let Some(stands) = rows(world, "cat", &sql).into_iter().next() else {
            world.stage.broke(format!("schedule {name} is not there"));
            continue;
        };
        let (next, missed): (i64, i64) = (stands.get(0).expect("a time"), stands.get(1).expect("a number"));
        let broke = |what: String| world.stage.broke(format!("schedule {name}: {what}"));
        for (due, _) in runs.iter().filter(|(due, _)| due % distance != 0) {
            broke(format!("{due} is none of its moments"));
        }
        for pair in runs.windows(2) {
            let ((first, stands_for), (second, _)) = (pair[0], pair[1]);
            let between = (second - first) / distance - 1;
            if between < 0 {
                broke(format!("{second} ran behind {first}"));
            }
            if name == "once" && between != stands_for {
                broke(format!("{first} stands for {stands_for} missed runs, and {between} are missing"));
            }
        }
        if runs.iter().any(|(_, missed)| name == "all" && *missed > 0) {
            broke("a run stands for others".to_owned());
        }
        if let Some(first) = begun.get(name) {
            let (all, ran) = ((next - first) / distance, i64::try_from(runs.len()).unwrap_or(0));
            if ran + missed != all {
                broke(format!("{ran} ran and {missed} were missed, of {all}"));
            }
        }
        if name == "all" && missed > 0 && runs.len() < MADE_UP as usize {
            broke(format!("{missed} were left out, and only {} made up for", runs.len()));
        }
    }
}
