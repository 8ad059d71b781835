//! What the tables and the log say, and what has not happened yet.

use crate::run::World;
use crate::services::{Made, NAMES};
use crate::walk::{self, Gap};
use artel_message::Event;
use artel_store::Row;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Acked {
    pub request: String,
    pub key: String,
    pub n: i64,
}

/// What a handler did something for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    pub id: Uuid,
    pub key: String,
    pub n: i64,
}

pub fn rows(world: &World, name: &str, sql: &str) -> Vec<Row> {
    world.server.rows(name, sql).expect("the judge's query runs")
}

pub fn count(world: &World, name: &str, sql: &str) -> i64 {
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

pub fn made(world: &World) -> Vec<Thing> {
    let rows = rows(world, "ann", "SELECT id, key, n FROM made ORDER BY key, n");
    let thing = |row: Row| Thing {
        id: row.get(0).expect("an id"),
        key: row.get(1).expect("a key"),
        n: row.get(2).expect("a number"),
    };
    rows.into_iter().map(thing).collect()
}

/// (name, next) of schedules that have not run yet.
pub fn fresh_schedules(world: &World) -> Vec<(String, i64)> {
    let sql = "SELECT name, next FROM flow_schedule WHERE ran_at IS NULL AND missed = 0";
    let rows = rows(world, "cat", sql);
    rows.iter().map(|row| (row.get(0).expect("a name"), row.get(1).expect("a time"))).collect()
}

/// The requests that have run.
pub fn requests(world: &World) -> BTreeSet<String> {
    let rows = rows(world, "ann", "SELECT request FROM made");
    rows.iter().map(|row| row.get(0).expect("a request")).collect()
}

pub fn effects(world: &World, name: &str, what: &str) -> Vec<Thing> {
    let all = rows(world, name, "SELECT what, cause, key, n FROM effect ORDER BY pos");
    let thing = |row: &Row| Thing {
        id: row.get(1).expect("an id"),
        key: row.get(2).expect("a key"),
        n: row.get(3).expect("a number"),
    };
    all.iter().filter(|row| row.get::<String>(0).expect("text") == what).map(thing).collect()
}

/// Where each thing has to leave a trail: (service, what).
const TRAILS: [(&str, &str); 4] = [("bob", "made"), ("cat", "counted"), ("cat", "work"), ("bob", "worked")];

/// Where groups may stand still: before what the log has confirmed and lost. Both groups that read there have to say so.
pub fn told_gap(world: &World) -> Option<(u32, Gap)> {
    let lost = world.log.lost()?;
    let walk =
        walk::all(&world.log, Made::TOPIC).into_iter().find(|walk| walk.partition == lost.partition)?;
    let gap =
        walk.gap.filter(|gap| lost.prev.is_none_or(|prev| prev <= gap.high) && gap.prev == lost.last)?;
    let place = format!("{}/{} at offset {}: messages between", lost.topic, lost.partition, gap.offset);
    let told = world.troubles().into_iter().filter(|trouble| trouble.contains(&place)).count();
    (told >= 2).then_some((lost.partition, gap))
}

/// What has not happened yet, for people.
pub fn what_is_open(world: &World) -> String {
    let stops = told_gap(world);
    let made = if stops.is_some() { 0 } else { made(world).len() };
    let mut open: Vec<String> = TRAILS
        .iter()
        .map(|(name, what)| (what, effects(world, name, what).len()))
        .filter(|(_, done)| *done < made)
        .map(|(what, done)| format!("{what} {done} of {made}"))
        .collect();
    for name in NAMES {
        for table in ["flow_outbox", "flow_timer", "flow_parked", "flow_effect"] {
            let waiting = count(world, name, &format!("SELECT count(*) FROM {table}"));
            if waiting > 0 {
                open.push(format!("{waiting} in {table} of {name}"));
            }
        }
        for row in rows(
            world,
            name,
            "SELECT name, key, due, attempts, claimed_until, made_at FROM flow_effect LIMIT 3",
        ) {
            let (of, key): (String, Option<String>) = (row.get(0).expect("text"), row.get(1).expect("text"));
            let (due, attempts): (i64, i64) = (row.get(2).expect("a time"), row.get(3).expect("a number"));
            let claimed: Option<i64> = row.get(4).expect("a time");
            let made: i64 = row.get(5).expect("a time");
            let now = world.stage.clock.now().micros();
            open.push(format!(
                "{of} of {key:?}, made {} s, due in {} s, after {attempts} attempts, claimed for {:?} s",
                (made - now) / 1_000_000,
                (due - now) / 1_000_000,
                claimed.map(|until| (until - now) / 1_000_000)
            ));
        }
    }
    let mut ends: BTreeMap<(String, u32), i64> =
        world.log.ends().into_iter().map(|(topic, number, _, end)| ((topic, number), end)).collect();
    if let Some((number, gap)) = stops {
        ends.insert((Made::TOPIC.to_owned(), number), gap.offset);
    }
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
