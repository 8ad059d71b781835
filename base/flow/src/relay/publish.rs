//! Rows to the log: each partition's in order, as much in one append as the log takes.

use crate::storage::outbox::Waiting;
use crate::wire;
use artel_bus::{Appended, Bus, BusError, Record};
use artel_message::Headers;
use std::sync::Arc;

/// The most bytes in one append.
pub(super) const APPEND_BYTES: usize = 768 << 10;

/// Rows of one partition, in order.
pub(super) struct Batch {
    pub topic: String,
    pub partition: u32,
    pub rows: Vec<Waiting>,
}

/// What became of a partition's rows: its place, those confirmed, and why some were not.
pub(super) type Outcome = ((String, u32), Vec<(Waiting, i64)>, Option<Refused>);

/// Why rows of a partition wait.
pub(super) struct Refused {
    /// The last row that was tried.
    pub last: i64,
    pub error: BusError,
    /// The row that the log will never take, where it is one row's own fault.
    pub never: Option<Waiting>,
}

pub(super) async fn append_partition(bus: Arc<dyn Bus>, batch: Batch) -> Outcome {
    let Batch { topic, partition, rows } = batch;
    let last = rows.last().map_or(0, |row| row.turn);
    let mut confirmed = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(row) =
            rows.next_if(|row| chunk.is_empty() || bytes + row.message.size() <= APPEND_BYTES)
        {
            bytes += row.message.size();
            chunk.push(row);
        }
        match append_chunk(bus.as_ref(), &topic, partition, &chunk).await {
            Ok(appended) => {
                confirmed.extend((0u32..).zip(chunk).map(|(index, row)| (row, appended.offset(index))));
            }
            Err(error) => {
                let never = if is_a_records_fault(&error) {
                    first_refused(bus.as_ref(), &topic, partition, chunk, &mut confirmed).await
                } else {
                    None
                };
                return ((topic, partition), confirmed, Some(Refused { last, error, never }));
            }
        }
    }
    ((topic, partition), confirmed, None)
}

/// The same record will be refused again and again.
fn is_a_records_fault(error: &BusError) -> bool {
    matches!(error, BusError::TooLarge { .. } | BusError::InvalidRecord { .. })
}

/// One by one up to the row that is refused.
async fn first_refused(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    rows: Vec<Waiting>,
    confirmed: &mut Vec<(Waiting, i64)>,
) -> Option<Waiting> {
    for row in rows {
        match append_chunk(bus, topic, partition, std::slice::from_ref(&row)).await {
            Ok(appended) => confirmed.push((row, appended.base)),
            Err(error) => return Some(row).filter(|_| is_a_records_fault(&error)),
        }
    }
    None
}

async fn append_chunk(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    rows: &[Waiting],
) -> Result<Appended, BusError> {
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
    bus.append(topic, partition, &records).await
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
