//! The gate before the database: on SQLite it lets one writer in, on PostgreSQL as many as there are connections.
//! Transactions wait in two lanes, in order within a lane, interactive ones first. Background ones get their turn at the
//! latest after a set number of interactive ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who waits for a write transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Somebody waits for the answer: a request.
    Interactive,
    /// Consumers, relays, timers, purges. They look at [`crate::Write::pressed`] and end early.
    Background,
}

/// Why nobody is let in.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    Closed,
    Crowded,
}

pub(crate) struct Gate {
    state: Mutex<State>,
    slots: Slots,
    /// Interactive transactions let in before one that waits in the background.
    fairness: u32,
    /// How many may wait, per lane.
    bound: usize,
}

/// How many are let in at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    pub all: usize,
    /// Of these, at most so many for the background lane; the rest is for requests alone.
    pub background: usize,
}

#[derive(Default)]
struct State {
    held: usize,
    held_background: usize,
    closed: bool,
    interactive: VecDeque<oneshot::Sender<Permit>>,
    background: VecDeque<oneshot::Sender<Permit>>,
    closer: Option<oneshot::Sender<Permit>>,
    /// Interactive ones let in since the background lane began to wait.
    streak: u32,
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<oneshot::Sender<Permit>> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Background => &mut self.background,
        }
    }

    fn has_room(&self, slots: Slots, lane: Lane) -> bool {
        self.held < slots.all && (lane == Lane::Interactive || self.held_background < slots.background)
    }

    fn count(&mut self, lane: Lane) {
        self.held += 1;
        self.held_background += usize::from(lane == Lane::Background);
    }

    fn uncount(&mut self, lane: Lane) {
        self.held -= 1;
        self.held_background -= usize::from(lane == Lane::Background);
    }
}

/// The right to begin a transaction; dropping it lets the next one in.
pub(crate) struct Permit(Option<(Arc<Gate>, Lane)>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((gate, lane)) = self.0.take() {
            Gate::release(&gate, lane);
        }
    }
}

impl Gate {
    /// One at a time.
    pub fn new(fairness: u32, bound: usize) -> Arc<Gate> {
        Gate::with_slots(Slots { all: 1, background: 1 }, fairness, bound)
    }

    pub fn with_slots(slots: Slots, fairness: u32, bound: usize) -> Arc<Gate> {
        Arc::new(Gate { state: Mutex::default(), slots, fairness, bound })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, state: &mut State, lane: Lane) -> Permit {
        state.count(lane);
        Permit(Some((Arc::clone(self), lane)))
    }

    /// Waits for its turn. A caller that stops waiting leaves the lane.
    pub async fn enter(self: &Arc<Self>, lane: Lane) -> Result<Permit, Refused> {
        let turn = {
            let mut state = self.state();
            if state.closed {
                return Err(Refused::Closed);
            }
            if state.has_room(self.slots, lane) {
                return Ok(self.permit(&mut state, lane));
            }
            let queue = state.lane(lane);
            if queue.len() >= self.bound {
                queue.retain(|waiter| !waiter.is_closed());
            }
            if queue.len() >= self.bound {
                return Err(Refused::Crowded);
            }
            let (waiter, turn) = oneshot::channel();
            queue.push_back(waiter);
            turn
        };
        turn.await.map_err(|_| Refused::Closed)
    }

    /// Refuses everyone from now on, those who wait included, and gives the last permit once all others are back.
    pub async fn close(self: &Arc<Self>) -> Result<Permit, Refused> {
        let turn = {
            let mut state = self.state();
            if state.closed {
                return Err(Refused::Closed);
            }
            state.closed = true;
            state.interactive.clear();
            state.background.clear();
            if state.held == 0 {
                return Ok(self.permit(&mut state, Lane::Interactive));
            }
            let (waiter, turn) = oneshot::channel();
            state.closer = Some(waiter);
            turn
        };
        turn.await.map_err(|_| Refused::Closed)
    }

    /// Whether somebody waits in the interactive lane.
    pub fn interactive_waits(&self) -> bool {
        self.state().interactive.iter().any(|waiter| !waiter.is_closed())
    }

    fn release(gate: &Arc<Gate>, lane: Lane) {
        let mut state = gate.state();
        state.uncount(lane);
        while let Some((waiter, lane)) = gate.next(&mut state) {
            // A waiter that left between the look and the hand-over gives the permit back here; one that leaves later
            // drops it with its channel, outside of this lock.
            if let Err(mut permit) = waiter.send(gate.permit(&mut state, lane)) {
                permit.0 = None;
                state.uncount(lane);
            }
        }
    }

