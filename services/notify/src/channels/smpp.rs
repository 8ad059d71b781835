//! Short messages: an account at a centre, over SMPP.

use super::files::secret;
use super::{Carrier, Outgoing, Question, Word};
use crate::NotifySettings;
use crate::deliveries::{TakeReceipts, Told};
use crate::domain::address::Address;
use crate::domain::classes::{Provider, ReceiptState, receipt_state};
use crate::domain::sms_text::{self, Coding};
use crate::domain::state::{Cause, Found, Receipt};
use crate::domain::templates::Body;
use artel_flow::Ctx;
use artel_message::Fault;
use artel_wires::smpp::{self, Client, Delivery, Ids, Incoming, Mode, Reference, Sms, Tls};
use artel_wires::{Handed, Said};
use async_trait::async_trait;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmppSettings {
    pub host: String,
    /// 2775, 3550 with `tls`.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: bool,
    pub system_id: String,
    pub secret_file: PathBuf,
    #[serde(default)]
    pub system_type: String,
    /// Links that send and receive.
    #[serde(default = "links")]
    pub links: usize,
    /// Messages on a link that no answer has come for.
    #[serde(default = "window")]
    pub window: usize,
    /// Who messages are from: a number, or up to 11 letters.
    pub from: String,
    /// Longer texts are refused.
    #[serde(default = "parts")]
    pub most_parts: usize,
    #[serde(default)]
    pub ids: SmppIds,
}

/// How a centre writes ids in its receipts, compared with its answers.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmppIds {
    #[default]
    Alike,
    /// Answers are hexadecimal, receipts decimal.
    HexAnswers,
    /// Answers are decimal, receipts hexadecimal.
    DecimalAnswers,
}

fn links() -> usize {
    1
}
fn window() -> usize {
    10
}
fn parts() -> usize {
    10
}

/// `ESME_RTHROTTLED` and `ESME_RMSGQFUL`.
const BUSY: [u32; 2] = [0x58, 0x14];
/// Between tries to get the rest of a message taken; doubled each time.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
const MOST_PAUSE: Duration = Duration::from_secs(5);

/// Receipts that are stored in one transaction.
const TOGETHER: usize = 500;

pub(super) struct Centre {
    client: Client,
    by: String,
    most_parts: usize,
}

impl SmppSettings {
    /// What the client is told; errors name the field.
    pub fn wire(&self) -> Result<smpp::Settings, String> {
        let within = |field: &str, value: usize, most: usize| match (1..=most).contains(&value) {
            true => Ok(value),
            false => Err(format!("{field}: {value} is not 1 to {most}")),
        };
        let links = within("links", self.links, 100)?;
        within("most_parts", self.most_parts, 255)?;
        if self.host.is_empty() {
            return Err("host: is empty".to_owned());
        }
        Ok(smpp::Settings {
            host: self.host.clone(),
            port: self.port.unwrap_or(if self.tls { 3550 } else { 2775 }),
            tls: if self.tls { Tls::Implicit } else { Tls::None },
            system_id: self.system_id.clone(),
            password: secret("secret_file", &self.secret_file)?,
            system_type: self.system_type.clone(),
            binds: vec![Mode::Transceiver; links],
            source: smpp::sender(&self.from).map_err(|error| format!("from: {error}"))?,
            window: within("window", self.window, 10_000)?,
            ids: match self.ids {
                SmppIds::Alike => Ids::Alike,
                SmppIds::HexAnswers => Ids::HexAnswers { digits: 0, upper: false },
                SmppIds::DecimalAnswers => Ids::DecimalAnswers { digits: 0 },
            },
            ..smpp::Settings::default()
        })
    }
}

impl Centre {
    /// Begins to connect; receipts are stored from then on.
    pub fn start(ctx: &Ctx, account: &str, settings: &SmppSettings) -> Result<Centre, String> {
        let mut wire = settings.wire()?;
        // The rest is for the answers: that there is no link is no doubt about the message.
        wire.place_limit = wire.place_limit.min(ctx.settings::<NotifySettings>().call() / 3);
        let by = wire.account();
        let (client, incoming) = Client::start(wire);
        tokio::spawn(store_receipts(ctx.clone(), account.to_owned(), incoming));
        Ok(Centre { client, by, most_parts: settings.most_parts })
    }

