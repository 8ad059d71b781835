//! Providers in the test's hands: what they were handed is seen, and what they answer is said beforehand.

use crate::place::Place;
use artel_contract::notify::Channel;
use artel_message::Fault;
use artel_notify::channels::{Candidate, Carrier, Carriers, Outgoing, Question, Word};
use artel_notify::domain::classes::Provider;
use artel_notify::domain::state::Found;
use artel_notify::domain::templates::Body;
use artel_wires::{Handed, Said, Stage, Step};
use async_trait::async_trait;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A message that arrived at a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    pub account: String,
    pub key: String,
    pub address: String,
    pub text: String,
    /// Of a short message what the telephone shows.
    pub sms: String,
    pub unsubscribe_url: Option<String>,
    /// Names of files.
    pub attachments: Vec<String>,
}

/// What a provider does with the next message.
#[derive(Debug, Clone)]
pub enum Does {
    Says(Said),
    /// Takes it, under this name.
    Names(String),
}

#[derive(Default)]
pub struct Board {
    /// Where its nodes keep what they know.
    pub place: Place,
    pub arrived: watch::Sender<Vec<Arrived>>,
    /// By account.
    next: Mutex<HashMap<String, VecDeque<Does>>>,
    found: Mutex<VecDeque<Found>>,
    /// What is shown where providers are asked and nothing else is found.
    listed: Mutex<Option<Vec<Candidate>>>,
    pub asked: watch::Sender<Vec<Question>>,
    /// Questions are not answered while this is true.
    pub silent: watch::Sender<bool>,
    /// Providers answer nothing until this is open.
    pub closed: watch::Sender<bool>,
}

impl Board {
    /// For nodes on SQLite.
    pub fn new() -> Arc<Board> {
        Arc::default()
    }

    pub fn on(place: Place) -> Arc<Board> {
        Arc::new(Board { place, ..Board::default() })
    }

    pub fn carriers(self: &Arc<Self>) -> Carriers {
        let board = self.clone();
        Carriers::with(Arc::new(move |channel, account| {
            let (board, name) = (board.clone(), account.name.clone());
            Some(Arc::new(Account { board, name, channel }))
        }))
    }

    /// What an account answers to its next messages, in order; what comes behind them is taken.
    pub fn answers(&self, account: &str, does: impl IntoIterator<Item = Does>) {
        self.next.lock().unwrap().entry(account.to_owned()).or_default().extend(does);
    }

    /// What is found when providers are asked.
    pub fn finds(&self, found: Found) {
        self.found.lock().unwrap().push_back(found);
    }

    /// Providers can't be asked by our names, and have these.
    pub fn lists(&self, candidates: Vec<Candidate>) {
        *self.listed.lock().unwrap() = Some(candidates);
    }

    pub fn all(&self) -> Vec<Arrived> {
        self.arrived.borrow().clone()
    }

    /// Returns when so many messages have arrived.
    pub async fn has(&self, messages: usize) {
        let mut arrived = self.arrived.subscribe();
        let enough = arrived.wait_for(|arrived| arrived.len() >= messages);
        tokio::time::timeout(Duration::from_secs(60), enough)
            .await
            .expect("messages arrive")
            .expect("a board");
    }
}

struct Account {
    board: Arc<Board>,
    name: String,
    channel: Channel,
}

#[async_trait]
impl Carrier for Account {
    fn provider(&self) -> Provider {
        match self.channel {
            Channel::Email => Provider::Smtp,
            Channel::Sms => Provider::Smpp,
            Channel::Push => Provider::Fcm,
        }
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        let arrived = Arrived {
            account: self.name.clone(),
            key: message.key.clone(),
            address: message.address.key(),
            text: format!("{:?}", message.body),
            sms: match &message.body {
                Body::Sms { text } => text.clone(),
                _ => String::new(),
            },
            unsubscribe_url: message.unsubscribe_url.clone(),
            attachments: message
                .attachments
                .iter()
                .flat_map(|all| &all.files)
                .map(|one| one.name.clone())
                .collect(),
        };
        self.board.arrived.send_modify(|all| all.push(arrived));
        let mut closed = self.board.closed.subscribe();
        closed.wait_for(|closed| !closed).await.expect("a board");
        let next = self.board.next.lock().unwrap().get_mut(&self.name).and_then(VecDeque::pop_front);
        let (said, reference) = match next {
            Some(Does::Says(said)) => (said, None),
            Some(Does::Names(name)) => (ok(self.channel), Some(name)),
            None => (ok(self.channel), Some(message.key.clone())),
        };
        Handed { said, reference, parts: Vec::new(), by: self.name.clone() }
    }

    async fn ask(&self, question: &Question) -> Result<Word, Fault> {
        self.board.asked.send_modify(|all| all.push(question.clone()));
        self.board.silent.subscribe().wait_for(|silent| !silent).await.expect("a board");
        let found = self.board.found.lock().unwrap().pop_front();
        let listed = self.board.listed.lock().unwrap().clone();
        Ok(match (found, listed) {
            (None, Some(candidates)) => Word::OneOf(candidates),
            (found, _) => Word::Found(found.unwrap_or(Found::CantSay)),
        })
    }
}

fn ok(channel: Channel) -> Said {
    match channel {
        Channel::Email => smtp(250),
        Channel::Sms => Said::Smpp { status: 0 },
        Channel::Push => {
            Said::Http { status: 200, retry_after: None, body: Default::default(), host: String::new() }
        }
    }
}

pub fn smtp(code: u16) -> Said {
    Said::Smtp { step: Step::Data, code, enhanced: None, text: String::new() }
}

/// All was written and nothing was heard.
pub fn lost() -> Said {
    Said::Broken { stage: Stage::After, text: "the link was lost".to_owned() }
}
