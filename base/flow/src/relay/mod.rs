//! The relay: carries committed messages from the outbox to the log, in seq order per partition, and confirms them.

mod jump;
mod never;
mod publish;

pub(crate) use jump::{NoNumber, jump};

use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::failure::Class;
use crate::handler::Published;
use crate::leases::RELAY;
use crate::storage::leases;
use crate::storage::outbox::{self, Waiting};
use crate::{Failure, Tx};
use artel_bus::BusError;
use artel_message::{Cause, Time};
use artel_store::{Engine, Lane};
use futures::future::join_all;
use publish::{APPEND_BYTES, Batch, Refused, append_partition};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_millis(500);
/// How often a partition that refused is tried again.
const STUCK_PAUSE: Duration = Duration::from_millis(500);
/// The most bytes in one round.
const ROUND_BYTES: usize = 8 << 20;
/// Rows of a partition that refused, tried at once.
const STUCK_ROWS: usize = 200;
/// How long a take-over that is under way may still take when the node stops.
const GRACE: Duration = Duration::from_secs(1);
/// How often the service's own handler of reports may fail before messages are confirmed without it.
const REPORTS: u32 = 10;

struct Relay {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// The epoch of the relay's lease, as this node has it.
    lease: watch::Receiver<Option<i64>>,
    state: State,
}

/// What is known of the outbox; good for one holding of the lease.
struct State {
    epoch: i64,
    /// Every turn up to here has been read and is confirmed or stuck.
    read_to: i64,
    /// The last number given.
    given: i64,
    /// Whether rows with a number may lie after `read_to`.
    backlog: bool,
    /// Partitions that refused: their rows up to the turn wait there.
    stuck: BTreeMap<(String, u32), i64>,
    /// When those are tried again.
    try_stuck_at: Instant,
    /// In the log, with their offsets, and not yet deleted here.
    unconfirmed: Vec<(Waiting, i64)>,
    /// How often the service's own handler of reports failed for them.
    unreported: u32,
    /// Rows that the log will never take, with the reason, of which the service is to be told.
    never: Vec<(Waiting, String)>,
    /// Of which it was told.
    told: HashSet<i64>,
}

impl State {
    fn new(epoch: i64) -> State {
        State {
            epoch,
            read_to: -1,
            given: -1,
            backlog: true,
            stuck: BTreeMap::new(),
            try_stuck_at: Instant::now(),
            unconfirmed: Vec::new(),
            unreported: 0,
            never: Vec::new(),
            told: HashSet::new(),
        }
    }
}

/// Runs until stopped, then empties the outbox as far as the log takes it. Where several nodes share the database it works
/// while this one has the lease.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let lease = shared.held.relay.subscribe();
    let mut relay = Relay { shared, stop, lease, state: State::new(0) };
    while let Some(epoch) = relay.leased().await {
        relay.state = State::new(epoch);
        if relay.take_over().await {
            relay.shared.metrics.relays(relay.shared.name(), true);
            let ended = relay.carry().await;
            relay.shared.metrics.relays(relay.shared.name(), false);
            relay.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if ended {
                return;
            }
        } else if relay.stop.is_cancelled() {
            // Nobody tells this node any more that the lease is another one's: what waits leaves from there, or at the next start.
            return;
        }
    }
}

