//! What a group has to take in of a partition, told from all that ever was in the log: each number of the source once, in its
//! order, and nothing behind one that is missing.

use crate::log::SimLog;
use crate::oracle::Thing;
use artel_bus::Received;
use artel_message::Envelope;
use serde::Deserialize;
use uuid::Uuid;

/// What all events of the services say.
#[derive(Deserialize)]
struct Told {
    key: String,
    n: i64,
    id: Uuid,
}

/// A message before this place is missing.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    pub offset: i64,
    pub high: i64,
    pub prev: i64,
}

/// One partition, from its begin to its end or to a gap.
pub struct Walk {
    pub partition: u32,
    pub taken: Vec<Thing>,
    pub gap: Option<Gap>,
}

/// Through every partition of a topic that one service writes to.
pub fn all(log: &SimLog, topic: &str) -> Vec<Walk> {
    (0..log.partitions(topic)).map(|partition| of(&log.history(topic, partition), partition)).collect()
}

fn of(history: &[Received], partition: u32) -> Walk {
    let mut walk = Walk { partition, taken: Vec::new(), gap: None };
    let mut high = None;
    for record in history {
        let envelope = Envelope::from_headers(&record.headers).expect("an envelope");
        match (envelope.seq, high) {
            (Some(seq), Some(high)) if seq <= high => continue,
            (Some(_), Some(high)) if envelope.prev.is_some_and(|prev| high < prev) => {
                let prev = envelope.prev.unwrap_or(high);
                walk.gap = Some(Gap { offset: record.offset, high, prev });
                return walk;
            }
            (seq, _) => high = seq.or(high),
        }
        walk.taken.push(thing(record));
    }
    walk
}

/// What the record tells of.
pub fn thing(record: &Received) -> Thing {
    let value = record.value.as_deref().expect("a value");
    let told: Told = serde_json::from_slice(value).expect("an event");
    Thing { id: told.id, key: told.key, n: told.n }
}
