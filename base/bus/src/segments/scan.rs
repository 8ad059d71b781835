//! Walking the batches of a log file, read in chunks.

use super::disk::{LogFile, read_full};
use crate::codec::{BatchHeader, CodecError, HEADER_BYTES};
use bytes::Bytes;
use std::io;

/// Why a walk can't go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes at the present position are no batch.
    #[error("{0}")]
    Damaged(#[from] CodecError),
}

/// A walk from batch to batch. Batches are slices of the chunks read.
pub(super) struct Scan<'a> {
    file: &'a dyn LogFile,
    /// Where the next batch begins.
    pub position: u64,
    /// Where to stop: the readable end of the file.
    limit: u64,
    chunk: Bytes,
    chunk_at: u64,
    chunk_bytes: usize,
}

impl<'a> Scan<'a> {
    /// `chunk_bytes` is how much one read brings, at least a header.
    pub fn new(file: &'a dyn LogFile, position: u64, limit: u64, chunk_bytes: usize) -> Scan<'a> {
        let chunk_bytes = chunk_bytes.max(HEADER_BYTES);
        Scan { file, position, limit, chunk: Bytes::new(), chunk_at: position, chunk_bytes }
    }

    /// The bytes from the present position on, `need` at least unless the limit comes before.
    fn ahead(&mut self, need: usize) -> Result<Bytes, ScanError> {
        let within = usize::try_from(self.position - self.chunk_at).unwrap_or(usize::MAX);
        if within > self.chunk.len() || self.chunk.len() - within < need {
            let left = usize::try_from(self.limit - self.position).unwrap_or(usize::MAX);
            let mut chunk = vec![0; self.chunk_bytes.max(need).min(left)];
            let have = read_full(self.file, &mut chunk, self.position)?;
            chunk.truncate(have);
            self.chunk = Bytes::from(chunk);
            self.chunk_at = self.position;
            return Ok(self.chunk.clone());
        }
        Ok(self.chunk.slice(within..))
    }

    /// Whether the batch at the present position is whole in memory already.
    pub fn is_buffered(&self) -> bool {
        let within = usize::try_from(self.position - self.chunk_at).unwrap_or(usize::MAX);
        let ahead = self.chunk.get(within..).unwrap_or_default();
        BatchHeader::parse(ahead).is_ok_and(|header| header.size <= ahead.len())
    }

    /// The header of the batch at the present position, `None` at the end. The batch lies within the limit.
    pub fn header(&mut self) -> Result<Option<BatchHeader>, ScanError> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let ahead = self.ahead(HEADER_BYTES)?;
        let header = BatchHeader::parse(&ahead)?;
        let left = usize::try_from(self.limit - self.position).unwrap_or(usize::MAX);
        if header.size > left {
            return Err(CodecError::Short { need: header.size, have: left }.into());
        }
        Ok(Some(header))
    }

    /// The whole batch whose header was just read; its checksum is not looked at.
    pub fn batch(&mut self, header: &BatchHeader) -> Result<Bytes, ScanError> {
        let ahead = self.ahead(header.size)?;
        if ahead.len() < header.size {
            return Err(CodecError::Short { need: header.size, have: ahead.len() }.into());
        }
        Ok(ahead.slice(..header.size))
    }

    pub fn step(&mut self, header: &BatchHeader) {
        self.position += header.size as u64;
    }
}
