//! Which node is asked: the one with the fewest calls of ours among those that answered last time, in turn among equals. A
//! node that fails again and again is left alone for a while.

use artel_flow::Member;
use artel_message::Time;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// After so many failures in a row a node is left alone.
const PATIENCE: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Nodes that are gone are forgotten above this many.
const KNOWN: usize = 1024;

/// What this node has seen of the others.
#[derive(Clone, Default)]
pub(super) struct Nodes(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    nodes: HashMap<Uuid, State>,
    turn: usize,
}

struct State {
    /// A node that was started anew is another one, with nothing against it.
    life: (Time, Option<String>),
    calls: usize,
    failures: u32,
    rests_until: Option<Instant>,
}

/// A call on its way; it counts as long as this lives.
pub(super) struct Choice {
    nodes: Nodes,
    id: Uuid,
    pub name: String,
    pub url: String,
}

/// Why no node can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// There is no other one.
    None,
    /// All are left alone, the first for this much longer.
    Resting(Duration),
}

impl Nodes {
    /// One of `members`, but not `not`.
    pub fn choose(&self, members: &[Member], not: Option<Uuid>, now: Instant) -> Result<Choice, NoChoice> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { nodes, turn } = &mut *seen;
        *turn = turn.wrapping_add(1);
        if nodes.len() > KNOWN {
            nodes.retain(|id, state| state.calls > 0 || members.iter().any(|m| m.id == *id));
        }
        let mut best: Option<((u32, usize, usize), &Member, &str)> = None;
        let mut rest: Option<Duration> = None;
        let candidates = members.iter().filter(|m| Some(m.id) != not);
        for (place, member) in candidates.enumerate() {
            let Some(url) = member.peer.as_deref() else { continue };
            let life = (member.started_at, member.peer.clone());
            let state = nodes.entry(member.id).or_insert_with(|| State::new(life.clone()));
            if state.life != life {
                *state = State { calls: state.calls, ..State::new(life) };
            }
            if let Some(left) = state.rests(now) {
                rest = Some(rest.map_or(left, |least| least.min(left)));
                continue;
            }
            let order = (state.failures, state.calls, place.wrapping_add(*turn) % members.len());
            if best.as_ref().is_none_or(|(least, ..)| order < *least) {
                best = Some((order, member, url));
            }
        }
        let Some((_, member, url)) = best else {
            return Err(rest.map_or(NoChoice::None, NoChoice::Resting));
        };
        if let Some(state) = nodes.get_mut(&member.id) {
            state.calls += 1;
        }
        let (name, url) = (member.name.clone(), url.trim_end_matches('/').to_owned());
        Ok(Choice { nodes: self.clone(), id: member.id, name, url })
    }

    fn change(&self, id: Uuid, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.0.lock().unwrap_or_else(PoisonError::into_inner).nodes.get_mut(&id) {
            change(state);
        }
    }
}

impl State {
    fn new(life: (Time, Option<String>)) -> State {
        State { life, calls: 0, failures: 0, rests_until: None }
    }

    fn rests(&self, now: Instant) -> Option<Duration> {
        self.rests_until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
    }
}

impl Choice {
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// It answered, whatever it was.
    pub fn answered(&self) {
        self.nodes.change(self.id, |state| (state.failures, state.rests_until) = (0, None));
    }

    /// It could not be reached, or was not what it should be.
    pub fn failed(&self, now: Instant) {
        self.nodes.change(self.id, |state| {
            state.failures = state.failures.saturating_add(1);
            if let Some(doublings) = state.failures.checked_sub(PATIENCE) {
                let rest = FIRST_REST.saturating_mul(1 << doublings.min(8)).min(LONGEST_REST);
                state.rests_until = Some(now + rest);
            }
        });
    }

    /// It asked for a pause.
    pub fn rest(&self, pause: Duration, now: Instant) {
        self.nodes.change(self.id, |state| state.rests_until = Some(now + pause.min(LONGEST_REST)));
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.nodes.change(self.id, |state| state.calls = state.calls.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u128) -> Member {
        Member {
            id: Uuid::from_u128(n),
            name: format!("n{n}"),
            roles: vec!["shop".to_owned()],
            groups: Vec::new(),
            peer: Some(format!("http://n{n}/")),
            version: String::new(),
            started_at: Time::from_micros(0),
            seen_at: Time::from_micros(0),
            alive: true,
        }
    }

    #[tokio::test]
    async fn calls_go_to_who_has_the_fewest_and_in_turn() {
        let (nodes, members, now) = (Nodes::default(), [member(1), member(2), member(3)], Instant::now());
        let held: Vec<Choice> = (0..6).map(|_| nodes.choose(&members, None, now).expect("one")).collect();
        let mut of: Vec<&str> = held.iter().map(|choice| choice.name.as_str()).collect();
        of.sort_unstable();
        assert_eq!(of, ["n1", "n1", "n2", "n2", "n3", "n3"]);
        drop(held);
        let mut one_by_one: Vec<String> =
            (0..3).map(|_| nodes.choose(&members, None, now).expect("one").name.clone()).collect();
        one_by_one.sort_unstable();
        assert_eq!(one_by_one, ["n1", "n2", "n3"], "in turn");
        let other = nodes.choose(&members[..1], Some(members[0].id), now).err();
        assert_eq!(other, Some(NoChoice::None));
    }

    #[tokio::test]
    async fn who_fails_is_asked_last_and_then_left_alone_until_it_is_started_anew() {
        let (nodes, members, now) = (Nodes::default(), [member(1), member(2)], Instant::now());
        let first = nodes.choose(&members[..1], None, now).expect("one");
        first.failed(now);
        for _ in 0..4 {
            assert_eq!(nodes.choose(&members, None, now).expect("one").name, "n2");
        }
        first.failed(now);
        assert!(nodes.choose(&members[..1], None, now).is_ok(), "twice may be chance");
        first.failed(now);
        let alone = |now| nodes.choose(&members[..1], None, now).err();
        assert_eq!(alone(now), Some(NoChoice::Resting(FIRST_REST)));
        assert_eq!(alone(now + FIRST_REST), None);
        first.failed(now);
        assert_eq!(alone(now), Some(NoChoice::Resting(FIRST_REST * 2)));
        let anew = Member { started_at: Time::from_micros(1), ..member(1) };
        assert!(nodes.choose(&[anew], None, now).is_ok());
        first.rest(Duration::from_secs(3600), now);
        assert_eq!(alone(now + LONGEST_REST), None, "a pause has an end");
    }
}
