//! The recovery point: a small file per partition that says how far its last segment is durable. It is written after each
//! fsync of the log and synced only on closing, so it may lag behind the truth after a crash, and never runs ahead of it.
//! Recovery needs it to tell a round that was never finished from damage to what was.

use super::disk::{LogFile, read_full, write_all};
use std::io;

const BYTES: usize = 20;

/// Everything before `position` in the segment `base` is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecoveryPoint {
    pub base: i64,
    pub position: u64,
}

impl RecoveryPoint {
    pub fn store(self, file: &dyn LogFile) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.base.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_be_bytes());
        write_all(file, &bytes, 0)
    }

    /// `None` when the file holds no whole point.
    pub fn load(file: &dyn LogFile) -> io::Result<Option<RecoveryPoint>> {
        let mut bytes = [0; BYTES];
        if read_full(file, &mut bytes, 0)? < BYTES {
            return Ok(None);
        }
        let (mut base, mut position, mut crc) = ([0; 8], [0; 8], [0; 4]);
        base.copy_from_slice(&bytes[..8]);
        position.copy_from_slice(&bytes[8..16]);
        crc.copy_from_slice(&bytes[16..]);
        if crc32c::crc32c(&bytes[..16]) != u32::from_be_bytes(crc) {
            return Ok(None);
        }
        let point = RecoveryPoint { base: i64::from_be_bytes(base), position: u64::from_be_bytes(position) };
        Ok(Some(point))
    }
}
