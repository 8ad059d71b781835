//! Settings of the adapter.

use crate::BusError;
use crate::codec::Compression;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So begins what a PEM file holds.
const PEM: &[u8] = b"-----BEGIN ";

/// A secret that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// For librdkafka alone.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How the password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself goes over the connection: only sensible under TLS.
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// As Kafka calls it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A user of the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub user: String,
    pub password: Secret,
}

/// What a TLS connection trusts and shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the authorities that may have signed the brokers' certificates; `None` = those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM files with a certificate of our own and its key, for brokers that ask for one.
    pub certificate: Option<Certificate>,
}

impl Tls {
    /// Its files, each with the name of its setting.
    fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let own = self.certificate.as_ref();
        let files = [
            ("ca_file", self.ca_file.as_ref()),
            ("certificate_file", own.map(|own| &own.certificate_file)),
            ("key_file", own.map(|own| &own.key_file)),
        ];
        files.into_iter().filter_map(|(setting, file)| Some((setting, file?.as_path())))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    pub key_password: Option<Secret>,
}

/// How the brokers are spoken to, under the names that Kafka's `security.protocol` has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Security {
    #[default]
    Plaintext,
    Ssl(Tls),
    SaslPlaintext(Sasl),
    SaslSsl(Sasl, Tls),
}

impl Security {
    pub(super) fn sasl(&self) -> Option<&Sasl> {
        match self {
            Security::SaslPlaintext(sasl) | Security::SaslSsl(sasl, _) => Some(sasl),
            Security::Plaintext | Security::Ssl(_) => None,
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        match self {
            Security::Ssl(tls) | Security::SaslSsl(_, tls) => Some(tls),
            Security::Plaintext | Security::SaslPlaintext(_) => None,
        }
    }
}

/// Every bound and deadline of the adapter. `KafkaConfig::new` gives the defaults named here.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port` each; any that answers tells the others.
    pub brokers: Vec<String>,
    pub security: Security,
    /// What brokers call this process in their logs. "artel".
    pub client_id: String,
    /// Copies of a topic that is made here; `None` = the brokers' default.
    pub replication_factor: Option<u16>,
    /// How many copies an append has to reach, for a topic that is made here; `None` = the brokers' default.
    pub min_insync_replicas: Option<u16>,
    /// One record, as Kafka counts it: with its headers and a batch around it. Topics that are made here get it as their
    /// `max.message.bytes`; others keep their own, which is respected. 1 MiB + 64 KiB + 1 KiB.
    pub max_message_bytes: u32,
    /// One append. 4 MiB.
    pub max_batch_bytes: u32,
    /// How new batches are compressed. None.
    pub compression: Compression,
    /// How long a record may wait for others of its partition before it is sent. 1 ms.
    pub linger: Duration,
    /// Bytes that wait to be written, in all; more appends wait their turn. 64 MiB.
    pub queue_bytes: u32,
    /// Bytes that were read ahead, in all partitions together. 64 MiB.
    pub read_bytes: u32,
    /// The most partitions that are read at once; the one that was idle the longest makes room. 4,096.
    pub max_streams: usize,
    /// Reading ahead ends after this time without a read or a wait. 1 minute.
    pub stream_idle: Duration,
    /// How long a broker holds a fetch that finds nothing. 100 ms.
    pub fetch_wait: Duration,
    /// How long an append tries before its callers get `Unavailable`. 1 minute.
    pub append_deadline: Duration,
    /// The same for every other call but `wait`, which waits. 15 seconds.
    pub request_deadline: Duration,
    /// How long `close` waits for what is on its way; the rest ends behind it. 10 seconds.
    pub close_deadline: Duration,
    /// What stands before a group's name on the brokers, where other programs' groups are as well. "artel.".
    pub group_prefix: String,
    /// How long an advised offset may wait until the brokers know it. 1 second.
    pub advise_interval: Duration,
    /// How often offsets are told again that did not change: brokers forget them after `offsets.retention.minutes`. 1 hour.
    pub advise_refresh: Duration,
}

impl KafkaConfig {
    pub fn new(brokers: impl IntoIterator<Item = impl Into<String>>, security: Security) -> KafkaConfig {
        KafkaConfig {
            brokers: brokers.into_iter().map(Into::into).collect(),
            security,
            client_id: "artel".to_owned(),
            replication_factor: None,
            min_insync_replicas: None,
            max_message_bytes: (1 << 20) + (64 << 10) + (1 << 10),
            max_batch_bytes: 4 << 20,
            compression: Compression::None,
            linger: Duration::from_millis(1),
            queue_bytes: 64 << 20,
            read_bytes: 64 << 20,
            max_streams: 4096,
            stream_idle: Duration::from_secs(60),
            fetch_wait: Duration::from_millis(100),
            append_deadline: Duration::from_secs(60),
            request_deadline: Duration::from_secs(15),
            close_deadline: Duration::from_secs(10),
            group_prefix: "artel.".to_owned(),
            advise_interval: Duration::from_secs(1),
            advise_refresh: Duration::from_secs(3600),
        }
    }

    /// Refuses what can't work.
    pub(super) fn check(&self) -> Result<(), BusError> {
        let wrong = |setting: &str, reason: &str| {
            Err(BusError::Io {
                context: format!("the Kafka adapter's setting {setting}"),
                reason: reason.to_owned(),
            })
        };
        if self.brokers.is_empty() || self.brokers.iter().any(|broker| broker.trim().is_empty()) {
            return wrong("brokers", "name at least one as host:port");
        }
        if let (Some(copies), Some(in_sync)) = (self.replication_factor, self.min_insync_replicas)
            && in_sync > copies
        {
            return wrong(
                "min_insync_replicas",
                "it is above replication_factor: no append could ever succeed",
            );
        }
        if self.max_message_bytes < 1024 || self.max_batch_bytes < self.max_message_bytes {
            return wrong("max_batch_bytes", "it has to hold a message of max_message_bytes, at least 1024");
        }
        for (setting, file) in self.security.tls().into_iter().flat_map(Tls::files) {
            // librdkafka would say that a file is wrong, and not which.
            let reason = match std::fs::read(file) {
                Ok(content) if content.windows(PEM.len()).any(|start| start == PEM) => continue,
                Ok(_) => "it holds no PEM text, which begins with -----BEGIN".to_owned(),
                Err(error) => error.to_string(),
            };
            return wrong(setting, &format!("{} can't be used: {reason}", file.display()));
        }
        Ok(())
    }
}
