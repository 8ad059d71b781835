//! Groups made at run time.

use crate::gated::{Answer, Asked};
use crate::kit::Node;
use crate::shop::{Journal, Note, Sell, catalogue, desk, shop};
use artel_bus::Record;
use artel_flow::GroupState;
use std::time::Duration;

async fn note(node: &Node, text: &str) {
    node.ctx("desk").ask(Note { key: "reader".into(), text: text.into() }).await.expect("noted");
}

async fn raw(node: &Node) -> Vec<String> {
    node.settle().await;
    let mut lines = node.ctx("desk").query(Journal {}).await.expect("journal");
    lines.retain(|line| line.starts_with("raw"));
    lines.sort();
    lines
}

async fn foreign(node: &Node, value: &str) {
    foreign_to(node, 0, value).await;
}

async fn foreign_to(node: &Node, partition: u32, value: &str) {
    let time = node.ctx("desk").now();
    let record = Record { key: None, value: Some(value.as_bytes()), headers: &[], time };
    node.log.append("far", partition, &[record]).await.expect("append");
}

#[tokio::test]
async fn a_group_takes_in_what_others_write_once_also_over_a_restart() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("desk").topics().ensure("far").await.expect("topic");
    foreign(&node, "1").await;
    note(&node, "read far").await;
    foreign(&node, "2").await;
    assert_eq!(raw(&node).await, ["raw far 1", "raw far 2"]);
    node.stop().await;

    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    foreign(&node, "3").await;
    assert_eq!(raw(&node).await, ["raw far 1", "raw far 2", "raw far 3"]);
    let groups = node.ctx("desk").groups().list().await.expect("list");
    assert_eq!((groups.len(), groups[0].state, groups[0].lag), (1, GroupState::Running, Some(0)));
    node.stop().await;
}

#[tokio::test]
async fn a_stopped_group_keeps_its_place_and_a_forgotten_one_begins_anew() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("desk").topics().ensure("far").await.expect("topic");
    note(&node, "read far").await;
    foreign(&node, "1").await;
    assert_eq!(raw(&node).await, ["raw far 1"]);

    note(&node, "stop reading").await;
    node.settle().await;
    foreign(&node, "2").await;
    assert_eq!(raw(&node).await, ["raw far 1"]);
    assert_eq!(node.ctx("desk").groups().list().await.expect("list")[0].state, GroupState::Stopped);
    note(&node, "read far").await;
    assert_eq!(raw(&node).await, ["raw far 1", "raw far 2"]);

    note(&node, "forget reading").await;
    node.settle().await;
    assert_eq!(node.ctx("desk").groups().list().await.expect("list").len(), 0);
    // The log is told beside the rest.
    let forgotten = async {
        while node.log.offsets().await.expect("offsets").iter().any(|o| o.group == "desk.reader") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await.expect("the log forgets the group");
    note(&node, "read far").await;
    assert_eq!(raw(&node).await, ["raw far 1", "raw far 1", "raw far 2", "raw far 2"]);
    node.stop().await;
}

#[tokio::test]
async fn a_group_on_a_topic_that_is_not_there_fails_and_says_why() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    note(&node, "read far").await;
    node.settle().await;
    let groups = node.ctx("desk").groups().list().await.expect("list");
    assert_eq!(groups[0].state, GroupState::Failed);
    assert!(
        groups[0].error.as_deref().unwrap_or_default().contains("topic 'far' does not exist"),
        "{groups:?}"
    );

    node.ctx("desk").topics().ensure("far").await.expect("topic");
    foreign(&node, "1").await;
    while raw(&node).await.is_empty() {}
    assert_eq!(node.ctx("desk").groups().list().await.expect("list")[0].state, GroupState::Running);
    node.stop().await;
}

#[tokio::test]
async fn messages_of_a_topic_made_at_run_time_are_known_when_they_repeat() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("shop").topics().ensure("far").await.expect("topic");
    node.ctx("shop").ask(Sell { item: "raw:far".into(), count: 7 }).await.expect("sold");
    note(&node, "read far").await;
    assert_eq!(raw(&node).await, ["raw far 7"]);
    node.stop().await;
}

/// Otherwise retention could pass its first place before the log holds it back for the group.
#[tokio::test]
async fn the_log_knows_a_group_before_its_first_place_is_looked_up() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("desk").topics().ensure("far").await.expect("topic");
    foreign(&node, "1").await;
    note(&node, "read far").await;
    assert_eq!(raw(&node).await, ["raw far 1"]);
    let (known, looked_up) = (place.gates.when("register desk.reader far"), place.gates.when("bounds far"));
    assert!(known.is_some() && known < looked_up, "known {known:?}, looked up {looked_up:?}");
    node.stop().await;
}

/// A partition that answers late is not taken for one that was added later, which is read from its beginning.
#[tokio::test]
async fn a_group_from_the_end_begins_there_in_a_partition_too_that_answers_late() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("desk").topics().ensure("far").await.expect("topic");
    foreign_to(&node, 0, "old").await;
    foreign_to(&node, 1, "old").await;
    place.gates.hold("far", 1, Asked::Read, Answer::Refusal);
    note(&node, "follow far").await;
    // It was asked for again after what the others said was known.
    tokio::time::timeout(Duration::from_secs(30), place.gates.refused("far", 3)).await.expect("asked again");
    place.gates.let_go();
    assert_eq!(raw(&node).await, Vec::<String>::new());
    foreign_to(&node, 0, "1").await;
    foreign_to(&node, 1, "2").await;
    assert_eq!(raw(&node).await, ["raw far 1", "raw far 2"]);
    node.stop().await;
}
