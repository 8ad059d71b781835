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

/// About how many bytes a batch of `records` takes before compression: seldom less than it does, and little more.
pub fn estimate(records: &[Record<'_>]) -> usize {
    HEADER_BYTES + records.iter().map(about).sum::<usize>()
}

/// The most bytes of a batch whose one record has a body of `record_bytes`, before compression.
pub fn batch_of_one(record_bytes: usize) -> usize {
    HEADER_BYTES + varint::size(length(record_bytes)) + record_bytes
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
    let mut bytes = Vec::with_capacity(estimate(records).min(limits.batch_bytes));
    bytes.resize(HEADER_BYTES, 0);
    for (index, record) in records.iter().enumerate() {
        put_record(&mut bytes, record, index, base_timestamp, limits)?;
    }
    let size = bytes.len();
    let packed = compression.compress(&bytes[HEADER_BYTES..])?;
    let used = if packed.is_some() { compression } else { Compression::None };
    if let Some(packed) = packed {
        bytes.truncate(HEADER_BYTES);
        bytes.extend_from_slice(&packed);
    }
    if bytes.capacity() - bytes.len() > bytes.len() / 4 {
        // It may stay in memory for a while.
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

/// A length as the format writes it. Saturates; the limits refuse such lengths.
fn length(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What a record usually takes: framing of 16 bytes, and a length of one byte for each name and value of a header.
fn about(record: &Record<'_>) -> usize {
    let length = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(*value)).sum();
    16 + length(record.key) + length(record.value) + headers + 2 * record.headers.len()
}

/// Bytes of a record after its length.
fn body_size(record: &Record<'_>, base_timestamp: i64, index: usize) -> usize {
    let field =
        |field: Option<&[u8]>| field.map_or(NULL_BYTES, |field| length_size(field.len()) + field.len());
    let headers: usize =
        record.headers.iter().map(|(name, value)| field(Some(name.as_bytes())) + field(*value)).sum();
    ATTRIBUTE_BYTES
        + varint::size(record.time.millis() - base_timestamp)
        + length_size(index)
        + field(record.key)
        + field(record.value)
        + length_size(record.headers.len())
        + headers
}

#[inline(always)]
fn length_size(size: usize) -> usize {
    // Nearly every length takes one byte.
    if size < 64 { 1 } else { varint::size(length(size)) }
}

/// The length -1.
const NULL_BYTES: usize = 1;
const ATTRIBUTE_BYTES: usize = 1;

/// Appends one record, or refuses it by one of the limits. What is too large is not copied first.
fn put_record(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    index: usize,
    base_timestamp: i64,
    limits: &Limits,
) -> Result<(), EncodeError> {
    if record.time.millis() < 0 {
        return Err(EncodeError::Time { index });
    }
    let count = record.headers.len();
    if count > limits.headers {
        return Err(EncodeError::Headers { index, count, limit: limits.headers });
    }
    let body = body_size(record, base_timestamp, index);
    if body > limits.record_bytes {
        return Err(EncodeError::RecordBytes { index, size: body, limit: limits.record_bytes });
    }
    let start = out.len();
    let end = start + varint::size(length(body)) + body;
    if end > limits.batch_bytes {
        return Err(EncodeError::BatchBytes { size: end, limit: limits.batch_bytes });
    }
    out.resize(end, 0);
    let mut space = Space { bytes: out, at: start };
    space.number(length(body));
    put_body(&mut space, record, base_timestamp, length(index));
    debug_assert_eq!(space.at, end);
    Ok(())
}

/// Copies `from` over `to`, of the same length. Most fields are short: two copies of a fixed size that may overlap cost less
/// than a call.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        8..=16 => ends::<8>(from, to),
        17..=32 => ends::<16>(from, to),
        4..=7 => ends::<4>(from, to),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(place)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *place = *first;
    }
    if let (Some(last), Some(place)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *place = *last;
    }
}

/// Bytes to be filled. A growing buffer would ask before each of the many small fields whether it is large enough.
struct Space<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Space<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.at] = byte;
        self.at += 1;
    }

    #[inline(always)]
    fn number(&mut self, v: i64) {
        varint::put(v, |byte| self.byte(byte));
    }

    #[inline(always)]
    fn field(&mut self, field: Option<&[u8]>) {
        let Some(field) = field else { return self.number(-1) };
        self.number(length(field.len()));
        let end = self.at + field.len();
        copy(field, &mut self.bytes[self.at..end]);
        self.at = end;
    }
}

fn put_body(space: &mut Space<'_>, record: &Record<'_>, base_timestamp: i64, offset_delta: i64) {
    space.byte(0); // attributes: none are defined
    space.number(record.time.millis() - base_timestamp);
    space.number(offset_delta);
    space.field(record.key);
    space.field(record.value);
    space.number(length(record.headers.len()));
    for (name, value) in record.headers {
        space.field(Some(name.as_bytes()));
        space.field(*value);
    }
}
