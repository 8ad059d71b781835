//! What a move of everything to another log and other databases has to know of the flow's tables: which columns hold places of
//! the log, and the record of the move, which keeps nodes from starting on a half of it.
//!
//! Rows are carried as they are but for four things: offsets become those of the new log, its identity takes the place of the old
//! one's, identities that were derived from a place follow it, and nobody owns anything.

mod book;
mod columns;
mod rewrite;

pub(crate) use book::refuse_half;
pub use book::{Arrival, Arrivals};
pub use columns::Position;
pub use rewrite::{NewPlaces, NewTopic, Rewrite};

use crate::storage;
use crate::{Failure, StartError};
use artel_bus::Log;
use artel_message::{Cause, Envelope};
use artel_store::Db;
use uuid::Uuid;

/// The identities of foreign messages that places of this database remember: they are derived from where the message lies, so
/// they are another one there. What does not fit the old log is left as it is, and fits the new one no better.
pub async fn derived(db: &Db, old: &dyn Log, places: &mut NewPlaces) -> Result<(), Failure> {
    for (key, topic, partition) in storage::moves::parked_keys(&mut db.read().await?).await? {
        places.parked(key, topic, partition);
    }
    let stored = storage::moves::last_taken(&mut db.read().await?).await?;
    for (topic, partition, log, offset, id) in stored {
        let Some(new) = places.topic(&topic, log) else { continue };
        let fetch = artel_bus::Fetch { max_records: 1, max_bytes: 1 };
        let found = match old.read(&topic, partition, offset, fetch).await {
            Ok(found) => found.records.into_iter().find(|record| record.offset == offset),
            Err(artel_bus::BusError::OutOfRange { .. } | artel_bus::BusError::UnknownPartition { .. }) => {
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(record) = found else { continue };
        let is_foreign = Envelope::from_headers(&record.headers).is_err();
        if is_foreign && Cause::foreign(log, &topic, partition, offset, record.time).id() == id {
            let there = new.offset(partition, offset);
            let new = Cause::foreign(new.target, &topic, partition, there, record.time).id();
            places.identity(&topic, partition, offset, new);
        }
    }
    Ok(())
}

/// Refuses a database that can't be moved as it stands: a group that begins at an offset and has not begun would begin there in
/// another log, where the offset means another message.
pub async fn check(service: &str, db: &Db) -> Result<(), StartError> {
    let open = storage::moves::not_begun(&mut db.read().await?, service).await?;
    match open.into_iter().next() {
        None => Ok(()),
        Some((group, topic, start)) => Err(StartError::NotBegun {
            service: service.to_owned(),
            group,
            topic,
            offset: start.strip_prefix("offset:").unwrap_or(&start).to_owned(),
        }),
    }
}

/// How a [`Position`] is written in the log's own words.
pub(crate) type Taken = (String, u32, Uuid, i64, Uuid);
