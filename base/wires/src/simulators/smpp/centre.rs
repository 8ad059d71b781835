//! What the links of a centre share.

use super::parts::Parts;
use super::{Counts, SmppSimulatorSettings};
use crate::simulators::{Arrival, Board, Judge};
use crate::smpp::Ids;
use crate::smpp::pdu::{Body, Message, Mode};
use crate::smpp::session::Session;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Messages whose state can be asked for.
const MOST_KNOWN: usize = 100_000;

pub(super) struct Centre {
    pub(super) settings: SmppSimulatorSettings,
    board: Board,
    pub(super) judge: Judge,
    stopped: watch::Receiver<bool>,
    state: Mutex<State>,
    /// Changes when a link is bound.
    bound: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    last: u64,
    links: Vec<Link>,
    /// `message_state` and error code by message.
    known: HashMap<u64, (u8, u8)>,
    order: VecDeque<u64>,
    parts: Parts,
    counts: Counts,
    turn: usize,
}

struct Link {
    account: String,
    mode: Mode,
    session: Arc<Session>,
}

impl Centre {
    pub(super) fn new(
        settings: SmppSimulatorSettings,
        board: Board,
        judge: Judge,
        stopped: watch::Receiver<bool>,
    ) -> Centre {
        let (bound, _) = watch::channel(0);
        // Ids are told from the numbers of a run before, and have letters where they are hexadecimal.
        let last = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()) << 20;
        Centre {
            settings,
            board,
            judge,
            stopped,
            state: Mutex::new(State { last, ..State::default() }),
            bound,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn stopped(&self) {
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    /// Works beside everything else, until the centre stops.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let centre = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = centre.stopped() => {}
                () = work => {}
            }
        });
    }

    /// A number for a message that was taken.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.known.insert(number, (1, 0));
        state.order.push_back(number);
        if state.order.len() > MOST_KNOWN
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
        number
    }

    /// The id of a message as the text of receipts has it.
    pub(super) fn written(&self, number: u64) -> String {
        match self.settings.ids {
            Ids::DecimalAnswers { .. } => format!("{number:X}"),
            _ => number.to_string(),
        }
    }

    /// The id as answers have it.
    pub(super) fn answered(&self, number: u64) -> String {
        self.settings.ids.of_answer(&self.written(number))
    }

    /// The number of the message that answers called so.
    pub(super) fn number_of(&self, id: &str) -> Option<u64> {
        match self.settings.ids {
            Ids::HexAnswers { .. } => u64::from_str_radix(id, 16).ok(),
            _ => id.parse().ok(),
        }
    }

    pub(super) fn set(&self, number: u64, now: (u8, u8)) {
        if let Some(known) = self.state().known.get_mut(&number) {
            *known = now;
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<(u8, u8)> {
        self.state().known.get(&number).copied()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.state().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(super) fn bound(&self) -> usize {
        self.state().links.len()
    }

    pub(super) fn join(&self, account: &str, mode: Mode, session: &Arc<Session>) {
        self.state().links.push(Link { account: account.to_owned(), mode, session: Arc::clone(session) });
        self.bound.send_modify(|n| *n += 1);
    }

    pub(super) fn leave(&self, session: &Arc<Session>) {
        self.state().links.retain(|link| !Arc::ptr_eq(&link.session, session));
    }

    /// Puts up what was taken: parts of a message when all are there.
    pub(super) fn take(&self, arrival: Arrival, part: Option<super::parts::Taken>) {
        let whole = match part {
            None => Some(arrival),
            Some(part) => {
                let mut state = self.state();
                let (whole, again) = state.parts.take(arrival, part, self.settings.gsm);
                state.counts.parts_again += u64::from(again);
                whole
            }
        };
        if let Some(whole) = whole {
            self.board.put(whole);
        }
    }

    /// Puts up what has waited so long for its other parts.
    pub(super) fn sweep(&self, waited: Duration) {
        let gone = self.state().parts.sweep(waited, self.settings.gsm);
        for arrival in gone {
            self.board.put(arrival);
        }
    }

    /// One after the other, links of this account that receive.
    fn receiver(&self, account: &str) -> Option<Arc<Session>> {
        let mut state = self.state();
        state.turn = state.turn.wrapping_add(1);
        let turn = state.turn;
        let links: Vec<&Link> =
            state.links.iter().filter(|link| link.account == account && link.mode.receives()).collect();
        links.get(turn % links.len().max(1)).map(|link| Arc::clone(&link.session))
    }

    /// Sends a message to this account, once it has a link; the status of the answer.
    pub(super) async fn deliver(&self, account: &str, message: Message) -> Option<u32> {
        let mut bound = self.bound.subscribe();
        let session = loop {
            bound.mark_unchanged();
            match self.receiver(account) {
                Some(session) => break session,
                None => bound.changed().await.ok()?,
            }
        };
        let _place = session.window.acquire().await.ok()?;
        let answer = session.ask(Body::DeliverSm(Box::new(message)), self.settings.answer_limit).await;
        Some(answer.ok()?.status)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
