//! Files as crashes and damage leave them.

use crate::sim_disk::SimDisk;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FEW: Fetch = Fetch { max_records: 3, max_bytes: usize::MAX };

fn open(disk: &SimDisk) -> Arc<Segments> {
    let config = SegmentsConfig {
        segment_bytes: 2000,
        index_interval_bytes: 300,
        tail_cache_bytes: 0,
        ..SegmentsConfig::default()
    };
    Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens")
}

async fn append(bus: &Segments, partition: u32, number: i64) -> Result<i64, BusError> {
    let value = format!("{number:0100}");
    let record = Record {
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
        time: Time::from_millis((number * 10).max(1)),
    };
    bus.append("t", partition, &[record]).await.map(|a| a.base)
}

/// A log whose partition 0 holds the records 0..50 in four segments, and partition 1 one record.
async fn filled() -> SimDisk {
    let disk = SimDisk::new();
    let bus = open(&disk);
    let spec = TopicSpec { name: "t".into(), partitions: 2, retention_ms: None, retention_bytes: None };
    bus.make(spec).await.expect("made");
    for number in 0..50 {
        append(&bus, 0, number).await.expect("stored");
    }
    append(&bus, 1, 0).await.expect("stored");
    bus.close().await;
    disk
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    use artel_bus::segments::Disk;
    let mut logs: Vec<_> =
        disk.list(Path::new("/log/t-0")).unwrap().into_iter().filter(|n| n.ends_with(".log")).collect();
    logs.sort();
    logs.into_iter().map(|name| Path::new("/log/t-0").join(name)).collect()
}

fn base(log: &Path) -> i64 {
    log.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

async fn numbers(bus: &Segments) -> Result<Vec<i64>, BusError> {
    let bounds = bus.bounds("t", 0).await?;
    let (mut at, mut all) = (bounds.begin, Vec::new());
    while at < bounds.end {
        let fetched = bus.read("t", 0, at, FEW).await?;
        for record in fetched.records {
            let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            assert_eq!(text.parse::<i64>().unwrap(), record.offset);
            all.push(record.offset);
        }
        at = fetched.next;
    }
    Ok(all)
}

/// The log serves all of 0..`kept`, and takes appends from there on.
async fn serves(disk: &SimDisk, kept: i64) {
    let bus = open(disk);
    assert_eq!(numbers(&bus).await.expect("readable"), (0..kept).collect::<Vec<_>>());
    for number in 0..kept {
        let at = bus.offset_at("t", 0, Time::from_millis(number * 10)).await.expect("found");
        assert_eq!(at, Some(number));
    }
    assert_eq!(append(&bus, 0, kept).await.expect("goes on"), kept);
    bus.close().await;
    let bus = open(disk);
    assert_eq!(numbers(&bus).await.expect("readable"), (0..=kept).collect::<Vec<_>>());
    bus.close().await;
}

/// Partition 0 is stopped with a sentence that contains `parts`; partition 1 serves.
async fn is_stopped(bus: &Segments, parts: &[&str]) {
    let stopped = numbers(bus).await.expect_err("damage stops it");
    let sentence = stopped.to_string();
    assert!(matches!(stopped, BusError::Stopped { partition: 0, .. }), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "'{part}' is missing in: {sentence}");
    }
    assert!(matches!(append(bus, 0, 99).await, Err(BusError::Stopped { .. })));
    assert!(matches!(bus.wait("t", 0, 99).await, Err(BusError::Stopped { .. })));
    assert!(matches!(bus.bounds("t", 0).await, Err(BusError::Stopped { .. })));
    append(bus, 1, 1).await.expect("the other partition goes on");
    bus.describe("t").await.expect("the topic is still listed");
}

#[tokio::test]
async fn a_whole_log_comes_back() {
    let disk = filled().await;
    assert!(segments(&disk).len() >= 4);
    serves(&disk, 50).await;
}

#[tokio::test]
async fn a_torn_tail_is_cut_back_to_the_last_whole_batch() {
    let tears: [fn(&mut Vec<u8>); 2] =
        [|log| log.truncate(log.len() - 1), |log| log.truncate(log.len() - 100)];
    for tear in tears {
        let disk = filled().await;
        let last = segments(&disk).pop().unwrap();
        disk.tamper(&last, tear);
        serves(&disk, 49).await;
    }
}

