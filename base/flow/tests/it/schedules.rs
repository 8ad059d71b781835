//! Schedules: each run once, also over restarts and on several nodes; what was missed runs as the schedule says.

use crate::kit::{Node, Place};
use artel_flow::{Missed, Run, Schedule, Service, Tx};
use artel_message::{Command, Described, Fault, Query, Time};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "daily.runs", reply = Vec<(String, Time, i64)>)]
struct Runs {}

/// Makes the ticks fail, or work again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "daily.block")]
struct Block {
    on: bool,
}

const TABLES: Migrations = Migrations {
    component: "daily",
    files: &[(
        "0001_daily.sql",
        "CREATE TABLE run (name TEXT NOT NULL, due BIGINT NOT NULL, missed BIGINT NOT NULL);
         CREATE TABLE block (id BIGINT PRIMARY KEY);",
    )],
};

fn catalogue() -> Vec<Described> {
    vec![Described::query::<Runs>(), Described::command::<Block>()]
}

/// With one schedule, named after what it does with missed runs.
fn daily(name: &'static str, schedule: impl Into<Schedule>) -> Service {
    Service::new("daily").migrations(TABLES).query(runs).command(block).every(name, schedule, tick)
}

async fn tick(tx: &mut Tx, run: Run) -> Result<(), Fault> {
    if tx.opt::<(i64,)>("SELECT id FROM block", ()).await?.is_some() {
        return Err(Fault::unavailable("not now"));
    }
    tx.exec("INSERT INTO run (name, due, missed) VALUES ('tick', $1, $2)", (run.due, run.missed)).await?;
    Ok(())
}

async fn block(tx: &mut Tx, block: Block) -> Result<(), Fault> {
    tx.exec("DELETE FROM block", ()).await?;
    if block.on {
        tx.exec("INSERT INTO block (id) VALUES (1)", ()).await?;
    }
    Ok(())
}

async fn tock(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    let now = tx.now();
    tx.exec("INSERT INTO run (name, due, missed) VALUES ('tock', $1, 0)", (now,)).await?;
    Ok(())
}

async fn runs(read: &artel_flow::Read, _: Runs) -> Result<Vec<(String, Time, i64)>, Fault> {
    Ok(read.all("SELECT name, due, missed FROM run ORDER BY due, name", ()).await?)
}

async fn start(place: &Place, service: Service) -> Node {
    place.start(vec![service], catalogue()).await.expect("starts")
}

/// What stands of each schedule: (rule, missed runs).
async fn rules(node: &Node) -> Vec<(String, i64)> {
    let listed = node.runtime.schedules().await.expect("schedules");
    listed.into_iter().map(|schedule| (schedule.rule, schedule.missed)).collect()
}

/// (hours since the beginning, further runs it stands for) of what has run.
async fn ran(node: &Node, begin: Time) -> Vec<(u64, i64)> {
    node.settle().await;
    let runs = node.ctx("daily").query(Runs {}).await.expect("runs");
    runs.into_iter().map(|(_, due, missed)| (due.since(begin).as_secs() / 3600, missed)).collect()
}

/// Runs for two hours, is away until the seventh and a half, and runs until the ninth.
async fn away(place: &Place, schedule: Schedule, rule: &str, missed: i64) -> Vec<(u64, i64)> {
    let begin = place.clock.now();
    let node = start(place, daily("tick", schedule)).await;
    for _ in 0..2 {
        place.clock.advance(HOUR);
        node.settle().await;
    }
    node.stop().await;
    place.clock.advance(HOUR * 5 + HOUR / 2);
    let node = start(place, daily("tick", schedule)).await;
    node.settle().await;
    for _ in 0..3 {
        place.clock.advance(HOUR / 2);
        node.settle().await;
    }
    let ran = ran(&node, begin).await;
    assert_eq!(rules(&node).await, [(rule.to_owned(), missed)]);
    node.stop().await;
    ran
}

#[tokio::test]
async fn missed_runs_run_once_by_default() {
    let Some(place) = super::place().await else { return };
    assert_eq!(away(&place, "0 * * * *".into(), "once", 4).await, [(1, 0), (2, 0), (3, 4), (8, 0), (9, 0)]);
}

#[tokio::test]
async fn missed_runs_are_skipped_where_that_is_said() {
    let Some(place) = super::place().await else { return };
    let schedule = Schedule::every(HOUR).missed(Missed::Skip);
    assert_eq!(away(&place, schedule, "skip", 5).await, [(1, 0), (2, 0), (8, 0), (9, 0)]);
}

