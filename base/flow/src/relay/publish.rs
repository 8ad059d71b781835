//! Rows to the log: one append of one partition.

use super::lines::{Chunk, Place};
use crate::storage::outbox::Waiting;
use crate::wire;
use artel_bus::{Bus, BusError, Record};
use artel_message::Headers;
use std::sync::Arc;

/// The most bytes in one append.
pub(super) const APPEND_BYTES: usize = 768 << 10;

/// What became of an append.
pub(super) struct Appended {
    pub place: Place,
    /// In the log, with their offsets.
    pub done: Vec<(Waiting, i64)>,
    pub refused: Option<Refused>,
}

/// Why rows of a partition wait.
pub(super) struct Refused {
    /// The turn of the first of them.
    pub first: i64,
    pub error: BusError,
    /// The row that the log will never take, where it is one row's own fault.
    pub never: Option<Waiting>,
}

pub(super) async fn append(bus: Arc<dyn Bus>, chunk: Chunk) -> Appended {
    let Chunk { place, rows, .. } = chunk;
    match append_rows(bus.as_ref(), &place, &rows).await {
        Ok(appended) => {
            let done = (0u32..).zip(rows).map(|(index, row)| (row, appended.offset(index))).collect();
            Appended { place, done, refused: None }
        }
        Err(BusError::Unavailable(_)) if planted!(UnknownAppendIsDone) => {
            Appended { place, done: rows.into_iter().map(|row| (row, 0)).collect(), refused: None }
        }
        Err(error) if is_a_records_fault(&error) => one_by_one(bus.as_ref(), place, rows).await,
        Err(error) => {
            let first = rows.first().map_or(0, |row| row.turn);
            Appended { place, done: Vec::new(), refused: Some(Refused { first, error, never: None }) }
        }
    }
}

/// The same record will be refused again and again.
fn is_a_records_fault(error: &BusError) -> bool {
    matches!(error, BusError::TooLarge { .. } | BusError::InvalidRecord { .. })
}

/// Up to the row that is refused.
async fn one_by_one(bus: &dyn Bus, place: Place, rows: Vec<Waiting>) -> Appended {
    let mut done = Vec::with_capacity(rows.len());
    for row in rows {
        match append_rows(bus, &place, std::slice::from_ref(&row)).await {
            Ok(appended) => done.push((row, appended.base)),
            Err(error) => {
                let first = row.turn;
                let never = Some(row).filter(|_| is_a_records_fault(&error));
                return Appended { place, done, refused: Some(Refused { first, error, never }) };
            }
        }
    }
    Appended { place, done, refused: None }
}

async fn append_rows(
    bus: &dyn Bus,
    (topic, partition): &Place,
    rows: &[Waiting],
) -> Result<artel_bus::Appended, BusError> {
    let headers: Vec<Headers> = rows.iter().map(full_headers).collect();
    let borrowed: Vec<Vec<_>> = headers.iter().map(|headers| headers.iter().collect()).collect();
    let records: Vec<Record<'_>> = rows
        .iter()
        .zip(&borrowed)
        .map(|(row, headers)| Record {
            key: row.message.key.as_deref(),
            value: row.message.value.as_deref(),
            headers,
            time: row.message.at,
        })
        .collect();
    bus.append(topic, *partition, &records).await
}

/// The stored headers with the numbers that only the row has.
fn full_headers(row: &Waiting) -> Headers {
    let mut headers = wire::decode(&row.message.headers).unwrap_or_default();
    let mut put = |name: &str, value: i64| headers.push(name, Some(value.to_string().as_bytes()));
    if let Some(seq) = row.seq.filter(|_| row.message.numbered) {
        put("artel_seq", seq);
    }
    if let Some(prev) = row.prev {
        put("artel_prev", prev);
    }
    headers
}
