//! The suite that every adapter of the port passes before anybody may rely on it. An adapter says by [`Features`] what it
//! promises and how to open it; [`conformance_tests!`](crate::conformance_tests) makes a test of each case. Topics have
//! fresh names, so that the suite can run on a server that others use.

mod admin;
mod lifecycle;
mod records;

pub use admin::{counts_and_names, deleted_and_made_again, groups, unknown_topics};
pub use lifecycle::{close_races, closed, groups_over_a_restart, restarts};
pub use records::{
    a_batch_beyond_the_buffers, a_megabyte, batches_stay_whole, by_time, fetch_limits, nulls_and_repeats,
    order, out_of_range, resume_anywhere, too_large, two_readers, unstorable, waiting_readers,
};

use crate::{Bus, Fetch, Received, Record, TopicSpec};
use artel_message::Time;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What an adapter promises beyond the port's plain contract, and its sizes.
#[derive(Debug, Clone, Copy)]
pub struct Features {
    /// Opening again after `close` finds what was stored.
    pub persistent: bool,
    /// A registered group is there again after a restart.
    pub persistent_groups: bool,
    /// A batch of this many bytes, larger than any buffer inside, is still taken as one.
    pub large_batch_bytes: usize,
    /// A value of this many bytes is refused as too large.
    pub too_large_bytes: usize,
    /// The longest name of a topic, in bytes.
    pub name_bytes: usize,
}

type Opened = Pin<Box<dyn Future<Output = Arc<dyn Bus>> + Send>>;

/// How a case gets its adapter.
pub struct Harness {
    pub features: Features,
    open: Box<dyn Fn() -> Opened + Send + Sync>,
    /// What has to outlive the adapter, such as a temporary folder.
    _keep: Box<dyn Send + Sync>,
}

impl Harness {
    /// `open` is called again after a `close` for a restart; `keep` is dropped last.
    pub fn new<F>(
        features: Features,
        keep: impl Send + Sync + 'static,
        open: impl Fn() -> F + Send + Sync + 'static,
    ) -> Harness
    where
        F: Future<Output = Arc<dyn Bus>> + Send + 'static,
    {
        Harness { features, open: Box::new(move || Box::pin(open())), _keep: Box::new(keep) }
    }

    pub async fn open(&self) -> Arc<dyn Bus> {
        (self.open)().await
    }
}

/// Makes a test of every case; `$harness` is an expression that makes a [`Harness`] for one of them.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests!($harness;
            order, batches_stay_whole, resume_anywhere, fetch_limits, out_of_range, waiting_readers, two_readers, by_time,
            a_batch_beyond_the_buffers, a_megabyte, too_large, unstorable, nulls_and_repeats, unknown_topics, counts_and_names,
            deleted_and_made_again, groups, closed, close_races, restarts, groups_over_a_restart);
    };
    ($harness:expr; $($case:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case($harness).await;
            }
        )+
    };
}

/// A case that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("the call should come to an end")
}

fn millis(ms: i64) -> Time {
    Time::from_millis(1_700_000_000_000 + ms)
}

/// A fresh topic that keeps everything.
async fn topic(bus: &Arc<dyn Bus>, partitions: u32) -> String {
    let name = format!("conformance-{}", Uuid::now_v7());
    let made = bus.make(spec(&name, partitions)).await.expect("a topic can be made");
    assert_eq!((made.name.as_str(), made.partitions), (name.as_str(), partitions));
    name
}

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention_ms: None, retention_bytes: None }
}

/// A record with only a value.
fn record(value: &[u8], ms: i64) -> Record<'_> {
    Record { key: None, value: Some(value), headers: &[], time: millis(ms) }
}

/// Appends texts as one batch.
async fn append(bus: &Arc<dyn Bus>, topic: &str, partition: u32, texts: &[String]) -> i64 {
    let batch: Vec<Record<'_>> = texts.iter().map(|text| record(text.as_bytes(), 0)).collect();
    let appended = within(bus.append(topic, partition, &batch)).await.expect("an append succeeds");
    assert_eq!(appended.count as usize, texts.len());
    appended.base
}

/// Everything from `from` on, in as many reads as it takes; offsets have no gap.
async fn read_from(
    bus: &Arc<dyn Bus>,
    topic: &str,
    partition: u32,
    from: i64,
    fetch: Fetch,
) -> Vec<Received> {
    let end = bus.bounds(topic, partition).await.expect("bounds are known").end;
    let (mut at, mut all) = (from, Vec::new());
    while at < end {
        let fetched = within(bus.read(topic, partition, at, fetch)).await.expect("a read succeeds");
        assert!(fetched.next > at, "a read below the end makes progress");
        for record in &fetched.records {
            assert_eq!(record.offset, at, "offsets follow each other");
            at += 1;
        }
        at = fetched.next;
        all.extend(fetched.records);
    }
    all
}

fn texts(records: &[Received]) -> Vec<String> {
    records
        .iter()
        .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

fn numbered(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("{prefix}{i}")).collect()
}

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}
