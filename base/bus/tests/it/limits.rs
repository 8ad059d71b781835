//! What is just within a bound of the settings.

use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, Log, Record, TopicSpec, Topics};
use artel_message::Time;

fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: name.into(), partitions: 1, retention_ms: Some(1), retention_bytes: None }
}

fn record(value: &[u8]) -> Record<'_> {
    Record { key: None, value: Some(value), headers: &[], time: Time::from_millis(1) }
}

#[tokio::test]
async fn a_message_of_the_greatest_size_fits_whatever_a_batch_may_be() {
    const MOST: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let config =
        SegmentsConfig { max_message_bytes: MOST, max_batch_bytes: MOST, ..SegmentsConfig::default() };
    let bus = Segments::open(folder.path(), config).expect("opens");
    bus.make(spec("t")).await.expect("made");
    // Attributes, two deltas, the null key, the value's length in three bytes, and no headers.
    let value = vec![b'x'; MOST - 8];
    bus.append("t", 0, &[record(&value)]).await.expect("a message of that size may be");
    match bus.append("t", 0, &[record(&[&value[..], b"x"].concat())]).await {
        Err(BusError::TooLarge { what: "the message", size, limit: MOST, setting: "max_message_bytes" }) => {
            assert_eq!(size, MOST + 1);
        }
        other => panic!("one byte more is too much, not {other:?}"),
    }
    match bus.append("t", 0, &[record(b"small"), record(&value)]).await {
        Err(BusError::TooLarge { what: "the batch", setting: "max_batch_bytes", .. }) => {}
        other => panic!("two are another batch, not {other:?}"),
    }
    bus.close().await;
}
