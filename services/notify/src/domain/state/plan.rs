//! Which channel comes when.

use super::{Action, Change, Delivery, End};
use artel_contract::notify::{Mode, State};
use artel_message::Time;

impl Delivery {
    /// Begins the plan: all channels, or the first one.
    pub(super) fn start(&mut self, now: Time) -> Vec<Action> {
        match self.mode {
            Mode::All => (0..self.legs.len()).map(|leg| self.start_leg(leg, now)).collect(),
            Mode::First => self.start_channel(0, now),
        }
    }

    /// The next attempt of a leg, where one waits for its moment.
    pub fn send(&self, leg: usize, now: Time) -> Option<Action> {
        let of = self.legs.get(leg).filter(|of| of.started)?;
        let at = of.due()?.max(now);
        Some(Action::Send { leg, attempt: of.next_attempt(), at })
    }

    fn start_leg(&mut self, leg: usize, now: Time) -> Action {
        self.legs[leg].started = true;
        Action::Send { leg, attempt: self.legs[leg].next_attempt(), at: now }
    }

    /// Legs of one channel that follow each other are one person's devices: they begin together.
    fn start_channel(&mut self, first: usize, now: Time) -> Vec<Action> {
        let Some(channel) = self.legs.get(first).map(|leg| leg.channel) else { return Vec::new() };
        let fits = |leg: &super::Leg| leg.channel == channel && !leg.started && leg.end.is_none();
        let count = self.legs[first..].iter().take_while(|leg| fits(leg)).count();
        (first..first + count).map(|leg| self.start_leg(leg, now)).collect()
    }

    /// What follows from the changes of one step: further channels, questions, timers.
    pub(super) fn follow(&mut self, changes: &mut Vec<Change>, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        let moved: Vec<(usize, State)> = changes.iter().map(|change| (change.leg, change.to)).collect();
        for (leg, to) in moved {
            match to {
                State::Delivered => self.close_others(leg, changes),
                State::Scheduled => actions.extend(self.send(leg, now)),
                State::Unknown => {
                    let attempt = u32::try_from(self.legs[leg].attempts.len()).unwrap_or(u32::MAX);
                    actions.push(Action::AskProvider { leg, attempt });
                }
                State::Sending => {
                    let first = self.legs[leg].attempts.len() == 1;
                    if let Some(patience) = self.patience.filter(|_| first && self.next_leg().is_some()) {
                        actions.push(Action::AwaitReceipt { leg, until: now + patience });
                    }
                }
                State::Failed | State::Suppressed => actions.extend(self.next_channel(now)),
                State::Accepted | State::Sent | State::Superseded | State::Expired => {}
            }
        }
        actions
    }

    /// Starts the next channel, where the mode is to try one after the other and no other leg is being tried: one that gave
    /// way is not.
    pub(super) fn next_channel(&mut self, now: Time) -> Vec<Action> {
        let open = |leg: &super::Leg| leg.started && !leg.gave_way && !leg.state().is_final();
        let done = self.legs.iter().any(|leg| leg.state() == State::Delivered || open(leg));
        match self.next_leg().filter(|_| !done) {
            Some(next) => self.start_channel(next, now),
            None => Vec::new(),
        }
    }

    fn next_leg(&self) -> Option<usize> {
        let first = self.mode == Mode::First;
        self.legs.iter().position(|leg| !leg.started && leg.end.is_none()).filter(|_| first)
    }

    /// It has arrived: channels that have not begun, or wait for another attempt, are not needed any more.
    fn close_others(&mut self, delivered: usize, changes: &mut Vec<Change>) {
        if self.mode == Mode::First {
            self.end_waiting(Some(delivered), &End::NotNeeded, changes);
        }
    }

    /// Ends every leg that waits, but for `except`; those that the plan had not reached too. False where none waited.
    pub(super) fn end_waiting(
        &mut self,
        except: Option<usize>,
        end: &End,
        changes: &mut Vec<Change>,
    ) -> bool {
        let before = changes.len();
        for (at, leg) in self.legs.iter_mut().enumerate() {
            if Some(at) != except && leg.is_waiting() {
                let from = leg.state();
                leg.end = Some(end.clone());
                changes.push(Change { leg: at, channel: leg.channel, from, to: leg.state() });
            }
        }
        changes.len() > before
    }
}
