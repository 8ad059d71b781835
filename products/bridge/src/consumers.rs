//! `ConsumerFactory`: starts, lists and stops consumers of any topic. They are groups made at run time and come back after a
//! restart.

use artel_contract::bridge::{StartConsumer, StopConsumer, check_topic};
use artel_flow::{Asked, Ctx, GroupInfo, GroupState};
use artel_message::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A consumer as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Consumer {
    pub id: String,
    pub topic: String,
    pub state: State,
    /// Messages not read yet; absent while it is not known.
    pub lag: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Running,
    Failed,
    Stopped,
}

impl From<GroupInfo> for Consumer {
    fn from(group: GroupInfo) -> Consumer {
        let state = match group.state {
            GroupState::Running => State::Running,
            GroupState::Failed => State::Failed,
            GroupState::Stopped => State::Stopped,
        };
        Consumer { id: group.name, topic: group.topic, state, lag: group.lag, error: group.error }
    }
}

pub struct ConsumerFactory<'a> {
    ctx: &'a Ctx,
}

impl<'a> ConsumerFactory<'a> {
    pub fn new(ctx: &'a Ctx) -> ConsumerFactory<'a> {
        ConsumerFactory { ctx }
    }

    /// Starts a consumer of a topic that exists. The bridge's own topics are not for consuming: each message read there would
    /// write the next one.
    pub async fn start(&self, command: StartConsumer, asked: Asked) -> Result<Consumer, Fault> {
        check_topic(&command.topic)?;
        if self.ctx.topics().owner(&command.topic) == Some(self.ctx.service()) {
            let topic = &command.topic;
            return Err(Fault::forbidden(format!(
                "topic: '{topic}' is the bridge's own; consume another one"
            )));
        }
        self.ctx.topics().bus().describe(&command.topic).await?;
        let id = self.ctx.ask_as(command, asked).await?;
        let mut all = self.list().await?;
        let found = all.iter().position(|consumer| consumer.id == id);
        found
            .map(|i| all.swap_remove(i))
            .ok_or_else(|| Fault::conflict(format!("consumer '{id}' was forgotten again")))
    }

    pub async fn list(&self) -> Result<Vec<Consumer>, Fault> {
        Ok(self.ctx.groups().list().await?.into_iter().map(Consumer::from).collect())
    }

    /// Stops it; it keeps its place, unless it is to be forgotten.
    pub async fn stop(&self, id: String, forget: bool, asked: Asked) -> Result<(), Fault> {
        self.ctx.ask_as(StopConsumer { id, forget }, asked).await
    }
}
