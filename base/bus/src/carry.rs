//! A partition's records from one log to another, and whether both hold the same.
//!
//! Whoever carries is the only one that writes to the target. Offsets are not kept: the target gives its own, and a [`Shift`]
//! says which record became which.

use crate::{Appended, Bounds, BusError, Fetch, Log, Received, Record};
use artel_message::Time;

/// Why a partition was not carried.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CarryError {
    /// The target will never take it.
    #[error("the message at offset {offset} of {topic}/{partition} can't be kept there: {error}")]
    Record { topic: String, partition: u32, offset: i64, error: BusError },
    #[error(transparent)]
    Log(#[from] BusError),
}

/// How much is read at a time, which is appended as one batch.
const AT_A_TIME: Fetch = Fetch { max_records: 1_000, max_bytes: 512 << 10 };

/// Where the records of a partition went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// What was carried, in the source's offsets.
    pub source: Bounds,
    /// Runs of records that follow each other on both sides: (source, target), in order.
    runs: Vec<(i64, i64)>,
    /// The end of the target behind the last record.
    target_end: i64,
}

impl Shift {
    /// A partition of which nothing was carried yet.
    fn empty(begin: i64, target_end: i64) -> Shift {
        Shift { source: Bounds { begin, end: begin }, runs: Vec::new(), target_end }
    }

    fn add(&mut self, appended: &Appended) {
        for index in 0..appended.count {
            let (source, target) = (self.source.end, appended.offset(index));
            let follows = self.runs.last().is_some_and(|(from, to)| source - from == target - to);
            if !follows {
                self.runs.push((source, target));
            }
            self.source.end += 1;
            self.target_end = target + 1;
        }
    }

    /// Where a place of the source is in the target. A place behind the end stays as far behind it, and one before the beginning
    /// as far before it: what did not fit the source fits the target no better.
    pub fn offset(&self, source: i64) -> i64 {
        let after = self.runs.partition_point(|(from, _)| *from <= source);
        match self.runs.get(after.saturating_sub(1)) {
            Some((from, to)) if source < self.source.end => to + (source - from),
            _ => self.target_end + (source - self.source.end),
        }
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        u64::try_from(self.source.end - self.source.begin).unwrap_or(0)
    }
}

/// Appends every record of a partition to the same one of another log, in order; `carried` hears of records as they are durable.
/// After an error the target holds a part of it, and is to be made anew.
pub async fn carry(
    from: &dyn Log,
    to: &dyn Log,
    topic: &str,
    partition: u32,
    carried: &(dyn Fn(u64) + Sync),
) -> Result<Shift, CarryError> {
    let Bounds { begin, end } = from.bounds(topic, partition).await?;
    let mut shift = Shift::empty(begin, to.bounds(topic, partition).await?.end);
    let mut at = begin;
    while at < end {
        let fetched = from.read(topic, partition, at, AT_A_TIME).await?;
        if fetched.next <= at {
            let reason = format!("{topic}/{partition} gives nothing at offset {at}, before its end {end}");
            return Err(BusError::Unavailable(reason).into());
        }
        at = fetched.next;
        append(to, topic, partition, &fetched.records, &mut shift).await?;
        carried(fetched.records.len() as u64);
    }
    Ok(shift)
}

/// A batch that is too large for the target goes in two.
async fn append(
    to: &dyn Log,
    topic: &str,
    partition: u32,
    records: &[Received],
    shift: &mut Shift,
) -> Result<(), CarryError> {
    let headers: Vec<Vec<_>> = records.iter().map(|record| record.headers.iter().collect()).collect();
    let batch: Vec<Record<'_>> = records
        .iter()
        .zip(&headers)
        .map(|(record, headers)| Record {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
            time: record.time,
        })
        .collect();
    match to.append(topic, partition, &batch).await {
        Ok(appended) => shift.add(&appended),
        Err(BusError::TooLarge { .. }) if records.len() > 1 => {
            let (first, rest) = records.split_at(records.len() / 2);
            Box::pin(append(to, topic, partition, first, shift)).await?;
            Box::pin(append(to, topic, partition, rest, shift)).await?;
        }
        Err(error) => return Err(of_record(error, topic, partition, records)),
    }
    Ok(())
}

