//! Closing and opening again.

use super::{ALL, Fetch, Harness, append, numbered, read_from, record, spec, texts, topic, within};
use crate::{BusError, From as StartAt};

/// After `close` every call says so, waiters are woken, and closing again is fine.
pub async fn closed(harness: Harness) {
    let bus = harness.open().await;
    let name = topic(&bus, 1).await;
    append(&bus, &name, 0, &numbered("n", 0..1)).await;
    let waiter = tokio::spawn({
        let (bus, name) = (bus.clone(), name.clone());
        async move { bus.wait(&name, 0, 1).await }
    });
    within(bus.close()).await;
    within(bus.close()).await;
    let woken = within(waiter).await.expect("the waiter ends well");
    assert!(matches!(woken, Err(BusError::Closed)), "{woken:?}");
    assert!(matches!(bus.append(&name, 0, &[record(b"x", 0)]).await, Err(BusError::Closed)));
    assert!(matches!(bus.read(&name, 0, 0, ALL).await, Err(BusError::Closed)));
    assert!(matches!(bus.wait(&name, 0, 0).await, Err(BusError::Closed)));
    assert!(matches!(bus.bounds(&name, 0).await, Err(BusError::Closed)));
    assert!(matches!(bus.describe(&name).await, Err(BusError::Closed)));
    assert!(matches!(bus.make(spec("closed", 1)).await, Err(BusError::Closed)));
}

/// Appends that race with `close` either land or are refused as closed; what landed is there after a restart, once.
pub async fn close_races(harness: Harness) {
    let bus = harness.open().await;
    let name = topic(&bus, 1).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (bus, name) = (bus.clone(), name.clone());
            tokio::spawn(async move {
                let mut landed = Vec::new();
                for i in 0.. {
                    let text = format!("{writer}.{i}");
                    match bus.append(&name, 0, &[record(text.as_bytes(), 0)]).await {
                        Ok(appended) => landed.push((appended.base, text)),
                        Err(BusError::Closed) => break,
                        Err(other) => panic!("closing should refuse as closed, not {other}"),
                    }
                }
                landed
            })
        })
        .collect();
    within(bus.wait(&name, 0, 20)).await.expect("the writers write");
    within(bus.close()).await;
    let mut landed = Vec::new();
    for writer in writers {
        landed.extend(within(writer).await.expect("a writer ends well"));
    }
    landed.sort();
    if harness.features.persistent {
        let bus = harness.open().await;
        let wanted: Vec<String> = landed.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts(&read_from(&bus, &name, 0, 0, ALL).await), wanted);
        bus.close().await;
    }
}

/// A reader in the middle of a stream goes on after each restart; nothing is lost, nothing comes twice.
pub async fn restarts(harness: Harness) {
    if !harness.features.persistent {
        return;
    }
    let bus = harness.open().await;
    let name = topic(&bus, 1).await;
    let id = bus.describe(&name).await.expect("it is there").id;
    bus.close().await;
    let (mut seen, mut at) = (Vec::new(), 0);
    for round in 0..5usize {
        let bus = harness.open().await;
        assert_eq!(bus.describe(&name).await.expect("it is there").id, id, "the identity stays");
        for batch in 0..4 {
            let first = round * 20 + batch * 5;
            append(&bus, &name, 0, &numbered("n", first..first + 5)).await;
        }
        let some = Fetch { max_records: 13, max_bytes: usize::MAX };
        let fetched = within(bus.read(&name, 0, at, some)).await.expect("a read succeeds");
        at = fetched.next;
        seen.extend(texts(&fetched.records));
        bus.close().await;
    }
    let bus = harness.open().await;
    seen.extend(texts(&read_from(&bus, &name, 0, at, ALL).await));
    assert_eq!(seen, numbered("n", 0..100));
    bus.close().await;
}

/// A registered group is there again after a restart, at or below where it was advised to be.
pub async fn groups_over_a_restart(harness: Harness) {
    if !(harness.features.persistent && harness.features.persistent_groups) {
        return;
    }
    let bus = harness.open().await;
    let name = topic(&bus, 1).await;
    append(&bus, &name, 0, &numbered("n", 0..10)).await;
    bus.register("group", &name, StartAt::Offset(2)).await.expect("registered");
    bus.advise("group", &name, 0, 7).await.expect("advised");
    bus.close().await;
    let bus = harness.open().await;
    let offsets = bus.offsets().await.expect("listed");
    let next: Vec<i64> =
        offsets.iter().filter(|o| o.topic == name && o.group == "group").map(|o| o.next).collect();
    assert!(matches!(next[..], [2..=7]), "{next:?}");
    bus.forget("group", &name).await.expect("forgotten");
    bus.close().await;
}
