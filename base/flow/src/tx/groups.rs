//! Groups and topics made at run time, in the transaction of who makes them.

use super::Tx;
use crate::storage;
use artel_bus::From as StartAt;
use artel_message::Fault;
use artel_store::StoreError;

impl Tx {
    /// Starts a group made at run time (or starts it again where it stopped). Its messages come to `.on_raw`. A group of that
    /// name on another topic is a conflict. `Latest` is where the topic ends when the group is first taken up.
    pub async fn start_group(&mut self, name: &str, topic: &str, from: StartAt) -> Result<(), Fault> {
        if !self.may_leave("a group made at run time") {
            return Ok(());
        }
        let service = &self.shared.service;
        if service.raw.is_none() {
            return Err(Fault::internal(format!(
                "service '{}' has no handler for raw messages",
                service.name
            )));
        }
        if service.events.contains_key(name) {
            return Err(Fault::conflict(format!(
                "'{name}' is a group of the service itself; take another name"
            )));
        }
        let id = self.new_id();
        let there = storage::groups::start(&mut self.write, id, name, topic, from, self.now).await?;
        if there != topic {
            return Err(Fault::conflict(format!(
                "group '{name}' reads topic '{there}'; forget it first, or take another name"
            )));
        }
        self.out.groups = true;
        Ok(())
    }

    /// Stops a group made at run time; it keeps its place. False when there is none.
    pub async fn stop_group(&mut self, name: &str) -> Result<bool, StoreError> {
        if !self.may_leave("a group made at run time") {
            return Ok(false);
        }
        self.out.groups = true;
        storage::groups::stop(&mut self.write, name).await
    }

    /// Forgets a group made at run time and its place. False when there is none.
    pub async fn forget_group(&mut self, name: &str) -> Result<bool, StoreError> {
        if !self.may_leave("a group made at run time") {
            return Ok(false);
        }
        self.out.groups = true;
        let grp = format!("{}.{name}", self.shared.name());
        storage::groups::forget(&mut self.write, name, &grp).await
    }

    /// Records that this service made a topic at run time: from then on its seqs count there.
    pub async fn adopt_topic(&mut self, topic: &str) -> Result<(), StoreError> {
        if !self.may_leave("a topic made at run time") {
            return Ok(());
        }
        self.out.adopted.push(topic.to_owned());
        storage::groups::adopt_topic(&mut self.write, topic, self.now).await
    }
}
