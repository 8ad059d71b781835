//! One batch to records.

use super::header::{BatchHeader, HEADER_BYTES};
use super::varint::Cursor;
use super::{CodecError, Compression, Limits};
use crate::Received;
use artel_message::{DamagedHeaders, Headers, Time};
use bytes::Bytes;
use std::ops::Range;

/// The smallest record: length, attributes, two deltas, null key, null value, no headers.
const MIN_RECORD: usize = 7;

/// The records of one batch, in offset order. Keys, values and headers are slices of the batch's own buffer.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    at: usize,
    left: u32,
    /// The offset delta of the record before; they only grow.
    last_delta: i32,
    max_headers: usize,
}

impl Records {
    /// Opens a batch whose CRC is already checked; `batch` is exactly one batch.
    pub fn open(batch: &Bytes, limits: &Limits) -> Result<Records, CodecError> {
        let header = BatchHeader::parse(batch)?;
        if batch.len() != header.size {
            return Err(CodecError::Short { need: header.size, have: batch.len() });
        }
        let too_large = |what, size, limit| Err(CodecError::TooLarge { what, size, limit });
        if header.size > limits.batch_bytes {
            return too_large("the batch", header.size, limits.batch_bytes);
        }
        let count = usize::try_from(header.count).unwrap_or(usize::MAX);
        if count > limits.records {
            return too_large("the record count", count, limits.records);
        }
        let packed = batch.slice(HEADER_BYTES..);
        let body = match header.compression()? {
            Compression::None => packed,
            codec => Bytes::from(codec.decompress(&packed, limits.batch_bytes)?),
        };
        if count.saturating_mul(MIN_RECORD) > body.len() {
            return Err(CodecError::Malformed("more records than bytes"));
        }
        Ok(Records { header, body, at: 0, left: header.count, last_delta: -1, max_headers: limits.headers })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// What a record takes on the average, its framing included; at least 1.
    pub fn average_bytes(&self) -> usize {
        let count = usize::try_from(self.header.count).unwrap_or(usize::MAX).max(1);
        (self.body.len() / count).max(1)
    }

    /// The place of the next record's fields in the body.
    fn frame(&mut self) -> Result<Range<usize>, CodecError> {
        let mut cursor = Cursor { bytes: &self.body, at: self.at };
        let length = cursor.count()?;
        let range = cursor.take(length)?;
        self.at = range.end;
        Ok(range)
    }

    fn offset(&mut self, delta: i32) -> Result<i64, CodecError> {
        if delta <= self.last_delta || delta > self.header.last_offset_delta {
            return Err(CodecError::Malformed("offsets do not grow, or pass the batch"));
        }
        self.last_delta = delta;
        Ok(self.header.base_offset + i64::from(delta))
    }

    /// Steps over the records below `offset` without building them.
    pub fn skip_below(&mut self, offset: i64) -> Result<(), CodecError> {
        while self.left > 0 {
            let (at, last) = (self.at, self.last_delta);
            let frame = self.frame()?;
            let mut cursor = Cursor { bytes: &self.body[..frame.end], at: frame.start };
            cursor.byte()?;
            cursor.varlong()?;
            let delta = cursor.varint()?;
            if self.offset(delta)? >= offset {
                (self.at, self.last_delta) = (at, last);
                return Ok(());
            }
            self.left -= 1;
        }
        Ok(())
    }

    fn record(&mut self) -> Result<Received, CodecError> {
        let frame = self.frame()?;
        let mut cursor = Cursor { bytes: &self.body[..frame.end], at: frame.start };
        cursor.byte()?; // attributes: none are defined
        let time_delta = cursor.varlong()?;
        let delta = cursor.varint()?;
        let key = cursor.nullable()?;
        let value = cursor.nullable()?;
        let headers = headers(&mut cursor, &self.body, self.max_headers)?;
        let millis = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header
                .base_timestamp
                .checked_add(time_delta)
                .ok_or(CodecError::Malformed("a time is too large"))?
        };
        let offset = self.offset(delta)?;
        let slice = |range: Option<Range<usize>>| range.map(|range| self.body.slice(range));
        Ok(Received {
            offset,
            time: Time::from_millis(millis),
            key: slice(key),
            value: slice(value),
            headers,
        })
    }
}

/// The headers are all that is left of the record.
fn headers(cursor: &mut Cursor<'_>, body: &Bytes, limit: usize) -> Result<Headers, CodecError> {
    let count = cursor.count()?;
    if count > limit {
        return Err(CodecError::TooLarge { what: "the header count", size: count, limit });
    }
    if cursor.at == cursor.bytes.len() && count == 0 {
        return Ok(Headers::new());
    }
    Headers::from_record(body.slice(cursor.at..cursor.bytes.len()), count)
        .map_err(|DamagedHeaders(reason)| CodecError::Malformed(reason))
}

impl Iterator for Records {
    type Item = Result<Received, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = self.record();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        // A malformed record ends it early.
        (0, Some(left))
    }
}
