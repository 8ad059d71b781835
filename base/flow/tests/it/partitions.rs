//! A topic whose partitions were changed behind our back.

use crate::shop::{catalogue, desk, shop};
use artel_bus::TopicSpec;
use artel_flow::StartError;

#[tokio::test]
async fn a_topic_with_another_number_of_partitions_stops_the_start() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let (topic, before) = ("shop.sale", node.log.describe("shop.sale").await.expect("there").partitions);
    node.log.delete(topic).await.expect("deleted");
    let spec = TopicSpec {
        name: topic.to_owned(),
        partitions: before + 3,
        retention_ms: None,
        retention_bytes: None,
    };
    node.log.make(spec).await.expect("made");
    node.stop().await;
    match place.start(vec![shop(), desk()], catalogue()).await.map(drop) {
        Err(StartError::Partitions { topic: named, recorded, actual }) => {
            assert_eq!((named.as_str(), recorded, actual), (topic, before, before + 3));
        }
        other => panic!("it should not start: {other:?}"),
    }
}
