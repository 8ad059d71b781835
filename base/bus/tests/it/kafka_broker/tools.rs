//! Kafka's own tools see what the adapter says: identities, groups and their lag.

use super::own::{libs, tool};
use super::{append, config, open, shared, topic, until};
use artel_bus::kafka::KafkaConfig;
use artel_bus::{From as StartAt, Groups, Log, Topics};
use std::time::Duration;

/// As Kafka writes a topic's id.
fn kafkas(id: uuid::Uuid) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    let letter = |at: u32| {
        let six = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
        char::from(LETTERS[usize::try_from(six & 63).expect("six bits")])
    };
    (0..22).map(letter).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_and_settings_are_kafkas_own() {
    let test = "tools::identities_and_settings_are_kafkas_own";
    let (Some(brokers), Some(libs)) = (shared(test), libs(test)) else { return };
    let bus = open(config(&brokers));
    let mut spec = super::fresh(3);
    (spec.retention_ms, spec.retention_bytes) = (Some(86_400_000), Some(1 << 30));
    let made = bus.make(spec.clone()).await.expect("made");
    assert_eq!((made.retention_ms, made.retention_bytes), (spec.retention_ms, spec.retention_bytes));
    let told = tool(
        &libs,
        &[
            "org.apache.kafka.tools.TopicCommand",
            "--bootstrap-server",
            &brokers,
            "--describe",
            "--topic",
            &made.name,
        ],
    );
    for part in [
        format!("TopicId: {}", kafkas(made.id)),
        "PartitionCount: 3".to_owned(),
        "cleanup.policy=delete".to_owned(),
        "retention.ms=86400000".to_owned(),
        "retention.bytes=1073741824".to_owned(),
        "max.message.bytes=1115136".to_owned(),
    ] {
        assert!(told.contains(&part), "'{part}' is missing: {told}");
    }
    let endless = bus.make(super::fresh(1)).await.expect("made");
    assert_eq!((endless.retention_ms, endless.retention_bytes), (None, None));
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafkas_group_command_shows_our_groups_with_their_lag() {
    let test = "tools::kafkas_group_command_shows_our_groups_with_their_lag";
    let (Some(brokers), Some(libs)) = (shared(test), libs(test)) else { return };
    let quick = KafkaConfig { advise_interval: Duration::from_millis(20), ..config(&brokers) };
    let prefix = quick.group_prefix.clone();
    let bus = open(quick.clone());
    let (name, kept) = (topic(&bus, 1).await, topic(&bus, 1).await);
    let texts: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    append(&bus, &name, &texts).await.expect("appended");
    for topic in [&name, &kept] {
        bus.register("orders", topic, StartAt::Earliest).await.expect("registered");
    }
    bus.advise("orders", &name, 0, 7).await.expect("advised");
    let group = format!("{prefix}orders");
    let describe = || {
        let command = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        tool(&libs, &[command, "--bootstrap-server", &brokers, "--describe", "--group", &group])
    };
    let line = |told: &str, topic: &str| -> Vec<String> {
        let line = told.lines().find(|line| line.contains(topic)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    };
    // Another process finds there what was committed.
    let other = open(quick);
    until("the advice and the other topic's start are committed", async || {
        let all = other.offsets().await.expect("listed");
        let is_there = |topic: &str, next| all.iter().any(|o| o.topic == topic && o.next == next);
        is_there(&name, 7) && is_there(&kept, 0)
    })
    .await;
    let told = describe();
    assert_eq!(line(&told, &name)[..6], [&group, &name, "0", "7", "10", "3"].map(str::to_owned), "{told}");
    assert_eq!(line(&told, &kept)[3], "0", "{told}");

    bus.forget("orders", &name).await.expect("forgotten");
    let told = describe();
    assert!(!told.contains(&name), "{told}");
    assert_eq!(line(&told, &kept)[3], "0", "what the group has on other topics stays: {told}");
    other.close().await;
    bus.close().await;
}
