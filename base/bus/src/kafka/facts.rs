//! What an append has to know of a topic, kept for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Others may change a topic's settings; after this long they are asked for again.
const FRESH: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub partitions: u32,
    /// The topic's `max.message.bytes`.
    pub max_message_bytes: usize,
}

#[derive(Default)]
pub(super) struct FactTable(Mutex<HashMap<String, (Instant, Facts)>>);

impl FactTable {
    pub fn get(&self, topic: &str) -> Option<Facts> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(topic).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, facts)| *facts)
    }

    pub fn put(&self, topic: &str, facts: Facts) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.to_owned(), (Instant::now(), facts));
    }

    pub fn forget(&self, topic: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }
}
