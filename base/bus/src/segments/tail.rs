//! The newest batches of a partition in memory, so that readers at the end need no file and no other thread.

use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
pub(super) struct Cached {
    pub base: i64,
    /// The offset after its last record.
    pub end: i64,
    pub bytes: Bytes,
}

/// Batches without a gap up to the partition's end. The writer bounds all tails together.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<Cached>);

impl Tail {
    pub fn push(&mut self, batch: Cached) {
        self.0.push_back(batch);
    }

    pub fn pop_oldest(&mut self) {
        self.0.pop_front();
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The batches from the one that holds `offset` on, up to about `max_bytes`; `None` when it lies before the tail.
    pub fn from(&self, offset: i64, max_bytes: usize) -> Option<Vec<Bytes>> {
        if self.0.front().is_none_or(|first| first.base > offset) {
            return None;
        }
        let start = self.0.partition_point(|batch| batch.end <= offset);
        let mut bytes = 0usize;
        let enough = self.0.range(start..).take_while(|batch| {
            let before = bytes;
            bytes = bytes.saturating_add(batch.bytes.len());
            before == 0 || before < max_bytes
        });
        Some(enough.map(|batch| batch.bytes.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its bytes name it.
    fn batch(base: i64, end: i64) -> Cached {
        Cached { base, end, bytes: Bytes::from(vec![u8::try_from(base).unwrap(); 10]) }
    }

    #[test]
    fn it_begins_at_the_batch_that_holds_the_offset_and_stops_at_the_bytes() {
        let mut tail = Tail::default();
        assert!(tail.from(0, 100).is_none());
        for base in [5, 7, 9] {
            tail.push(batch(base, base + 2));
        }
        let bases = |from, bytes| tail.from(from, bytes).map(|b| b.iter().map(|b| b[0]).collect::<Vec<_>>());
        assert_eq!(bases(4, 100), None);
        assert_eq!(bases(5, 100), Some(vec![5, 7, 9]));
        assert_eq!(bases(8, 100), Some(vec![7, 9]));
        assert_eq!(bases(5, 0), Some(vec![5]));
        assert_eq!(bases(5, 11), Some(vec![5, 7]));
        assert_eq!(bases(11, 100), Some(vec![]));
    }
}
