//! The adapter on real brokers.
//!
//! ARTEL_TEST_KAFKA is the address of one that all tests share; ARTEL_TEST_KAFKA_LIBS the folder with Kafka's jars, for
//! tests that need brokers of their own. Without them the tests say that they are skipped; on CI they fail.

mod conformance;

use artel_bus::kafka::{Kafka, KafkaConfig, Security};
use std::sync::Arc;

/// The shared broker, or a reason said aloud.
pub fn shared(test: &str) -> Option<String> {
    if let Ok(brokers) = std::env::var("ARTEL_TEST_KAFKA") {
        return Some(brokers);
    }
    assert!(
        std::env::var("CI").is_ok_and(|ci| ci == "true").eq(&false),
        "ARTEL_TEST_KAFKA is not set; `cargo xtask backends` starts a broker"
    );
    println!(
        "skipped: kafka_broker::{test}: ARTEL_TEST_KAFKA is not set (a broker, from cargo xtask backends)"
    );
    None
}

pub fn config(brokers: &str) -> KafkaConfig {
    KafkaConfig::new([brokers], Security::Plaintext)
}

pub fn open(config: KafkaConfig) -> Arc<Kafka> {
    Kafka::open(config).expect("the settings fit")
}
