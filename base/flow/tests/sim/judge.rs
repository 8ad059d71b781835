//! The judge: says what is not as promised.

use crate::judge_later;
use crate::oracle::{Thing, count, effects, made, rows, told_gap};
use crate::run::World;
use crate::services::{Made, NAMES, Noted};
use crate::walk::{self, Walk};
use artel_bus::partition;
use artel_message::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use uuid::Uuid;

/// Holds everything against the rules.
pub fn judge(world: &World) {
    let made = made(world);
    in_order("made by ann", world, &made);
    requests(world);
    let walks = walk::all(&world.log, Made::TOPIC);
    published(world, &made, &walks);
    for (name, what) in [("bob", "made"), ("cat", "counted")] {
        as_in_the_log(world, what, &walks, &effects(world, name, what));
    }
    let caused = effects(world, "bob", "made");
    for (name, what) in [("cat", "work"), ("bob", "worked")] {
        by_key(world, what, &caused, &effects(world, name, what));
    }
    judge_later::effects_of(world, &caused, &effects(world, "cat", "counted"));
    judge_later::schedules(world);
    as_in_the_log(world, "noted", &walk::all(&world.log, Noted::TOPIC), &effects(world, "cat", "noted"));
    let rings: Vec<Uuid> = made.iter().filter(|thing| thing.n % 4 == 0).map(|thing| thing.id).collect();
    once(world, "ring", &rings, &effects(world, "ann", "ring"));
    for (name, what) in [("bob", "stray"), ("bob", "refused"), ("cat", "refused")] {
        once(world, what, &[], &effects(world, name, what));
    }
    for name in NAMES {
        let dead = count(world, name, "SELECT count(*) FROM flow_dead");
        if dead > 0 {
            world.stage.broke(format!("{dead} dead letters of {name}"));
        }
    }
    let records = world.log.ends().iter().map(|(_, _, _, end)| u64::try_from(*end).unwrap_or(0)).sum();
    world.stage.count(|counts| counts.messages = records);
}

/// Each ran once at most, and what was answered is there.
fn requests(world: &World) {
    let requests = count(
        world,
        "ann",
        "SELECT count(*) FROM (SELECT request FROM made GROUP BY request HAVING count(*) > 1)",
    );
    if requests > 0 {
        world.stage.broke(format!("{requests} requests ran more than once"));
    }
    for acked in world.acked.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let found =
            rows(world, "ann", &format!("SELECT key, n FROM made WHERE request = '{}'", acked.request));
        let fits = found.first().is_some_and(|row| {
            row.get::<String>(0).ok().as_deref() == Some(&acked.key)
                && row.get::<i64>(1).ok() == Some(acked.n)
        });
        if !fits {
            world.stage.broke(format!("{acked:?} was answered and is not there"));
        }
    }
}

/// What the log has to offer, each number once: everything that was made, once and in the order of its key. Where a database went
/// back, what had no number in the copy may be there twice, and what is gone once. Where the log lost something, what is behind it in
/// that partition is out of reach.
fn published(world: &World, made: &[Thing], walks: &[Walk]) {
    let stops = told_gap(world).map(|(partition, _)| partition);
    for walk in walks.iter().filter(|walk| Some(walk.partition) != stops) {
        if let Some(gap) = walk.gap {
            world
                .stage
                .broke(format!("partition {} has a gap that nobody tells of: {gap:?}", walk.partition));
        }
    }
    let back = world.back.lock().unwrap_or_else(PoisonError::into_inner);
    let count = u32::try_from(walks.len()).unwrap_or(0);
    let behind = |thing: &Thing| Some(partition::of_key(thing.key.as_bytes(), count)) == stops;
    let mut may: BTreeMap<Uuid, (u32, u32)> = BTreeMap::new();
    for thing in made {
        let again = back.as_ref().is_some_and(|back| back.unnumbered.contains(&thing.id));
        may.insert(thing.id, (u32::from(!behind(thing)), 1 + u32::from(again)));
    }
    let gone: BTreeSet<Uuid> = back.iter().flat_map(|back| back.gone.clone()).collect();
    may.extend(gone.iter().map(|id| (*id, (0, 1))));
    let mut there: BTreeMap<Uuid, u32> = may.keys().map(|id| (*id, 0)).collect();
    for walk in walks {
        walk.taken.iter().for_each(|thing| *there.entry(thing.id).or_default() += 1);
        if back.is_some() {
            in_order_but_once(world, walk, &gone);
        } else {
            in_order("published", world, &walk.taken);
        }
    }
    let twice = there.values().filter(|times| **times > 1).count();
    world.stage.count(|counts| counts.twice = u64::try_from(twice).unwrap_or(0));
    for (id, times) in there {
        match may.get(&id) {
            None => world.stage.broke(format!("published: {id} comes from nowhere")),
            Some((least, _)) if times < *least => world.stage.broke(format!("published: {id} was lost")),
            Some((_, most)) if times > *most => {
                world.stage.broke(format!("published: {id} leaves {times} times, {most} allowed"));
            }
            Some(_) => {}
        }
    }
}

