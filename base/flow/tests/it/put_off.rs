//! Timers, effects and schedules, on a clock that is set by hand.

use crate::kit::Node;
use crate::shop::{Journal, Note, catalogue, desk, shop};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn note(node: &Node, key: &str, text: &str) {
    node.ctx("desk").ask(Note { key: key.into(), text: text.into() }).await.expect("noted");
}

async fn journal(node: &Node) -> Vec<String> {
    node.settle().await;
    node.ctx("desk").query(Journal {}).await.expect("journal")
}

#[tokio::test]
async fn a_timer_fires_once_when_due_and_outlives_the_node() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    note(&node, "k", "later bell").await;
    assert_eq!(journal(&node).await, ["note later bell"]);
    node.stop().await;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    assert_eq!(journal(&node).await, ["note later bell"]);
    place.clock.advance(MINUTE);
    assert_eq!(journal(&node).await, ["note later bell", "note bell"]);
    place.clock.advance(MINUTE);
    assert_eq!(journal(&node).await.len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn an_effect_runs_when_due_and_its_result_arrives_once() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    note(&node, "a", "call 42").await;
    place.clock.advance(MINUTE);
    assert_eq!(journal(&node).await, ["note call 42", "hello 42 at attempt 1"]);
    node.stop().await;
}

#[tokio::test]
async fn an_effect_is_tried_again_and_given_up_in_the_end() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    note(&node, "a", "call busy once").await;
    note(&node, "b", "call busy").await;
    note(&node, "c", "call wrong").await;
    place.clock.advance(MINUTE);
    for _ in 0..4 {
        node.settle().await;
        place.clock.advance(Duration::from_secs(10));
    }
    let mut lines = journal(&node).await;
    lines.retain(|line| !line.starts_with("note"));
    lines.sort();
    assert_eq!(
        lines,
        ["busy gave unavailable after 3", "hello busy once at attempt 2", "wrong gave invalid after 1"]
    );
    node.stop().await;
}

#[tokio::test]
async fn a_timer_is_cancelled_and_says_whether_it_was_pending() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    note(&node, "a", "call 1").await;
    note(&node, "a", "call 2").await;
    note(&node, "b", "call 3").await;
    note(&node, "b", "hang up").await;
    note(&node, "b", "hang up").await;
    place.clock.advance(MINUTE);
    let mut lines = journal(&node).await;
    lines.retain(|line| !line.starts_with("note"));
    assert_eq!(lines, ["cancelled true", "cancelled false", "hello 2 at attempt 1"]);
    node.stop().await;
}

#[tokio::test]
async fn a_schedule_runs_on_time_and_a_missed_run_runs_once() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let due = place.clock.now() + Duration::from_secs(3600);
    place.clock.advance(Duration::from_secs(3600));
    let ticks = loop {
        let lines = journal(&node).await;
        if !lines.is_empty() {
            break lines;
        }
    };
    assert_eq!(ticks, [format!("tick {due}")]);
    node.stop().await;
    place.clock.advance(Duration::from_secs(3600 * 5));
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let ticks = loop {
        let lines = journal(&node).await;
        if lines.len() > 1 {
            break lines;
        }
    };
    assert_eq!(ticks.len(), 2, "{ticks:?}");
    node.stop().await;
}
