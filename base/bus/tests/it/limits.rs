//! What is just within a bound of the settings, and what the log says when its own thread ends.

use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, From as StartAt, Groups, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_panic_of_the_writer_every_call_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let clock = {
        let broken = broken.clone();
        move || {
            assert!(!broken.load(Ordering::SeqCst), "the clock has stopped");
            Time::from_millis(1)
        }
    };
    let config = SegmentsConfig { clock: Arc::new(clock), ..SegmentsConfig::default() };
    let bus = Segments::open(folder.path(), config).expect("opens");
    bus.make(spec("t")).await.expect("made");
    bus.append("t", 0, &[record(b"x")]).await.expect("stored");
    let waiter = tokio::spawn({
        let bus = bus.clone();
        async move { bus.wait("t", 0, 1).await }
    });
    broken.store(true, Ordering::SeqCst);
    let says = |what: &str, error: Option<BusError>| {
        let sentence = error.unwrap_or_else(|| panic!("{what} can't succeed")).to_string();
        assert!(
            sentence.contains("the clock has stopped") && sentence.contains("start"),
            "{what}: {sentence}"
        );
    };
    says("what it was at", bus.retain().await.err());
    says("a waiter", waiter.await.expect("it ends well").err());
    says("an append", bus.append("t", 0, &[record(b"x")]).await.err());
    says("a look", bus.bounds("t", 0).await.err());
    says("a topic", bus.make(spec("another")).await.err());
    says("a list", bus.list().await.err());
    says("a group", bus.register("g", "t", StartAt::Earliest).await.err());
    bus.close().await;
}
