//! What every librdkafka client here is set up with, and what becomes of what it says.

use super::config::{KafkaConfig, Security};
use super::health::Health;
use crate::BusError;
use crate::codec::Compression;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What all clients have in common.
pub(super) fn base(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", &config.client_id)
        // A misspelled topic is an error, never a new topic.
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.propagation.max.ms", "5000")
        // A broker that came back is found again soon.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.max.ms", "500")
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        // Idle connections are closed by brokers all the time; what matters is told as an error.
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    secure(&mut client, &config.security);
    client
}

fn secure(client: &mut ClientConfig, security: &Security) {
    let protocol = match security {
        Security::Plaintext => "plaintext",
        Security::Ssl(_) => "ssl",
        Security::SaslPlaintext(_) => "sasl_plaintext",
        Security::SaslSsl(..) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(sasl) = security.sasl() {
        client
            .set("sasl.mechanism", sasl.mechanism.name())
            .set("sasl.username", &sasl.user)
            .set("sasl.password", sasl.password.reveal());
    }
    let Some(tls) = security.tls() else { return };
    // Without it librdkafka looks for the system's authorities itself.
    if let Some(file) = &tls.ca_file {
        client.set("ssl.ca.location", file.to_string_lossy());
    }
    if let Some(own) = &tls.certificate {
        client
            .set("ssl.certificate.location", own.certificate_file.to_string_lossy())
            .set("ssl.key.location", own.key_file.to_string_lossy());
        if let Some(password) = &own.key_password {
            client.set("ssl.key.password", password.reveal());
        }
    }
}

/// A producer whose batches no broker with this limit refuses.
pub(super) fn producer(config: &KafkaConfig, batch_bytes: usize) -> ClientConfig {
    // What one append may be above the queue's bound, and librdkafka's own bookkeeping.
    let queue = (u64::from(config.queue_bytes) + u64::from(config.max_batch_bytes)) * 2;
    let compression = match config.compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    let mut client = base(config);
    client
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        // The deadline is ours: librdkafka's own would fail records one by one.
        .set("message.timeout.ms", "0")
        // The topic's limit is checked before; this one only has to be out of the way.
        .set("message.max.bytes", (batch_bytes + (1 << 20)).clamp(1_000, 1_000_000_000).to_string())
        .set("batch.size", batch_bytes.to_string())
        .set("batch.num.messages", "100000")
        .set("linger.ms", format!("{}", config.linger.as_secs_f64() * 1e3))
        .set("compression.type", compression)
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", (queue / 1024 + 1).to_string());
    client
}

/// A consumer of explicit offsets, which belongs to no group although librdkafka wants a name for one.
pub(super) fn reader(config: &KafkaConfig, queue_bytes: u32) -> ClientConfig {
    let kbytes = (queue_bytes / 1024).max(64);
    let fetch = u64::from(kbytes) * 1024;
    let mut client = base(config);
    client
        .set("group.id", format!("{}readers", config.group_prefix))
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", config.fetch_wait.as_millis().to_string())
        .set("fetch.error.backoff.ms", "100")
        // By default a full queue stops fetching for a whole second.
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", kbytes.to_string())
        .set("fetch.message.max.bytes", fetch.min(1 << 20).to_string())
        .set("fetch.max.bytes", fetch.max(1 << 20).to_string())
        // Tells when the topic was deleted and made anew.
        .set("debug", "metadata")
        .set_log_level(RDKafkaLogLevel::Debug);
    client
}

/// A consumer that commits offsets of one group and reads nothing.
pub(super) fn committer(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = base(config);
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        // A commit that finds no coordinator waits this long, not ten minutes.
        .set("coordinator.query.interval.ms", "2000");
    client
}

/// The client that asks: metadata, bounds, offsets by time. Its log tells the topics' ids, see [`Heard::id_changed`].
pub(super) fn asker(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config);
    client.set("isolation.level", "read_committed").set("debug", "metadata");
    client.set_log_level(RDKafkaLogLevel::Debug);
    client
}

/// The administration's client. rdkafka never takes anything out of its main queue, so nothing may be put in there.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config);
    client.set_log_level(RDKafkaLogLevel::Emerg);
    client
}

