//! Damage that nobody but a person can put right, and the search that tells it from a torn tail.

use super::disk::{LogFile, read_full};
use super::files::Kind;
use crate::codec::{BatchHeader, CodecError, HEADER_BYTES, check_crc};
use std::io;
use std::path::Path;

/// Why a partition can't be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("{file} is damaged at position {position} (offset {offset}): {error}")]
    Middle { file: String, position: u64, offset: i64, error: CodecError },
    #[error("{file} ends at offset {end}, but the next segment begins at {next}")]
    Gap { file: String, end: i64, next: i64 },
    #[error("the segment that begins at offset {base} is missing, and what may have followed it")]
    Missing { base: i64 },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Damage {
    /// Whether good records were found from `next` on, where another segment begins.
    pub fn passes(&self, next: i64) -> bool {
        match self {
            Damage::Gap { end, .. } => *end > next,
            Damage::Middle { offset, .. } => *offset >= next,
            Damage::Missing { .. } | Damage::Io(_) => false,
        }
    }

    /// What is wrong and what to do.
    pub fn sentence(&self, folder: &Path) -> String {
        let folder = folder.display();
        match self {
            Damage::Middle { file, position, offset, .. } => format!(
                "{self}; restore {folder}/{file} from a backup and start again, or give up everything from offset {offset} on: \
                 cut the file to {position} bytes, remove the segments after it and the file recovery-point, and start again"
            ),
            Damage::Gap { file, next, .. } => format!(
                "{self}; restore the missing part of {folder}/{file} from a backup and start again, or give up everything \
                 before offset {next}: move the segments before {} away and start again",
                Kind::Log.name(*next)
            ),
            Damage::Missing { base } => format!(
                "{self}; restore {folder} from a backup and start again, or give up what is missing: make an empty file {} \
                 where no segment is left, remove the file recovery-point, and start again",
                Kind::Log.name(*base)
            ),
            Damage::Io(_) => {
                format!("{folder} can't be read: {self}; mend the disk or its permissions and start again")
            }
        }
    }
}

/// Bytes looked at together.
const WINDOW: usize = 1 << 20;

/// How many bytes of what looks like a batch are checked, as a multiple of what is searched.
const CHECKED: u64 = 4;

/// Whether a valid batch may lie in `from..to` whose offset is `least` or more. Where too much only looks like one to check it
/// all, the answer is that one may.
pub(super) fn may_follow(file: &dyn LogFile, from: u64, to: u64, least: i64) -> io::Result<bool> {
    let mut budget = to.saturating_sub(from).saturating_mul(CHECKED);
    let mut window = vec![0; WINDOW];
    let mut start = from;
    while start + HEADER_BYTES as u64 <= to {
        let want = usize::try_from(to - start).map_or(WINDOW, |left| left.min(WINDOW));
        let have = read_full(file, &mut window[..want], start)?;
        if have < HEADER_BYTES {
            return Ok(false);
        }
        for at in 0..=have - HEADER_BYTES {
            // The version byte is looked at first: it rules out nearly every position.
            if window[at + 16] != 2 {
                continue;
            }
            let Some(size) = likely_size(&window[at..have], start + at as u64, to, least) else { continue };
            let Some(left) = budget.checked_sub(size as u64) else { return Ok(true) };
            budget = left;
            if is_batch(file, size, start + at as u64)? {
                return Ok(true);
            }
        }
        // Windows overlap by a header, less the byte just looked at.
        start += (have - HEADER_BYTES + 1) as u64;
    }
    Ok(false)
}

/// The size of what looks like a batch.
fn likely_size(bytes: &[u8], position: u64, to: u64, least: i64) -> Option<usize> {
    let header = BatchHeader::parse(bytes).ok()?;
    // Our batches have no gaps inside, and offsets within a segment are close to each other.
    let is_likely = (least..least.saturating_add(i64::from(i32::MAX))).contains(&header.base_offset)
        && i64::from(header.count) == i64::from(header.last_offset_delta) + 1
        && header.size as u64 <= to - position;
    is_likely.then_some(header.size)
}

fn is_batch(file: &dyn LogFile, size: usize, position: u64) -> io::Result<bool> {
    let mut batch = vec![0; size];
    let have = read_full(file, &mut batch, position)?;
    Ok(have == size && check_crc(&batch).is_ok())
}