    /// Who is let in next, if there is room.
    fn next(&self, state: &mut State) -> Option<(oneshot::Sender<Permit>, Lane)> {
        if state.closer.is_some() {
            let alone = state.held == 0;
            return state.closer.take_if(|_| alone).map(|closer| (closer, Lane::Interactive));
        }
        if state.background.is_empty() {
            state.streak = 0;
        }
        let background = !state.background.is_empty() && state.has_room(self.slots, Lane::Background);
        let interactive = !state.interactive.is_empty() && state.has_room(self.slots, Lane::Interactive);
        if background && (!interactive || state.streak >= self.fairness) {
            state.streak = 0;
            return state.background.pop_front().map(|waiter| (waiter, Lane::Background));
        }
        if !interactive {
            return None;
        }
        state.streak += u32::from(background);
        state.interactive.pop_front().map(|waiter| (waiter, Lane::Interactive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    type Waiting = futures::future::BoxFuture<'static, Result<Permit, Refused>>;

    /// Stands in the lane; the first poll takes the place in the queue.
    fn wait(gate: &Arc<Gate>, lane: Lane) -> Waiting {
        let gate = Arc::clone(gate);
        let mut waiting = async move { gate.enter(lane).await }.boxed();
        assert!((&mut waiting).now_or_never().is_none(), "the gate is held");
        waiting
    }

    fn enter(gate: &Arc<Gate>) -> Permit {
        let entered = async { gate.enter(Lane::Background).await }.now_or_never().expect("the gate is free");
        let Ok(permit) = entered else { panic!("the gate is open") };
        permit
    }

    fn turn(waiting: &mut Waiting) -> Option<Permit> {
        waiting.now_or_never().and_then(Result::ok)
    }

    #[test]
    fn interactive_goes_first_and_background_does_not_starve() {
        let gate = Gate::new(2, 10);
        let mut held = Some(enter(&gate));
        let mut background = wait(&gate, Lane::Background);
        let mut interactive: Vec<_> = (0..4).map(|_| wait(&gate, Lane::Interactive)).collect();
        let mut order = Vec::new();
        while held.take().is_some() {
            if let Some(permit) = turn(&mut background) {
                order.push('b');
                held = Some(permit);
                background = futures::future::pending().boxed();
            }
            if let Some(at) = interactive.iter_mut().position(|waiting| {
                let permit = turn(waiting);
                let entered = permit.is_some();
                held = held.take().or(permit);
                entered
            }) {
                drop(interactive.remove(at));
                order.push('i');
            }
        }
        assert_eq!(order, ['i', 'i', 'b', 'i', 'i']);
    }

    #[test]
    fn who_stops_waiting_is_passed_over_and_who_got_it_unseen_gives_it_back() {
        let gate = Gate::new(8, 10);
        let held = enter(&gate);
        drop(wait(&gate, Lane::Interactive));
        assert!(!gate.interactive_waits());
        let unseen = wait(&gate, Lane::Interactive);
        assert!(gate.interactive_waits());
        let mut last = wait(&gate, Lane::Background);
        drop(held);
        assert!(turn(&mut last).is_none());
        drop(unseen);
        drop(turn(&mut last).expect("the permit came on"));
        drop(enter(&gate));
    }

    #[test]
    fn lanes_are_bounded_and_closing_waits_for_the_holder() {
        let gate = Gate::new(8, 1);
        let held = enter(&gate);
        let mut waiting = wait(&gate, Lane::Background);
        let crowded = async { gate.enter(Lane::Background).await }.now_or_never().expect("answers at once");
        assert_eq!(crowded.err(), Some(Refused::Crowded));
        let mut closing = gate.close().boxed();
        assert!((&mut closing).now_or_never().is_none());
        assert_eq!((&mut waiting).now_or_never().expect("answers at once").err(), Some(Refused::Closed));
        drop(held);
        assert!(closing.now_or_never().expect("the holder is gone").is_ok());
        let late = async { gate.enter(Lane::Interactive).await }.now_or_never().expect("answers at once");
        assert_eq!(late.err(), Some(Refused::Closed));
    }

    #[test]
    fn the_background_leaves_slots_to_requests() {
        let gate = Gate::with_slots(Slots { all: 3, background: 2 }, 8, 10);
        let background = [enter(&gate), enter(&gate)];
        let mut third = wait(&gate, Lane::Background);
        let request = async { gate.enter(Lane::Interactive).await }.now_or_never().expect("has room");
        let request = request.unwrap_or_else(|refused| panic!("the gate is open: {refused:?}"));
        let mut second = wait(&gate, Lane::Interactive);
        drop(request);
        assert!(turn(&mut third).is_none(), "its lane is full");
        let second = turn(&mut second).expect("the request goes on");
        let [one, two] = background;
        drop(one);
        let third = turn(&mut third).expect("a place in its lane");
        let mut closing = gate.close().boxed();
        drop((second, two));
        assert!((&mut closing).now_or_never().is_none(), "one is still in");
        drop(third);
        assert!(closing.now_or_never().expect("all are gone").is_ok());
    }
}
