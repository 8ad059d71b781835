//! Power lost while topics and groups are made and removed: what was answered holds, what was not is there or not there, and
//! the log opens and serves whatever happened.

use crate::sim_disk::{Chance, SimDisk};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{From as StartAt, Groups, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What is certain about a topic: its id, or that it is gone. What is absent here is in doubt.
type Known = BTreeMap<String, Option<Uuid>>;
/// By (group, topic): whether it is registered.
type KnownGroups = BTreeMap<(String, String), bool>;

fn open(disk: &SimDisk) -> Option<Arc<Segments>> {
    Segments::open_on(Arc::new(disk.clone()), "/log", SegmentsConfig::default()).ok()
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: name.into(), partitions: 2, retention_ms: None, retention_bytes: None }
}

/// Random administration until the power goes.
async fn live(
    bus: &Segments,
    disk: &SimDisk,
    chance: &mut Chance,
    known: &mut Known,
    groups: &mut KnownGroups,
) {
    for _ in 0..40 {
        let name = format!("t{}", chance.below(4));
        let group = format!("g{}", chance.below(2));
        let of_group = (group.clone(), name.clone());
        match chance.below(5) {
            0 | 1 => {
                let before = known.remove(&name);
                if let Ok(topic) = bus.make(spec(&name)).await {
                    assert!(
                        before.flatten().is_none_or(|id| id == topic.id),
                        "made again while it was there"
                    );
                    known.insert(name, Some(topic.id));
                }
            }
            2 => {
                known.remove(&name);
                groups.retain(|(_, topic), _| *topic != name);
                if bus.delete(&name).await.is_ok() {
                    known.insert(name, None);
                }
            }
            3 => {
                groups.remove(&of_group);
                if bus.register(&group, &name, StartAt::Earliest).await.is_ok() {
                    groups.insert(of_group, true);
                }
            }
            _ => {
                groups.remove(&of_group);
                if bus.forget(&group, &name).await.is_ok() {
                    groups.insert(of_group, false);
                }
            }
        }
        if disk.is_dead() {
            break;
        }
    }
    bus.close().await;
}

async fn check(bus: &Segments, known: &mut Known, groups: &KnownGroups, seed: u64) {
    let there = bus.list().await.expect("listed");
    for (name, id) in &*known {
        let found = there.iter().find(|topic| topic.name == *name).map(|topic| topic.id);
        assert_eq!(found, *id, "seed {seed}: {name}");
    }
    let registered = bus.offsets().await.expect("listed");
    for ((group, topic), wanted) in groups {
        let found = registered.iter().any(|o| o.group == *group && o.topic == *topic);
        assert_eq!(found, *wanted, "seed {seed}: group {group} on {topic}");
    }
    for topic in there {
        known.insert(topic.name.clone(), Some(topic.id));
        for partition in 0..topic.partitions {
            let record = Record { key: None, value: Some(b"v"), headers: &[], time: Time::from_millis(1) };
            let appended = bus.append(&topic.name, partition, &[record]).await;
            assert!(appended.is_ok(), "seed {seed}: {}/{partition}: {appended:?}", topic.name);
        }
    }
}

#[tokio::test]
async fn what_was_answered_about_topics_and_groups_holds() {
    let mut crashes = 0;
    for seed in 0..400 {
        let (mut chance, disk) = (Chance::new(seed), SimDisk::new());
        let (mut known, mut groups) = (Known::new(), KnownGroups::new());
        for _ in 0..3 {
            let operations = 1 + chance.below(250) as u64;
            disk.set(|faults| faults.power_for = Some(operations));
            if let Some(bus) = open(&disk) {
                live(&bus, &disk, &mut chance, &mut known, &mut groups).await;
            }
            crashes += usize::from(disk.is_dead());
            if chance.below(3) == 0 {
                disk.kill();
            } else {
                disk.crash(&mut chance);
            }
            let bus = open(&disk).unwrap_or_else(|| panic!("seed {seed}: does not open after a crash"));
            check(&bus, &mut known, &groups, seed).await;
            bus.close().await;
        }
    }
    assert!(crashes > 600, "only {crashes} crashes");
}
