//! The relay: carries committed messages from the outbox to the log, in seq order per partition, and confirms them.

use crate::clock::Clock;
use crate::ctx::Shared;
use crate::handler::Published;
use crate::storage::outbox::{self, Waiting};
use crate::{Failure, StartError, Tx, wire};
use artel_bus::{Appended, Bounds, Bus, BusError, Fetch, Record};
use artel_message::{Cause, Envelope, Headers};
use artel_store::{Db, Engine, Lane};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_millis(500);
/// How often a partition that refused is tried again.
const STUCK_PAUSE: Duration = Duration::from_millis(500);
/// How far the end of a partition is searched for the service's own last seq.
const LOOK_BACK: i64 = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// The most bytes in one append.
const APPEND_BYTES: usize = 768 << 10;

/// Raises the service's counter above every number it may have given before: a database that went back, or a lagging clock,
/// never gives one twice. Runs before anything is written.
pub(crate) async fn jump(
    db: &Db,
    bus: &Arc<dyn Bus>,
    service: &'static str,
    clock: &Clock,
) -> Result<(), StartError> {
    // An embedded database has no clock but its process's.
    let clock = match db.engine() {
        Engine::Sqlite => clock.now(),
    };
    let mut write = db.begin(Lane::Interactive).await?;
    let mut highest = 0i64;
    for (topic, partition, seq) in outbox::partitions(&mut write).await? {
        let own = highest_own_seq(bus, service, &topic, partition).await?;
        highest = highest.max(own.saturating_add(1)).max(seq.saturating_add(1));
    }
    let next = outbox::jump(&mut write, clock.micros().max(highest)).await?;
    if next > clock.micros().saturating_add(DAY_MICROS) && next > highest.saturating_add(DAY_MICROS) {
        write.rollback().await?;
        return Err(StartError::Clock { service: service.to_owned() });
    }
    write.commit().await?;
    Ok(())
}

async fn highest_own_seq(
    bus: &Arc<dyn Bus>,
    service: &str,
    topic: &str,
    partition: u32,
) -> Result<i64, BusError> {
    let Bounds { begin, end } = match bus.bounds(topic, partition).await {
        Ok(bounds) => bounds,
        Err(BusError::UnknownTopic(_) | BusError::UnknownPartition { .. } | BusError::Stopped { .. }) => {
            return Ok(0);
        }
        Err(e) => return Err(e),
    };
    let own = Envelope::source_of(service);
    let (mut from, mut highest) = ((end - LOOK_BACK).max(begin), 0);
    while from < end {
        let fetched =
            bus.read(topic, partition, from, Fetch { max_records: 500, max_bytes: 4 << 20 }).await?;
        if fetched.next <= from {
            break;
        }
        from = fetched.next;
        for record in &fetched.records {
            if let Ok(Envelope { source, seq: Some(seq), .. }) = Envelope::from_headers(&record.headers)
                && source == own
            {
                highest = highest.max(seq);
            }
        }
    }
    Ok(highest)
}

/// Rows of one partition that go into one append.
struct Load {
    topic: String,
    partition: u32,
    rows: Vec<Waiting>,
}

struct Relay {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Everything up to here has been read and is confirmed or stuck.
    read_to: i64,
    /// Partitions that refused: their rows up to the id wait there.
    stuck: BTreeMap<(String, u32), i64>,
    /// In the log, with their offsets, and not yet deleted here.
    unconfirmed: Vec<(Waiting, i64)>,
}

/// Runs until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut relay = Relay { shared, stop, read_to: -1, stuck: BTreeMap::new(), unconfirmed: Vec::new() };
    while !relay.stop.is_cancelled() {
        match relay.round().await {
            Ok(true) => {}
            Ok(false) => relay.idle().await,
            Err(failure) => {
                tracing::warn!(service = relay.shared.name(), error = %failure, "the relay waits and tries again");
                relay.pause(relay.shared.limits.outage_pause).await;
            }
        }
    }
}

