//! Who lives, told from beats alone. Pure: time is an argument.

use super::store::Stored;
use super::{Member, Pulse};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Rows of nodes that have been silent so long are removed.
const LONG_GONE: Duration = Duration::from_secs(24 * 3600);

/// What this node has seen of the others' beats.
#[derive(Default)]
pub(super) struct Watch {
    /// (beat, when it last moved).
    beats: HashMap<Uuid, (i64, Instant)>,
    looked: Option<Instant>,
}

pub(super) struct Found {
    pub members: Vec<Member>,
    pub long_gone: Vec<Uuid>,
}

impl Watch {
    /// Takes in what the table says now.
    pub fn look(&mut self, rows: Vec<Stored>, me: Uuid, pulse: Pulse, now: Instant) -> Found {
        // A watcher that was itself away (frozen, or without its database) has seen nobody's beat meanwhile: that time
        // doesn't count against anybody.
        let away = self.looked.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        if away > pulse.beat * 3 {
            for (_, moved) in self.beats.values_mut() {
                *moved += away;
            }
        }
        self.looked = Some(now);
        self.beats.retain(|id, _| rows.iter().any(|row| row.member.id == *id));
        let mut long_gone = Vec::new();
        let members = rows
            .into_iter()
            .map(|Stored { mut member, beat }| {
                let seen = self.beats.entry(member.id).or_insert((beat, now));
                if seen.0 != beat {
                    *seen = (beat, now);
                }
                let silent = now.saturating_duration_since(seen.1);
                member.alive = member.id == me || silent < pulse.silence;
                if silent > LONG_GONE && member.id != me {
                    long_gone.push(member.id);
                }
                member
            })
            .collect();
        Found { members, long_gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Time;

    const SECOND: Duration = Duration::from_secs(1);

    fn row(id: u128, beat: i64) -> Stored {
        let at = Time::from_micros(0);
        let member = Member {
            id: Uuid::from_u128(id),
            name: String::new(),
            roles: vec!["shop".to_owned()],
            groups: Vec::new(),
            peer: None,
            version: String::new(),
            started_at: at,
            seen_at: at,
            alive: true,
        };
        Stored { member, beat }
    }

    /// Looks once a second; gives at each look whether node 2 lives. `beats` are what its row says.
    fn lives(beats: &[i64], pauses: impl Fn(usize) -> Duration) -> Vec<bool> {
        let (mut watch, mut now) = (Watch::default(), Instant::now());
        let mut seen = Vec::new();
        for (i, beat) in beats.iter().enumerate() {
            now += pauses(i);
            let rows = vec![row(1, i64::try_from(i).expect("small")), row(2, *beat)];
            let found = watch.look(rows, Uuid::from_u128(1), Pulse::default(), now);
            assert!(found.members[0].alive, "a node never holds itself for dead");
            seen.push(found.members[1].alive);
        }
        seen
    }

    #[test]
    fn a_beat_that_does_not_move_for_the_silence_means_dead_and_one_that_moves_again_alive() {
        let beats = [1, 2, 3, 3, 3, 3, 3, 3, 3, 4];
        let dead_at_8 = [true, true, true, true, true, true, true, true, false, true];
        assert_eq!(lives(&beats, |_| SECOND), dead_at_8);
    }

    #[test]
    fn a_watcher_that_was_away_holds_nobody_for_dead_because_of_it() {
        let beats = [1, 2, 2, 3];
        assert_eq!(lives(&beats, |i| if i == 2 { 60 * SECOND } else { SECOND }), [true; 4]);
    }

    #[test]
    fn rows_of_nodes_long_gone_are_named_for_removal() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let me = Uuid::from_u128(1);
        watch.look(vec![row(2, 1)], me, Pulse::default(), start);
        let seconds = u32::try_from(LONG_GONE.as_secs()).expect("a day") + 2;
        let mut gone = Vec::new();
        for i in 1..=seconds {
            gone = watch.look(vec![row(2, 1)], me, Pulse::default(), start + SECOND * i).long_gone;
        }
        assert_eq!(gone, [Uuid::from_u128(2)]);
    }
}