    /// Where the centre takes the beginning of a long message and is too busy for the rest, that goes a little later: nothing is
    /// worse than a half. Its caller's time limit holds for all of it.
    async fn send(&self, sms: Sms) -> Handed {
        let (mut names, mut pause) = (Vec::new(), LEAST_PAUSE);
        loop {
            let sent = self.client.send(&sms.clone().after(names.len())).await;
            names.extend(sent.taken);
            let busy = matches!(sent.stopped, Some(Said::Smpp { status }) if BUSY.contains(&status));
            if names.is_empty() || !busy {
                let reference = names.first().filter(|name| !name.is_empty()).cloned();
                let whole = sent.stopped.is_none() && names.len() > 1;
                return Handed { reference, parts: if whole { names } else { Vec::new() }, ..sent.handed };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }

    fn sms(&self, message: &Outgoing) -> Result<Sms, String> {
        let (Address::Phone(to), Body::Sms { text }) = (&message.address, &message.body) else {
            return Err("is no short message".to_owned());
        };
        let own = message.delivery.uuid().as_u128();
        let own = (own ^ (own >> 64)) as u16;
        let coding = sms_text::coding(text);
        let split = sms_text::split(text, own.to_be_bytes()[1], self.most_parts);
        let parts = split.map_err(|error| format!("text: {error}"))?;
        let parts = parts.into_iter().map(|part| part.payload.into()).collect();
        let data_coding = if coding == Coding::Gsm7 { 0 } else { 8 };
        let sms = Sms::new(&to.to_string(), data_coding, parts, Reference::Eight(own.to_be_bytes()[1]));
        let sms = sms.map_err(|error| error.to_string())?.user_reference(own);
        Ok(match message.time_left() {
            Some(left) => sms.validity(left),
            None => sms,
        })
    }
}

/// Takes receipts in, as many as there are at a time; the centre is told once they are stored. It ends with the client.
async fn store_receipts(ctx: Ctx, account: String, mut incoming: mpsc::Receiver<Delivery>) {
    let mut all = Vec::with_capacity(TOGETHER);
    while incoming.recv_many(&mut all, TOGETHER).await > 0 {
        let receipts: Vec<Told> = all.iter().filter_map(|delivery| told(&delivery.incoming)).collect();
        let stored = match receipts.is_empty() {
            true => Ok(()),
            false => ctx.ask(TakeReceipts { account: account.clone(), receipts }).await,
        };
        match stored {
            Ok(()) => futures::future::join_all(all.drain(..).map(Delivery::stored)).await.clear(),
            // Dropped without a word: the centre is told to try again.
            Err(fault) => {
                tracing::warn!(account, error = %fault, "receipts could not be stored; the centre sends them again");
                all.clear();
            }
        }
    }
}

fn told(incoming: &Incoming) -> Option<Told> {
    match incoming {
        Incoming::Receipt(receipt) if !receipt.reference.is_empty() => Some(Told {
            reference: receipt.reference.clone(),
            receipt: meaning(receipt.state, receipt.error.as_deref()),
        }),
        // Nobody here waits for what telephones send, nor knows a receipt of nothing.
        Incoming::Receipt(_) | Incoming::Message(_) => None,
    }
}

fn meaning(state: u8, error: Option<&str>) -> Receipt {
    let reason = || match error {
        Some(error) => format!("state {state}, error {error}"),
        None => format!("state {state}"),
    };
    match receipt_state(state) {
        ReceiptState::OnItsWay => Receipt::OnItsWay,
        ReceiptState::Delivered => Receipt::Delivered,
        ReceiptState::Undelivered { permanent } => {
            let cause = if permanent { Cause::Permanent } else { Cause::Temporary };
            Receipt::Undelivered { again: None, cause, reason: reason() }
        }
        ReceiptState::Unclear => Receipt::Unclear { reason: reason() },
    }
}

/// Of the states of all parts: arrived when all have, failed when one has, which is named.
fn whole(states: &[u8]) -> Option<Receipt> {
    let rank = |state: &u8| match receipt_state(*state) {
        ReceiptState::Delivered => 0,
        ReceiptState::OnItsWay => 1,
        ReceiptState::Unclear => 2,
        ReceiptState::Undelivered { permanent } => 3 + u8::from(permanent),
    };
    let (at, state) = states.iter().enumerate().max_by_key(|(_, state)| rank(state))?;
    let mut receipt = meaning(*state, None);
    if let (2.., Receipt::Undelivered { reason, .. } | Receipt::Unclear { reason }) =
        (states.len(), &mut receipt)
    {
        *reason = format!("part {} of {}: {reason}", at + 1, states.len());
    }
    Some(receipt)
}

#[async_trait]
impl Carrier for Centre {
    fn provider(&self) -> Provider {
        Provider::Smpp
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        match self.sms(message) {
            Ok(sms) => self.send(sms).await,
            Err(reason) => Handed::unfit(&self.by, reason),
        }
    }

    async fn ask(&self, question: &Question) -> Result<Word, Fault> {
        let names = match &question.parts[..] {
            [] => question.reference.as_slice(),
            parts => parts,
        };
        let mut states = Vec::with_capacity(names.len());
        for name in names {
            match self.client.query(name, None).await.state {
                Some(state) => states.push(state.state),
                None => return Ok(Word::Found(Found::CantSay)),
            }
        }
        Ok(Word::Found(whole(&states).map_or(Found::CantSay, Found::Known)))
    }
}
