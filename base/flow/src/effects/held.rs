//! What this node has claimed of one effect: it waits for a place, is called, or is finished. How much of it there may be.

use super::pace::MOST;
use crate::storage::effects::Effect;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// So much time's worth of calls is claimed ahead of need: about what some claims take.
const AHEAD: Duration = Duration::from_millis(100);
/// No more bytes of messages and results are held before what is there has ended, beside those that are called.
const BYTES: usize = 8 << 20;

/// The bounds of one effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Calls at once.
    pub width: usize,
    /// Effects in one call.
    pub batch: usize,
    /// For how long a claim keeps others out; `None` = for good, since there are none.
    pub lease: Option<Duration>,
}

pub(super) struct Held {
    pub bounds: Bounds,
    state: Mutex<State>,
    /// A place is free, or there is room for more. The loop that claims listens, and nobody else.
    pub changed: Notify,
}

struct State {
    /// Claimed, and not called yet: the oldest claims first.
    waiting: VecDeque<Waiting>,
    /// All that is claimed, with its bytes.
    claims: BTreeMap<Uuid, usize>,
    bytes: usize,
    calls: usize,
    /// Effects that have been called, and are not finished.
    finishing: usize,
    /// Effects whose calls have ended since the last claim, and when that was.
    ended: usize,
    since: Instant,
    /// How large the last ones were.
    size: usize,
    /// The loop wants to know when so few wait.
    low: usize,
}

struct Waiting {
    effect: Effect,
    /// Before it was claimed.
    since: Instant,
}

impl Held {
    pub fn new(bounds: Bounds) -> Held {
        let state = State {
            waiting: VecDeque::new(),
            claims: BTreeMap::new(),
            bytes: 0,
            calls: 0,
            finishing: 0,
            ended: 0,
            since: Instant::now(),
            size: 1,
            low: 0,
        };
        Held { bounds, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many to claim. Where a rate bounds the calls it is `calls` that may begin; then nothing is claimed ahead.
    pub fn wanted(&self, calls: Option<usize>) -> usize {
        let Bounds { width, batch, .. } = self.bounds;
        let state = self.state();
        let places = width.saturating_sub(state.calls).min(calls.unwrap_or(width));
        let ahead = if calls.is_some() { 0 } else { state.ahead() };
        let room = (places * batch + ahead).saturating_sub(state.waiting.len());
        let most = (width * batch + 2 * MOST).saturating_sub(state.claims.len());
        // Where telling is slower than calling, claims would only wait for it, and every look would pass over them.
        let most = if state.finishing >= MOST { 0 } else { most };
        let wanted = room.min(most);
        // What ends makes room for more at once, and says so.
        let full = state.bytes >= BYTES && state.finishing > 0;
        let soon = wanted * 2 < ahead && state.finishing + state.waiting.len() > 0;
        if full || soon { 0 } else { wanted }
    }

    /// These were claimed; those that have no result yet, and those that were not told at the first time, wait for a place.
    pub fn claimed(&self, effects: Vec<Effect>, since: Instant) -> Vec<Effect> {
        let mut state = self.state();
        let size: usize = effects.iter().map(|effect| effect.body.len()).sum();
        state.size = (size / effects.len().max(1)).max(1);
        state.bytes += size;
        state.low = state.ahead() / 2;
        (state.ended, state.since) = (0, Instant::now());
        state.claims.extend(effects.iter().map(|effect| (effect.id, effect.body.len())));
        let (known, open): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| effect.result.is_some() && effect.untold == 0);
        state.finishing += known.len();
        state.waiting.extend(open.into_iter().map(|effect| Waiting { effect, since }));
        known
    }

    /// How many calls to begin for what waits.
    pub fn startable(&self) -> usize {
        let state = self.state();
        let places = self.bounds.width.saturating_sub(state.calls);
        places.min(state.waiting.len().div_ceil(self.bounds.batch))
    }

    /// A place is taken; it is given back by [`Held::leave`].
    pub fn enter(&self) {
        self.state().calls += 1;
    }

    pub fn leave(&self) {
        self.state().calls -= 1;
        self.changed.notify_one();
    }

    /// What the next call is for. A claim that may have ended is nobody's reason to call.
    pub fn take(&self) -> Option<Vec<Effect>> {
        let mut state = self.state();
        let ends = self.bounds.lease.map(|lease| lease.mul_f64(0.9));
        let mut taken = Vec::new();
        while taken.len() < self.bounds.batch
            && let Some(next) =
                state.waiting.pop_front_if(|next| ends.is_none_or(|ends| next.since.elapsed() < ends))
        {
            taken.push(next.effect);
        }
        let left = state.waiting.len();
        if left <= state.low && left + taken.len() > state.low || left == 0 {
            self.changed.notify_one();
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// A call has ended for so many effects that are finished next, with results of so many bytes.
    pub fn ended(&self, id: Uuid, bytes: usize) {
        let mut state = self.state();
        (state.ended, state.finishing) = (state.ended + 1, state.finishing + 1);
        if let Some(of) = state.claims.get_mut(&id) {
            *of += bytes;
            state.bytes += bytes;
        }
    }

    /// Whoever finishes effects is through with so many, or leaves them to others.
    pub fn finished(&self, effects: usize) {
        let mut state = self.state();
        state.finishing = state.finishing.saturating_sub(effects);
        self.changed.notify_one();
    }

    /// The claims of these are over.
    pub fn over(&self, ids: impl Iterator<Item = Uuid>) {
        let mut state = self.state();
        ids.for_each(|id| state.forget(id));
    }

    /// All that is claimed.
    pub fn ids(&self) -> Vec<Uuid> {
        self.state().claims.keys().copied().collect()
    }

    /// When the next of those that wait has waited for too long: others may have a place for it.
    pub fn patience(&self) -> Option<Instant> {
        let third = self.bounds.lease? / 3;
        self.state().waiting.front().map(|next| next.since + third)
    }

    /// Takes out what has waited for too long, or all that waits.
    pub fn give_up(&self, all: bool) -> Vec<Uuid> {
        let third = self.bounds.lease.map(|lease| lease / 3);
        let mut state = self.state();
        let mut out = Vec::new();
        let late = |next: &mut Waiting| all || third.is_some_and(|third| next.since.elapsed() >= third);
        while let Some(next) = state.waiting.pop_front_if(late) {
            state.forget(next.effect.id);
            out.push(next.effect.id);
        }
        out
    }
}

impl State {
    /// A claim is over.
    fn forget(&mut self, id: Uuid) {
        self.bytes -= self.claims.remove(&id).unwrap_or(0);
    }

    /// How many may be claimed ahead of need: as many as end soon, as quickly as they have ended of late.
    fn ahead(&self) -> usize {
        let over = self.since.elapsed().max(Duration::from_millis(1));
        let soon = self.ended as f64 * AHEAD.as_secs_f64() / over.as_secs_f64();
        let room = BYTES.saturating_sub(self.bytes) / self.size;
        (soon as usize).min(room).min(MOST)
    }
}
