//! Kafka's record batch, format version 2 (Kafka documentation, "Record Batch"), encoded and decoded by our own bounded
//! code: nothing that a file or a peer says is believed before it is checked against a [`Limits`].
//!
//! ```text
//! 0  base offset i64       17 crc u32 (CRC-32C of all that follows)   43 producer id i64
//! 8  length i32 (from 12)  21 attributes i16                          51 producer epoch i16
//! 12 leader epoch i32      23 last offset delta i32                   53 base sequence i32
//! 16 magic i8 = 2          27 base time i64 · 35 greatest time i64    57 record count i32 · 61 records
//! ```
//! Base offset and leader epoch lie before what the CRC covers: a batch is encoded by whoever appends it, and gets its
//! place later without being touched otherwise.

mod compress;
mod decode;
mod encode;
mod header;
#[cfg(test)]
mod proof;
mod varint;

pub use compress::Compression;
pub use decode::Records;
pub use encode::{Batch, batch_of_one, encode, estimate};
pub use header::{BatchHeader, HEADER_BYTES, check_crc};

/// What a batch may cost the process that handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record's key, value and headers together, with their framing.
    pub record_bytes: usize,
    /// Bytes of a batch, before compression.
    pub batch_bytes: usize,
    pub records: usize,
    /// Headers of one record.
    pub headers: usize,
}

impl Limits {
    /// What is accepted when reading: far above any setting for writing, so that what was once written stays readable.
    pub const READ: Limits =
        Limits { record_bytes: 128 << 20, batch_bytes: 128 << 20, records: 4 << 20, headers: 16 << 10 };
}

/// Why bytes are not a batch that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the batch needs {need} bytes and has {have}")]
    Short { need: usize, have: usize },
    #[error("the format version is {0}, not 2")]
    Magic(i8),
    #[error("the checksum is {computed:08x}, not {stored:08x} as stored")]
    Crc { stored: u32, computed: u32 },
    #[error("compression {0} is not supported; this log reads none (0), lz4 (3) and zstd (4)")]
    Compression(u8),
    #[error("{algorithm} decompression failed: {reason}")]
    Decompress { algorithm: &'static str, reason: String },
    #[error("{what} is {size}; the limit for reading is {limit}")]
    TooLarge { what: &'static str, size: usize, limit: usize },
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// Why records can't be made a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("record {index} is {size} bytes; the limit is {limit}")]
    RecordBytes { index: usize, size: usize, limit: usize },
    #[error("the batch is {size} bytes; the limit is {limit}")]
    BatchBytes { size: usize, limit: usize },
    #[error("the batch has {count} records; the limit is {limit}")]
    Records { count: usize, limit: usize },
    #[error("record {index} has {count} headers; the limit is {limit}")]
    Headers { index: usize, count: usize, limit: usize },
    #[error("record {index} has a time before 1970, which the format cannot hold")]
    Time { index: usize },
    #[error("a batch needs at least one record")]
    Empty,
    #[error("{algorithm} compression failed: {reason}")]
    Compress { algorithm: &'static str, reason: String },
}
