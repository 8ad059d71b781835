//! One round of the relay: what has its turn is read, given to the log, and confirmed. Partitions don't wait for each other: one
//! that takes its time, or takes nothing, leaves the rounds and goes on alone.

use super::lines::{Before, Chunk, Place};
use super::publish::{Appended, append};
use super::{Relay, State};
use crate::Failure;
use crate::handed::Taken;
use crate::leases::RELAY;
use crate::outage::millis;
use crate::stages::Stage;
use crate::storage::leases;
use crate::storage::outbox::{self, Backlog, Behind, Load, Numbering, Waiting};
use artel_bus::BusError;
use artel_store::{Lane, Read, Write};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{Id, JoinError};
use tokio::time::Instant;

/// The most bytes that are read at once.
const ROUND_BYTES: usize = 8 << 20;
/// An append that takes so long is shown to whoever looks after the installation.
const SHOWN: Duration = Duration::from_secs(5);

/// How the task of an append ended.
type Ended = Result<(Id, Appended), JoinError>;

impl Relay {
    /// Rows after the last one read, and those of partitions that were left behind. False = nothing got away.
    pub(super) async fn round(&mut self) -> Result<bool, Failure> {
        self.reap();
        let mut any = self.confirm_due().await?;
        self.await_outcome().await?;
        self.look_at_unsure().await?;
        self.look_behind().await?;
        any |= self.load_behind().await?;
        any |= self.load_fresh().await?;
        self.begin_appends();
        self.await_prompt().await;
        any |= self.confirm_due().await?;
        self.tell_never().await?;
        if !any
            && self.state.is_empty
            && self.state.lines.is_empty()
            && self.state.unconfirmed.is_empty()
            && self.shared.gone.is_idle()
        {
            // The count is kept by hand; where a commit's outcome was unknown, the empty table sets it right.
            self.shared.outbox_rows.store(0, Ordering::Relaxed);
        }
        Ok(any)
    }

    fn load(&self) -> Load {
        Load { rows: self.shared.limits.relay_rows.max(1), bytes: ROUND_BYTES }
    }

    /// Rows of partitions that go on again; true when there were some.
    async fn load_behind(&mut self) -> Result<bool, Failure> {
        let wanted = self.state.lines.wanted(self.load(), Instant::now());
        if wanted.is_empty() {
            return Ok(false);
        }
        let (numbering, mut left) = (Numbering::of(&self.shared.db), self.load());
        let mut read = self.shared.db.read().await?;
        let mut any = false;
        for wanted in wanted {
            let load = wanted.load.within(left);
            let (rows, whole) =
                outbox::of_partition(&mut read, numbering, &wanted.place, wanted.behind, load).await?;
            left = left.without(&rows);
            any |= !rows.is_empty();
            if !self.state.lines.loaded(&wanted.place, rows, whole) {
                self.goes_on(&wanted.place);
            }
            if left.rows == 0 || left.bytes == 0 {
                break;
            }
        }
        Ok(any)
    }

    /// Rows that have their turn for the first time; true when there were some.
    async fn load_fresh(&mut self) -> Result<bool, Failure> {
        let rows = self.fresh().await?;
        let any = !rows.is_empty();
        for row in rows {
            let is_first = row.message.numbered && row.prev.is_none();
            if is_first {
                self.doubt((row.message.topic.clone(), row.message.partition));
            }
            self.state.lines.arrive(row);
        }
        Ok(any)
    }

