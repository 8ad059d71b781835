//! What has arrived at the simulators.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// One message that a simulator was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// In the order of arrival over all simulators, from 1; given by the board.
    pub n: u64,
    /// Milliseconds since 1970; given by the board.
    pub at: u64,
    /// `smtp`, `smpp`, `twilio`, `fcm`, `web_push`.
    pub provider: &'static str,
    /// Who sent it: the login or the account's id; empty where nobody logged in.
    pub account: String,
    /// The address, the number, or the token; of several, one arrival each.
    pub to: String,
    /// What the sender identifies it by over repeats, where the protocol carries that: `Message-ID`, an idempotency key, a message
    /// reference.
    pub key: String,
    /// The subject or the title.
    pub title: String,
    /// The text as its reader would see it; HTML is left out where there is a text.
    pub text: String,
    /// As it came over the wire: the mail, the JSON body; cut at 256 KiB.
    pub raw: String,
    /// What the simulator calls it: receipts have that in them.
    pub reference: String,
    /// What was answered: `250`, `429 RATE`, `0x58`, `no answer`; empty until it is.
    pub answer: String,
    /// Whether it counts as taken, so that its recipient would have seen it.
    pub taken: bool,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only those after this number.
    pub after: u64,
    /// Only those before this number, where it is not 0: the page behind one that ended with it.
    pub before: u64,
    pub provider: Option<String>,
    /// A part of the recipient.
    pub to: Option<String>,
    /// At most so many, the newest first; 0 means 100.
    pub limit: usize,
}

/// How many arrived, by provider: also those that the board has forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that were sent.
    pub sent: BTreeMap<&'static str, u64>,
    /// Those of them that were taken.
    pub taken: BTreeMap<&'static str, u64>,
}

/// The list of what arrived; it keeps the newest.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// How many there were, for whoever waits.
    arrived: watch::Sender<u64>,
    most_bytes: usize,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

#[derive(Default)]
struct State {
    last: u64,
    bytes: usize,
    kept: VecDeque<Arrival>,
    counts: Counts,
}

impl Board {
    /// Keeps about so many bytes of arrivals. `clock` gives milliseconds since 1970.
    pub fn new(most_bytes: usize, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Board {
        let (arrived, _) = watch::channel(0);
        Board(Arc::new(Inner { state: Mutex::default(), arrived, most_bytes, clock }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message up, once it is known what is answered; gives its number.
    pub fn put(&self, mut arrival: Arrival) -> u64 {
        let mut state = self.state();
        state.last += 1;
        arrival.n = state.last;
        arrival.at = (self.0.clock)();
        *state.counts.sent.entry(arrival.provider).or_default() += 1;
        if arrival.taken {
            *state.counts.taken.entry(arrival.provider).or_default() += 1;
        }
        state.bytes += arrival.bytes();
        let n = arrival.n;
        state.kept.push_back(arrival);
        while state.bytes > self.0.most_bytes
            && state.kept.len() > 1
            && let Some(oldest) = state.kept.pop_front()
        {
            state.bytes -= oldest.bytes();
        }
        drop(state);
        self.0.arrived.send_modify(|last| *last = (*last).max(n));
        n
    }

    /// The newest first.
    pub fn list(&self, wanted: &Wanted) -> Vec<Arrival> {
        let limit = if wanted.limit == 0 { 100 } else { wanted.limit };
        let fits = |arrival: &&Arrival| {
            arrival.n > wanted.after
                && (wanted.before == 0 || arrival.n < wanted.before)
                && wanted.provider.as_deref().is_none_or(|provider| provider == arrival.provider)
                && wanted.to.as_deref().is_none_or(|to| arrival.to.contains(to))
        };
        self.state().kept.iter().rev().filter(fits).take(limit).cloned().collect()
    }

    pub fn one(&self, n: u64) -> Option<Arrival> {
        let state = self.state();
        let first = state.kept.front()?.n;
        state.kept.get(usize::try_from(n.checked_sub(first)?).ok()?).cloned()
    }

    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Forgets everything; numbers go on.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State { last: state.last, ..State::default() };
    }

    /// The number of the last one, for whoever waits for more.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.arrived.subscribe()
    }
}

impl Arrival {
    fn bytes(&self) -> usize {
        let texts = [&self.account, &self.to, &self.key, &self.title, &self.text, &self.raw];
        256 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(most_bytes: usize) -> Board {
        Board::new(most_bytes, Arc::new(|| 7))
    }

    fn arrival(provider: &'static str, to: &str) -> Arrival {
        Arrival { provider, to: to.to_owned(), taken: to != "refused", ..Arrival::default() }
    }

    #[test]
    fn the_newest_stand_first_and_are_found_by_their_number() {
        let board = board(1 << 20);
        for to in ["a", "b", "refused"] {
            board.put(arrival("smtp", to));
        }
        board.put(arrival("smpp", "b"));
        let to = |wanted: &Wanted| board.list(wanted).into_iter().map(|a| a.to).collect::<Vec<_>>();
        assert_eq!(to(&Wanted::default()), ["b", "refused", "b", "a"]);
        assert_eq!(to(&Wanted { after: 2, ..Wanted::default() }), ["b", "refused"]);
        assert_eq!(to(&Wanted { before: 3, limit: 1, ..Wanted::default() }), ["b"]);
        assert_eq!(
            to(&Wanted { provider: Some("smtp".into()), limit: 2, ..Wanted::default() }),
            ["refused", "b"]
        );
        assert_eq!(to(&Wanted { to: Some("fus".into()), ..Wanted::default() }), ["refused"]);
        assert_eq!(board.one(2).map(|a| (a.to, a.at)), Some(("b".to_owned(), 7)));
        assert_eq!((board.one(0), board.one(5)), (None, None));
        let counts = board.counts();
        assert_eq!((counts.sent["smtp"], counts.taken["smtp"], counts.taken["smpp"]), (3, 2, 1));
    }

    #[test]
    fn the_oldest_are_forgotten_and_still_counted() {
        let board = board(3 * 300);
        for _ in 0..10 {
            board.put(arrival("fcm", "token"));
        }
        let kept = board.list(&Wanted::default());
        assert_eq!((kept.len(), kept[0].n, board.counts().sent["fcm"]), (3, 10, 10));
        assert_eq!((board.one(7), board.one(8).map(|a| a.n)), (None, Some(8)));
        board.clear();
        assert_eq!(board.put(arrival("fcm", "token")), 11);
        assert_eq!((board.one(11).map(|a| a.n), board.counts().sent["fcm"]), (Some(11), 1));
    }

    #[tokio::test]
    async fn who_waits_is_told() {
        let board = board(1 << 20);
        let mut watch = board.watch();
        board.put(arrival("smtp", "a"));
        assert_eq!(*watch.wait_for(|last| *last >= 1).await.unwrap(), 1);
    }
}
