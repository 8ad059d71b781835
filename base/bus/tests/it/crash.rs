//! Power lost at random points: what was acknowledged is there, what was ever readable stays, a batch is whole or absent,
//! and recovery takes a torn end for what it is.

use crate::sim_disk::{Chance, SimDisk};
use artel_bus::segments::{Compression, Segments, SegmentsConfig};
use artel_bus::{BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const TOPIC: &str = "crash";
const PARTITIONS: u32 = 2;
const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: 4_000 };

/// What is known of a batch: `texts` at `base`, when it was acknowledged.
#[derive(Clone)]
struct Sent {
    partition: u32,
    texts: Vec<String>,
    answer: Answer,
}

#[derive(Clone, PartialEq)]
enum Answer {
    Landed(i64),
    Refused,
    Unknown,
}

/// By partition and offset.
type Seen = BTreeMap<(u32, i64), String>;

fn config(chance: &mut Chance) -> SegmentsConfig {
    SegmentsConfig {
        segment_bytes: 1024 + chance.below(4000) as u64,
        index_interval_bytes: chance.below(600) as u64,
        tail_cache_bytes: chance.below(3) * 500,
        compression: [Compression::None, Compression::Lz4][chance.below(2)],
        open_files: 8,
        ..SegmentsConfig::default()
    }
}

fn batch(id: &str, chance: &mut Chance) -> Vec<String> {
    let count = 1 + chance.below(6);
    (0..count).map(|i| format!("{id}.{i}/{count} {}", "x".repeat(chance.below(300)))).collect()
}

async fn send(bus: Arc<Segments>, partition: u32, texts: Vec<String>) -> Sent {
    let records: Vec<Record<'_>> = texts
        .iter()
        .map(|t| Record {
            key: None,
            value: Some(t.as_bytes()),
            headers: &[],
            time: Time::from_millis(1_000),
        })
        .collect();
    let answer = match bus.append(TOPIC, partition, &records).await {
        Ok(appended) => Answer::Landed(appended.base),
        Err(BusError::Unavailable(_)) => Answer::Unknown,
        Err(_) => Answer::Refused,
    };
    Sent { partition, texts, answer }
}

/// Follows a partition until it errs, remembering everything that was ever readable.
async fn follow(bus: Arc<Segments>, partition: u32, seen: Arc<Mutex<Seen>>) {
    let mut at = bus.bounds(TOPIC, partition).await.map_or(0, |b| b.begin);
    while bus.wait(TOPIC, partition, at).await.is_ok() {
        let Ok(fetched) = bus.read(TOPIC, partition, at, ALL).await else { return };
        for record in fetched.records {
            seen.lock().unwrap().insert((partition, record.offset), text(&record));
        }
        at = fetched.next;
    }
}

fn text(record: &artel_bus::Received) -> String {
    String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()
}

async fn contents(bus: &Segments, partition: u32) -> Vec<String> {
    let bounds = bus.bounds(TOPIC, partition).await.expect("a crash never stops a partition");
    let (mut at, mut all) = (bounds.begin, Vec::new());
    while at < bounds.end {
        let fetched = bus.read(TOPIC, partition, at, ALL).await.expect("what was recovered is readable");
        all.extend(fetched.records.iter().map(text));
        at = fetched.next;
    }
    all
}

/// One life: appends by concurrent callers with readers beside them, until the power goes.
async fn live(
    bus: &Arc<Segments>,
    life: usize,
    chance: &mut Chance,
    seen: &Arc<Mutex<Seen>>,
    disk: &SimDisk,
) -> Vec<Sent> {
    let readers: Vec<_> =
        (0..PARTITIONS).map(|p| tokio::spawn(follow(bus.clone(), p, seen.clone()))).collect();
    let mut sent = Vec::new();
    for turn in 0..60 {
        let width = 1 + chance.below(5);
        let tasks: Vec<_> = (0..width)
            .map(|i| {
                let texts = batch(&format!("{life}.{turn}.{i}"), chance);
                let partition = u32::try_from(chance.below(PARTITIONS as usize)).unwrap();
                tokio::spawn(send(bus.clone(), partition, texts))
            })
            .collect();
        for task in tasks {
            sent.push(task.await.unwrap());
        }
        if disk.is_dead() {
            break;
        }
    }
    bus.close().await;
    for reader in readers {
        reader.await.unwrap();
    }
    sent
}