/// Names the record that is refused, where it is one record's own fault.
fn of_record(error: BusError, topic: &str, partition: u32, records: &[Received]) -> CarryError {
    let index = match &error {
        BusError::InvalidRecord { index, .. } => *index,
        BusError::TooLarge { .. } => 0,
        _ => return error.into(),
    };
    let Some(offset) = records.get(index).map(|record| record.offset) else { return error.into() };
    CarryError::Record { topic: topic.to_owned(), partition, offset, error }
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Records that are the same on both sides.
    pub same: u64,
    /// Records that the target has taken away by its retention since.
    pub gone: u64,
}

/// Reads both sides record by record: key, value, headers and time have to be the same, in the same order, and nothing else may
/// be in the target. `read` hears of records as they are compared.
pub async fn compare(
    from: &dyn Log,
    to: &dyn Log,
    topic: &str,
    partition: u32,
    shift: &Shift,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Compared, BusError> {
    let there = to.bounds(topic, partition).await?;
    let wrong = |reason: String| BusError::Io { context: format!("comparing {topic}/{partition}"), reason };
    let Bounds { begin, end } = shift.source;
    if there.end < shift.offset(end) {
        return Err(wrong(format!("the target ends at {}, before {}", there.end, shift.offset(end))));
    }
    let mut source = Side::new(from, topic, partition, begin, end);
    let mut target = Side::new(to, topic, partition, there.begin, there.end);
    let mut found = Compared { same: 0, gone: 0 };
    while let Some(record) = source.next().await? {
        let wanted = shift.offset(record.offset);
        if wanted < there.begin {
            found.gone += 1;
            continue;
        }
        let other = target.next().await?;
        let is_same = other.as_ref().is_some_and(|other| {
            (other.offset, &other.key, &other.value, &other.headers, millis(other.time))
                == (wanted, &record.key, &record.value, &record.headers, millis(record.time))
        });
        if !is_same {
            let at = other.map_or("nothing is there".to_owned(), |other| format!("offset {}", other.offset));
            return Err(wrong(format!("offset {} is not the same in the target ({at})", record.offset)));
        }
        found.same += 1;
        read(1);
    }
    if let Some(more) = target.next().await? {
        return Err(wrong(format!("the target holds more, from offset {} on", more.offset)));
    }
    Ok(found)
}

/// Logs keep milliseconds.
fn millis(time: Time) -> i64 {
    time.millis()
}

/// One log, record by record.
struct Side<'a> {
    log: &'a dyn Log,
    topic: &'a str,
    partition: u32,
    at: i64,
    end: i64,
    ready: std::vec::IntoIter<Received>,
}

impl<'a> Side<'a> {
    fn new(log: &'a dyn Log, topic: &'a str, partition: u32, at: i64, end: i64) -> Side<'a> {
        Side { log, topic, partition, at, end, ready: Vec::new().into_iter() }
    }

    async fn next(&mut self) -> Result<Option<Received>, BusError> {
        loop {
            if let Some(record) = self.ready.next() {
                return Ok(Some(record).filter(|record| record.offset < self.end));
            }
            if self.at >= self.end {
                return Ok(None);
            }
            let fetched = self.log.read(self.topic, self.partition, self.at, AT_A_TIME).await?;
            if fetched.next <= self.at {
                return Ok(None);
            }
            self.at = fetched.next;
            self.ready = fetched.records.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Piece;

    #[test]
    fn places_are_found_in_every_run_and_keep_their_distance_outside() {
        let mut shift = Shift::empty(100, 0);
        shift.add(&Appended::whole(0, 10));
        shift.add(&Appended::in_pieces(
            vec![Piece { index: 0, offset: 12 }, Piece { index: 3, offset: 20 }],
            5,
        ));
        assert_eq!(shift.source, Bounds { begin: 100, end: 115 });
        assert_eq!(shift.records(), 15);
        for (source, target) in [
            (100, 0),
            (109, 9),
            (110, 12),
            (112, 14),
            (113, 20),
            (114, 21),
            // The next one to be read, and what fits nowhere.
            (115, 22),
            (120, 27),
            (99, -1),
            (0, -100),
        ] {
            assert_eq!(shift.offset(source), target, "{source}");
        }
    }

    #[test]
    fn nothing_carried_begins_where_the_target_ends() {
        let shift = Shift::empty(7, 3);
        assert_eq!((shift.offset(7), shift.offset(8), shift.offset(6)), (3, 4, 2));
    }
}
