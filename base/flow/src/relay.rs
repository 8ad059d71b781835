//! The relay: carries committed messages from the outbox to the log, in seq order per partition, and confirms them.

use crate::around::{Call, around};
use crate::clock::Clock;
use crate::ctx::Shared;
use crate::handler::Published;
use crate::storage::outbox::{self, Waiting};
use crate::{Failure, StartError, Tx, wire};
use artel_bus::{Appended, Bounds, Bus, BusError, Fetch, Record};
use artel_message::{Cause, Envelope, Headers, Time};
use artel_store::{Db, Engine, Lane};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
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
/// The most bytes in one round.
const ROUND_BYTES: usize = 8 << 20;
/// Rows of a partition that refused, tried at once.
const STUCK_ROWS: usize = 200;
/// How often the service's own handler of reports may fail before messages are confirmed without it.
const REPORTS: u32 = 10;

/// Raises the service's counter above every number it may have given before: a database that went back, or a lagging clock,
/// never gives one twice. Runs before anything is written.
pub(crate) async fn jump(
    db: &Db,
    bus: &Arc<dyn Bus>,
    service: &'static str,
    clock: &Clock,
) -> Result<(), StartError> {
    // An embedded database has no clock but its process's; a server's is the same for all its nodes.
    let clock = match db.engine() {
        Engine::Sqlite => clock.now(),
        Engine::Postgres => db.now().await?,
    };
    let mut write = db.begin(Lane::Interactive).await?;
    let mut highest = 0i64;
    for (topic, partition, seq) in outbox::partitions(&mut write).await? {
        let own = highest_own_seq(bus, service, &topic, partition).await?;
        highest = highest.max(own.saturating_add(1)).max(seq.saturating_add(1));
    }
    let next = outbox::jump(&mut write, clock.micros().max(highest)).await?;
    // Consumers don't believe numbers that lie more than a day ahead of their clock.
    if next > clock.micros().saturating_add(DAY_MICROS) {
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
        let fetch = Fetch { max_records: 500, max_bytes: 4 << 20 };
        let fetched = match bus.read(topic, partition, from, fetch).await {
            Ok(fetched) => fetched,
            // Damage that nobody had seen: the partition takes nothing either, and others are to run.
            Err(BusError::Stopped { .. }) => break,
            Err(e) => return Err(e),
        };
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

/// Rows of one partition, in order.
struct Batch {
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
    /// When those are tried again.
    try_stuck_at: Instant,
    /// In the log, with their offsets, and not yet deleted here.
    unconfirmed: Vec<(Waiting, i64)>,
    /// How often the service's own handler of reports failed for them.
    unreported: u32,
}

/// Runs until stopped, then empties the outbox as far as the log takes it.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut relay = Relay {
        shared,
        stop,
        read_to: -1,
        stuck: BTreeMap::new(),
        try_stuck_at: Instant::now(),
        unconfirmed: Vec::new(),
        unreported: 0,
    };
    loop {
        let stopping = relay.stop.is_cancelled();
        match relay.round().await {
            Ok(true) => {}
            Ok(false) if stopping => return,
            Ok(false) => relay.idle().await,
            Err(failure) => {
                tracing::warn!(service = relay.shared.name(), error = %failure, "the relay waits and tries again");
                if stopping {
                    return;
                }
                relay.pause(relay.shared.limits.outage_pause).await;
            }
        }
    }
}

