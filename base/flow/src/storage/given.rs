//! The numbers that a transaction gives, per partition.

use crate::Failure;
use artel_store::{Args, Write};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

type Place = (String, u32);

/// Which numbers were given last, before this transaction and in it.
pub(super) struct Given {
    last: BTreeMap<Place, i64>,
    /// The first of all, in partitions for which this database has given none before. It may have been there in an earlier life,
    /// of which it knows nothing since it was brought back from a copy: whether the log has such numbers is looked up before
    /// anything is published there.
    first: BTreeMap<Place, i64>,
}

impl Given {
    /// What was given before in the partitions that this transaction writes to.
    pub async fn before(write: &mut Write, places: &BTreeSet<Place>) -> Result<Given, Failure> {
        let keys = places.iter().map(|(topic, partition)| (topic.as_str(), *partition).values()).collect();
        let rows: Vec<(String, u32, i64)> = write
            .all_rows(
                "SELECT topic, partition, seq FROM flow_sent WHERE (topic, partition) IN (VALUES {rows})",
                (),
                keys,
            )
            .await?;
        let last = rows.into_iter().map(|(topic, partition, seq)| ((topic, partition), seq)).collect();
        Ok(Given { last, first: BTreeMap::new() })
    }

    /// Gives the next number; returns the one before it.
    pub fn give(&mut self, place: Place, seq: i64) -> Option<i64> {
        match self.last.entry(place) {
            Entry::Occupied(mut last) => Some(last.insert(seq)),
            Entry::Vacant(none) => {
                if !planted!(TrustsFirst) {
                    self.first.insert(none.key().clone(), seq);
                }
                none.insert(seq);
                None
            }
        }
    }

    /// Keeps the last ones, and marks the partitions that are written to for the first time: see `relay/unsure.rs`.
    pub async fn remember(self, write: &mut Write) -> Result<(), Failure> {
        let Given { last, first } = self;
        let mark = |(place, seq): (Place, i64)| {
            let from = first.get(&place).copied();
            (place.0, place.1, seq, from).values()
        };
        write
            .exec_rows(
                "INSERT INTO flow_sent (topic, partition, seq, unsure_from) VALUES {rows}
                 ON CONFLICT (topic, partition) DO UPDATE SET seq = excluded.seq",
                (),
                last.into_iter().map(mark).collect(),
            )
            .await?;
        Ok(())
    }
}