    /// The rows whose turn is next. Where several nodes write, those without a number are given theirs first.
    async fn fresh(&mut self) -> Result<Vec<Waiting>, Failure> {
        let (load, numbering) = (self.load(), Numbering::of(&self.shared.db));
        self.state.is_empty = false;
        if numbering == Numbering::AtInsert {
            let at_end = std::mem::take(&mut self.state.at_end);
            match self.shared.handed.take(self.state.read_to, load) {
                Taken::Rows(rows) => {
                    (self.state.read_to, self.state.at_end) = (rows.last().map_or(-1, |row| row.turn), true);
                    return Ok(rows);
                }
                // What is committed from here on is handed over, and wakes. Whoever stops looks in the table.
                Taken::Nothing if at_end && !self.stop.is_cancelled() => return Ok(Vec::new()),
                Taken::Nothing | Taken::Elsewhere => {}
            }
            let rows = outbox::after(&mut self.shared.db.read().await?, self.state.read_to, load).await?;
            self.state.read_to = rows.last().map_or(self.state.read_to, |last| last.turn);
            self.state.is_empty = rows.is_empty();
            return Ok(rows);
        }
        if !outbox::any_open(&mut self.shared.db.read().await?).await? {
            self.state.is_empty = true;
            return Ok(Vec::new());
        }
        self.number(load).await
    }

    /// Leaves what has its number, and was not read yet, to the partitions that it is for.
    async fn look_behind(&mut self) -> Result<(), Failure> {
        if !self.state.backlog || Numbering::of(&self.shared.db) == Numbering::AtInsert {
            return Ok(());
        }
        let mut read = self.shared.db.read().await?;
        let Backlog { places, until } = outbox::backlog(&mut read).await?;
        self.still_holds(&mut read).await?;
        let after = self.state.read_to;
        if until > after {
            places.iter().for_each(|place| self.state.lines.left(place, Behind { after, until }));
            self.state.read_to = until;
        }
        self.state.backlog = false;
        Ok(())
    }

    /// Whether what was read was numbered by this relay, or before its time. Another one that has the lease by now may have marked
    /// partitions as unsure: what it numbers for them may get other numbers, and would be published under both.
    async fn still_holds(&self, read: &mut Read) -> Result<(), Failure> {
        let shared = &self.shared;
        let alone = !shared.members.shared() || planted!(ReadsOthersNumbers);
        if alone || leases::is_held(read, RELAY, shared.node, self.state.epoch).await? {
            return Ok(());
        }
        Err(Failure::Fenced { topic: RELAY.to_owned(), partition: 0 })
    }

    /// A transaction of the relay's own, which others that hold its lease wait for.
    pub(super) async fn begin_held(&self) -> Result<Write, Failure> {
        let shared = &self.shared;
        let mut write = shared.begin_own(Lane::Background).await?;
        let held = !shared.members.shared()
            || leases::hold(&mut write, RELAY, shared.node, self.state.epoch).await?;
        if !held && !planted!(NumbersWithoutLease) {
            write.rollback().await?;
            return Err(Failure::Fenced { topic: RELAY.to_owned(), partition: 0 });
        }
        Ok(write)
    }

    /// Where a commit ended in an error it may still be under way in the database, and take effect after the rows were looked for.
    /// It holds the lease's row, so that whoever gets that comes after it.
    async fn await_outcome(&mut self) -> Result<(), Failure> {
        if self.state.doubtful {
            self.begin_held().await?.rollback().await?;
            // What has its number by now lies behind what was read, and may be the first one of its partition.
            (self.state.doubtful, self.state.backlog) = (false, true);
            self.state.unsure.read_again();
        }
        Ok(())
    }

    async fn number(&mut self, load: Load) -> Result<Vec<Waiting>, Failure> {
        let shared = self.shared.clone();
        let mut write = self.begin_held().await?;
        let Some(rows) = outbox::number(&mut write, self.state.given, load).await? else {
            write.rollback().await?;
            tracing::warn!(
                service = shared.name(),
                "the database went back; the numbers of messages jump ahead"
            );
            if !self.take_over().await {
                return Err(Failure::Fenced { topic: RELAY.to_owned(), partition: 0 });
            }
            self.begin_anew();
            return Ok(Vec::new());
        };
        self.state.doubtful = !planted!(ForgetsNumbered);
        write.commit().await?;
        self.state.doubtful = false;
        if let Some(last) = rows.last() {
            (self.state.given, self.state.read_to) = (last.turn, last.turn);
        }
        Ok(rows)
    }

