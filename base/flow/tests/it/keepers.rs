//! Which node keeps the timers and schedules of a service changes, and each is run once all the same.

use crate::kit::{Node, Place};
use crate::late::{Board, Lines, Set, Timer, What, catalogue, catalogue_before, late, late_nightly};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3600);

/// Until there are so many lines; half a minute at most.
async fn lines(node: &Node, wanted: usize) -> Vec<String> {
    let (mut lines, mut look_again) = (Vec::new(), tokio::time::interval(LOOK));
    for _ in 0..1500 {
        lines = node.ctx("late").query(Lines {}).await.expect("lines");
        if lines.len() >= wanted {
            return lines;
        }
        look_again.tick().await;
    }
    panic!("{} of {wanted} lines", lines.len());
}

/// Who keeps the timers and schedules of the service.
async fn keeper(node: &Node) -> String {
    let mut look_again = tokio::time::interval(LOOK);
    for _ in 0..1500 {
        let leases = node.runtime.leases().await.expect("leases");
        let keeper = leases.into_iter().find(|lease| lease.service == "late" && lease.what == "keeper");
        if let Some(name) = keeper.filter(|lease| lease.alive).and_then(|lease| lease.node) {
            return name;
        }
        look_again.tick().await;
    }
    panic!("nobody keeps the timers");
}

/// Stops the one that keeps the timers; the other one is left.
async fn without_keeper(first: Node, second: Node) -> Node {
    let (gone, left) = if keeper(&first).await == "first" { (first, second) } else { (second, first) };
    gone.stop().await;
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_are_due_while_their_keeper_goes_fire_once_on_another() {
    let Some(place) = Place::on_postgres().await else { return };
    let board = Arc::new(Board::default());
    let start =
        async |name: &str| place.start_named(name, vec![late(&board)], catalogue()).await.expect("starts");
    let (first, second) = (start("first").await, start("second").await);
    let timer = |n: u32| Timer { key: n.to_string(), after_ms: 1_000, what: What::Do(n.to_string()) };
    first.ctx("late").ask(Set { timers: (0..1_500).map(timer).collect() }).await.expect("set");
    keeper(&first).await;
    place.clock.advance(Duration::from_secs(1));
    lines(&first, 1).await;
    let left = without_keeper(first, second).await;
    let fired = lines(&left, 1_500).await;
    left.settle().await;
    assert_eq!(lines(&left, 1_500).await.len(), 1_500, "none fires twice");
    assert_eq!(fired.iter().collect::<BTreeSet<_>>().len(), 1_500);
    left.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_runs_once_on_several_nodes_whoever_keeps_it() {
    let Some(place) = Place::on_postgres().await else { return };
    let board = Arc::new(Board::default());
    let start = async |name: &str| {
        place.start_named(name, vec![late_nightly(&board)], catalogue_before()).await.expect("starts")
    };
    let (first, second) = (start("first").await, start("second").await);
    keeper(&first).await;
    for hour in 1..=3 {
        place.clock.advance(HOUR);
        assert_eq!(lines(&second, hour).await.len(), hour);
    }
    let left = without_keeper(first, second).await;
    keeper(&left).await;
    for hour in 4..=6 {
        place.clock.advance(HOUR);
        assert_eq!(lines(&left, hour).await.len(), hour);
    }
    left.settle().await;
    assert_eq!(lines(&left, 6).await.len(), 6);
    left.stop().await;
}
