//! `MessageSend`: sends through the mediator, after the topic is made.

use artel_contract::bridge::{Accepted, NewMessage, ProduceMany, ProduceMessage};
use artel_flow::{Asked, Ctx};
use artel_message::Fault;

/// What a record has beside its value is bounded by this, or by the value's own limit where that is smaller: the log keeps as
/// much room.
const AROUND_A_VALUE: usize = 64 << 10;
/// Of which the platform's own headers take so much, and each header of the sender's a little.
const OWN_HEADERS: usize = 1 << 10;
const PER_HEADER: usize = 16;

/// Sends messages for a caller.
pub struct MessageSend<'a> {
    ctx: &'a Ctx,
}

impl<'a> MessageSend<'a> {
    pub fn new(ctx: &'a Ctx) -> MessageSend<'a> {
        MessageSend { ctx }
    }

    pub async fn one(&self, message: NewMessage, asked: Asked) -> Result<Accepted, Fault> {
        self.acceptable(&message).await?;
        self.ctx.ask_as(ProduceMessage { message }, asked).await
    }

    /// A chunk in one transaction, of messages that are [`acceptable`](MessageSend::acceptable).
    pub async fn many(&self, messages: Vec<NewMessage>, asked: Asked) -> Result<u32, Fault> {
        self.ctx.ask_as(ProduceMany { messages }, asked).await
    }

    /// Everything that can be wrong with one message, so that it takes no others with it; makes its topic.
    pub async fn acceptable(&self, message: &NewMessage) -> Result<(), Fault> {
        message.check()?;
        self.fits(message)?;
        self.ready(&message.topic).await
    }

    /// Refuses what the log would not take: once accepted, it would keep its partition waiting for ever.
    fn fits(&self, message: &NewMessage) -> Result<(), Fault> {
        let (size, limit) = (message.value.get().len(), self.ctx.message_bytes());
        if size > limit {
            let reason = format!("is {size} bytes; the limit is {limit} (setting bus.max_message_bytes)");
            return Err(Fault::field("value", reason));
        }
        let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + PER_HEADER);
        let around = headers.sum::<usize>() + message.key.as_ref().map_or(0, String::len) + OWN_HEADERS;
        let limit = limit.min(AROUND_A_VALUE);
        if around > limit {
            let reason = format!(
                "with the key they are {around} bytes; the limit is {limit} (setting bus.max_message_bytes)"
            );
            return Err(Fault::field("headers", reason));
        }
        Ok(())
    }

    /// Makes the topic if there is none. One that belongs to a service is refused.
    pub async fn ready(&self, topic: &str) -> Result<(), Fault> {
        if let Some(owner) = self.ctx.topics().owner(topic) {
            return Err(Fault::forbidden(format!(
                "topic: '{topic}' belongs to service '{owner}'; send to a topic of another name"
            )));
        }
        Ok(self.ctx.topics().ensure(topic).await?)
    }
}