    /// Nothing that was read before is there any more, or at the same place. What this relay has given stays given.
    pub(super) fn begin_anew(&mut self) {
        let State { epoch, given, doubtful, .. } = self.state;
        self.state = State { given, doubtful, ..State::new(epoch) };
        self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Begins the next append of each partition that is free.
    fn begin_appends(&mut self) {
        for chunk in self.state.lines.next() {
            if planted!(DeletesBeforeAck) {
                self.landed(&mut chunk.rows.iter().map(|row| (row.clone(), 0)).collect());
            }
            let Chunk { place, rows, again } = &chunk;
            self.shared.arrived(Stage::Relayed, rows.iter().skip(*again));
            let (place, marks) = (place.clone(), chunk.marks());
            let task = self.state.appends.spawn(append(self.shared.topics.bus().clone(), chunk)).id();
            self.state.lines.begun(task, &place, &marks, Instant::now());
        }
    }

    /// Until every append has ended, or patience has: a partition that takes long is left to itself.
    async fn await_prompt(&mut self) {
        while let Some(until) = self.state.lines.awaited_until() {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => self.state.lines.set_aside(Instant::now()),
                ended = self.state.appends.join_next_with_id() => {
                    if let Some(ended) = ended {
                        self.ended(ended);
                        // What was loaded for that partition and is more than one append follows at once.
                        self.begin_appends();
                    }
                }
            }
        }
        self.reap();
    }

    /// Takes note of every append that has ended.
    fn reap(&mut self) {
        while let Some(ended) = self.state.appends.try_join_next_with_id() {
            self.ended(ended);
        }
        let late = self.state.lines.late(SHOWN, Instant::now());
        let late: Vec<(Place, Duration, bool)> =
            late.map(|(place, took, news)| (place.clone(), took, news)).collect();
        for (place, took, news) in late {
            if news {
                tracing::warn!(
                    service = self.shared.name(), topic = %place.0, partition = place.1,
                    "the log does not answer for a partition; its messages wait in the outbox, others go on"
                );
            }
            self.waits(&place, &format!("the log has not answered for {} seconds", took.as_secs()));
        }
    }

    pub(super) fn ended(&mut self, ended: Ended) {
        let now = Instant::now();
        match ended {
            Ok((_, Appended { place, mut done, refused: None })) => {
                crate::spans::sent(&self.shared, &done);
                self.landed(&mut done);
                let Before { refusals, hung } = self.state.lines.accepted(&place, now);
                if refusals > 0 || hung.is_some() {
                    tracing::info!(
                        service = self.shared.name(), topic = %place.0, partition = place.1, refusals,
                        hung_ms = hung.map(millis), "the log takes the partition's messages again"
                    );
                }
                self.goes_on(&place);
            }
            Ok((_, Appended { place, mut done, refused: Some(refused) })) => {
                crate::spans::sent(&self.shared, &done);
                self.landed(&mut done);
                self.state.never.extend(refused.never.map(|row| (row, refused.error.to_string())));
                self.refused(&place, refused.first, &refused.error);
            }
            Err(error) => {
                let Some((place, first)) = self.state.lines.of(error.id()) else { return };
                let reason = format!("appending to {}/{} ended early: {error}", place.0, place.1);
                self.refused(&place, first, &BusError::Unavailable(reason));
            }
        }
    }

    fn refused(&mut self, place: &Place, first: i64, error: &BusError) {
        self.waits(place, &error.to_string());
        let pause = self.shared.limits.outage_pause;
        let Before { refusals, hung } = self.state.lines.refused(place, first, pause, Instant::now());
        if refusals.is_power_of_two() || hung.is_some() {
            tracing::warn!(
                service = self.shared.name(), topic = %place.0, partition = place.1, %error, refusals,
                hung_ms = hung.map(millis),
                "the log refuses a partition; its messages wait in the outbox, others go on"
            );
        }
    }

    /// Shows why a partition's messages wait.
    pub(super) fn waits(&self, place: &Place, reason: &str) {
        let (name, (topic, partition)) = (self.shared.name(), place);
        let text = format!("messages of {name} for {topic}/{partition} wait in the outbox: {reason}");
        let mut shown = self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(place.clone(), text);
    }

    pub(super) fn goes_on(&self, place: &Place) {
        self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }
}