impl Relay {
    async fn idle(&self) {
        tokio::select! {
            () = self.shared.wake.relay.notified() => {}
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// One round: rows after the last one read, and now and then those of partitions that refused. False = nothing got away.
    async fn round(&mut self) -> Result<bool, Failure> {
        self.confirm().await?;
        let load = outbox::Load { rows: self.shared.limits.relay_rows.max(1), bytes: ROUND_BYTES };
        let mut read = self.shared.db.read().await?;
        let mut rows = self.stuck_rows(&mut read).await?;
        let fresh = outbox::after(&mut read, self.read_to, load).await?;
        drop(read);
        if let Some(last) = fresh.last() {
            self.read_to = last.id;
        }
        let more = !fresh.is_empty();
        for row in fresh {
            let place = (row.message.topic.clone(), row.message.partition);
            match self.stuck.get_mut(&place) {
                Some(until) => *until = row.id,
                None => rows.push(row),
            }
        }
        if rows.is_empty() {
            if self.stuck.is_empty() && !more {
                // The count is kept by hand; where a commit's outcome was unknown, the empty table sets it right.
                self.shared.outbox_rows.store(0, Ordering::Relaxed);
            }
            return Ok(more);
        }
        self.unconfirmed = self.append(rows).await;
        let any = !self.unconfirmed.is_empty();
        self.confirm().await?;
        Ok(any || more)
    }

    /// The first rows of each partition that refused, when it is time to try again.
    async fn stuck_rows(&mut self, read: &mut artel_store::Read) -> Result<Vec<Waiting>, Failure> {
        let mut rows = Vec::new();
        if self.stuck.is_empty() || Instant::now() < self.try_stuck_at {
            return Ok(rows);
        }
        self.try_stuck_at = Instant::now() + STUCK_PAUSE;
        let load = outbox::Load { rows: STUCK_ROWS, bytes: APPEND_BYTES };
        for ((topic, partition), until) in &self.stuck {
            rows.extend(outbox::of_partition(read, topic, *partition, *until, load).await?);
        }
        Ok(rows)
    }

    /// Appends each partition's rows in order, partitions side by side; returns what the log has confirmed.
    async fn append(&mut self, rows: Vec<Waiting>) -> Vec<(Waiting, i64)> {
        let mut partitions: HashMap<(String, u32), Vec<Waiting>> = HashMap::new();
        for row in rows {
            partitions.entry((row.message.topic.clone(), row.message.partition)).or_default().push(row);
        }
        let bus = self.shared.topics.bus().clone();
        let appends = partitions.into_iter().map(|((topic, partition), rows)| {
            append_partition(bus.clone(), Batch { topic, partition, rows })
        });
        let mut confirmed = Vec::new();
        for (place, mut done, rest) in join_all(appends).await {
            confirmed.append(&mut done);
            match rest {
                Some((last, error)) => self.refused(place, last, &error),
                None => self.accepted(&place),
            }
        }
        confirmed
    }

    fn refused(&mut self, place: (String, u32), last: i64, error: &BusError) {
        if self.stuck.is_empty() {
            self.try_stuck_at = Instant::now() + STUCK_PAUSE;
        }
        if !self.stuck.contains_key(&place) {
            tracing::warn!(
                service = self.shared.name(), topic = %place.0, partition = place.1, %error,
                "the log refuses a partition; its messages wait in the outbox, others go on"
            );
        }
        let reason = format!(
            "messages of {} for {}/{} wait in the outbox: {error}",
            self.shared.name(),
            place.0,
            place.1
        );
        self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone(), reason);
        let until = self.stuck.entry(place).or_insert(last);
        *until = last.max(*until);
    }

    fn accepted(&mut self, place: &(String, u32)) {
        if self.stuck.remove(place).is_some() {
            self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
            // Rows behind the last one tried were passed over: read again from the start.
            self.read_to = -1;
        }
    }

    /// Deletes what the log has and tells the service where it went, in one transaction. What fails here is tried again
    /// without being published again; a handler of reports that goes on failing is left out in the end.
    async fn confirm(&mut self) -> Result<(), Failure> {
        if self.unconfirmed.is_empty() {
            return Ok(());
        }
        let result = self.confirm_once().await;
        match &result {
            Ok(()) => {
                self.unconfirmed.clear();
                self.unreported = 0;
                self.shared.progressed();
            }
            Err(Failure::Infrastructure(_)) => {}
            Err(failure) => {
                self.unreported += 1;
                if self.unreported == REPORTS {
                    tracing::error!(
                        service = self.shared.name(), error = %failure, messages = self.unconfirmed.len(),
                        "the handler of published messages goes on failing; these are confirmed without it"
                    );
                }
            }
        }
        result
    }

    async fn confirm_once(&self) -> Result<(), Failure> {
        let shared = &self.shared;
        let mut tx = Tx::begin(shared, Lane::Background).await?.unbounded();
        let gone: HashSet<i64> = outbox::confirm(tx.write(), self.unconfirmed.iter().map(|(row, _)| row.id))
            .await?
            .into_iter()
            .collect();
        let confirmed: Vec<_> = self.unconfirmed.iter().filter(|(row, _)| gone.contains(&row.id)).collect();
        if let (Some(handler), Some((first, _))) = (&shared.service.published, confirmed.first())
            && self.unreported < REPORTS
        {
            tx.enter("published", Cause::message(first.message.message, first.message.at), false, None);
            let now = tx.now();
            let published = confirmed.iter().map(|(row, offset)| report(row, *offset, now)).collect();
            let call = Call { service: shared.name(), kind: "published", name: "*", trace: None };
            let work = handler(&mut tx, published);
            let result = around(call, &shared.metrics, shared.limits.handler_time, work).await;
            if let Err(failure) = tx.verdict(result) {
                tx.rollback().await;
                return Err(failure);
            }
        }
        let deleted = i64::try_from(confirmed.len()).unwrap_or(0);
        tx.commit().await?;
        let left = shared.outbox_rows.fetch_sub(deleted, Ordering::Relaxed) - deleted;
        shared.metrics.outbox(shared.name(), left);
        shared.metrics.published(shared.name(), u64::try_from(deleted).unwrap_or(0));
        Ok(())
    }
}

fn report(row: &Waiting, offset: i64, at: Time) -> Published {
    Published {
        id: row.message.message,
        name: row.message.name.clone(),
        topic: row.message.topic.clone(),
        partition: row.message.partition,
        offset,
        at,
    }
}

/// What became of a partition's rows: its place, those confirmed, and the last one with the error when some were not.
type Outcome = ((String, u32), Vec<(Waiting, i64)>, Option<(i64, BusError)>);

async fn append_partition(bus: Arc<dyn Bus>, batch: Batch) -> Outcome {
    let Batch { topic, partition, rows } = batch;
    let last = rows.last().map_or(0, |row| row.id);
    let mut confirmed = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(row) =
            rows.next_if(|row| chunk.is_empty() || bytes + row.message.size() <= APPEND_BYTES)
        {
            bytes += row.message.size();
            chunk.push(row);
        }
        match append_chunk(bus.as_ref(), &topic, partition, &chunk).await {
            Ok(appended) => confirmed.extend(chunk.into_iter().zip(appended.base..)),
            Err(error) => return ((topic, partition), confirmed, Some((last, error))),
        }
    }
    ((topic, partition), confirmed, None)
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
