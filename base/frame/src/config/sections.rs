//! The settings of the base, as they stand in `config/artel.toml`: its comments say what each one means.

use super::secret::{Secret, Url};
use super::values::{Period, Size};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `[node]`: this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    pub data_dir: PathBuf,
    /// Empty = every service.
    pub roles: Vec<String>,
    pub stop_within: Period,
}

/// `[bus]`: the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Read it by [`Config::bus_adapter`](super::Config::bus_adapter).
    pub url: Url,
    pub partitions: u32,
    pub max_message_bytes: Size,
    pub segment_bytes: Size,
    pub retention: Period,
    /// `None` = by age only.
    pub retention_bytes: Option<Size>,
    pub hard_bytes: Size,
    pub compression: Compression,
}

/// `[kafka]`: how brokers are spoken to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub security: KafkaSecurity,
    pub mechanism: KafkaMechanism,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub replication_factor: Option<u16>,
    pub min_insync_replicas: Option<u16>,
    pub topic_prefix: String,
    pub group_prefix: String,
}

/// Kafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaSecurity {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl KafkaSecurity {
    pub fn has_sasl(self) -> bool {
        matches!(self, KafkaSecurity::SaslPlaintext | KafkaSecurity::SaslSsl)
    }
    pub fn has_tls(self) -> bool {
        matches!(self, KafkaSecurity::Ssl | KafkaSecurity::SaslSsl)
    }
}

/// Kafka's `sasl.mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KafkaMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// How batches of the log are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

/// `[db]`: the services' state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Db {
    /// Read it by [`Config::db_adapter`](super::Config::db_adapter).
    pub url: Url,
    pub readers: u32,
    pub background_slice: Period,
    pub connections: u32,
}

/// `[cache]`: hot copies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Read it by [`Config::cache_adapter`](super::Config::cache_adapter).
    pub url: Url,
    pub prefix: String,
    pub timeout: Period,
    pub bytes: Size,
}

/// `[http]`: the listener for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    pub hosts: Vec<String>,
    pub cors_origins: Vec<String>,
    pub body_limit: Size,
    pub request_timeout: Period,
    pub head_timeout: Period,
    pub body_pause: Period,
    pub concurrency: usize,
    pub connections: usize,
    pub compression: bool,
}

/// `[peers]`: nodes among each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// `None` = other nodes can't ask this one.
    #[serde(default, deserialize_with = "maybe_address")]
    pub listen: Option<SocketAddr>,
    /// `None` = as [`Peers::listen`] says.
    pub url: Option<Url>,
    /// `None` = this node can't ask others.
    pub secret: Option<Secret>,
    pub timeout: Period,
    pub concurrency: usize,
    pub body_limit: Size,
}

fn maybe_address<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    address(d).map(Some)
}

/// Serde's own error does not say how an address is written.
fn address<'de, D: serde::Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "'{text}' is not an address with a port; write it as 127.0.0.1:8080"
        ))
    })
}

/// `[outbound]`: calls to other hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    pub connect_timeout: Period,
    pub attempt_timeout: Period,
    pub timeout: Period,
    pub response_limit: Size,
    pub at_once: usize,
    pub longest_wait: Period,
    pub public_only: bool,
    pub rates: Vec<HostRate>,
}

/// How often a host may be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRate {
    /// `host` or `host:port`, in lower case.
    pub host: String,
    pub calls: u32,
    pub per: Period,
    #[serde(default = "once")]
    pub burst: u32,
}

fn once() -> u32 {
    1
}

/// `[flow]`: taking in and sending on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub batch_records: usize,
    pub batch_bytes: Size,
    pub tries: u32,
    pub retry_for: Period,
    pub retry_attempts: u32,
    pub parked_per_key: u64,
    pub parked_messages: u64,
    pub parked_bytes: Size,
    pub failing_window: usize,
    pub dead_for: Period,
    pub audit_for: Period,
    pub outbox_limit: u64,
    pub handler_time: Period,
    pub effect_time: Period,
    pub effect_for: Period,
    pub effect_tries: u32,
    pub effect_lease: Period,
    pub timer_for: Period,
    pub timer_tries: u32,
    pub answered_for: Period,
    pub beat: Period,
    pub silence: Period,
}

/// `[telemetry]`: logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub log_format: LogFormat,
    pub log_filter: String,
    pub otlp_url: Option<Url>,
    pub trace_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// `[auth]`: who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub operator_token: Option<Secret>,
    pub tokens: Vec<Token>,
}

/// A caller with a name: exactly one of `secret` and `sha256`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub name: String,
    pub secret: Option<Secret>,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    pub sha256: Option<String>,
    pub scopes: Vec<Scope>,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send messages and other changes of a service's own things.
    Produce,
    /// Look at things.
    Read,
    /// Look at and change the system itself.
    Operate,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Produce => "produce",
            Scope::Read => "read",
            Scope::Operate => "operate",
        }
    }
}
