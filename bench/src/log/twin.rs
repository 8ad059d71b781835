//! What the log is measured against: plain files.

use super::CHUNK;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes the same bytes, `one` append's at a time, to as many files with as many fdatasyncs.
pub fn write(folder: &Path, content: &[Vec<u8>], one: usize, syncs: u64) -> Result<Duration> {
    std::fs::create_dir(folder)?;
    let files = (0..content.len())
        .map(|i| File::create(folder.join(i.to_string())).context("a raw file"))
        .collect::<Result<Vec<_>>>()?;
    let rounds = usize::try_from(syncs)?.div_ceil(content.len());
    let start = Instant::now();
    for round in 0..rounds {
        let part = |bytes: &[u8]| bytes.len() * round / rounds..bytes.len() * (round + 1) / rounds;
        for (file, bytes) in files.iter().zip(content) {
            let range = part(bytes);
            let mut at = range.start as u64;
            for append in bytes[range].chunks(one) {
                file.write_all_at(append, at)?;
                at += append.len() as u64;
            }
        }
        for file in &files {
            file.sync_data()?;
        }
    }
    let took = start.elapsed();
    std::fs::remove_dir_all(folder)?;
    Ok(took)
}

/// What a twin of reading does with the bytes.
#[derive(Clone, Copy, PartialEq)]
pub enum Twin {
    Bytes,
    Checked,
    Records,
}

/// Reads a file in the same chunks, whole batches at a time.
pub fn read(path: &Path, twin: Twin) -> Result<Duration> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len())?;
    let mut buffer = vec![0; CHUNK];
    let start = Instant::now();
    let (mut at, mut bad) = (0, 0);
    while at < length {
        let chunk = &mut buffer[..CHUNK.min(length - at)];
        file.read_exact_at(chunk, at as u64)?;
        let whole = if twin == Twin::Bytes { chunk.len() } else { check_batches(chunk, twin, &mut bad)? };
        std::hint::black_box(&chunk);
        at += whole;
    }
    ensure!(bad == 0, "{bad} batches have a wrong checksum");
    Ok(start.elapsed())
}

/// Checks the whole batches at the start of `chunk`; how many bytes they are.
fn check_batches(chunk: &[u8], twin: Twin, bad: &mut usize) -> Result<usize> {
    let mut at = 0;
    while let Some(header) = chunk.get(at..at + 21) {
        let size = 12 + usize::try_from(i32::from_be_bytes(header[8..12].try_into()?))?;
        let Some(batch) = chunk.get(at..at + size) else { break };
        let stored = u32::from_be_bytes(batch[17..21].try_into()?);
        *bad += usize::from(crc32c::crc32c(&batch[21..]) != stored);
        if twin == Twin::Records {
            records(&batch[61..]);
        }
        at += size;
    }
    ensure!(at > 0, "a batch is larger than a chunk");
    Ok(at)
}

/// One record as slices.
#[derive(Default)]
struct Slices<'a> {
    key: &'a [u8],
    value: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
}

/// Walks the records of a batch.
fn records(mut body: &[u8]) {
    let mut record = Slices::default();
    while !body.is_empty() {
        let _length = number(&mut body);
        body = &body[1..];
        let (_time, _offset) = (number(&mut body), number(&mut body));
        record.key = field(&mut body);
        record.value = field(&mut body);
        record.headers.clear();
        for _ in 0..number(&mut body) {
            record.headers.push((field(&mut body), field(&mut body)));
        }
        std::hint::black_box((record.key, record.value, &record.headers));
    }
}

fn number(body: &mut &[u8]) -> i64 {
    let (mut raw, mut shift) = (0u64, 0);
    loop {
        let byte = body[0];
        *body = &body[1..];
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed();
        }
        shift += 7;
    }
}

fn field<'a>(body: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(number(body)).unwrap_or(0);
    let (field, rest) = body.split_at(length);
    *body = rest;
    field
}
