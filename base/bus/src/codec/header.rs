//! The fixed part of a batch.

use super::{CodecError, Compression};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// What the length field does not count: base offset and the length itself.
pub(super) const LENGTH_FROM: usize = 12;
pub(super) const EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// The CRC covers the batch from here on.
pub(super) const CRC_FROM: usize = 21;
pub(super) const MAGIC: i8 = 2;

const LOG_APPEND_TIME: i16 = 1 << 3;
const CONTROL: i16 = 1 << 5;

/// A batch header as it stands in the file; see the module's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub size: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970: the greatest of the records.
    pub max_timestamp: i64,
    pub count: u32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], CodecError> {
    bytes
        .get(at..at + N)
        .and_then(|slice| slice.try_into().ok())
        .ok_or(CodecError::Short { need: HEADER_BYTES, have: bytes.len() })
}

impl BatchHeader {
    /// Reads the header at the start of `bytes` and checks what can be checked without the records.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, CodecError> {
        let magic = i8::from_be_bytes(array(bytes, MAGIC_AT)?);
        if magic != MAGIC {
            return Err(CodecError::Magic(magic));
        }
        let length = i32::from_be_bytes(array(bytes, 8)?);
        let size = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LENGTH_FROM))
            .filter(|size| *size >= HEADER_BYTES)
            .ok_or(CodecError::Malformed("the batch length is less than a header"))?;
        let count = u32::try_from(i32::from_be_bytes(array(bytes, 57)?))
            .map_err(|_| CodecError::Malformed("the record count is negative"))?;
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(array(bytes, 0)?),
            size,
            leader_epoch: i32::from_be_bytes(array(bytes, EPOCH_AT)?),
            crc: u32::from_be_bytes(array(bytes, CRC_AT)?),
            attributes: i16::from_be_bytes(array(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(array(bytes, 35)?),
            count,
        };
        if header.base_offset < 0 || header.last_offset_delta < 0 || header.end().is_none() {
            return Err(CodecError::Malformed("an offset is negative or too large"));
        }
        if i64::from(count) > i64::from(header.last_offset_delta) + 1 {
            return Err(CodecError::Malformed("more records than offsets"));
        }
        Ok(header)
    }

    fn end(&self) -> Option<i64> {
        self.base_offset.checked_add(i64::from(self.last_offset_delta))?.checked_add(1)
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    pub fn compression(&self) -> Result<Compression, CodecError> {
        Compression::from_attributes(self.attributes)
    }

    /// Whether the records' own times are replaced by `max_timestamp`.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch is a transaction marker, which holds nothing for readers.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Compares the stored CRC-32C with the bytes; `batch` is exactly one batch.
pub fn check_crc(batch: &[u8]) -> Result<(), CodecError> {
    let stored = u32::from_be_bytes(array(batch, CRC_AT)?);
    let covered = batch.get(CRC_FROM..).ok_or(CodecError::Short { need: HEADER_BYTES, have: batch.len() })?;
    let computed = crc32c::crc32c(covered);
    if stored == computed { Ok(()) } else { Err(CodecError::Crc { stored, computed }) }
}
