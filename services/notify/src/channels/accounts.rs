//! The accounts of one channel as this node uses them: who takes the next message, and what came of it.

use super::{Carrier, Carriers, ChannelSettings};
use crate::domain::address::Kind;
use crate::domain::breaker::{Breaker, BreakerSettings};
use crate::domain::classes::{self, Answer, Provider, Verdict, busy, classify, unfit};
use crate::domain::failover::{Account, Choice, free_at, look};
use crate::domain::pace::{Limits, Pace};
use artel_contract::notify::Channel;
use artel_flow::Ctx;
use artel_message::{Fault, Time};
use artel_wires::{Said, Step};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many messages a second as anybody sends.
const UNBOUNDED: u64 = 1_000_000;

/// A channel's accounts, in order. The pace is divided among the nodes that run the service; the breaker is each node's own.
pub struct Line {
    pub channel: Channel,
    accounts: Mutex<Vec<Account>>,
    carriers: Vec<Arc<dyn Carrier>>,
    names: Vec<Arc<str>>,
    places: Vec<Arc<Semaphore>>,
}

/// An account that takes a message.
#[derive(Clone)]
pub struct Taken {
    pub index: usize,
    pub name: Arc<str>,
    pub carrier: Arc<dyn Carrier>,
    places: Arc<Semaphore>,
}

impl Taken {
    /// Waits until few enough are on their way to the account. `None`: the node stops.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}

impl Line {
    pub fn new(
        ctx: &Ctx,
        channel: Channel,
        settings: &ChannelSettings,
        carriers: &Carriers,
    ) -> Result<Line, Fault> {
        let (mut accounts, mut made, mut names, mut places) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for account in &settings.accounts {
            let rate = account.per_second.unwrap_or(UNBOUNDED);
            let burst = account.burst.unwrap_or_else(|| u32::try_from(rate).unwrap_or(u32::MAX));
            let pace = Pace::new(Limits::per_second(rate, burst));
            accounts.push(Account::new(&account.name, pace, Breaker::new(BreakerSettings::default())));
            made.push(carriers.make(ctx, channel, account)?);
            names.push(Arc::from(account.name.as_str()));
            places.push(Arc::new(Semaphore::new(account.most_at_once())));
        }
        Ok(Line { channel, accounts: Mutex::new(accounts), carriers: made, names, places })
    }

    fn accounts(&self) -> MutexGuard<'_, Vec<Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps to this node's share of each account's pace.
    pub fn divide(&self, nodes: u32, now: Time) {
        self.accounts().iter_mut().for_each(|account| account.pace.divide(nodes, now));
    }

    /// The first account that may send now and has not refused the message.
    pub fn look(&self, refused: &[usize], now: Time) -> Result<Taken, Choice> {
        match look(&self.accounts(), refused, now) {
            Choice::Use(index) => Ok(self.taken(index)),
            other => Err(other),
        }
    }

    /// Counts a message that goes out now; false where the account's pace or its breaker has something against that by now.
    pub fn take(&self, taken: &Taken, now: Time) -> bool {
        self.accounts()[taken.index].take(now)
    }

    fn taken(&self, index: usize) -> Taken {
        let (name, carrier) = (self.names[index].clone(), self.carriers[index].clone());
        Taken { index, name, carrier, places: self.places[index].clone() }
    }

    /// The account of that name, if there still is one.
    pub fn named(&self, name: &str) -> Option<Taken> {
        self.names.iter().position(|known| &**known == name).map(|index| self.taken(index))
    }

    /// Those whose providers tell of messages by our names for them.
    pub fn telling_by_key(&self) -> Vec<Arc<str>> {
        let tells = |index: &usize| self.carriers[*index].tells_by_key();
        (0..self.names.len()).filter(tells).map(|index| self.names[index].clone()).collect()
    }

    /// Those that reach no addresses of this kind.
    pub fn unfit(&self, kind: Kind) -> Vec<usize> {
        (0..self.carriers.len()).filter(|index| !self.carriers[*index].takes(kind)).collect()
    }

    /// When the first account that has not refused a message has a place for it.
    pub fn free_at(&self, refused: &[usize], now: Time) -> Option<Time> {
        free_at(&self.accounts(), refused, now)
    }

    /// Takes in what an account answered, and says what it means.
    pub fn heard(&self, taken: &Taken, said: &Said, now: Time) -> Verdict {
        let verdict = verdict(taken.carrier.provider(), said);
        // In our own words: what the transport says of a connection.
        let detail = if let Said::Broken { text, .. } = said { text.as_str() } else { "" };
        let mut accounts = self.accounts();
        if accounts[taken.index].heard(&verdict, now) {
            tracing::warn!(
                channel = self.channel.as_str(),
                account = &*taken.name,
                code = verdict.code,
                meaning = verdict.meaning[0],
                detail,
                "the account is out of use for a while"
            );
        }
        verdict
    }
}

/// What an answer means.
pub fn verdict(provider: Provider, said: &Said) -> Verdict {
    let body = match said {
        Said::Http { body, .. } => serde_json::from_slice(body).unwrap_or_default(),
        _ => serde_json::Value::Null,
    };
    let code = classes::code_of(provider, &body);
    let answer = match said {
        Said::Smtp { step, code, enhanced, text } => {
            let (enhanced, sender) = (enhanced.as_deref(), *step == Step::From);
            Answer::Smtp { code: *code, enhanced, text, sender }
        }
        Said::Http { status, retry_after, host, .. } => {
            Answer::Http { status: *status, code: code.as_deref(), retry_after: *retry_after, host }
        }
        Said::Smpp { status } => Answer::Smpp { status: *status },
        Said::Unfit { reason } => return unfit(provider, reason),
        Said::Busy { .. } => return busy(provider),
        Said::Broken { stage, text } => {
            let stage = match stage {
                artel_wires::Stage::Before => classes::Stage::Before,
                artel_wires::Stage::After => classes::Stage::After,
            };
            Answer::Broken { stage, text }
        }
    };
    classify(provider, answer)
}
