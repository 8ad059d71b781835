//! What an append has to know of a topic, kept for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Others may change a topic's settings; after this long they are asked for again.
const FRESH: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub partitions: u32,
    /// The topic's `max.message.bytes`.
    pub max_message_bytes: usize,
}

#[derive(Default)]
pub(super) struct FactTable {
    table: Mutex<HashMap<String, (Instant, Facts)>>,
    ids: Mutex<HashMap<String, Uuid>>,
}

impl FactTable {
    pub fn get(&self, topic: &str) -> Option<Facts> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(topic).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, facts)| *facts)
    }

    pub fn put(&self, topic: &str, facts: Facts) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.to_owned(), (Instant::now(), facts));
    }

    pub fn forget(&self, topic: &str) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// Whether the topic had another id when it was last seen.
    pub fn is_another(&self, topic: &str, id: Uuid) -> bool {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(topic.to_owned(), id).is_some_and(|before| before != id)
    }
}
