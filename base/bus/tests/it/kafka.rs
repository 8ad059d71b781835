//! The independent check: Kafka's own tools read our files and agree on everything.
//!
//! ARTEL_TEST_KAFKA_LIBS names the folder with the jars of `tests/java/pom.xml`, as `./test tools` fetches them. Without it
//! the tests say that they are skipped; on CI they fail.

use artel_bus::segments::{Compression, Segments, SegmentsConfig};
use artel_bus::{Fetch, Log, Received, Record, TopicSpec, Topics};
use artel_message::Time;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOPIC: &str = "kafka-check";
const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

/// The folder with Kafka's jars, or a reason said aloud.
fn libs(test: &str) -> Option<PathBuf> {
    if let Some(libs) = std::env::var_os("ARTEL_TEST_KAFKA_LIBS") {
        return Some(PathBuf::from(libs));
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "ARTEL_TEST_KAFKA_LIBS is not set; `./test tools` fetches the jars"
    );
    println!("skipped: kafka::{test}: ARTEL_TEST_KAFKA_LIBS is not set (Kafka's jars, from ./test tools)");
    None
}

fn java(libs: &Path, args: &[&str], files: &[PathBuf]) -> String {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(libs.join("*")).args(args);
    if args[0].ends_with(".java") {
        command.args(files);
    } else {
        let files: Vec<&str> = files.iter().map(|f| f.to_str().expect("UTF-8")).collect();
        command.args(["--files", &files.join(",")]);
    }
    let output = command.output().expect("java runs");
    // What it finds wrong, DumpLogSegments prints to the second of them.
    let [text, errors] = [output.stdout, output.stderr].map(|o| String::from_utf8(o).expect("UTF-8"));
    assert!(output.status.success(), "{args:?}: {errors}\n{text}");
    text + &errors
}

fn dump_log_segments(libs: &Path, flag: &str, files: &[PathBuf]) -> String {
    java(libs, &["org.apache.kafka.tools.DumpLogSegments", flag], files)
}

/// The partition's files that end so, oldest first.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("listed").map(|e| e.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

/// The first offset of a segment, which is its name.
fn base(file: &Path) -> i64 {
    file.file_stem().and_then(|name| name.to_str()?.parse().ok()).expect("a segment's name")
}

/// Writes several segments of batches of all sizes with each compression, appended to one partition one after the other.
async fn write(root: &Path) {
    for (turn, compression) in
        [Compression::None, Compression::Lz4, Compression::Zstd].into_iter().enumerate()
    {
        let config = SegmentsConfig {
            segment_bytes: 60_000,
            index_interval_bytes: 1_000,
            compression,
            ..SegmentsConfig::default()
        };
        let bus = Segments::open(root, config).expect("opens");
        let spec = TopicSpec { name: TOPIC.into(), partitions: 1, retention_ms: None, retention_bytes: None };
        bus.make(spec).await.expect("made");
        for number in 0..150 {
            append(&bus, turn * 1000 + number, 1 + number % 13).await;
        }
        // Larger than one 64 KiB block of lz4, and than a segment.
        append_value(&bus, &"large value ".repeat(9_000)).await;
        bus.close().await;
    }
}

/// One batch with what can be special about a record: nulls, empties, repeated and null headers, times back and forth.
async fn append(bus: &Segments, number: usize, count: usize) {
    let texts: Vec<String> =
        (0..count).map(|i| format!("n{number}.{i} {}", "abc ".repeat(number % 40))).collect();
    let headers: [(&str, Option<&[u8]>); 4] =
        [("ce_type", Some(b"t")), ("same", Some(b"1")), ("same", None), ("bytes", Some(&[0, 10, 255]))];
    let batch: Vec<Record<'_>> = texts
        .iter()
        .enumerate()
        .map(|(i, text)| Record {
            key: [None, Some(&b""[..]), Some(&text.as_bytes()[..2])][(number + i) % 3],
            value: [Some(text.as_bytes()), Some(text.as_bytes()), None, Some(b"")][(number + 3 * i) % 4],
            headers: &headers[..(number + i) % 5],
            time: Time::from_millis(1_700_000_000_000 + i64::try_from(number * 7 % 400 + i).expect("small")),
        })
        .collect();
    bus.append(TOPIC, 0, &batch).await.expect("stored");
}

async fn append_value(bus: &Segments, value: &str) {
    let time = Time::from_millis(1_700_000_001_000);
    let record = Record { key: None, value: Some(value.as_bytes()), headers: &[], time };
    bus.append(TOPIC, 0, &[record]).await.expect("stored");
}

async fn read(root: &Path) -> Vec<Received> {
    let bus = Segments::open(root, SegmentsConfig::default()).expect("opens");
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bus.bounds(TOPIC, 0).await.expect("known").end {
        let fetched = bus.read(TOPIC, 0, at, ALL).await.expect("readable");
        at = fetched.next;
        all.extend(fetched.records);
    }
    bus.close().await;
    all
}