fn check(contents: &BTreeMap<u32, Vec<String>>, sent: &[Sent], seen: &Seen, seed: u64) {
    for batch in sent {
        let held = &contents[&batch.partition];
        let place = held.iter().position(|t| *t == batch.texts[0]);
        match &batch.answer {
            Answer::Landed(base) => {
                let base = usize::try_from(*base).unwrap();
                let there = held.get(base..base + batch.texts.len());
                assert_eq!(
                    there,
                    Some(&batch.texts[..]),
                    "seed {seed}: an acknowledged batch is gone or elsewhere"
                );
            }
            Answer::Refused => assert_eq!(place, None, "seed {seed}: a refused batch is readable"),
            Answer::Unknown => {
                let whole =
                    place.is_none_or(|at| held.get(at..at + batch.texts.len()) == Some(&batch.texts[..]));
                assert!(whole, "seed {seed}: a batch is there in part");
            }
        }
    }
    let count: usize = contents.values().map(Vec::len).sum();
    let known: usize = sent.iter().map(|s| s.texts.len()).sum();
    assert!(count <= known, "seed {seed}: something is there twice");
    for ((partition, offset), text) in seen {
        let held = contents[partition].get(usize::try_from(*offset).unwrap());
        assert_eq!(held, Some(text), "seed {seed}: what was once readable is gone");
    }
}

/// Lives and deaths of one log. `lie`: its disk does not do what fsync promises.
async fn run(seed: u64, lie: bool) -> usize {
    let mut chance = Chance::new(seed);
    let disk = SimDisk::new();
    let seen = Arc::new(Mutex::new(Seen::new()));
    let (mut sent, mut crashes) = (Vec::new(), 0);
    let config = config(&mut chance);
    let bus =
        Segments::open_on(Arc::new(disk.clone()), "/log", config.clone()).expect("opens on an empty disk");
    let spec =
        TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention_ms: None, retention_bytes: None };
    bus.make(spec).await.expect("made");
    bus.close().await;
    for life in 0..4 {
        // The power may go while the log is being opened, too: then it is opened again after a second crash.
        let for_operations = 1 + chance.below(150) as u64;
        disk.set(|faults| (faults.power_for, faults.lying_sync) = (Some(for_operations), lie));
        if chance.below(3) == 0 {
            disk.set(|faults| faults.short_writes = Some(100));
        }
        if let Ok(bus) = Segments::open_on(Arc::new(disk.clone()), "/log", config.clone()) {
            sent.extend(live(&bus, life, &mut chance, &seen, &disk).await);
        }
        crashes += usize::from(disk.is_dead());
        // Also a process that is killed with the power on, whose unsynced writes a later crash may lose.
        if chance.below(3) == 0 {
            disk.kill();
        } else {
            disk.crash(&mut chance);
        }
        let bus =
            Segments::open_on(Arc::new(disk.clone()), "/log", config.clone()).expect("opens after a crash");
        let mut held = BTreeMap::new();
        for partition in 0..PARTITIONS {
            held.insert(partition, contents(&bus, partition).await);
        }
        check(&held, &sent, &seen.lock().unwrap(), seed);
        for (partition, texts) in held {
            // Read, so it has to stay.
            seen.lock().unwrap().extend((0..).zip(texts).map(|(offset, text)| ((partition, offset), text)));
        }
        bus.close().await;
    }
    crashes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_readable_goes_back() {
    // More of them for a longer look.
    let seeds =
        std::env::var("ARTEL_CRASH_SEEDS").map_or(300, |n| n.parse().expect("ARTEL_CRASH_SEEDS is a number"));
    let mut crashes = 0;
    for seed in 0..seeds {
        crashes += run(seed, false).await;
    }
    assert!(crashes as u64 > 2 * seeds, "only {crashes} crashes in {seeds} seeds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_above_notices_a_disk_that_only_pretends_to_sync() {
    let mut noticed = 0;
    for seed in 0..20 {
        noticed += usize::from(tokio::spawn(run(seed, true)).await.is_err());
    }
    assert!(noticed > 10, "only {noticed} of 20");
}
