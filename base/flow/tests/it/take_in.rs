//! Messages are taken in once and in order, whatever fails.

use crate::kit::Node;
use crate::shop::{Journal, Sell, Tally, catalogue, desk, shop};
use artel_bus::{Record, TopicSpec};
use artel_flow::StartError;
use artel_message::Headers;

async fn sell(node: &Node, item: &str, count: u32) {
    node.ctx("shop").ask(Sell { item: item.into(), count }).await.expect("sold");
}

async fn journal(node: &Node) -> Vec<String> {
    node.ctx("desk").query(Journal {}).await.expect("journal")
}

async fn counted(node: &Node, kind: &str) -> i64 {
    node.ctx("desk").read().await.expect("read").counted(kind).await.expect("count")
}

async fn append(node: &Node, topic: &str, partition: u32, headers: &Headers, value: &[u8]) {
    let borrowed: Vec<_> = headers.iter().collect();
    let time = node.ctx("desk").now();
    let record = Record { key: Some(b"tea"), value: Some(value), headers: &borrowed, time };
    node.log.append(topic, partition, &[record]).await.expect("append");
}

#[tokio::test]
async fn a_message_published_again_is_known_and_dropped() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tea", 1).await;
    sell(&node, "tea", 2).await;
    node.settle().await;
    for (partition, record) in node.records("shop.sale").await {
        append(&node, "shop.sale", partition, &record.headers, record.value.as_deref().unwrap_or_default())
            .await;
    }
    node.settle().await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 2"]);
    assert_eq!(counted(&node, "repeat").await, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_missing_message_stops_the_partition_loudly() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tea", 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    let later = |value: Option<&[u8]>, by: i64| {
        let text = std::str::from_utf8(value.expect("a value")).expect("text");
        Some((text.parse::<i64>().expect("a number") + by).to_string().into_bytes())
    };
    let headers = record.headers.iter().map(|(name, value)| match name {
        "artel_seq" => (name, later(value, 10)),
        "artel_prev" => (name, later(value, 9)),
        _ => (name, value.map(<[u8]>::to_vec)),
    });
    let mut headers: Headers = headers.collect();
    let own = later(headers.get("artel_seq").expect("a seq"), -1).expect("a number");
    headers.push("artel_prev", Some(&own));
    append(&node, "shop.sale", partition, &headers, br#"{"item":"tea","count":9}"#).await;
    node.settle().await;
    assert_eq!(journal(&node).await, ["sold tea 1"]);
    let troubles = node.runtime.troubles();
    assert!(troubles.iter().any(|t| t.contains("are missing")), "{troubles:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_message_that_never_works_is_a_dead_letter_and_the_others_go_on() {
    let Some(mut place) = super::place().await else { return };
    // Nothing waits for a later try.
    place.limits.attempts = place.limits.tries;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for item in ["tea", "poison", "shy", "panic", "tea"] {
        sell(&node, item, 1).await;
    }
    node.settle().await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 1"]);
    let letters = node.ctx("desk").read().await.expect("read").dead_letters(None, 10).await.expect("letters");
    let mut causes: Vec<(String, String, u32)> =
        letters.into_iter().map(|l| (l.name.unwrap_or_default(), l.code, l.attempts)).collect();
    causes.sort();
    let tries = place.limits.tries;
    assert_eq!(
        causes,
        [
            ("shop.sold".to_owned(), "internal".to_owned(), tries),
            ("shop.sold".to_owned(), "invalid".to_owned(), 1),
            ("shop.sold".to_owned(), "unavailable".to_owned(), tries),
        ]
    );
    let dead = node.records("shop.sale.dlq").await;
    assert_eq!(dead.len(), 3);
    let header = |name: &str| dead[0].1.headers.get(name).flatten();
    assert!(header("artel_origin_seq").is_some() && header("artel_seq").is_none());
    assert_eq!(counted(&node, "dead").await, 3);
    node.stop().await;
}

#[tokio::test]
async fn a_failing_message_in_the_middle_takes_nothing_with_it() {
    let Some(place) = super::place().await else { return };
    // Everything is in the log before the desk reads it: one batch with failures in the middle.
    let only_shop = Some(vec!["shop".to_owned()]);
    let node = place.start_roles(vec![shop(), desk()], catalogue(), only_shop).await.expect("start");
    for i in 0..100 {
        sell(&node, if i % 7 == 3 { "poison" } else { "tea" }, i).await;
    }
    node.settle().await;
    node.stop().await;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.settle().await;
    let expected: Vec<String> = (0..100).filter(|i| i % 7 != 3).map(|i| format!("sold tea {i}")).collect();
    assert_eq!(journal(&node).await, expected);
    assert_eq!(counted(&node, "dead").await, 14);
    node.stop().await;
}

#[tokio::test]
async fn a_batch_with_bad_messages_is_halved_until_they_stand_alone() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tally", 300).await;
    node.settle().await;
    let mut lines = journal(&node).await;
    lines.retain(|line| line.starts_with("tally"));
    let expected: Vec<String> = (0..300).filter(|i| i % 100 != 42).map(|i| format!("tally {i}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(counted(&node, "dead").await, 3);
    node.ctx("shop").ask(Tally { key: "t".into(), count: 7 }).await.expect("a batch of one");
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_is_too_old_or_unknown_is_counted() {
    let Some(mut place) = super::place().await else { return };
    place.limits.attempts = 1;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tea", 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    let without_seq = |name: &str| -> Headers {
        let others = record.headers.iter().filter(|(n, _)| !n.starts_with("artel_"));
        others.map(|(n, v)| (n, if n == "ce_type" { Some(name.as_bytes()) } else { v })).collect()
    };
    append(&node, "shop.sale", partition, &without_seq("shop.sold"), b"{not json").await;
    append(&node, "shop.sale", partition, &without_seq("shop.closed"), b"{}").await;
    append(&node, "shop.sale", partition, &without_seq("shop.sold"), br#"{"item":"tea","count":2}"#).await;
    append(&node, "shop.sale", partition, &Headers::new(), b"anything").await;
    node.settle().await;
    assert_eq!(
        journal(&node).await,
        ["sold tea 1", "sold tea 2"],
        "a foreign message counts once by its place"
    );
    assert_eq!((counted(&node, "dead").await, counted(&node, "unhandled").await), (1, 2));

    place.clock.advance(std::time::Duration::from_secs(7200));
    append(&node, "shop.sale", partition, &without_seq("shop.sold"), br#"{"item":"tea","count":3}"#).await;
    node.settle().await;
    assert_eq!(counted(&node, "expired").await, 1);
    node.stop().await;
}

#[tokio::test]
async fn another_log_under_the_same_data_is_refused() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tea", 1).await;
    node.settle().await;
    node.stop().await;
    std::fs::remove_dir_all(place.dir.path().join("log")).expect("the log goes away");
    match place.start(vec![shop(), desk()], catalogue()).await.map(drop) {
        Err(StartError::OtherLog { stored, found, .. }) => assert_ne!(stored, found),
        other => panic!("it should not start: {other:?}"),
    }
}

#[tokio::test]
async fn one_topic_made_anew_stops_alone() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "tea", 1).await;
    node.settle().await;
    let before = node.log.describe("shop.sale").await.expect("there");
    node.log.delete("shop.sale").await.expect("deleted");
    let (retention_ms, retention_bytes) = (before.retention_ms, before.retention_bytes);
    let spec = TopicSpec { name: before.name, partitions: before.partitions, retention_ms, retention_bytes };
    node.log.make(spec).await.expect("made");
    node.stop().await;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.settle().await;
    let troubles = node.runtime.troubles();
    assert!(
        troubles.iter().any(|t| t.contains("shop.sale/") && t.contains("stored for log")),
        "{troubles:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_lost_log_tail_is_refused_not_reread() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for i in 0..5 {
        sell(&node, "tea", i).await;
    }
    node.settle().await;
    node.stop().await;
    let partition = artel_bus::partition::of_key(b"tea", place.limits.partitions);
    let folder = place.dir.path().join("log").join(format!("shop.sale-{partition}"));
    for file in std::fs::read_dir(&folder).expect("the partition's folder") {
        std::fs::remove_file(file.expect("a file").path()).expect("the file goes away");
    }
    // The log itself would miss its segments; it was told to go on without them.
    std::fs::write(folder.join("00000000000000000000.log"), b"").expect("an empty segment");
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.settle().await;
    let troubles = node.runtime.troubles();
    assert!(troubles.iter().any(|t| t.contains("before the stored place")), "{troubles:?}");
    node.stop().await;
}

#[tokio::test]
async fn the_service_learns_where_its_messages_went() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for i in 0..5 {
        sell(&node, "tea", i).await;
    }
    node.settle().await;
    let rows: Vec<(String, i64)> = node
        .ctx("shop")
        .read()
        .await
        .expect("read")
        .all("SELECT topic, position FROM place ORDER BY position", ())
        .await
        .expect("rows");
    assert_eq!(rows, (0..5).map(|i| ("shop.sale".to_owned(), i)).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn what_the_log_has_is_not_published_again_when_its_report_fails() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "block", 1).await;
    while journal(&node).await.is_empty() {}
    sell(&node, "unblock", 1).await;
    node.settle().await;
    assert_eq!(node.records("shop.sale").await.len(), 2);
    assert_eq!(counted(&node, "repeat").await, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_constraint_that_a_handler_breaks_is_its_own_failure() {
    let Some(mut place) = super::place().await else { return };
    place.limits.attempts = place.limits.tries;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, "twice", 1).await;
    sell(&node, "twice", 2).await;
    sell(&node, "tea", 3).await;
    node.settle().await;
    assert_eq!(journal(&node).await, ["twice", "sold twice 1", "sold tea 3"]);
    assert_eq!(counted(&node, "dead").await, 1);
    node.stop().await;
}

#[tokio::test]
async fn a_full_outbox_refuses_commands_that_publish() {
    let Some(mut place) = super::place().await else { return };
    place.limits.outbox_rows = 0;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let fault = node.ctx("shop").ask(Sell { item: "tea".into(), count: 1 }).await.expect_err("full");
    assert_eq!(fault.code, artel_message::Code::Exhausted);
    assert!(fault.reason.contains("flow.outbox_limit"), "{fault}");
    node.stop().await;
}
