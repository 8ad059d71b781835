//! The port's suite on Kafka: with the defaults, and with everything small and compressed. Group names get a prefix of
//! their own per test: the suite's groups have fixed names.

use artel_bus::Bus;
use artel_bus::codec::Compression;
use artel_bus::conformance::{Features, Harness};
use artel_bus::kafka::KafkaConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const FEATURES: Features = Features {
    persistent: true,
    persistent_groups: true,
    large_batch_bytes: 3 << 20,
    too_large_bytes: 2 << 20,
    name_bytes: 249,
};

fn harness(config: KafkaConfig) -> Harness {
    let numbers = AtomicU32::new(0);
    let own = format!("artel-test-{}.", uuid::Uuid::now_v7());
    Harness::new(FEATURES, (), move || {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let config = KafkaConfig {
            group_prefix: own.clone(),
            client_id: format!("conformance-{number}"),
            ..config.clone()
        };
        async move { super::open(config) as Arc<dyn Bus> }
    })
}

/// As `artel_bus::conformance_tests`, but skipped without a broker.
macro_rules! on_kafka {
    ($config:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let test = concat!(module_path!(), "::", stringify!($case));
                let test = test.split_once("kafka_broker::").map_or(test, |(_, test)| test);
                let Some(brokers) = super::super::shared(test) else { return };
                artel_bus::conformance::$case(harness($config(&brokers))).await;
            }
        )+
    };
    ($config:expr) => {
        on_kafka!($config;
            order, batches_stay_whole, resume_anywhere, fetch_limits, out_of_range, waiting_readers, two_readers, by_time,
            a_batch_beyond_the_buffers, a_megabyte, too_large, unstorable, nulls_and_repeats, unknown_topics, counts_and_names,
            deleted_and_made_again, groups, closed, close_races, restarts, groups_over_a_restart);
    };
}

mod defaults {
    use super::*;
    on_kafka!(super::super::config);
}

mod tiny {
    use super::*;

    fn config(brokers: &str) -> KafkaConfig {
        KafkaConfig {
            queue_bytes: 2 << 10,
            read_bytes: 1,
            max_streams: 2,
            linger: Duration::ZERO,
            compression: Compression::Zstd,
            advise_interval: Duration::from_millis(20),
            ..super::super::config(brokers)
        }
    }
    on_kafka!(config);
}