impl Relay {
    /// Waits for the lease; `None` when it is time to stop.
    async fn leased(&mut self) -> Option<i64> {
        loop {
            if let Some(epoch) = *self.lease.borrow_and_update() {
                return Some(epoch);
            }
            tokio::select! {
                changed = self.lease.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    fn lost(&self) -> bool {
        *self.lease.borrow() != Some(self.state.epoch)
    }

    /// Makes sure that no number is given twice. False when the lease was lost meanwhile, or the node stops before it is sure.
    async fn take_over(&mut self) -> bool {
        let shared = &self.shared;
        while shared.members.shared() && !self.lost() {
            let lease = Some((shared.node, self.state.epoch));
            let jump = jump(&shared.db, shared.topics.bus(), shared.name(), &shared.clock, lease);
            let stopped = async {
                self.stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            let jumped = tokio::select! {
                jumped = jump => jumped,
                () = stopped => return false,
            };
            let reason = match jumped {
                Ok(()) => {
                    shared.say_relay(None);
                    return true;
                }
                Err(NoNumber::Lost) => {
                    shared.held.look.notify_one();
                    "the lease is another node's by now".to_owned()
                }
                Err(NoNumber::Failed(failure)) => failure.to_string(),
                Err(NoNumber::Clock) => {
                    crate::StartError::Clock { service: shared.name().to_owned() }.to_string()
                }
            };
            tracing::warn!(service = shared.name(), reason, "the relay can't begin yet; it tries again");
            shared.say_relay(Some(reason));
            self.pause(shared.limits.outage_pause * 4).await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
        !self.lost()
    }

    /// Publishes until stopped (true) or until the lease is lost (false).
    async fn carry(&mut self) -> bool {
        loop {
            let stopping = self.stop.is_cancelled();
            if self.lost() {
                // What the log has needn't be sent again by the next one.
                if let Err(failure) = self.confirm().await {
                    tracing::debug!(service = self.shared.name(), error = %failure, "not confirmed; the next relay repeats it");
                }
                return stopping;
            }
            match self.round().await {
                Ok(true) => {}
                Ok(false) if stopping => return true,
                Ok(false) => self.idle().await,
                Err(Failure::Fenced { .. }) => {
                    if stopping {
                        return true;
                    }
                    self.shared.held.look.notify_one();
                    self.pause(self.shared.limits.outage_pause).await;
                }
                Err(failure) => {
                    tracing::warn!(service = self.shared.name(), error = %failure, "the relay waits and tries again");
                    if stopping {
                        return true;
                    }
                    self.pause(self.shared.limits.outage_pause).await;
                }
            }
        }
    }

    async fn idle(&mut self) {
        tokio::select! {
            () = self.shared.wake.relay.notified() => {}
            _ = self.lease.changed() => {}
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
        let mut rows = self.stuck_rows().await?;
        let fresh = self.fresh().await?;
        let more = !fresh.is_empty();
        for row in fresh {
            let place = (row.message.topic.clone(), row.message.partition);
            match self.state.stuck.get_mut(&place) {
                Some(until) => *until = row.turn,
                None => rows.push(row),
            }
        }
        if rows.is_empty() {
            if self.state.stuck.is_empty() && !more {
                // The count is kept by hand; where a commit's outcome was unknown, the empty table sets it right.
                self.shared.outbox_rows.store(0, Ordering::Relaxed);
            }
            return Ok(more);
        }
        self.state.unconfirmed = self.append(rows).await;
        let any = !self.state.unconfirmed.is_empty();
        self.confirm().await?;
        self.tell_never().await?;
        Ok(any || more)
    }

    /// The rows whose turn is next. Where several nodes write, those without a number are given theirs first.
    async fn fresh(&mut self) -> Result<Vec<Waiting>, Failure> {
        let load = outbox::Load { rows: self.shared.limits.relay_rows.max(1), bytes: ROUND_BYTES };
        let engine = self.shared.db.engine();
        if self.state.backlog {
            let mut read = self.shared.db.read().await?;
            let rows = outbox::after(&mut read, engine, self.state.read_to, load).await?;
            if let Some(last) = rows.last() {
                self.state.read_to = last.turn;
                return Ok(rows);
            }
            self.state.backlog = engine == Engine::Sqlite;
        }
        if engine == Engine::Sqlite || !outbox::any_open(&mut self.shared.db.read().await?).await? {
            return Ok(Vec::new());
        }
        self.number(load).await
    }

    async fn number(&mut self, load: outbox::Load) -> Result<Vec<Waiting>, Failure> {
        let shared = self.shared.clone();
        let mut write = shared.begin_own(Lane::Background).await?;
        if !leases::hold(&mut write, RELAY, shared.node, self.state.epoch).await? {
            write.rollback().await?;
            return Err(Failure::Fenced { topic: RELAY.to_owned(), partition: 0 });
        }
        let Some(rows) = outbox::number(&mut write, self.state.given, load).await? else {
            write.rollback().await?;
            tracing::warn!(
                service = shared.name(),
                "the database went back; the numbers of messages jump ahead"
            );
            self.take_over().await;
            return Ok(Vec::new());
        };
        // Whatever became of a commit that failed: rows that have numbers are found by them.
        self.state.backlog = true;
        write.commit().await?;
        self.state.backlog = false;
        if let Some(last) = rows.last() {
            (self.state.given, self.state.read_to) = (last.turn, last.turn);
        }
        Ok(rows)
    }

    /// The first rows of each partition that refused, when it is time to try again.
    async fn stuck_rows(&mut self) -> Result<Vec<Waiting>, Failure> {
        let mut rows = Vec::new();
        if self.state.stuck.is_empty() || Instant::now() < self.state.try_stuck_at {
            return Ok(rows);
        }
        let (engine, mut read) = (self.shared.db.engine(), self.shared.db.read().await?);
        self.state.try_stuck_at = Instant::now() + STUCK_PAUSE;
        let load = outbox::Load { rows: STUCK_ROWS, bytes: APPEND_BYTES };
        for ((topic, partition), until) in &self.state.stuck {
            let place = (topic.as_str(), *partition);
            rows.extend(outbox::of_partition(&mut read, engine, place, *until, load).await?);
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
            crate::spans::sent(&self.shared, &done);
            confirmed.append(&mut done);
            match rest {
                Some(Refused { last, error, never }) => {
                    self.state.never.extend(never.map(|row| (row, error.to_string())));
                    self.refused(place, last, &error);
                }
                None => self.accepted(&place),
            }
        }
        confirmed
    }

    fn refused(&mut self, place: (String, u32), last: i64, error: &BusError) {
        if self.state.stuck.is_empty() {
            self.state.try_stuck_at = Instant::now() + STUCK_PAUSE;
        }
        if !self.state.stuck.contains_key(&place) {
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
        let until = self.state.stuck.entry(place).or_insert(last);
        *until = last.max(*until);
    }

    fn accepted(&mut self, place: &(String, u32)) {
        if self.state.stuck.remove(place).is_some() {
            self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
            // Rows behind the last one tried were passed over: read again from the start.
            (self.state.read_to, self.state.backlog) = (-1, true);
        }
    }

    /// Deletes what the log has and tells the service where it went, in one transaction. What fails here is tried again
    /// without being published again; a handler of reports that goes on failing is left out in the end.
    async fn confirm(&mut self) -> Result<(), Failure> {
        if self.state.unconfirmed.is_empty() {
            return Ok(());
        }
        let result = self.shared.rerun(|| self.confirm_once()).await;
        match &result {
            Ok(()) => {
                self.state.unconfirmed.clear();
                self.state.unreported = 0;
                self.shared.progressed();
            }
            Err(failure) if failure.class() == Class::Infrastructure => {}
            Err(failure) => {
                self.state.unreported += 1;
                if self.state.unreported == REPORTS {
                    tracing::error!(
                        service = self.shared.name(), error = %failure, messages = self.state.unconfirmed.len(),
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
        let gone: HashSet<i64> =
            outbox::confirm(tx.write(), self.state.unconfirmed.iter().map(|(row, _)| row.id))
                .await?
                .into_iter()
                .collect();
        let confirmed: Vec<_> =
            self.state.unconfirmed.iter().filter(|(row, _)| gone.contains(&row.id)).collect();
        if let (Some(handler), Some((first, _))) = (&shared.service.published, confirmed.first())
            && self.state.unreported < REPORTS
        {
            tx.enter("published", Cause::message(first.message.message, first.message.at), false, None);
            let now = tx.now();
            let published = confirmed.iter().map(|(row, offset)| report(row, *offset, now)).collect();
            let call = Call::new(shared, "published", "*", None);
            let work = handler(&mut tx, published);
            let result = around(call, shared.limits.handler_time, work).await;
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