impl Relay {
    async fn idle(&self) {
        let wait = if self.stuck.is_empty() { POLL } else { STUCK_PAUSE };
        tokio::select! {
            () = self.shared.wake.relay.notified() => {}
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// One round: rows after the last one read, and again those of partitions that refused. False = nothing got away.
    async fn round(&mut self) -> Result<bool, Failure> {
        self.confirm().await?;
        let limit = self.shared.limits.relay_rows;
        let mut read = self.shared.db.read().await?;
        let mut rows = Vec::new();
        for ((topic, partition), until) in &self.stuck {
            rows.extend(outbox::of_partition(&mut read, topic, *partition, *until, limit).await?);
        }
        let fresh = outbox::after(&mut read, self.read_to, limit).await?;
        drop(read);
        if let Some(last) = fresh.last() {
            self.read_to = last.id;
        }
        let full = fresh.len() == limit;
        for row in fresh {
            let place = (row.message.topic.clone(), row.message.partition);
            match self.stuck.get_mut(&place) {
                Some(until) => *until = row.id,
                None => rows.push(row),
            }
        }
        if rows.is_empty() {
            if self.stuck.is_empty() {
                // The count is kept by hand; where a commit's outcome was unknown, the empty table sets it right.
                self.shared.outbox_rows.store(0, Ordering::Relaxed);
            }
            return Ok(full);
        }
        self.unconfirmed = self.append(rows).await;
        let any = !self.unconfirmed.is_empty();
        self.confirm().await?;
        Ok(any || full)
    }

    /// Appends each partition's rows in order, partitions side by side; returns what the log has confirmed.
    async fn append(&mut self, rows: Vec<Waiting>) -> Vec<(Waiting, i64)> {
        let mut partitions: HashMap<(String, u32), Vec<Waiting>> = HashMap::new();
        for row in rows {
            partitions.entry((row.message.topic.clone(), row.message.partition)).or_default().push(row);
        }
        let bus = self.shared.topics.bus().clone();
        let appends = partitions
            .into_iter()
            .map(|((topic, partition), rows)| append_partition(bus.clone(), Load { topic, partition, rows }));
        let mut confirmed = Vec::new();
        for (place, mut done, rest) in join_all(appends).await {
            confirmed.append(&mut done);
            match rest {
                Some((last, error)) => {
                    if !self.stuck.contains_key(&place) {
                        tracing::warn!(
                            service = self.shared.name(), topic = %place.0, partition = place.1, %error,
                            "the log refuses a partition; its messages wait in the outbox, others go on"
                        );
                    }
                    if matches!(error, BusError::UnknownTopic(_)) {
                        self.shared.topics.unlearn(&place.0);
                    }
                    let until = self.stuck.entry(place).or_insert(last);
                    *until = last.max(*until);
                }
                None => {
                    if self.stuck.remove(&place).is_some() {
                        // Rows behind the last one tried may have been passed over: read again from the start.
                        self.read_to = -1;
                    }
                }
            }
        }
        confirmed
    }

    /// Deletes what the log has and tells the service where it went, in one transaction. What fails here is tried again
    /// without being published again.
    async fn confirm(&mut self) -> Result<(), Failure> {
        let confirmed = &self.unconfirmed;
        if confirmed.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let mut tx = Tx::begin(shared, Lane::Background).await?.unbounded();
        let ids: Vec<i64> = confirmed.iter().map(|(row, _)| row.id).collect();
        let deleted = outbox::confirm(tx.write(), &ids).await?;
        if let Some(handler) = &shared.service.published {
            let first = &confirmed[0].0.message;
            tx.enter("published", Cause::message(first.message, first.at), false, None);
            let now = shared.now();
            let published = confirmed
                .iter()
                .map(|(row, offset)| Published {
                    id: row.message.message,
                    name: row.message.name.clone(),
                    topic: row.message.topic.clone(),
                    partition: row.message.partition,
                    offset: *offset,
                    at: now,
                })
                .collect();
            if let Err(failure) = handler(&mut tx, published).await {
                let failure = tx.latched().unwrap_or(failure);
                tx.rollback().await;
                return Err(failure);
            }
        }
        tx.commit().await?;
        let deleted = i64::try_from(deleted).unwrap_or(0);
        let left = shared.outbox_rows.fetch_sub(deleted, Ordering::Relaxed) - deleted;
        shared.metrics.outbox(shared.name(), left);
        shared.metrics.published(shared.name(), u64::try_from(deleted).unwrap_or(0));
        self.unconfirmed.clear();
        self.shared.progressed();
        Ok(())
    }
}

/// What became of a partition's rows: its place, those confirmed, and the last one with the error when some were not.
type Outcome = ((String, u32), Vec<(Waiting, i64)>, Option<(i64, BusError)>);

async fn append_partition(bus: Arc<dyn Bus>, load: Load) -> Outcome {
    let Load { topic, partition, rows } = load;
    let last = rows.last().map_or(0, |row| row.id);
    let mut confirmed = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next_if(|row| chunk.is_empty() || bytes + size_of(row) <= APPEND_BYTES) {
            bytes += size_of(&row);
            chunk.push(row);
        }
        match append_chunk(bus.as_ref(), &topic, partition, &chunk).await {
            Ok(appended) => confirmed.extend(chunk.into_iter().zip(appended.base..)),
            Err(error) => return ((topic, partition), confirmed, Some((last, error))),
        }
    }
    ((topic, partition), confirmed, None)
}

fn size_of(row: &Waiting) -> usize {
    let m = &row.message;
    m.headers.len() + m.key.as_ref().map_or(0, Bytes::len) + m.value.as_ref().map_or(0, Bytes::len) + 64
}

async fn append_chunk(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    rows: &[Waiting],
) -> Result<Appended, BusError> {
    let headers: Vec<Headers> = rows.iter().map(full_headers).collect();
    let borrowed: Vec<Vec<_>> = headers
        .iter()
        .map(|headers| headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect())
        .collect();
    let records: Vec<Record<'_>> = rows
        .iter()
        .zip(&borrowed)
        .map(|(row, headers)| Record {
            key: row.message.key.as_deref(),
            value: row.message.value.as_deref(),
            headers,
            time: row.message.at,
        })
        .collect();
    bus.append(topic, partition, &records).await
}

/// The stored headers with the numbers that only the row has.
fn full_headers(row: &Waiting) -> Headers {
    let mut headers = wire::decode(row.message.headers.clone()).unwrap_or_default();
    let mut put =
        |name: &str, value: i64| headers.push((name.to_owned(), Some(Bytes::from(value.to_string()))));
    if let Some(seq) = row.seq {
        put("artel_seq", seq);
    }
    if let Some(prev) = row.prev {
        put("artel_prev", prev);
    }
    headers
}
