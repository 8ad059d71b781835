//! The judge: reads the tables and says what is not as promised.

use crate::run::World;
use crate::services::NAMES;
use artel_store::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use uuid::Uuid;

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Acked {
    pub request: String,
    pub key: String,
    pub n: i64,
}

struct Thing {
    id: Uuid,
    key: String,
    n: i64,
}

fn rows(world: &World, name: &str, sql: &str) -> Vec<Row> {
    world.server.rows(name, sql).expect("the judge's query runs")
}

fn count(world: &World, name: &str, sql: &str) -> i64 {
    rows(world, name, sql).first().map_or(0, |row| row.get(0).expect("a number"))
}

/// (what it is, whose it is) of every lease.
pub fn owners(world: &World) -> Vec<(String, Option<Uuid>)> {
    let mut all = Vec::new();
    for name in NAMES.into_iter().filter(|name| !world.server.is_busy(name)) {
        for row in rows(world, name, "SELECT name, owner FROM flow_lease ORDER BY name") {
            let what: String = row.get(0).expect("a name");
            all.push((format!("{name} {what}"), row.get(1).expect("an owner")));
        }
        for row in rows(world, name, "SELECT grp || topic || partition, owner FROM flow_offset ORDER BY 1") {
            let what: String = row.get(0).expect("a name");
            all.push((format!("{name} {what}"), row.get(1).expect("an owner")));
        }
    }
    all
}

fn made(world: &World) -> Vec<Thing> {
    let rows = rows(world, "ann", "SELECT id, key, n FROM made ORDER BY key, n");
    let thing = |row: Row| Thing {
        id: row.get(0).expect("an id"),
        key: row.get(1).expect("a key"),
        n: row.get(2).expect("a number"),
    };
    rows.into_iter().map(thing).collect()
}

fn effects(world: &World, name: &str, what: &str) -> Vec<Thing> {
    let all = rows(world, name, "SELECT what, cause, key, n FROM effect ORDER BY pos");
    let thing = |row: &Row| Thing {
        id: row.get(1).expect("an id"),
        key: row.get(2).expect("a key"),
        n: row.get(3).expect("a number"),
    };
    all.iter().filter(|row| row.get::<String>(0).expect("text") == what).map(thing).collect()
}

/// Where each thing has to leave a trail: (service, what, whether in order of its key).
const TRAILS: [(&str, &str); 4] = [("bob", "made"), ("cat", "counted"), ("cat", "work"), ("bob", "worked")];

fn foreign(world: &World) -> Vec<Uuid> {
    world.foreign.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What has not happened yet, for people.
pub fn what_is_open(world: &World) -> String {
    let made = made(world).len();
    let mut open: Vec<String> = TRAILS
        .iter()
        .map(|(name, what)| (what, effects(world, name, what).len()))
        .filter(|(_, done)| *done < made)
        .map(|(what, done)| format!("{what} {done} of {made}"))
        .collect();
    let (noted, all) = (effects(world, "cat", "noted").len(), foreign(world).len());
    if noted < all {
        open.push(format!("noted {noted} of {all}"));
    }
    for name in NAMES {
        for table in ["flow_outbox", "flow_timer", "flow_parked"] {
            let waiting = count(world, name, &format!("SELECT count(*) FROM {table}"));
            if waiting > 0 {
                open.push(format!("{waiting} in {table} of {name}"));
            }
        }
    }
    let ends: BTreeMap<(String, u32), i64> =
        world.log.ends().into_iter().map(|(topic, number, _, end)| ((topic, number), end)).collect();
    for name in NAMES {
        for row in rows(world, name, "SELECT grp, topic, partition, next FROM flow_offset") {
            let (grp, topic): (String, String) = (row.get(0).expect("text"), row.get(1).expect("text"));
            let (number, next): (u32, i64) = (row.get(2).expect("a number"), row.get(3).expect("a number"));
            let end = ends.get(&(topic.clone(), number)).copied().unwrap_or(0);
            if next != end {
                open.push(format!("{grp} at {next} of {end} in {topic}/{number}"));
            }
        }
    }
    let busy = NAMES.into_iter().chain(["nodes"]).filter(|name| world.server.is_busy(name));
    open.extend(busy.map(|name| format!("a transaction of {name} is open")));
    open.join(", ")
}

/// Whether all has happened that has to.
pub fn is_done(world: &World) -> bool {
    NAMES.iter().all(|name| !world.server.is_busy(name)) && what_is_open(world).is_empty()
}

/// Holds everything against the rules.
pub fn judge(world: &World) {
    let made = made(world);
    in_order("made by ann", world, &made);
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
    for (name, what) in TRAILS {
        let there = effects(world, name, what);
        if world.stage.counts().restores > 0 {
            at_least_once(world, what, &made, there);
        } else if world.stage.counts().lost_tails > 0 {
            as_far_as_told(world, what, &made, &there);
        } else {
            once(world, what, &made.iter().map(|thing| thing.id).collect::<Vec<_>>(), &there);
            in_order(what, world, &there);
        }
    }
    let rings: Vec<Uuid> = made.iter().filter(|thing| thing.n % 4 == 0).map(|thing| thing.id).collect();
    once(world, "ring", &rings, &effects(world, "ann", "ring"));
    once(world, "noted", &foreign(world), &effects(world, "cat", "noted"));
    for (name, what) in [("bob", "stray"), ("bob", "refused")] {
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

/// Where the log has lost what it had confirmed, consumers stop there and say so.
pub fn may_stand_still(world: &World) -> bool {
    let says_so = |trouble: &String| trouble.contains("are missing; nothing is skipped");
    world.stage.counts().lost_tails > 0 && world.troubles().iter().any(says_so)
}

/// After a restore nothing that is there now was lost, and its order is kept. What came after the copy and is gone has left its
/// trail elsewhere, and what waited in the outbox of the copy comes twice.
fn at_least_once(world: &World, what: &str, made: &[Thing], there: Vec<Thing>) {
    let wanted: BTreeSet<(Uuid, i64)> = made.iter().map(|thing| (thing.id, thing.n)).collect();
    let mut seen = BTreeSet::new();
    // The last of each: the others may be of what is gone.
    let last = there.into_iter().rev().filter(|thing| {
        let known = (thing.id, thing.n);
        wanted.contains(&known) && seen.insert(known)
    });
    let mut last: Vec<Thing> = last.collect();
    last.reverse();
    once(world, what, &made.iter().map(|thing| thing.id).collect::<Vec<_>>(), &last);
    in_order(what, world, &last);
}

/// After a loss in the log: no thing twice, none before what came before it; and where something is missing, somebody says so.
fn as_far_as_told(world: &World, what: &str, made: &[Thing], there: &[Thing]) {
    let mut ids: Vec<Uuid> = made.iter().map(|thing| thing.id).collect();
    if may_stand_still(world) {
        let seen: BTreeSet<Uuid> = there.iter().map(|thing| thing.id).collect();
        ids.retain(|id| seen.contains(id));
    }
    once(world, what, &ids, there);
    in_order(what, world, there);
}

/// Each of them exactly once, and nothing else.
fn once(world: &World, what: &str, wanted: &[Uuid], there: &[Thing]) {
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
