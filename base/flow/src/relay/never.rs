//! Rows that the log will never take: the service is told once, and they wait all the same, since only an operator drops.

use super::Relay;
use crate::around::{Call, around};
use crate::failure::Class;
use crate::handler::GivenUp;
use crate::storage::outbox::Waiting;
use crate::{Failure, Tx};
use artel_message::Cause;
use artel_store::Lane;

impl Relay {
    pub(super) async fn tell_never(&mut self) -> Result<(), Failure> {
        for (row, reason) in std::mem::take(&mut self.state.never) {
            if !self.state.told.insert(row.id) {
                continue;
            }
            match self.tell(&row, reason).await {
                // It comes again when its partition is tried again.
                Err(failure) if failure.class() == Class::Infrastructure => {
                    self.state.told.remove(&row.id);
                    return Err(failure);
                }
                Err(failure) => tracing::error!(
                    service = self.shared.name(), error = %failure, message = %row.message.message,
                    "the handler of messages given up on fails; it is not told of this one"
                ),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn tell(&self, row: &Waiting, reason: String) -> Result<(), Failure> {
        let (shared, message) = (&self.shared, &row.message);
        let Some(handler) = &shared.service.given_up else { return Ok(()) };
        let mut tx = Tx::begin(shared, Lane::Background).await?.unbounded();
        tx.enter("given-up", Cause::message(message.message, message.at), false, None);
        let given = GivenUp {
            id: message.message,
            name: Some(message.name.clone()),
            topic: message.topic.clone(),
            partition: message.partition,
            read: None,
            key: message.key.clone(),
            value: message.value.clone(),
            reason,
            at: tx.now(),
        };
        let call = Call::new(shared, "given-up", "*", None);
        let work = handler(&mut tx, given);
        let result = around(call, shared.limits.handler_time, work).await;
        tx.end(result).await?;
        shared.progressed();
        Ok(())
    }
}
