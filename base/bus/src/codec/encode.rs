//! Records to one batch.

use super::header::{CRC_AT, CRC_FROM, EPOCH_AT, HEADER_BYTES, LENGTH_FROM, MAGIC};
use super::{Compression, EncodeError, Limits, varint};
use crate::Record;
use bytes::Bytes;

/// An encoded batch that waits for its place in the log.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    max_timestamp: i64,
}

impl Batch {
    /// Bytes of the batch as stored.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Milliseconds since 1970: the greatest of the records.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Gives the batch its place. The CRC covers neither field.
    pub fn place(mut self, base_offset: i64, leader_epoch: i32) -> Bytes {
        self.bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
        Bytes::from(self.bytes)
    }
}

/// Encodes `records` as one batch with base offset 0. What does not compress smaller is stored plain.
pub fn encode(
    records: &[Record<'_>],
    compression: Compression,
    limits: &Limits,
) -> Result<Batch, EncodeError> {
    let first = records.first().ok_or(EncodeError::Empty)?;
    let too_many = || EncodeError::Records { count: records.len(), limit: limits.records };
    if records.len() > limits.records {
        return Err(too_many());
    }
    let count = i32::try_from(records.len()).map_err(|_| too_many())?;
    let base_timestamp = first.time.millis();
    let (size, bodies) = check(records, base_timestamp, limits)?;

    let mut bytes = Vec::with_capacity(size);
    bytes.resize(HEADER_BYTES, 0);
    for (delta, (record, body)) in (0i64..).zip(records.iter().zip(bodies)) {
        varint::put(&mut bytes, length(body));
        put_body(&mut bytes, record, base_timestamp, delta);
    }
    let packed = compression.compress(&bytes[HEADER_BYTES..])?;
    let used = if packed.is_some() { compression } else { Compression::None };
    if let Some(packed) = packed {
        bytes.truncate(HEADER_BYTES);
        bytes.extend_from_slice(&packed);
        bytes.shrink_to_fit();
    }

    let max_timestamp = records.iter().map(|r| r.time.millis()).max().unwrap_or(base_timestamp);
    let over = || EncodeError::BatchBytes { size, limit: limits.batch_bytes };
    let length = i32::try_from(bytes.len() - LENGTH_FROM).map_err(|_| over())?;
    let mut header = Header { bytes: &mut bytes, at: 8 };
    header.put(&length.to_be_bytes());
    header.put(&0i32.to_be_bytes()); // leader epoch
    header.put(&MAGIC.to_be_bytes());
    header.put(&[0; 4]); // the CRC, below
    header.put(&used.attributes().to_be_bytes());
    header.put(&(count - 1).to_be_bytes());
    header.put(&base_timestamp.to_be_bytes());
    header.put(&max_timestamp.to_be_bytes());
    header.put(&(-1i64).to_be_bytes()); // no producer id,
    header.put(&(-1i16).to_be_bytes()); // no epoch,
    header.put(&(-1i32).to_be_bytes()); // no sequence: a plain producer
    header.put(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    Ok(Batch { bytes, count: count.unsigned_abs(), max_timestamp })
}

struct Header<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Header<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

/// Checks every limit and returns the batch's size before compression, and that of each record after its length.
fn check(
    records: &[Record<'_>],
    base_timestamp: i64,
    limits: &Limits,
) -> Result<(usize, Vec<usize>), EncodeError> {
    let mut size = HEADER_BYTES;
    let mut bodies = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        if record.time.millis() < 0 {
            return Err(EncodeError::Time { index });
        }
        if record.headers.len() > limits.headers {
            let count = record.headers.len();
            return Err(EncodeError::Headers { index, count, limit: limits.headers });
        }
        let body = body_size(record, base_timestamp, length(index));
        if body > limits.record_bytes {
            return Err(EncodeError::RecordBytes { index, size: body, limit: limits.record_bytes });
        }
        size += varint::size(length(body)) + body;
        if size > limits.batch_bytes {
            return Err(EncodeError::BatchBytes { size, limit: limits.batch_bytes });
        }
        bodies.push(body);
    }
    Ok((size, bodies))
}

/// A length as the format writes it. Saturates; `check` refuses such lengths.
fn length(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn field_size(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint::size(length(bytes.len())) + bytes.len(),
        None => 1,
    }
}

/// Bytes of a record after its length.
fn body_size(record: &Record<'_>, base_timestamp: i64, offset_delta: i64) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| field_size(Some(name.as_bytes())) + field_size(*value))
        .sum();
    1 + varint::size(record.time.millis() - base_timestamp)
        + varint::size(offset_delta)
        + field_size(record.key)
        + field_size(record.value)
        + varint::size(length(record.headers.len()))
        + headers
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            varint::put(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => varint::put(out, -1),
    }
}

fn put_body(out: &mut Vec<u8>, record: &Record<'_>, base_timestamp: i64, offset_delta: i64) {
    out.push(0); // attributes: none are defined
    varint::put(out, record.time.millis() - base_timestamp);
    varint::put(out, offset_delta);
    put_field(out, record.key);
    put_field(out, record.value);
    varint::put(out, length(record.headers.len()));
    for (name, value) in record.headers {
        put_field(out, Some(name.as_bytes()));
        put_field(out, *value);
    }
}
