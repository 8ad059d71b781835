//! Very many messages behind parked keys: other keys go on, and in the end each key is heard whole and in its order.

use crate::kit::Node;
use crate::mill::{break_it, catalogue, mend, mill, numbers, say_as};
use artel_bus::Record;
use artel_message::Headers;
use std::time::Duration;

const KEYS: u32 = 4;
const AT_ONCE: u32 = 1_000;

async fn waiting(node: &Node) -> i64 {
    node.ctx("mill").read().await.expect("read").counted("parked-now").await.expect("count")
}

async fn settled(node: &Node) {
    tokio::time::timeout(Duration::from_secs(300), node.runtime.settle()).await.expect("quiet in time");
}

/// Messages of a key as somebody else would write them; those of the service would go through its outbox first.
async fn append(node: &Node, partition: u32, headers: &Headers, key: &str, count: u32) {
    let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().collect();
    let time = node.ctx("mill").now();
    for first in (1..=count).step_by(AT_ONCE as usize) {
        let values: Vec<Vec<u8>> = (first..first + AT_ONCE.min(count + 1 - first))
            .map(|number| format!(r#"{{"key":"{key}","number":{number}}}"#).into_bytes())
            .collect();
        let records: Vec<Record<'_>> = values
            .iter()
            .map(|value| Record { key: Some(key.as_bytes()), value: Some(value), headers: &headers, time })
            .collect();
        node.log.append("mill.talk", partition, &records).await.expect("append");
    }
}

#[tokio::test]
async fn very_many_wait_in_order_while_others_flow() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.parked_per_key, place.limits.parked_messages) = (super::MANY, 1_000_000);
    let each = u32::try_from(super::MANY).expect("few") / KEYS;
    let node = place.start(vec![mill()], catalogue()).await.expect("start");
    say_as(&node, "batched", "other", 1..=1).await;
    node.settle().await;
    let (_, record) = node.records("mill.talk").await.remove(0);
    let headers: Headers = record.headers.iter().filter(|(name, _)| !name.starts_with("artel_")).collect();
    let partitions = node.log.describe("mill.talk").await.expect("the topic").partitions;
    break_it(&node, "k*", "unavailable").await;
    for key in 0..KEYS {
        let key = format!("k-{key}");
        let partition = artel_bus::partition::of_key(key.as_bytes(), partitions);
        append(&node, partition, &headers, &key, each).await;
    }
    say_as(&node, "batched", "other", 2..=100).await;
    settled(&node).await;
    assert_eq!(waiting(&node).await, i64::from(each * KEYS));
    assert_eq!(numbers(&node, "other").await, (1..=100).collect::<Vec<u32>>());

    mend(&node, "k*").await;
    place.clock.advance(Duration::from_secs(1800));
    say_as(&node, "batched", "other", 101..=200).await;
    settled(&node).await;
    assert_eq!(waiting(&node).await, 0);
    for key in 0..KEYS {
        let heard = numbers(&node, &format!("k-{key}")).await;
        assert!(heard.iter().copied().eq(1..=each), "key {key}: {} of {each}, or out of order", heard.len());
    }
    assert_eq!(numbers(&node, "other").await, (1..=200).collect::<Vec<u32>>());
    node.stop().await;
}
