//! What a client is told.

use super::codec::MOST_PDU;
use super::pdu::{Address, Mode};
use super::receipt::Ids;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// An account at a centre, and how it is used.
#[derive(Clone)]
pub struct Settings {
    pub host: String,
    /// As a rule 2775, and 3550 under TLS.
    pub port: u16,
    pub tls: Tls,
    pub system_id: String,
    pub password: String,
    pub system_type: String,
    /// A link for each. A centre without transceivers wants a transmitter and a receiver.
    pub binds: Vec<Mode>,
    /// Who a message is from that does not say it itself.
    pub source: Address,
    /// Messages on a link that no answer has come for; from 1.
    pub window: usize,
    /// A link on which nothing is heard for so long is asked whether it is there.
    pub enquire_link: Duration,
    /// For name, connection and TLS together.
    pub connect_limit: Duration,
    pub bind_limit: Duration,
    /// For an answer of any kind, from when its request waits to be written; also for writing, and for the last answers when the
    /// client is closed.
    pub answer_limit: Duration,
    /// For a link and a place in its window.
    pub place_limit: Duration,
    /// Between attempts to connect: the first pause, which doubles until the last.
    pub least_pause: Duration,
    pub most_pause: Duration,
    pub ids: Ids,
    /// Receipts and messages that wait to be taken by the caller. What comes when there are so many is refused for now, so that the
    /// centre repeats it.
    pub most_unread: usize,
    /// Octets of one PDU; the centre's longer ones end the link.
    pub most_pdu: usize,
}

/// Whether a link is encrypted from its first octet.
#[derive(Clone, Default)]
pub enum Tls {
    #[default]
    None,
    /// With the certificates that the machine trusts.
    Implicit,
    With(Arc<ClientConfig>),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            host: String::new(),
            port: 2775,
            tls: Tls::None,
            system_id: String::new(),
            password: String::new(),
            system_type: String::new(),
            binds: vec![Mode::Transceiver],
            source: Address::default(),
            window: 10,
            enquire_link: Duration::from_secs(30),
            connect_limit: Duration::from_secs(10),
            bind_limit: Duration::from_secs(10),
            answer_limit: Duration::from_secs(10),
            place_limit: Duration::from_secs(10),
            least_pause: Duration::from_millis(500),
            most_pause: Duration::from_secs(60),
            ids: Ids::Alike,
            most_unread: 1_000,
            most_pdu: MOST_PDU,
        }
    }
}

impl Settings {
    /// The account as logs name it.
    pub fn account(&self) -> String {
        format!("{}@{}:{}", self.system_id, self.host, self.port)
    }
}

/// The password stays out of logs.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("account", &self.account())
            .field("binds", &self.binds)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