/// Everything before the recovery point was synced: what is wrong there is no torn round.
#[tokio::test]
async fn a_last_batch_that_was_durable_and_is_damaged_stops_the_partition() {
    let harms: [fn(&mut Vec<u8>); 3] = [
        |log| {
            let end = log.len();
            log[end - 50..].fill(0);
        },
        |log| {
            let last = log.len() - 3;
            log[last] ^= 1;
        },
        |log| {
            let start = log.len() - 170;
            log[start..].fill(0);
        },
    ];
    for harm in harms {
        let disk = filled().await;
        let last = segments(&disk).pop().unwrap();
        disk.tamper(&last, harm);
        let bus = open(&disk);
        is_stopped(&bus, &["offset 49", "backup", "recovery-point", "start again"]).await;
        bus.close().await;
    }
}

#[tokio::test]
async fn segments_that_are_missing_at_the_end_stop_the_partition() {
    use artel_bus::segments::Disk;
    for all in [false, true] {
        let disk = filled().await;
        let logs = segments(&disk);
        let gone = if all { &logs[..] } else { &logs[logs.len() - 1..] };
        for log in gone {
            disk.remove(log).unwrap();
        }
        let bus = open(&disk);
        let begins = format!("begins at offset {}", base(&logs[logs.len() - 1]));
        is_stopped(&bus, &[&begins, "backup", "recovery-point"]).await;
        bus.close().await;
        // What the sentence says to do helps.
        if all {
            disk.open(&logs[logs.len() - 1], true).unwrap();
        }
        disk.remove(Path::new("/log/t-0/recovery-point")).unwrap();
        let bus = open(&disk);
        assert_eq!(append(&bus, 0, 0).await.expect("it serves"), base(&logs[logs.len() - 1]));
        bus.close().await;
    }
}

#[tokio::test]
async fn bytes_behind_the_last_batch_are_cut_off() {
    for rest in [vec![0; 5000], vec![0xff; 30], b"garbage".repeat(100)] {
        let disk = filled().await;
        let last = segments(&disk).pop().unwrap();
        disk.tamper(&last, |log| log.extend_from_slice(&rest));
        serves(&disk, 50).await;
    }
}

#[tokio::test]
async fn a_whole_last_segment_lost_is_cut_back_to_the_one_before() {
    let disk = filled().await;
    let last = segments(&disk).pop().unwrap();
    disk.tamper(&last, Vec::clear);
    serves(&disk, base(&last)).await;
}

#[tokio::test]
async fn a_bad_batch_before_a_good_one_stops_the_partition_at_open() {
    let disk = filled().await;
    let last = segments(&disk).pop().unwrap();
    // The last batch but one.
    disk.tamper(&last, |log| {
        let at = log.len() - 200;
        log[at] ^= 1;
    });
    let bus = open(&disk);
    is_stopped(&bus, &[last.file_name().unwrap().to_str().unwrap(), "offset 48", "backup", "start again"])
        .await;
    bus.close().await;
}

#[tokio::test]
async fn an_indexed_batch_was_durable_also_without_a_recovery_point() {
    use artel_bus::segments::Disk;
    let disk = filled().await;
    let last = segments(&disk).pop().unwrap();
    let index = disk.content(&last.with_extension("index"));
    let position = u32::from_be_bytes(index[index.len() - 4..].try_into().unwrap()) as usize;
    disk.tamper(&last, |log| {
        assert!(position + 170 < log.len(), "a good batch follows");
        log[position + 100] ^= 1;
    });
    disk.remove(Path::new("/log/t-0/recovery-point")).unwrap();
    let bus = open(&disk);
    is_stopped(&bus, &[&format!("position {position}"), "backup"]).await;
    bus.close().await;
}

#[tokio::test]
async fn a_torn_round_is_cut_off_whole_even_where_its_end_is_good() {
    use artel_bus::segments::Disk;
    let disk = filled().await;
    let last = segments(&disk).pop().unwrap();
    let length = disk.content(&last).len();
    // As if the last two batches were one round, written and never synced: of the first a page is missing.
    let mut point = base(&last).to_be_bytes().to_vec();
    point.extend_from_slice(&(length as u64 - 340).to_be_bytes());
    point.extend_from_slice(&crc32c::crc32c(&point).to_be_bytes());
    disk.tamper(Path::new("/log/t-0/recovery-point"), |file| *file = point);
    for extension in ["index", "timeindex"] {
        disk.remove(&last.with_extension(extension)).unwrap();
    }
    disk.tamper(&last, |log| log[length - 300..length - 200].fill(0));
    serves(&disk, 48).await;
}

