//! Topics and groups.

use super::{ALL, Harness, append, millis, numbered, read_from, record, spec, texts, topic, within};
use crate::{BusError, From as StartAt, GroupOffset};

/// Every call on a topic or partition that is not there says so.
pub async fn unknown_topics(harness: Harness) {
    let bus = harness.open().await;
    let there = topic(&bus, 2).await;
    let missing = format!("{there}-not");
    let is_unknown = |error: Option<BusError>| {
        assert!(matches!(&error, Some(BusError::UnknownTopic(name)) if *name == missing), "{error:?}")
    };
    is_unknown(bus.append(&missing, 0, &[record(b"x", 0)]).await.err());
    is_unknown(bus.read(&missing, 0, 0, ALL).await.err());
    is_unknown(bus.wait(&missing, 0, 0).await.err());
    is_unknown(bus.bounds(&missing, 0).await.err());
    is_unknown(bus.offset_at(&missing, 0, millis(0)).await.err());
    is_unknown(bus.describe(&missing).await.err());
    is_unknown(bus.delete(&missing).await.err());
    is_unknown(bus.register("group", &missing, StartAt::Earliest).await.err());
    let other = bus.append(&there, 2, &[record(b"x", 0)]).await;
    assert!(matches!(other, Err(BusError::UnknownPartition { partition: 2, count: 2, .. })), "{other:?}");
    assert!(matches!(bus.bounds(&there, 9).await, Err(BusError::UnknownPartition { .. })));
    bus.close().await;
}

/// The partition count is fixed, names follow Kafka, and topics are listed by name.
pub async fn counts_and_names(harness: Harness) {
    let bus = harness.open().await;
    let name = topic(&bus, 3).await;
    let first = bus.describe(&name).await.expect("it is there");
    let again = bus.make(spec(&name, 3)).await.expect("making it again is fine");
    assert_eq!(again.id, first.id);
    let other = bus.make(spec(&name, 4)).await;
    assert!(matches!(other, Err(BusError::PartitionCount { actual: 3, wanted: 4, .. })), "{other:?}");
    for wrong in ["", ".", "..", "a b", "a/b", "ä", "a:b", &"n".repeat(harness.features.name_bytes + 1)] {
        let refused = bus.make(spec(wrong, 1)).await;
        assert!(matches!(refused, Err(BusError::InvalidTopic { .. })), "'{wrong}': {refused:?}");
    }
    let longest = format!("{name}{}", "n".repeat(harness.features.name_bytes - name.len()));
    for name in [longest.as_str(), &format!("{name}._-A"), &format!("{name}-1")] {
        bus.make(spec(name, 1)).await.expect("a good name");
    }
    let names: Vec<String> = bus.list().await.expect("listed").into_iter().map(|t| t.name).collect();
    assert!(names.is_sorted());
    assert_eq!(names.iter().filter(|n| n.starts_with(&name)).count(), 4);
    bus.delete(&longest).await.expect("deleted");
    bus.close().await;
}

/// A deleted topic's waiters learn of it; made again it is another one, and empty.
pub async fn deleted_and_made_again(harness: Harness) {
    let bus = harness.open().await;
    let name = topic(&bus, 1).await;
    let id = bus.describe(&name).await.expect("it is there").id;
    append(&bus, &name, 0, &numbered("old", 0..5)).await;
    let waiter = tokio::spawn({
        let (bus, name) = (bus.clone(), name.clone());
        async move { bus.wait(&name, 0, 5).await }
    });
    within(bus.delete(&name)).await.expect("deleted");
    let woken = within(waiter).await.expect("the waiter ends well");
    assert!(matches!(woken, Err(BusError::UnknownTopic(_))), "{woken:?}");
    assert!(matches!(bus.read(&name, 0, 0, ALL).await, Err(BusError::UnknownTopic(_))));
    let again = bus.make(spec(&name, 1)).await.expect("made again");
    assert_ne!(again.id, id);
    append(&bus, &name, 0, &numbered("new", 0..2)).await;
    assert_eq!(texts(&read_from(&bus, &name, 0, 0, ALL).await), numbered("new", 0..2));
    bus.close().await;
}

/// Groups start where they say, are registered once, move both ways and can be forgotten.
pub async fn groups(harness: Harness) {
    let bus = harness.open().await;
    let name = topic(&bus, 2).await;
    let batch: Vec<_> = (0..4).map(|i| record(b"x", i * 100)).collect();
    within(bus.append(&name, 0, &batch)).await.expect("an append succeeds");
    let starts = [
        ("earliest", StartAt::Earliest, [0, 0]),
        ("latest", StartAt::Latest, [4, 0]),
        ("offset", StartAt::Offset(2), [2, 2]),
        ("time", StartAt::Time(millis(150)), [2, 0]),
    ];
    for (group, from, _) in starts {
        bus.register(group, &name, from).await.expect("registered");
        bus.register(group, &name, StartAt::Offset(99)).await.expect("registered already");
    }
    let mine = async || -> Vec<GroupOffset> {
        let all = bus.offsets().await.expect("listed");
        all.into_iter().filter(|o| o.topic == name).collect()
    };
    let wanted: Vec<GroupOffset> = starts
        .iter()
        .flat_map(|(group, _, next)| {
            (0u32..).zip(next).map(|(partition, next)| GroupOffset {
                group: (*group).to_owned(),
                topic: name.clone(),
                partition,
                next: *next,
            })
        })
        .collect();
    assert_eq!(mine().await, wanted);
    for next in [3, 1] {
        bus.advise("earliest", &name, 0, next).await.expect("advised");
        assert_eq!(mine().await[0].next, next);
    }
    for (group, ..) in starts {
        bus.forget(group, &name).await.expect("forgotten");
        bus.forget(group, &name).await.expect("forgotten already");
    }
    assert_eq!(mine().await, []);
    let unknown = bus.advise("earliest", &name, 0, 1).await;
    assert!(matches!(unknown, Err(BusError::UnknownGroup { .. })), "{unknown:?}");
    bus.close().await;
}
