//! `MessageSend`: sends through the mediator, after the topic is made.

use artel_contract::bridge::{Accepted, NewMessage, ProduceMany, ProduceMessage};
use artel_flow::{Asked, Ctx};
use artel_message::Fault;
use std::collections::BTreeSet;

/// Sends messages for a caller.
pub struct MessageSend<'a> {
    ctx: &'a Ctx,
}

impl<'a> MessageSend<'a> {
    pub fn new(ctx: &'a Ctx) -> MessageSend<'a> {
        MessageSend { ctx }
    }

    pub async fn one(&self, message: NewMessage, asked: Asked) -> Result<Accepted, Fault> {
        message.check()?;
        self.fits(&message)?;
        self.ready(&message.topic).await?;
        self.ctx.ask_as(ProduceMessage { message }, asked).await
    }

    /// A chunk in one transaction; topics are ready already.
    pub async fn many(&self, messages: Vec<NewMessage>, asked: Asked) -> Result<u32, Fault> {
        let topics: BTreeSet<&str> = messages.iter().map(|m| m.topic.as_str()).collect();
        for topic in topics {
            self.ready(topic).await?;
        }
        self.ctx.ask_as(ProduceMany { messages }, asked).await
    }

    /// Refuses a value that the log would not take.
    pub fn fits(&self, message: &NewMessage) -> Result<(), Fault> {
        let (size, limit) = (message.value.get().len(), self.ctx.message_bytes());
        if size > limit {
            let reason = format!("is {size} bytes; the limit is {limit} (setting bus.max_message_bytes)");
            return Err(Fault::field("value", reason));
        }
        Ok(())
    }

    /// Refuses a topic that belongs to a service.
    pub fn allowed(&self, topic: &str) -> Result<(), Fault> {
        match self.ctx.topics().owner(topic) {
            Some(owner) => Err(Fault::forbidden(format!(
                "topic: '{topic}' belongs to service '{owner}'; send to a topic of another name"
            ))),
            None => Ok(()),
        }
    }

    /// Makes the topic if there is none.
    pub async fn ready(&self, topic: &str) -> Result<(), Fault> {
        self.allowed(topic)?;
        Ok(self.ctx.topics().ensure(topic).await?)
    }
}
