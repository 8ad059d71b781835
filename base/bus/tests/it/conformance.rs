//! The port's suite on the embedded log: with the defaults, and with everything so small that segments, indexes, queue and
//! caches are crossed all the time.

use artel_bus::Bus;
use artel_bus::conformance::{Features, Harness};
use artel_bus::segments::{Compression, Segments, SegmentsConfig};
use std::sync::Arc;

const FEATURES: Features = Features {
    persistent: true,
    persistent_groups: true,
    large_batch_bytes: 3 << 20,
    too_large_bytes: 2 << 20,
    name_bytes: 249,
};

fn harness(config: SegmentsConfig) -> Harness {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    Harness::new(FEATURES, folder, move || {
        let opened = Segments::open(&path, config.clone());
        async move { opened.expect("the log opens") as Arc<dyn Bus> }
    })
}

mod defaults {
    use super::*;
    artel_bus::conformance_tests!(harness(SegmentsConfig::default()));
}

mod tiny {
    use super::*;

    fn config() -> SegmentsConfig {
        SegmentsConfig {
            segment_bytes: 1 << 10,
            index_interval_bytes: 1,
            queue_bytes: 2 << 10,
            round_bytes: 1,
            tail_cache_bytes: 300,
            open_files: 8,
            compression: Compression::Lz4,
            ..SegmentsConfig::default()
        }
    }
    artel_bus::conformance_tests!(harness(config()));
}

mod without_cache {
    use super::*;

    fn config() -> SegmentsConfig {
        SegmentsConfig { tail_cache_bytes: 0, compression: Compression::Zstd, ..SegmentsConfig::default() }
    }
    artel_bus::conformance_tests!(harness(config()));
}

mod prefixed {
    use super::*;
    use artel_bus::{Prefixed, TopicSpec};

    artel_bus::conformance_tests!(over());

    fn over() -> Harness {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let features = Features { name_bytes: 249 - "one.".len(), ..FEATURES };
        Harness::new(features, folder, move || {
            let opened = Segments::open(&path, SegmentsConfig::default());
            async move { Prefixed::over(opened.expect("the log opens"), "one.") }
        })
    }

    #[tokio::test]
    async fn installations_on_one_log_see_their_own_topics_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log: Arc<dyn Bus> =
            Segments::open(folder.path().join("log"), SegmentsConfig::default()).expect("the log opens");
        let (one, two) = (Prefixed::over(log.clone(), "one."), Prefixed::over(log.clone(), "two."));
        let spec = |name: &str, partitions| TopicSpec {
            name: name.to_owned(),
            partitions,
            retention_ms: None,
            retention_bytes: None,
        };
        one.make(spec("orders", 1)).await.expect("made");
        two.make(spec("orders", 2)).await.expect("made");
        two.register("shop", "orders", artel_bus::From::Earliest).await.expect("registered");
        let names = |topics: Vec<artel_bus::Topic>| -> Vec<(String, u32)> {
            topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect()
        };
        assert_eq!(names(one.list().await.expect("listed")), [("orders".to_owned(), 1)]);
        assert_eq!(names(two.list().await.expect("listed")), [("orders".to_owned(), 2)]);
        assert_eq!(
            names(log.list().await.expect("listed")),
            [("one.orders".to_owned(), 1), ("two.orders".to_owned(), 2)]
        );
        assert!(one.offsets().await.expect("offsets").is_empty());
        assert_eq!(two.offsets().await.expect("offsets").len(), 2);
    }
}