/// What a client may want to know of its own log and errors; called on the thread that polls it.
pub(super) trait Heard: Send + Sync + 'static {
    /// librdkafka saw that a topic has another id than before; zero is none. Its safe binding has no other way to tell.
    fn id_changed(&self, _topic: &str, _id: uuid::Uuid) {}
}

/// Nothing more to know.
pub(super) struct Plain;
impl Heard for Plain {}

/// The context of every client.
pub(super) struct Context<H = Plain> {
    pub health: Arc<Health>,
    pub heard: H,
    /// The reason of the error that the poll in progress returns, which the binding doesn't hand out with it.
    reason: Mutex<String>,
    /// Log lines so far.
    lines: AtomicU64,
}

impl<H: Heard> Context<H> {
    pub fn new(health: Arc<Health>, heard: H) -> Context<H> {
        Context { health, heard, reason: Mutex::default(), lines: AtomicU64::new(0) }
    }

    /// How many log lines were taken out of the client's queue. A poll that took one returns like a poll of an empty queue:
    /// who sleeps then, sleeps before the messages behind it.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    pub fn take_reason(&self) -> String {
        std::mem::take(&mut *self.reason.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<H: Heard> ClientContext for Context<H> {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        if let Some((topic, id)) = changed_id(message) {
            self.heard.id_changed(topic, id);
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "artel_bus::kafka", "{fac}: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "artel_bus::kafka", "{fac}: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: "artel_bus::kafka", "{fac}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_owned();
        if let Some(code) = code {
            self.health.heard(code, reason);
        }
        tracing::debug!(target: "artel_bus::kafka", "{error}: {reason}");
    }
}

impl<H: Heard> ConsumerContext for Context<H> {}

/// Reads `Topic NAME changed id from OLD to NEW`, both in Kafka's own base64.
fn changed_id(message: &str) -> Option<(&str, uuid::Uuid)> {
    let (_, rest) = message.split_once("Topic ")?;
    let (topic, rest) = rest.split_once(" changed id from ")?;
    let (_, new) = rest.split_once(" to ")?;
    Some((topic, kafka_uuid(new.trim())?))
}

/// 22 characters of base64, with or without the letters for URLs.
pub(super) fn kafka_uuid(text: &str) -> Option<uuid::Uuid> {
    let text = text.trim_end_matches('=');
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (at, letter) in text.bytes().enumerate() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        // The last letter has four bits beyond the 128.
        bits = if at < 21 { bits << 6 | u128::from(value) } else { bits << 2 | u128::from(value >> 4) };
    }
    Some(uuid::Uuid::from_u128(bits))
}

/// The offset in `Fetch from broker 1 reached end of partition at offset 3 (HighwaterMark 3)`.
pub(super) fn end_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("end of partition at offset ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A client that can't even be made: its settings don't fit.
pub(super) fn refused(error: &KafkaError) -> BusError {
    let reason = match error {
        KafkaError::ClientConfig(_, reason, key, _) => format!("{key}: {reason}"),
        other => other.to_string(),
    };
    BusError::Io { context: "setting up the Kafka client".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_id_is_read_from_the_log() {
        let line =
            "[thrd:main]: Topic probe changed id from AAAAAAAAAAAAAAAAAAAAAA to au08uLFLQLmWom0i8xTTtA";
        let (topic, id) = changed_id(line).unwrap();
        assert_eq!(topic, "probe");
        assert_eq!(id.to_string(), "6aed3cb8-b14b-40b9-96a2-6d22f314d3b4");
        assert_eq!(kafka_uuid("AAAAAAAAAAAAAAAAAAAAAQ"), Some(uuid::Uuid::from_u128(1)));
        assert_eq!(kafka_uuid("_____________________w"), Some(uuid::Uuid::from_u128(u128::MAX)));
        assert_eq!(changed_id("Topic probe has 3 partitions"), None);
        assert_eq!(kafka_uuid("short"), None);
    }

    #[test]
    fn the_end_is_read_from_the_reason() {
        let reason = "Fetch from broker 1 reached end of partition at offset 30 (HighwaterMark 31)";
        assert_eq!(end_offset(reason), Some(30));
        assert_eq!(end_offset("no such offset"), None);
    }
}
