//! Deleting what the log has, in the transaction that tells the service where it went.

use super::Relay;
use crate::around::{Call, around};
use crate::failure::Class;
use crate::handler::Published;
use crate::storage::outbox::{self, Waiting};
use crate::{Failure, Tx};
use artel_message::{Cause, Time};
use artel_store::Lane;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// How often the service's own handler of reports may fail before messages are confirmed without it.
const REPORTS: u32 = 10;

impl Relay {
    /// Deletes what the log has and tells the service where it went, in one transaction. What fails here is tried again
    /// without being published again; a handler of reports that goes on failing is left out in the end.
    pub(super) async fn confirm(&mut self) -> Result<(), Failure> {
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