/// A group takes in what the log has to offer, nothing else, in its order.
fn as_in_the_log(world: &World, what: &str, walks: &[Walk], there: &[Thing]) {
    let count = u32::try_from(walks.len()).unwrap_or(0);
    let mut parts: BTreeMap<u32, Vec<&Thing>> =
        walks.iter().map(|walk| (walk.partition, Vec::new())).collect();
    for thing in there {
        parts.entry(partition::of_key(thing.key.as_bytes(), count)).or_default().push(thing);
    }
    for walk in walks {
        let wanted: Vec<&Thing> = walk.taken.iter().collect();
        same(world, what, &format!("partition {}", walk.partition), &wanted, &parts[&walk.partition]);
    }
}

/// What happened for each of these happened as often, and in the order of its key.
pub fn by_key(world: &World, what: &str, wanted: &[Thing], there: &[Thing]) {
    let mut keys: BTreeMap<&str, (Vec<&Thing>, Vec<&Thing>)> = BTreeMap::new();
    wanted.iter().for_each(|thing| keys.entry(&thing.key).or_default().0.push(thing));
    there.iter().for_each(|thing| keys.entry(&thing.key).or_default().1.push(thing));
    for (key, (wanted, there)) in keys {
        same(world, what, &format!("key {key}"), &wanted, &there);
    }
}

fn same(world: &World, what: &str, whose: &str, wanted: &[&Thing], there: &[&Thing]) {
    if wanted == there {
        return;
    }
    let at = wanted.iter().zip(there).position(|(wanted, there)| wanted != there);
    let at = at.unwrap_or_else(|| wanted.len().min(there.len()));
    let show = |things: &[&Thing]| {
        let some = things.iter().skip(at).take(3).map(|thing| format!("{} of {}", thing.n, thing.key));
        some.collect::<Vec<_>>().join(", ")
    };
    let (of, is) = (wanted.len(), there.len());
    world.stage.broke(format!(
        "{what}: {whose} has {is} and should have {of}; at {at} come [{}] in place of [{}]",
        show(there),
        show(wanted)
    ));
}

/// Each of them exactly once, and nothing else.
pub fn once(world: &World, what: &str, wanted: &[Uuid], there: &[Thing]) {
    let mut seen: BTreeMap<Uuid, i64> = wanted.iter().map(|id| (*id, 0)).collect();
    for thing in there {
        *seen.entry(thing.id).or_insert(1_000) += 1;
    }
    for (id, times) in seen {
        match times {
            1 => {}
            0 => world.stage.broke(format!("{what}: {id} was lost")),
            1_000.. => world.stage.broke(format!("{what}: {id} comes from nowhere")),
            times => world.stage.broke(format!("{what}: {id} happened {times} times")),
        }
    }
}

/// Per key from 1 on, without a gap.
fn in_order(what: &str, world: &World, things: &[Thing]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for thing in things {
        let before = last.insert(&thing.key, thing.n).unwrap_or(0);
        if thing.n != before + 1 {
            world.stage.broke(format!("{what}: {} of key {} came after {before}", thing.n, thing.key));
        }
    }
}

/// The same where the database went back: each key may once go on at what the copy still had to send, and nothing that is gone
/// comes behind that.
fn in_order_but_once(world: &World, walk: &Walk, gone: &BTreeSet<Uuid>) {
    let mut last: BTreeMap<&str, (i64, bool)> = BTreeMap::new();
    for thing in &walk.taken {
        let (before, mut went_back) = last.get(thing.key.as_str()).copied().unwrap_or((0, false));
        if thing.n != before + 1 || (went_back && gone.contains(&thing.id)) {
            if went_back || thing.n > before || gone.contains(&thing.id) {
                let (n, key) = (thing.n, &thing.key);
                world.stage.broke(format!("published: {n} of key {key} came after {before}"));
            }
            went_back = true;
        }
        last.insert(&thing.key, (thing.n, went_back));
    }
}
