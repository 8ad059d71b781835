//! The embedded log beside plain file operations on the same bytes.
//!
//! **Append.** The log: callers that each append a batch, wait until it is durable, and append the next; without
//! compression. Its twin: one thread that writes the very same bytes (the log's files afterwards), one write for each append,
//! to as many files with as many fdatasyncs as the log made, evenly spread, and nothing else: no encoding, no checksum, no
//! hand-over, no index.
//!
//! **Read.** The log: `read` from the first offset to the last, 1 MiB at a time, from the page cache, into records with owned
//! header names. Three twins over the same file in the same chunks: `pread` alone; `pread` and the CRC-32C of each batch;
//! and the write loop of the append above, as the issue has it.

use anyhow::{Context, Result, ensure};
use artel_bus::segments::{Disk, LogFile, RealDisk, Segments, SegmentsConfig};
use artel_bus::{Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RUNS: usize = 7;
const VALUE_BYTES: usize = 256;
const CHUNK: usize = 1 << 20;

/// What callers do.
struct Load {
    name: &'static str,
    callers: usize,
    partitions: u32,
    /// Records of one append.
    batch: usize,
    /// Appends of all callers together.
    appends: usize,
}

const LOADS: [Load; 3] = [
    Load {
        name: "1 caller, 1 partition, batches of 100",
        callers: 1,
        partitions: 1,
        batch: 100,
        appends: 1_000,
    },
    Load {
        name: "16 callers, 4 partitions, batches of 100",
        callers: 16,
        partitions: 4,
        batch: 100,
        appends: 4_000,
    },
    Load {
        name: "64 callers, 4 partitions, single records",
        callers: 64,
        partitions: 4,
        batch: 1,
        appends: 60_000,
    },
];

/// The headers of one of our own messages.
pub(crate) const HEADERS: [(&str, Option<&[u8]>); 9] = [
    ("ce_id", Some(b"0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")),
    ("ce_type", Some(b"market.order-placed")),
    ("ce_source", Some(b"artel/market")),
    ("ce_time", Some(b"2026-01-31T09:30:00.123456Z")),
    ("ce_specversion", Some(b"1.0")),
    ("content-type", Some(b"application/json")),
    ("traceparent", Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ("artel_seq", Some(b"1700000000000000")),
    ("artel_prev", Some(b"1699999999999999")),
];

pub fn run(args: &[String]) -> Result<()> {
    // A folder on the disk to be measured; a temporary one when none is given.
    let folder = match args {
        [] => tempfile::tempdir()?,
        [folder] => tempfile::tempdir_in(folder)?,
        _ => anyhow::bail!("usage: artel-bench log [FOLDER]"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "values of {VALUE_BYTES} bytes, 9 headers, no compression; medians of {RUNS} alternating runs\n"
    );
    println!("| append | log | write + fdatasync | log / raw | fsyncs | appends per fsync |");
    println!("|---|---|---|---|---|---|");
    let mut write_rate = 0.0;
    for load in &LOADS {
        let rate = append(&runtime, folder.path(), load)?;
        write_rate = if load.callers == 16 { rate } else { write_rate };
    }
    read(&runtime, folder.path(), write_rate)
}

/// Measures one load; returns the raw loop's bytes per second.
fn append(runtime: &tokio::runtime::Runtime, folder: &Path, load: &Load) -> Result<f64> {
    let (mut log, mut raw, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let root = folder.join("log");
        let (took, synced) = runtime.block_on(append_log(&root, load))?;
        let content = (0..load.partitions)
            .map(|p| Ok(std::fs::read(log_file(&root, p))?))
            .collect::<Result<Vec<_>>>()?;
        std::fs::remove_dir_all(&root)?;
        let bytes: usize = content.iter().map(Vec::len).sum();
        log.push(bytes as f64 / took.as_secs_f64());
        let one = bytes.div_ceil(load.appends);
        raw.push(bytes as f64 / write_raw(&folder.join("raw"), &content, one, synced)?.as_secs_f64());
        syncs.push(synced as f64);
    }
    let (log, raw, syncs) = (median(log), median(raw), median(syncs));
    println!(
        "| {} | {} | {} | {:.0} % | {syncs:.0} | {:.1} |",
        load.name,
        mb(log),
        mb(raw),
        100.0 * log / raw,
        load.appends as f64 / syncs
    );
    Ok(raw)
}

/// How long the appends took, and how many fsyncs of log files they made.
async fn append_log(root: &Path, load: &Load) -> Result<(Duration, u64)> {
    let disk = Arc::new(Counting::default());
    let bus = Segments::open_on(disk.clone(), root, SegmentsConfig::default())?;
    make(&bus, load.partitions).await?;
    let before = disk.syncs.load(Ordering::Relaxed);
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let (bus, batch, partitions) = (bus.clone(), load.batch, load.partitions);
            let appends = load.appends / load.callers;
            tokio::spawn(async move {
                let value = [b'v'; VALUE_BYTES];
                let records = vec![record(&value); batch];
                for i in 0..appends {
                    let partition = u32::try_from(caller + i)? % partitions;
                    bus.append("t", partition, &records).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let took = start.elapsed();
    let syncs = disk.syncs.load(Ordering::Relaxed) - before;
    bus.close().await;
    Ok((took, syncs))
}

async fn make(bus: &Segments, partitions: u32) -> Result<()> {
    let spec = TopicSpec { name: "t".into(), partitions, retention_ms: None, retention_bytes: None };
    bus.make(spec).await?;
    Ok(())
}

fn record(value: &[u8]) -> Record<'_> {
    Record {
        key: Some(b"0197a1b2-c3d4"),
        value: Some(value),
        headers: &HEADERS,
        time: Time::from_millis(1_700_000_000_000),
    }
}

fn log_file(root: &Path, partition: u32) -> PathBuf {
    root.join(format!("t-{partition}")).join("00000000000000000000.log")
}

/// Writes the same bytes, `one` append's at a time, to as many files with as many fdatasyncs.
fn write_raw(folder: &Path, content: &[Vec<u8>], one: usize, syncs: u64) -> Result<Duration> {
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

fn read(runtime: &tokio::runtime::Runtime, folder: &Path, write_rate: f64) -> Result<()> {
    let root = folder.join("read");
    let load = Load { name: "", callers: 4, partitions: 1, batch: 100, appends: 2_000 };
    runtime.block_on(append_log(&root, &load))?;
    let path = log_file(&root, 0);
    let bytes = std::fs::metadata(&path)?.len();
    let (mut log, mut pread, mut checked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let rate = |took: Duration| bytes as f64 / took.as_secs_f64();
        log.push(rate(runtime.block_on(read_log(&root, load.appends * load.batch))?));
        pread.push(rate(read_raw(&path, false)?));
        checked.push(rate(read_raw(&path, true)?));
    }
    let (log, pread, checked) = (median(log), median(pread), median(checked));
    let records = log / bytes as f64 * (load.appends * load.batch) as f64;
    println!("\n| read | rate | log / this |\n|---|---|---|");
    println!("| log: {:.1} million records/s | {} | |", records / 1e6, mb(log));
    println!("| pread alone | {} | {:.0} % |", mb(pread), 100.0 * log / pread);
    println!("| pread + CRC-32C | {} | {:.0} % |", mb(checked), 100.0 * log / checked);
    println!(
        "| write + fdatasync loop (16 callers) | {} | {:.0} % |",
        mb(write_rate),
        100.0 * log / write_rate
    );
    Ok(())
}

async fn read_log(root: &Path, records: usize) -> Result<Duration> {
    let bus = Segments::open(root, SegmentsConfig { tail_cache_bytes: 0, ..SegmentsConfig::default() })?;
    let end = bus.bounds("t", 0).await?.end;
    let (mut at, mut count) = (0, 0);
    let start = Instant::now();
    while at < end {
        let fetched = bus.read("t", 0, at, Fetch { max_records: usize::MAX, max_bytes: CHUNK }).await?;
        count += std::hint::black_box(&fetched.records).len();
        at = fetched.next;
    }
    let took = start.elapsed();
    ensure!(count == records, "{count} of {records} records read");
    bus.close().await;
    Ok(took)
}

/// Reads a file in the same chunks; `check`: computes the checksum of each batch in it.
fn read_raw(path: &Path, check: bool) -> Result<Duration> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len())?;
    let start = Instant::now();
    let (mut at, mut bad) = (0, 0);
    while at < length {
        let mut chunk = vec![0; CHUNK.min(length - at)];
        file.read_exact_at(&mut chunk, at as u64)?;
        let whole = if check { check_batches(&chunk, &mut bad)? } else { chunk.len() };
        std::hint::black_box(&chunk);
        at += whole;
    }
    ensure!(bad == 0, "{bad} batches have a wrong checksum");
    Ok(start.elapsed())
}

/// Checks the whole batches at the start of `chunk`; how many bytes they are.
fn check_batches(chunk: &[u8], bad: &mut usize) -> Result<usize> {
    let mut at = 0;
    while let Some(header) = chunk.get(at..at + 21) {
        let size = 12 + usize::try_from(i32::from_be_bytes(header[8..12].try_into()?))?;
        let Some(batch) = chunk.get(at..at + size) else { break };
        let stored = u32::from_be_bytes(batch[17..21].try_into()?);
        *bad += usize::from(crc32c::crc32c(&batch[21..]) != stored);
        at += size;
    }
    ensure!(at > 0, "a batch is larger than a chunk");
    Ok(at)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn mb(rate: f64) -> String {
    format!("{:.0} MB/s", rate / 1e6)
}

/// The real disk, counting the fsyncs of log files.
#[derive(Default)]
struct Counting {
    syncs: Arc<AtomicU64>,
}

impl Disk for Counting {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn LogFile>> {
        let file = RealDisk.open(path, create)?;
        let is_log = path.extension().is_some_and(|e| e == "log");
        Ok(if is_log { Arc::new(CountingFile { file, syncs: self.syncs.clone() }) } else { file })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        RealDisk.lock(path)
    }
}

struct CountingFile {
    file: Arc<dyn LogFile>,
    syncs: Arc<AtomicU64>,
}

impl LogFile for CountingFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(bytes, at)
    }
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(into, at)
    }
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
