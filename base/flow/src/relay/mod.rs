//! The relay: carries committed messages from the outbox to the log, in seq order per partition, and confirms them.

mod jump;
mod publish;

pub(crate) use jump::jump;

use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::handler::Published;
use crate::storage::outbox::{self, Waiting};
use crate::{Failure, Tx};
use artel_bus::BusError;
use artel_message::{Cause, Time};
use artel_store::Lane;
use futures::future::join_all;
use publish::{APPEND_BYTES, Batch, append_partition};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_millis(500);
/// How often a partition that refused is tried again.
const STUCK_PAUSE: Duration = Duration::from_millis(500);
/// The most bytes in one round.
const ROUND_BYTES: usize = 8 << 20;
/// Rows of a partition that refused, tried at once.
const STUCK_ROWS: usize = 200;
/// How often the service's own handler of reports may fail before messages are confirmed without it.
const REPORTS: u32 = 10;

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
