//! Slots: small numbers that no two transactions of this process have at the same time. What is counted in a slot's own row
//! makes nobody wait.

use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Shards of one node: more transactions at once than this share the last one.
const PER_NODE: i64 = 64;
/// Nodes are told apart so far; a node that came with a fresh id each time must not leave rows for ever.
const NODES: u128 = 64;

/// Hands out the lowest number that is free.
#[derive(Default)]
pub(crate) struct Slots {
    first: i64,
    taken: Mutex<u64>,
}

impl Slots {
    /// Slots of one node among many on a database. One that is alone begins at 0.
    pub fn of(node: Option<Uuid>) -> Arc<Slots> {
        let index = node.map_or(0, |id| i64::try_from(1 + id.as_u128() % NODES).unwrap_or(1));
        Arc::new(Slots { first: index * PER_NODE, taken: Mutex::default() })
    }

    pub fn take(self: &Arc<Self>) -> Slot {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = taken.trailing_ones().min(63);
        *taken |= 1 << free;
        Slot { slots: self.clone(), number: free }
    }
}

/// A slot, until it is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    number: u32,
}

impl Slot {
    pub fn shard(&self) -> i64 {
        self.slots.first + i64::from(self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_told_apart_and_given_back() {
        let slots = Slots::of(None);
        let (a, b) = (slots.take(), slots.take());
        assert_eq!((a.shard(), b.shard()), (0, 1));
        drop(a);
        assert_eq!(slots.take().shard(), 0);
        let node = Slots::of(Some(Uuid::from_u128(70)));
        assert_eq!(node.take().shard(), 7 * 64);
    }
}
