//! Groups beside what the writer has to do first, and beside a disk that fails.

use crate::sim_disk::{Op, SimDisk};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, From as StartAt, Groups, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn open(disk: &SimDisk) -> Arc<Segments> {
    let config = SegmentsConfig { segment_bytes: 1024, ..SegmentsConfig::default() };
    Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens")
}

fn spec() -> TopicSpec {
    TopicSpec { name: "t".into(), partitions: 1, retention_ms: None, retention_bytes: Some(1) }
}

async fn append(bus: &Segments) {
    let record = Record { key: None, value: Some(&[7; 300]), headers: &[], time: Time::from_millis(1) };
    bus.append("t", 0, &[record]).await.expect("stored");
}

async fn filled(disk: &SimDisk) -> Arc<Segments> {
    let bus = open(disk);
    bus.make(spec()).await.expect("made");
    for _ in 0..10 {
        append(&bus).await;
    }
    bus
}

/// Lets a call do what it can do at once; it must have to wait.
fn start<T>(call: &mut Pin<&mut impl Future<Output = T>>) {
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "it did not wait for the writer");
}

/// An append that keeps the writer busy until the disk lets go of it.
fn busy<'a>(disk: &SimDisk, bus: &'a Segments) -> Pin<Box<impl Future<Output = ()> + 'a>> {
    disk.set(|faults| faults.holding = Some((Op::Sync, "t-0")));
    let mut appending = Box::pin(append(bus));
    start(&mut appending.as_mut());
    disk.wait_held();
    appending
}

async fn next(bus: &Segments) -> Vec<i64> {
    bus.offsets().await.expect("listed").iter().map(|offset| offset.next).collect()
}

#[tokio::test]
async fn a_second_caller_hears_of_a_registration_when_it_is_durable() {
    let disk = SimDisk::new();
    let bus = filled(&disk).await;
    disk.set(|faults| faults.holding = Some((Op::Sync, "groups~")));
    let mut first = pin!(bus.register("g", "t", StartAt::Latest));
    start(&mut first);
    disk.wait_held();
    let mut second = pin!(bus.register("g", "t", StartAt::Latest));
    start(&mut second);
    disk.set(|faults| faults.holding = None);
    first.await.expect("registered");
    second.await.expect("registered");
    disk.kill();
    assert_eq!(next(&open(&disk)).await, [10]);
}

#[tokio::test]
async fn a_start_is_where_the_topic_is_when_the_group_is_stored() {
    let disk = SimDisk::new();
    let bus = filled(&disk).await;
    let appending = busy(&disk, &bus);
    let mut retention = pin!(bus.retain());
    start(&mut retention);
    let mut registration = pin!(bus.register("g", "t", StartAt::Earliest));
    start(&mut registration);
    disk.set(|faults| faults.holding = None);
    appending.await;
    retention.await.expect("retention runs");
    registration.await.expect("registered");
    let begin = bus.bounds("t", 0).await.expect("known").begin;
    assert!(begin > 0);
    assert_eq!(next(&bus).await, [begin]);
    bus.close().await;
}

#[tokio::test]
async fn a_start_on_a_topic_that_was_made_again_is_refused() {
    let disk = SimDisk::new();
    let bus = filled(&disk).await;
    let appending = busy(&disk, &bus);
    let mut deletion = pin!(bus.delete("t"));
    start(&mut deletion);
    let mut making = pin!(bus.make(spec()));
    start(&mut making);
    let mut registration = pin!(bus.register("g", "t", StartAt::Latest));
    start(&mut registration);
    disk.set(|faults| faults.holding = None);
    appending.await;
    deletion.await.expect("deleted");
    making.await.expect("made");
    let refused = registration.await.expect_err("that topic is gone");
    assert!(matches!(refused, BusError::UnknownTopic(_)), "{refused}");
    assert_eq!(next(&bus).await, [] as [i64; 0]);
    bus.close().await;
}

#[tokio::test]
async fn a_move_back_survives_a_crash() {
    let disk = SimDisk::new();
    let bus = filled(&disk).await;
    bus.register("g", "t", StartAt::Latest).await.expect("registered");
    bus.advise("g", "t", 0, 4).await.expect("moved back");
    disk.kill();
    assert_eq!(next(&open(&disk)).await, [4]);
}

#[tokio::test]
async fn forgetting_again_after_an_error_stores_it() {
    let disk = SimDisk::new();
    let bus = filled(&disk).await;
    bus.register("g", "t", StartAt::Latest).await.expect("registered");
    disk.set(|faults| faults.failing.push((Op::Rename, "groups")));
    bus.forget("g", "t").await.expect_err("it can't be stored");
    bus.forget("g", "t").await.expect_err("it still can't");
    disk.set(|faults| faults.failing.clear());
    bus.forget("g", "t").await.expect("stored");
    disk.kill();
    assert_eq!(next(&open(&disk)).await, [] as [i64; 0]);
}
