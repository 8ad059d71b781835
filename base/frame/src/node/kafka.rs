//! Apache Kafka, as `[kafka]` and `[bus]` set it.

use super::StartFailure;
use super::waiting::Waiting;
use crate::config::{Config, KafkaMechanism, KafkaSecurity};
use artel_bus::codec::Compression;
use artel_bus::kafka::{Certificate, Kafka, KafkaConfig, Mechanism, Sasl, Secret, Security, Tls};
use artel_bus::{Bus, BusError, Prefixed};
use std::sync::Arc;

/// Brokers that are away are waited for where it is said how.
pub(super) async fn open(
    config: &Config,
    brokers: &str,
    waiting: Option<&Waiting>,
) -> Result<Arc<dyn Bus>, StartFailure> {
    let kafka = Kafka::open(settings(config, brokers))?;
    let is_away = |error: &BusError| matches!(error, BusError::Unavailable(_));
    let reached = match waiting {
        Some(waiting) => waiting.until("Kafka (bus.url)", || kafka.check(), is_away).await,
        None => kafka.check().await,
    };
    reached.map_err(|error| with_settings(error, config))?;
    Ok(Prefixed::over(kafka, &config.kafka.topic_prefix))
}

/// Where to correct what the brokers refuse.
fn with_settings(error: BusError, config: &Config) -> BusError {
    let BusError::Denied(reason) = error else { return error };
    let security = config.kafka.security;
    let login = "kafka.user, kafka.password and kafka.mechanism";
    let tls = "kafka.ca_file, and kafka.certificate_file where brokers ask for one";
    let settings = match (security.has_sasl(), security.has_tls()) {
        (true, true) => format!("{login}; about TLS {tls}"),
        (true, false) => login.to_owned(),
        (false, true) => tls.to_owned(),
        (false, false) => "kafka.security".to_owned(),
    };
    BusError::Denied(format!("{reason}; the settings are {settings}"))
}

fn settings(config: &Config, brokers: &str) -> KafkaConfig {
    let most = u32::try_from(config.bus.max_message_bytes.get()).unwrap_or(u32::MAX);
    let defaults = KafkaConfig::new(brokers.split(','), security(config));
    KafkaConfig {
        client_id: config.node.name.clone(),
        replication_factor: config.kafka.replication_factor,
        min_insync_replicas: config.kafka.min_insync_replicas,
        max_message_bytes: most,
        max_batch_bytes: defaults.max_batch_bytes.max(most),
        compression: match config.bus.compression {
            crate::config::Compression::None => Compression::None,
            crate::config::Compression::Lz4 => Compression::Lz4,
            crate::config::Compression::Zstd => Compression::Zstd,
        },
        group_prefix: config.kafka.group_prefix.clone(),
        ..defaults
    }
}

fn security(config: &Config) -> Security {
    let kafka = &config.kafka;
    let sasl = || Sasl {
        mechanism: match kafka.mechanism {
            KafkaMechanism::Plain => Mechanism::Plain,
            KafkaMechanism::ScramSha256 => Mechanism::ScramSha256,
            KafkaMechanism::ScramSha512 => Mechanism::ScramSha512,
        },
        user: kafka.user.clone().unwrap_or_default(),
        password: Secret::new(kafka.password.as_ref().map_or("", |password| password.expose())),
    };
    let tls = || Tls {
        ca_file: kafka.ca_file.clone(),
        certificate: kafka.certificate_file.clone().zip(kafka.key_file.clone()).map(
            |(certificate_file, key_file)| Certificate { certificate_file, key_file, key_password: None },
        ),
    };
    match kafka.security {
        KafkaSecurity::Plaintext => Security::Plaintext,
        KafkaSecurity::Ssl => Security::Ssl(tls()),
        KafkaSecurity::SaslPlaintext => Security::SaslPlaintext(sasl()),
        KafkaSecurity::SaslSsl => Security::SaslSsl(sasl(), tls()),
    }
}
