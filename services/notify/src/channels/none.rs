//! The provider that takes everything and sends nothing: for trying the module, and for measuring it.

use super::{Carrier, Outgoing, Question, Word};
use crate::domain::classes::Provider;
use crate::domain::state::{Found, Receipt};
use artel_contract::notify::Channel;
use artel_message::Fault;
use artel_wires::{Handed, Said, Step};
use async_trait::async_trait;
use serde::Deserialize;
use std::time::Duration;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoneSettings {
    /// How long it takes to answer.
    #[serde(default)]
    pub delay_ms: u64,
}

pub(super) struct Nowhere {
    provider: Provider,
    delay: Duration,
}

impl Nowhere {
    pub fn new(channel: Channel, settings: &NoneSettings) -> Nowhere {
        let provider = match channel {
            Channel::Email => Provider::Smtp,
            Channel::Sms => Provider::Smpp,
            Channel::Push => Provider::Fcm,
        };
        Nowhere { provider, delay: Duration::from_millis(settings.delay_ms) }
    }
}

#[async_trait]
impl Carrier for Nowhere {
    fn provider(&self) -> Provider {
        self.provider
    }

    async fn hand(&self, _: &Outgoing) -> Handed {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let said = match self.provider {
            Provider::Smtp => Said::Smtp { step: Step::Data, code: 250, enhanced: None, text: String::new() },
            Provider::Smpp => Said::Smpp { status: 0 },
            _ => Said::Http { status: 200, retry_after: None, body: Default::default(), host: String::new() },
        };
        Handed { said, reference: None, parts: Vec::new(), by: "none".to_owned() }
    }

    /// It has taken everything that it was given.
    async fn ask(&self, _: &Question) -> Result<Word, Fault> {
        Ok(Word::Found(Found::Known(Receipt::OnItsWay)))
    }
}
