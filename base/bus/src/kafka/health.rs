//! What the clients last heard of the brokers, so that a call that got no answer can say why.

use super::config::KafkaConfig;
use crate::BusError;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why nothing answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// User or password are wrong.
    Login(String),
    Tls(String),
    /// A host name that nobody knows.
    Resolve(String),
    Down(String),
}

/// Shared by all clients.
pub(super) struct Health {
    brokers: String,
    /// User and mechanism.
    user: Option<(String, &'static str)>,
    trouble: Mutex<Option<Trouble>>,
    /// Whether there is any, for those who say many times a second that all is well.
    is_troubled: AtomicBool,
}

impl Health {
    pub fn new(config: &KafkaConfig) -> Health {
        let user = config.security.sasl().map(|sasl| (sasl.user.clone(), sasl.mechanism.name()));
        Health {
            brokers: config.brokers.join(","),
            user,
            trouble: Mutex::default(),
            is_troubled: false.into(),
        }
    }

    /// Takes note of an error that librdkafka tells on its own.
    pub fn heard(&self, code: Code, reason: &str) {
        let reason = plain(reason);
        let trouble = match code {
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
                Trouble::Login(reason)
            }
            Code::SSL => Trouble::Tls(reason),
            // TLS 1.3: that our certificate is not taken comes when we believe to be connected.
            Code::BrokerTransportFailure if reason.contains("SSL alert") => Trouble::Tls(reason),
            Code::Resolve => Trouble::Resolve(reason),
            Code::BrokerTransportFailure | Code::AllBrokersDown => Trouble::Down(reason),
            _ => return,
        };
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down follows from each of the others, and says less.
        if known.is_none() || !matches!(trouble, Trouble::Down(_)) || matches!(*known, Some(Trouble::Down(_)))
        {
            *known = Some(trouble);
            self.is_troubled.store(true, Ordering::Relaxed);
        }
    }

    /// A broker answered.
    pub fn fine(&self) {
        if self.is_troubled.load(Ordering::Relaxed) {
            let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *known = None;
            self.is_troubled.store(false, Ordering::Relaxed);
        }
    }

    /// Whether waiting on is in vain until somebody changes something.
    pub fn is_hopeless(&self) -> bool {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*trouble, Some(Trouble::Login(_) | Trouble::Tls(_)))
    }

    /// The error of a call that no broker answered in time.
    pub fn away(&self, doing: &str) -> BusError {
        let brokers = &self.brokers;
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match trouble {
            Some(Trouble::Login(reason)) => {
                let (user, mechanism) = self.user.as_ref().map_or(("", ""), |(u, m)| (u.as_str(), *m));
                BusError::Denied(format!(
                    "{doing}: the brokers at {brokers} don't let user '{user}' in by {mechanism} ({reason}); \
                     check the user, its password and the mechanism"
                ))
            }
            Some(Trouble::Tls(reason)) => BusError::Denied(format!(
                "{doing}: no TLS connection with the brokers at {brokers} ({reason}); check the CA file, the brokers' \
                 certificates, our own where they ask for one, and that this port speaks TLS"
            )),
            Some(Trouble::Resolve(reason)) => BusError::Unavailable(format!(
                "{doing}: a broker's host is unknown ({reason}); check the list of brokers ({brokers}) and the name service"
            )),
            Some(Trouble::Down(reason)) => BusError::Unavailable(format!(
                "{doing}: the brokers at {brokers} are away ({reason}); it goes on by itself when they are back. If they run, see \
                 whether these ports ask for TLS"
            )),
            None => BusError::Unavailable(format!(
                "{doing}: the brokers at {brokers} did not answer in time; if this stays so look at their logs, and \
                 whether these ports ask for TLS or a login"
            )),
        }
    }
}

/// Without the name of librdkafka's thread or of a broker that is only a bootstrap address, and on one line.
fn plain(reason: &str) -> String {
    let reason = reason.split_once("]: ").map_or(reason, |(_, rest)| rest);
    let reason = reason.rsplit_once(" (after ").map_or(reason, |(start, _)| start);
    reason.replace(['\n', '\r'], " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Mechanism, Sasl, Secret, Security};

    fn health() -> Health {
        let sasl =
            Sasl { mechanism: Mechanism::ScramSha256, user: "eva".into(), password: Secret::new("pw") };
        Health::new(&KafkaConfig::new(["k1:9092"], Security::SaslPlaintext(sasl)))
    }

    #[test]
    fn a_refused_login_is_not_covered_by_what_follows_from_it() {
        let health = health();
        health.heard(
            Code::Authentication,
            "sasl_plaintext://k1:9092/bootstrap: SASL failed (after 3ms in state X)",
        );
        health.heard(Code::AllBrokersDown, "1/1 brokers are down");
        let error = health.away("listing topics");
        assert!(matches!(error, BusError::Denied(_)));
        let text = error.to_string();
        assert!(
            text.contains("'eva'") && text.contains("SCRAM-SHA-256") && text.contains("SASL failed"),
            "{text}"
        );
        assert!(!text.contains("after 3ms"), "{text}");
        health.fine();
        assert!(matches!(health.away("listing topics"), BusError::Unavailable(_)));
    }
}
