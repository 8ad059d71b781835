//! Deleting what the log has, in the transaction that tells the service where it went.

use super::Relay;
use crate::around::{Call, around};
use crate::failure::Class;
use crate::gone::{self, Run};
use crate::handler::Published;
use crate::stages::Stage;
use crate::storage::outbox::{self, Numbering, Waiting};
use crate::{Failure, Tx};
use artel_message::{Cause, Envelope, Time};
use artel_store::Lane;
use bytes::Bytes;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long what the log has may stay in the outbox, where nobody is to be told of it. Each deletion is a transaction beside those
/// of handlers; fewer of them make more room. What a crash leaves there is published again, and known for a repeat by its number.
/// Rows without one, or for topics whose readers don't know whose numbers to believe, are deleted at once.
pub(super) const WITHIN: Duration = Duration::from_millis(50);

/// How often the service's own handler of reports may fail before messages are confirmed without it.
const REPORTS: u32 = 10;

impl Relay {
    /// Takes note of rows that are in the log.
    pub(super) fn landed(&mut self, done: &mut Vec<(Waiting, i64)>) {
        self.shared.arrived(Stage::Logged, done.iter().map(|(row, _)| row));
        let (topics, own) = (&self.shared.topics, Envelope::source_of(self.shared.name()));
        let known =
            |row: &Waiting| row.message.numbered && topics.may_write(&row.message.topic, &own) == Some(true);
        self.state.urgent |= done.iter().any(|(row, _)| !known(row));
        if self.is_told_nowhere() {
            self.shared.gone.add(done.drain(..).map(|(row, _)| row.id));
            return;
        }
        for (row, _) in done.iter_mut() {
            // What is deleted needs no more than its name.
            (row.message.headers, row.message.value) = (Bytes::new(), None);
        }
        self.state.unconfirmed.append(done);
        if !self.state.unconfirmed.is_empty() {
            self.state.unconfirmed_since.get_or_insert_with(Instant::now);
        }
    }

    /// Whether rows only have to go, whoever deletes them.
    fn is_told_nowhere(&self) -> bool {
        self.shared.service.published.is_none() && Numbering::of(&self.shared.db) == Numbering::AtInsert
    }

    /// Confirms what has waited for long, or has become much; true when there was something to confirm.
    pub(super) async fn confirm_due(&mut self) -> Result<bool, Failure> {
        let (gone, gone_since) = self.shared.gone.waiting();
        let Some(since) = gone_since.or(self.state.unconfirmed_since) else { return Ok(false) };
        let is_due = self.shared.service.published.is_some()
            || self.state.urgent
            || self.state.unconfirmed.len() + gone >= 2 * self.shared.limits.relay_rows
            || since.elapsed() >= WITHIN
            || self.stop.is_cancelled();
        if is_due {
            self.confirm().await?;
        }
        Ok(is_due)
    }

    /// Deletes what the log has and tells the service where it went, in one transaction. What fails here is tried again
    /// without being published again; a handler of reports that goes on failing is left out in the end.
    pub(super) async fn confirm(&mut self) -> Result<(), Failure> {
        self.clear_away().await?;
        if self.state.unconfirmed.is_empty() {
            return Ok(());
        }
        let result = self.shared.rerun(|| self.confirm_once()).await;
        match &result {
            Ok(()) => {
                self.state.unconfirmed.clear();
                (self.state.unconfirmed_since, self.state.urgent) = (None, false);
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
        if self.shared.service.published.is_none() {
            return self.delete().await;
        }
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
        let deleted = confirmed.len();
        tx.commit().await?;
        shared.deleted(u64::try_from(deleted).unwrap_or(0));
        Ok(())
    }

    /// Only deletes: nobody is told, so that no isolation is needed in which rows that others append collide with these.
    async fn delete(&self) -> Result<(), Failure> {
        let mut ids: Vec<i64> = self.state.unconfirmed.iter().map(|(row, _)| row.id).collect();
        ids.sort_unstable();
        let deleted = self.delete_runs(&gone::runs(&ids)).await?;
        self.shared.deleted(deleted);
        Ok(())
    }

    /// The same for rows that no group's transaction has taken along.
    async fn clear_away(&mut self) -> Result<(), Failure> {
        let runs = self.shared.gone.take();
        if runs.is_empty() {
            return Ok(());
        }
        let done = self.delete_runs(&runs).await;
        self.shared.gone.settled(&runs, done.is_ok());
        self.state.urgent = false;
        self.shared.deleted(done?);
        Ok(())
    }

    async fn delete_runs(&self, runs: &[Run]) -> Result<u64, Failure> {
        let mut write = self.shared.begin_own(Lane::Background).await?;
        let deleted = outbox::clear_away(&mut write, runs).await?;
        write.commit().await?;
        Ok(deleted)
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
