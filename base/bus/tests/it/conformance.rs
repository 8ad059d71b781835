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
