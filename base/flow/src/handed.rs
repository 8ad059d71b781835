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
    /// Rows below this number may have got other numbers since they were committed.
    floor: i64,
    /// Something was left to the table since the relay last looked.
    left: bool,
}

impl Commits {
    /// Leaves all that is here to the table.
    fn leave(&mut self) {
        self.rows.clear();
        (self.bytes, self.left) = (0, true);
    }
}

/// What is here for a relay that has read up to a number.
pub(crate) enum Taken {
    /// The rows that come next, in order.
    Rows(Vec<Waiting>),
    /// Nothing at all.
    Nothing,
    /// The table has what comes next, or may have it.
    Elsewhere,
}

/// How many of the rows make up so much: at least one.
fn fitting(rows: &[Waiting], most: usize, bytes: usize) -> usize {
    let mut size = 0;
    let over = rows.iter().position(|row| {
        let full = size >= bytes;
        size += row.message.size();
        full
    });
    over.unwrap_or(rows.len()).min(most).max(1)
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
            return commits.leave();
        }
        if first.turn < commits.floor {
            commits.left = true;
            return;
        }
        commits.bytes += bytes;
        commits.rows.insert(first.turn, rows);
    }

    /// Numbers below `next` were changed in the table: rows that were handed over with such are read there, also those that are
    /// committed and on their way here.
    pub fn renumbered(&self, next: i64) {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        commits.leave();
        commits.floor = commits.floor.max(next);
    }

    /// Rows that follow `read_to` without a gap, until they make up `load`.
    pub fn take(&self, read_to: i64, load: Load) -> Taken {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = commits.rows.first_entry().filter(|entry| *entry.key() <= read_to) {
            let known = size(&entry.remove());
            commits.bytes -= known;
        }
        let (mut taken, mut bytes, mut next) = (Vec::new(), 0, read_to.saturating_add(1));
        while taken.len() < load.rows
            && bytes < load.bytes
            && let Some(entry) =
                commits.rows.first_entry().filter(|entry| *entry.key() == next || planted!(TakesOverHoles))
        {
            let mut rows = entry.remove();
            let rest = rows.split_off(fitting(&rows, load.rows - taken.len(), load.bytes - bytes));
            if let Some(first) = rest.first() {
                commits.rows.insert(first.turn, rest);
            }
            next = rows.last().map_or(next, |row| row.turn.saturating_add(1));
            bytes += size(&rows);
            taken.extend(rows);
        }
        commits.bytes -= bytes;
        let left = !commits.rows.is_empty() || std::mem::take(&mut commits.left);
        match (taken.is_empty(), left) {
            (false, _) => Taken::Rows(taken),
            (true, false) => Taken::Nothing,
            (true, true) => Taken::Elsewhere,
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
    fn a_load_is_kept_and_the_rest_of_a_commit_comes_next() {
        let handed = Handed::default();
        (0..4).for_each(|n| handed.put(rows(n * 10..=n * 10 + 9, 1)));
        let few = Load { rows: 15, bytes: 1 << 20 };
        assert_eq!(turns(handed.take(-1, few)), Some((0..15).collect()));
        assert_eq!(turns(handed.take(14, Load { rows: 15, bytes: 1 })), Some(vec![15]));
        assert_eq!(turns(handed.take(15, few)), Some((16..31).collect()));
        assert_eq!(turns(handed.take(30, ALL)), Some((31..40).collect()));
    }

    #[test]
    fn what_got_other_numbers_is_left_to_the_table() {
        let handed = Handed::default();
        handed.put(rows(5..=7, 1));
        handed.renumbered(100);
        assert_eq!(turns(handed.take(4, ALL)), None, "they may have other numbers now");
        handed.put(rows(8..=9, 1));
        assert_eq!(turns(handed.take(4, ALL)), None, "committed before, and handed over late");
        assert_eq!(turns(handed.take(99, ALL)), Some(Vec::new()));
        handed.put(rows(100..=101, 1));
        assert_eq!(turns(handed.take(99, ALL)), Some(vec![100, 101]));
    }

    #[test]
    fn above_the_bound_all_is_left_to_the_table() {
        let handed = Handed::default();
        handed.put(rows(0..=0, BYTES / 2));
        handed.put(rows(1..=1, BYTES / 2));
        assert_eq!(turns(handed.take(-1, ALL)), None);
        assert_eq!(turns(handed.take(-1, ALL)), Some(Vec::new()), "that is said once");
        handed.put(rows(2..=2, 1));
        assert_eq!(turns(handed.take(-1, ALL)), None);
    }
}
