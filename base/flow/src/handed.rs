//! From a commit to the relay without the database between: where whoever writes a row of the outbox gives it its number, the
//! rows of a commit that has returned are handed to this process's relay as they are. The table stays the truth: what is not
//! here, or does not follow what the relay has, is read there.

use crate::storage::outbox::{Load, Waiting};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What may wait here. Beyond that all of it is left to the table.
const BYTES: usize = 8 << 20;

#[derive(Default)]
pub(crate) struct Handed(Mutex<Commits>);

#[derive(Default)]
struct Commits {
    /// The rows of each commit, by the first one's number: those who commit say so in any order.
    rows: BTreeMap<i64, Vec<Waiting>>,
    bytes: usize,
}

/// What is here for a relay that has read up to a number.
pub(crate) enum Taken {
    /// The rows that come next, in order.
    Rows(Vec<Waiting>),
    /// Nothing at all.
    Nothing,
    /// Something, but not what comes next.
    Elsewhere,
}

fn size(rows: &[Waiting]) -> usize {
    rows.iter().map(|row| row.message.size()).sum()
}

impl Handed {
    /// Takes over the rows of a commit, which follow each other.
    pub fn put(&self, rows: Vec<Waiting>) {
        let Some(first) = rows.first() else { return };
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = size(&rows);
        if commits.bytes + bytes > BYTES {
            *commits = Commits::default();
            return;
        }
        commits.bytes += bytes;
        commits.rows.insert(first.turn, rows);
    }

    /// Whole commits that follow `read_to` without a gap, until they make up `load`.
    pub fn take(&self, read_to: i64, load: Load) -> Taken {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = commits.rows.first_entry().filter(|entry| *entry.key() <= read_to) {
            let known = size(&entry.remove());
            commits.bytes -= known;
        }
        let (mut taken, mut bytes, mut next) = (Vec::new(), 0, read_to.saturating_add(1));
        while taken.len() < load.rows
            && bytes < load.bytes
            && let Some(entry) = commits.rows.first_entry().filter(|entry| *entry.key() == next)
        {
            let rows = entry.remove();
            next = rows.last().map_or(next, |row| row.turn.saturating_add(1));
            bytes += size(&rows);
            taken.extend(rows);
        }
        commits.bytes -= bytes;
        match (taken.is_empty(), commits.rows.is_empty()) {
            (false, _) => Taken::Rows(taken),
            (true, true) => Taken::Nothing,
            (true, false) => Taken::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::outbox::Outgoing;
    use artel_message::Time;
    use bytes::Bytes;
    use uuid::Uuid;

    const ALL: Load = Load { rows: 1_000, bytes: 1 << 20 };

    fn rows(turns: std::ops::RangeInclusive<i64>, bytes: usize) -> Vec<Waiting> {
        let message = Outgoing {
            topic: "t".into(),
            partition: 0,
            message: Uuid::nil(),
            name: "t.made".into(),
            key: None,
            headers: Bytes::new(),
            value: Some(Bytes::from(vec![0; bytes])),
            at: Time::from_micros(0),
            numbered: true,
        };
        turns
            .map(|turn| Waiting { id: turn, turn, seq: Some(turn), prev: None, message: message.clone() })
            .collect()
    }

    fn turns(taken: Taken) -> Option<Vec<i64>> {
        match taken {
            Taken::Rows(rows) => Some(rows.iter().map(|row| row.turn).collect()),
            Taken::Nothing => Some(Vec::new()),
            Taken::Elsewhere => None,
        }
    }

    #[test]
    fn commits_are_taken_in_their_order_whoever_spoke_first() {
        let handed = Handed::default();
        handed.put(rows(8..=9, 1));
        assert_eq!(turns(handed.take(4, ALL)), None, "5 to 7 are missing");
        handed.put(rows(5..=7, 1));
        assert_eq!(turns(handed.take(4, ALL)), Some(vec![5, 6, 7, 8, 9]));
        assert_eq!(turns(handed.take(9, ALL)), Some(Vec::new()));
    }

    #[test]
    fn what_was_read_in_the_table_is_not_handed_out_again() {
        let handed = Handed::default();
        handed.put(rows(5..=7, 1));
        handed.put(rows(8..=9, 1));
        assert_eq!(turns(handed.take(7, ALL)), Some(vec![8, 9]));
    }

    #[test]
    fn a_load_is_kept_by_whole_commits() {
        let handed = Handed::default();
        (0..4).for_each(|n| handed.put(rows(n * 10..=n * 10 + 9, 1)));
        assert_eq!(turns(handed.take(-1, Load { rows: 15, bytes: 1 << 20 })).map(|all| all.len()), Some(20));
        assert_eq!(turns(handed.take(19, Load { rows: 15, bytes: 64 })).map(|all| all.len()), Some(10));
    }

    #[test]
    fn above_the_bound_all_is_left_to_the_table() {
        let handed = Handed::default();
        handed.put(rows(0..=0, BYTES / 2));
        handed.put(rows(1..=1, BYTES / 2));
        assert_eq!(turns(handed.take(-1, ALL)), Some(Vec::new()));
        handed.put(rows(2..=2, 1));
        assert_eq!(turns(handed.take(-1, ALL)), None);
    }
}