#[tokio::test]
async fn damage_in_an_old_segment_stops_the_partition_when_it_is_read() {
    let disk = filled().await;
    let first = segments(&disk).remove(0);
    disk.tamper(&first, |log| log[100] ^= 1);
    let bus = open(&disk);
    assert_eq!(bus.read("t", 0, 45, FEW).await.expect("good parts are readable").records.len(), 3);
    is_stopped(&bus, &["00000000000000000000.log", "position 0", "offset 0", "checksum", "backup"]).await;
    bus.close().await;
}

#[tokio::test]
async fn an_old_segment_cut_short_stops_the_partition_at_open() {
    let disk = filled().await;
    let logs = segments(&disk);
    disk.tamper(&logs[1], |log| log.truncate(log.len() - 170));
    let bus = open(&disk);
    let next = format!("begins at {}", base(&logs[2]));
    is_stopped(&bus, &[logs[1].file_name().unwrap().to_str().unwrap(), &next, "backup"]).await;
    bus.close().await;
}

#[tokio::test]
async fn what_the_sentence_says_to_do_helps() {
    use artel_bus::segments::Disk;
    let disk = filled().await;
    let logs = segments(&disk);
    disk.tamper(&logs[1], |log| log[300] ^= 1);
    let bus = open(&disk);
    let sentence = numbers(&bus).await.expect_err("damaged").to_string();
    bus.close().await;
    let after = |text: &str| -> i64 {
        let rest = sentence.split(text).nth(1).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let (bytes, offset) = (after("cut the file to "), after("everything from offset "));
    disk.tamper(&logs[1], |log| log.truncate(usize::try_from(bytes).unwrap()));
    for log in &logs[2..] {
        disk.remove(log).unwrap();
    }
    disk.remove(Path::new("/log/t-0/recovery-point")).unwrap();
    serves(&disk, offset).await;
}

#[tokio::test]
async fn indexes_that_are_missing_or_damaged_are_rebuilt_the_same() {
    use artel_bus::segments::Disk;
    for extension in ["index", "timeindex"] {
        for harm in ["removed", "emptied", "zeroed", "cut", "turned"] {
            let disk = filled().await;
            let logs = segments(&disk);
            let sealed: Vec<PathBuf> =
                logs[..logs.len() - 1].iter().map(|l| l.with_extension(extension)).collect();
            let before: Vec<_> = sealed.iter().map(|p| disk.content(p)).collect();
            for path in logs.iter().map(|l| l.with_extension(extension)) {
                match harm {
                    "removed" => disk.remove(&path).unwrap(),
                    "emptied" => disk.tamper(&path, Vec::clear),
                    "zeroed" => disk.tamper(&path, |index| index.fill(0)),
                    "cut" => disk.tamper(&path, |index| index.truncate(index.len().saturating_sub(3))),
                    _ => disk.tamper(&path, |index| index.reverse()),
                }
            }
            serves(&disk, 50).await;
            let after: Vec<_> = sealed.iter().map(|p| disk.content(p)).collect();
            assert_eq!(before, after, "{extension} {harm}");
        }
    }
}

#[tokio::test]
async fn an_index_damaged_while_the_log_is_open_costs_no_record() {
    let disk = filled().await;
    let bus = open(&disk);
    for log in segments(&disk) {
        disk.tamper(&log.with_extension("index"), |index| {
            for entry in index.chunks_exact_mut(8) {
                entry[7] ^= 3;
            }
        });
        disk.tamper(&log.with_extension("timeindex"), |index| index.fill(0xff));
    }
    assert_eq!(numbers(&bus).await.expect("readable"), (0..50).collect::<Vec<_>>());
    bus.close().await;
}

#[tokio::test]
async fn a_topic_file_that_is_no_topic_is_refused_by_name() {
    let disk = filled().await;
    disk.tamper(Path::new("/log/topics/t"), |file| file.truncate(5));
    let refused =
        Segments::open_on(Arc::new(disk), "/log", SegmentsConfig::default()).err().expect("refused");
    assert!(refused.to_string().contains("/log/topics/t"), "{refused}");
}
