//! The embedded log beside plain file operations on the same bytes.
//!
//! **Append.** The log: callers that each append a batch, wait until it is durable, and append the next; without
//! compression. Its twin: one thread that writes the very same bytes (the log's files afterwards), one write for each append,
//! to as many files with as many fdatasyncs as the log made, evenly spread, and nothing else: no encoding, no checksum, no
//! hand-over, no index.
//!
//! **Read.** The log: `read` from the first offset to the last, 1 MiB at a time, from the page cache, into records that own
//! what they hold. Its twin is what a reader written by hand for this one file does: the same chunks by `pread` into one
//! buffer, the CRC-32C of each batch, and a walk over the fields of each record that keeps key, value and headers as slices
//! and counts their bytes; it trusts every length. Beside it, as the issue has it, the write loop of the append above; and
//! `pread` alone and with the CRC, which bring nobody a record.

mod twin;

use anyhow::{Result, ensure};
use artel_bus::segments::{Disk, LogFile, RealDisk, Segments, SegmentsConfig};
use artel_bus::{Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twin::Twin;

const RUNS: usize = 15;
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
        "values of {VALUE_BYTES} bytes, 9 headers, no compression; medians of {RUNS} pairs of runs, ratios\n\
         of each pair with the middle half of them in brackets\n"
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
        raw.push(bytes as f64 / twin::write(&folder.join("raw"), &content, one, synced)?.as_secs_f64());
        syncs.push(synced as f64);
    }
    let ratio = ratio(&log, &raw);
    let (log, raw, syncs) = (median(log), median(raw), median(syncs));
    println!(
        "| {} | {} | {} | {ratio} | {syncs:.0} | {:.1} |",
        load.name,
        mb(log),
        mb(raw),
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

fn read(runtime: &tokio::runtime::Runtime, folder: &Path, write_rate: f64) -> Result<()> {
    let root = folder.join("read");
    let load = Load { name: "", callers: 4, partitions: 1, batch: 100, appends: 2_000 };
    runtime.block_on(append_log(&root, &load))?;
    let path = log_file(&root, 0);
    let bytes = std::fs::metadata(&path)?.len();
    let (mut log, mut pread, mut checked, mut parsed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let rate = |took: Duration| bytes as f64 / took.as_secs_f64();
        log.push(rate(runtime.block_on(read_log(&root, load.appends * load.batch))?));
        parsed.push(rate(twin::read(&path, Twin::Records)?));
        pread.push(rate(twin::read(&path, Twin::Bytes)?));
        checked.push(rate(twin::read(&path, Twin::Checked)?));
    }
    let rows = [
        ("pread + CRC-32C + fields of each record", parsed),
        ("pread + CRC-32C", checked),
        ("pread alone", pread),
    ];
    let rows = rows
        .map(|(name, twin)| format!("| {name} | {} | {} |", mb(median(twin.clone())), ratio(&log, &twin)));
    let log = median(log);
    let records = log / bytes as f64 * (load.appends * load.batch) as f64;
    println!("\n| read | rate | log / this |\n|---|---|---|");
    println!("| log: {:.1} million records/s | {} | |", records / 1e6, mb(log));
    println!("{}", rows.join("\n"));
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

/// The ratio of runs that were made one after the other: what slows the machine down for a while slows both down.
fn ratio(ours: &[f64], twins: &[f64]) -> String {
    let mut ratios: Vec<f64> = ours.iter().zip(twins).map(|(ours, twin)| 100.0 * ours / twin).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
    format!("{:.0} % ({:.0} to {:.0})", at(2), at(1), at(3))
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