#[tokio::test]
async fn all_missed_runs_run_up_to_a_bound_where_that_is_said() {
    let Some(place) = super::place().await else { return };
    let schedule = Schedule::cron("0 * * * *").zone("Asia/Kolkata").missed(Missed::All(3));
    // A zone half an hour off: its full hours are our half ones.
    let ran = away(&place, schedule, "all, up to 3", 3).await;
    assert_eq!(ran, [(0, 0), (1, 0), (5, 0), (6, 0), (7, 0), (8, 0)]);
}

#[tokio::test]
async fn a_schedule_that_fails_is_tried_again_and_holds_up_no_other() {
    let Some(place) = super::place().await else { return };
    let service = daily("daily.tick", "0 * * * *").every("daily.tock", HOUR, tock);
    let node = start(&place, service).await;
    node.ctx("daily").ask(Block { on: true }).await.expect("blocked");
    place.clock.advance(HOUR);
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    while node.ctx("daily").query(Runs {}).await.expect("runs").is_empty() {
        look_again.tick().await;
    }
    node.ctx("daily").ask(Block { on: false }).await.expect("not blocked");
    while node.ctx("daily").query(Runs {}).await.expect("runs").len() < 2 {
        // The pause before the next try goes by the node's clock.
        place.clock.advance(Duration::from_millis(10));
        look_again.tick().await;
    }
    let names: Vec<String> =
        node.ctx("daily").query(Runs {}).await.expect("runs").into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["tick", "tock"]);
    // A failing one that somebody wants to run is tried at once, whatever its pause.
    node.ctx("daily").ask(Block { on: true }).await.expect("blocked");
    place.clock.advance(HOUR);
    while node.ctx("daily").query(Runs {}).await.expect("runs").len() < 3 {
        look_again.tick().await;
    }
    node.ctx("daily").ask(Block { on: false }).await.expect("not blocked");
    node.runtime.run_schedule("daily", "daily.tick").await.expect("run");
    while node.ctx("daily").query(Runs {}).await.expect("runs").len() < 4 {
        look_again.tick().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_schedule_is_listed_and_can_be_run_now() {
    let Some(place) = super::place().await else { return };
    let begin = place.clock.now();
    let node = start(&place, daily("daily.tick", Schedule::cron("0 3 * * *").zone("UTC"))).await;
    let listed = node.runtime.schedules().await.expect("schedules");
    let [tick] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (tick.service.as_str(), tick.name.as_str(), tick.when.as_str(), tick.zone.as_str()),
        ("daily", "daily.tick", "0 3 * * *", "UTC")
    );
    assert_eq!((tick.next, tick.last), (begin + 3 * HOUR, None));
    place.clock.advance(HOUR);
    node.runtime.run_schedule("daily", "daily.tick").await.expect("run");
    assert_eq!(ran(&node, begin).await, [(1, 0)]);
    let listed = node.runtime.schedules().await.expect("schedules");
    assert_eq!((listed[0].next, listed[0].last), (begin + 3 * HOUR, Some(begin + HOUR)));
    let refused = node.runtime.run_schedule("daily", "daily.tack").await.expect_err("refused");
    assert!(refused.reason.contains("daily.tack") && refused.reason.contains("daily.tick"), "{refused}");
    node.stop().await;
}

#[tokio::test]
async fn a_pattern_that_changed_starts_anew() {
    let Some(place) = super::place().await else { return };
    let begin = place.clock.now();
    let node = start(&place, daily("daily.tick", "0 * * * *")).await;
    node.stop().await;
    place.clock.advance(3 * HOUR + HOUR / 2);
    let node = start(&place, daily("daily.tick", "0 5 * * *")).await;
    assert_eq!(ran(&node, begin).await, []);
    assert_eq!(node.runtime.schedules().await.expect("schedules")[0].next, begin + 5 * HOUR);
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_pattern_or_no_zone_is_refused_at_the_start() {
    let Some(place) = super::place().await else { return };
    let service = daily("daily.tick", "0 25 * * *")
        .every("daily.tock", Schedule::cron("0 1 * * *").zone("Europe/Berln"), tock)
        .every("daily.tuck", Duration::ZERO, tock);
    let refused = place.start(vec![service], catalogue()).await.err().expect("refused").to_string();
    for word in ["daily.tick", "25", "daily.tock", "Europe/Berln", "daily.tuck"] {
        assert!(refused.contains(word), "'{word}' is missing in: {refused}");
    }
}