fn hex(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some([]) => ".".to_owned(),
        Some(bytes) => bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

/// As `Dump.java` prints it.
fn in_hex(record: &Received) -> String {
    let (key, value) = (hex(record.key.as_deref()), hex(record.value.as_deref()));
    let mut line = format!("{} {} {key} {value}", record.offset, record.time.millis());
    for (name, value) in &record.headers {
        let _ = write!(line, " {}={}", hex(Some(name.as_bytes())), hex(value));
    }
    line
}

/// As DumpLogSegments prints it with `--print-data-log`.
fn as_dumped(record: &Received) -> String {
    let size =
        |field: &Option<bytes::Bytes>| field.as_ref().map_or(-1, |b| i64::try_from(b.len()).expect("small"));
    let names: Vec<&str> = record.headers.iter().map(|(name, _)| name).collect();
    let mut line = format!(
        "| offset: {} CreateTime: {} keySize: {} valueSize: {} sequence: -1 headerKeys: [{}]",
        record.offset,
        record.time.millis(),
        size(&record.key),
        size(&record.value),
        names.join(",")
    );
    for (name, field) in [("key", &record.key), ("payload", &record.value)] {
        if let Some(bytes) = field {
            let _ = write!(line, " {name}: {}", String::from_utf8_lossy(bytes));
        }
    }
    line
}

#[tokio::test]
async fn kafkas_own_tools_agree_on_every_record_and_index() {
    let Some(libs) = libs("kafkas_own_tools_agree_on_every_record_and_index") else { return };
    let root = tempfile::tempdir().expect("a folder");
    write(root.path()).await;
    let records = read(root.path()).await;
    let folder = root.path().join(format!("{TOPIC}-0"));
    let logs = files(&folder, "log");
    assert!(logs.len() >= 5 && records.len() > 3000, "{} segments, {} records", logs.len(), records.len());

    let dumped = dump_log_segments(&libs, "--print-data-log", &logs);
    let lines: Vec<&str> = dumped.lines().filter(|line| line.starts_with("| offset")).collect();
    assert_eq!(lines.len(), records.len());
    for (line, record) in lines.into_iter().zip(&records) {
        assert_eq!(line.trim_end(), as_dumped(record).trim_end());
    }
    let batches: Vec<&str> = dumped.lines().filter(|line| line.starts_with("baseOffset")).collect();
    assert!(batches.len() == 3 * 151 && batches.iter().all(|line| line.contains("isvalid: true")));
    for codec in ["none", "lz4", "zstd"] {
        let count = batches.iter().filter(|line| line.contains(&format!("compresscodec: {codec} "))).count();
        assert!(count > 100, "{count} batches with {codec}");
    }
    // The tool misses the offset before the first of every file, and nothing else.
    let bases: Vec<i64> = logs.iter().map(|log| base(log)).filter(|base| *base > 0).collect();
    let gaps = dumped.lines().filter(|line| line.contains("is followed by"));
    let mut gaps: Vec<&str> = gaps.map(str::trim).collect();
    gaps.sort_unstable();
    let mut expected: Vec<String> = bases.iter().map(|base| format!("-1 is followed by {base}")).collect();
    expected.sort_unstable();
    assert_eq!(gaps, expected);
    let mut others = complaints(&dumped);
    others.retain(|line| !line.starts_with("Non-consecutive offsets in"));
    assert_eq!(others, Vec::<&str>::new());

    let exact = java(&libs, &[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/Dump.java")], &logs);
    for (line, record) in exact.lines().zip(&records) {
        assert_eq!(line, in_hex(record));
    }
    assert_eq!(exact.lines().count(), records.len());

    let mut indexes = files(&folder, "index");
    indexes.extend(files(&folder, "timeindex"));
    let sanity = dump_log_segments(&libs, "--index-sanity-check", &indexes);
    // The one segment of a single batch needs no offset entry.
    let verdicts = (sanity.matches("passed sanity check").count(), sanity.matches("is empty").count());
    assert_eq!(verdicts, (indexes.len() - 1, 1), "{sanity}");
    for flag in ["--verify-index-only", "--deep-iteration"] {
        let checked = dump_log_segments(&libs, flag, &indexes);
        assert_eq!(complaints(&checked), Vec::<&str>::new(), "{flag}");
        if flag == "--deep-iteration" {
            assert!(checked.matches("offset: ").count() > 100, "the indexes have entries: {checked}");
        }
    }
}

#[tokio::test]
async fn the_check_above_notices_a_wrong_entry_in_either_index() {
    let Some(libs) = libs("the_check_above_notices_a_wrong_entry_in_either_index") else { return };
    let root = tempfile::tempdir().expect("a folder");
    write(root.path()).await;
    let folder = root.path().join(format!("{TOPIC}-0"));
    let mut harmed = Vec::new();
    for (extension, at) in [("index", 3), ("timeindex", 7)] {
        let file = files(&folder, extension).remove(0);
        let mut content = std::fs::read(&file).expect("read");
        content[at] ^= 1;
        std::fs::write(&file, content).expect("written");
        harmed.push(file);
    }
    for file in harmed {
        let checked = dump_log_segments(&libs, "--verify-index-only", std::slice::from_ref(&file));
        assert_ne!(complaints(&checked), Vec::<&str>::new(), "{}: {checked}", file.display());
    }
}

/// What DumpLogSegments prints when it finds something wrong.
fn complaints(output: &str) -> Vec<&str> {
    let signs = [
        "Mismatch",
        "mismatch",
        "onsecutive",
        "out of order",
        "not found",
        "isvalid: false",
        "Found",
        "corrupt",
        "rror",
    ];
    output.lines().filter(|l| !l.starts_with("| ") && signs.iter().any(|sign| l.contains(sign))).collect()
}
