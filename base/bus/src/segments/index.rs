//! The two sparse indexes of a segment, in Kafka's format: entries of fixed width, growing, read by binary search.
//!
//! `.index`: last offset of a batch, relative to the segment's base (u32), and the position of that batch (u32).
//! `.timeindex`: the greatest time so far in ms (i64) and the relative last offset of the batch that holds it (u32).

use super::disk::{LogFile, read_full};
use std::io;

pub(super) const INDEX_ENTRY: usize = 8;
pub(super) const TIME_ENTRY: usize = 12;

/// An entry of either index.
pub(super) trait Entry: Copy {
    const WIDTH: usize;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub relative: u32,
    pub position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    pub relative: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

impl Entry for OffsetEntry {
    const WIDTH: usize = INDEX_ENTRY;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
    fn get(bytes: &[u8]) -> Self {
        OffsetEntry { relative: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }
}

impl Entry for TimeEntry {
    const WIDTH: usize = TIME_ENTRY;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative.to_be_bytes());
    }
    fn get(bytes: &[u8]) -> Self {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        TimeEntry { timestamp: i64::from_be_bytes(word), relative: u32_at(bytes, 8) }
    }
}

/// Entry number `i`; it must be there.
pub(super) fn entry<E: Entry>(file: &dyn LogFile, i: u64) -> io::Result<E> {
    let mut bytes = [0; TIME_ENTRY];
    let bytes = &mut bytes[..E::WIDTH];
    if read_full(file, bytes, i * E::WIDTH as u64)? < E::WIDTH {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(E::get(bytes))
}

/// The last of the first `count` entries for which `holds` is true; it is true up to some entry and false after.
pub(super) fn last_where<E: Entry>(
    file: &dyn LogFile,
    count: u64,
    holds: impl Fn(&E) -> bool,
) -> io::Result<Option<E>> {
    let (mut low, mut high, mut found) = (0, count, None);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = entry::<E>(file, middle)?;
        if holds(&at) {
            found = Some(at);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}
