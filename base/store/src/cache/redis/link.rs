//! One connection to Redis, and the generation that it works in.

use super::names::Names;
use super::reason::{self, Meaning};
use crate::CacheError;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value, cmd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Requests on the wire at the same time; further ones wait, within their time-out.
const UNDER_WAY: usize = 1024;
/// How often a call follows a generation that changes under it.
const TURNS: usize = 4;

/// Why a command was not done, or is not known to be.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not within the time-out.
    Late,
    /// Redis refused it: it was not done, and an old value is gone.
    Refused(String),
    /// Redis refused it, and an old value may be there.
    Stale(String),
    /// The connection is of no use any more.
    Gone(String),
}

impl From<Failure> for CacheError {
    fn from(failure: Failure) -> CacheError {
        let reason = match failure {
            Failure::Late => "redis does not answer in time".to_owned(),
            Failure::Refused(reason) | Failure::Stale(reason) | Failure::Gone(reason) => {
                format!("redis: {reason}")
            }
        };
        CacheError::Unavailable { reason }
    }
}

pub(super) struct Link {
    connection: MultiplexedConnection,
    names: Names,
    /// Which of this node's connections it is.
    pub(super) era: u64,
    /// The process of Redis at the other end.
    run: String,
    /// `TOKEN:RUN`, as it stands in Redis. Empty when it could not be written for want of memory: nothing is there then.
    generation: Mutex<Arc<str>>,
}

impl Link {
    /// Connects, and finds out which process of Redis this is.
    pub(super) async fn connect(
        client: &Client,
        names: &Names,
        era: u64,
        limit: Duration,
    ) -> Result<Link, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None)
            .set_concurrency_limit(UNDER_WAY);
        let connected =
            tokio::time::timeout(limit, client.get_multiplexed_async_connection_with_config(&config));
        let connection = connected.await.map_err(|_| Failure::Late)?.map_err(|error| failure(&error))?;
        let mut link = Link {
            connection,
            names: names.clone(),
            era,
            run: String::new(),
            generation: Mutex::new("".into()),
        };
        let mut info = cmd("INFO");
        info.arg("server");
        link.run = match link.send(&[info]).await {
            Ok(mut replies) => replies.pop().and_then(text).and_then(run_of).unwrap_or_default(),
            // A user without that right: every connection may then be to another process.
            Err(Failure::Refused(_)) => String::new(),
            Err(failure) => return Err(failure),
        };
        Ok(link)
    }

    pub(super) async fn ping(&self) -> Result<(), Failure> {
        self.send(&[cmd("PING")]).await.map(|_| ())
    }

    /// Takes the generation over from Redis if this process of Redis made it; else, or if `renew`, makes a new one.
    pub(super) async fn enter(&self, renew: bool) -> Result<(), Failure> {
        let found = self.read_generation().await?;
        let ours = found.as_deref().and_then(|g| g.split_once(':')).is_some_and(|(_, run)| run == self.run);
        if ours && !self.run.is_empty() && !renew {
            self.adopt(found);
            return Ok(());
        }
        // Deleting works also when memory is full.
        let mut remove = cmd("DEL");
        remove.arg(self.names.generation());
        match self.send(&[remove]).await {
            Ok(_) => self.make_generation().await,
            Err(Failure::Refused(reason)) => Err(Failure::Stale(reason)),
            Err(failure) => Err(failure),
        }
    }

    /// Runs the command that `command` makes for a generation, again if the generation was another one by then.
    pub(super) async fn run(&self, command: &(impl Fn(&str) -> Cmd + Sync)) -> Result<Value, Failure> {
        for _ in 0..TURNS {
            let generation = self.generation();
            if generation.is_empty() {
                self.make_generation().await?;
                continue;
            }
            let mut get = cmd("GET");
            get.arg(self.names.generation());
            let mut replies = self.replies(&[command(&generation), get]).await?;
            let now = checked(replies.pop().unwrap_or(Value::Nil)).map(text)?;
            if now.as_deref() == Some(&*generation) {
                return checked(replies.pop().unwrap_or(Value::Nil));
            }
            self.adopt(now);
        }
        Err(Failure::Refused("its generation changes all the time; see who deletes its keys".to_owned()))
    }

    /// Sends commands together; an error of one of them is the error of all.
    pub(super) async fn send(&self, commands: &[Cmd]) -> Result<Vec<Value>, Failure> {
        self.replies(commands).await?.into_iter().map(checked).collect()
    }

    async fn replies(&self, commands: &[Cmd]) -> Result<Vec<Value>, Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let mut connection = self.connection.clone();
        connection.send_packed_commands(&pipeline, 0, commands.len()).await.map_err(|error| failure(&error))
    }

    async fn read_generation(&self) -> Result<Option<String>, Failure> {
        let mut get = cmd("GET");
        get.arg(self.names.generation());
        Ok(self.send(&[get]).await?.pop().and_then(text))
    }

    /// The first of several nodes wins.
    async fn make_generation(&self) -> Result<(), Failure> {
        let mut set = cmd("SET");
        set.arg(self.names.generation()).arg(format!("{}:{}", Uuid::now_v7().simple(), self.run)).arg("NX");
        let made = self.send(&[set]).await;
        if let Err(Failure::Gone(reason)) = made {
            return Err(Failure::Gone(reason));
        }
        let found = self.read_generation().await?;
        let none = found.is_none();
        self.adopt(found);
        // Without one nothing old can be seen, and nothing new is kept.
        if none { made.map(|_| ()) } else { Ok(()) }
    }

    pub(super) fn generation(&self) -> Arc<str> {
        Arc::clone(&self.generation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn adopt(&self, generation: Option<String>) {
        *self.generation.lock().unwrap_or_else(PoisonError::into_inner) =
            generation.unwrap_or_default().into();
    }
}

fn run_of(info: String) -> Option<String> {
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned())
}

fn failure(error: &redis::RedisError) -> Failure {
    match reason::of_error(error) {
        (Meaning::Refused, sentence) => Failure::Refused(sentence),
        (Meaning::Gone, sentence) => Failure::Gone(sentence),
    }
}

fn checked(reply: Value) -> Result<Value, Failure> {
    let Value::ServerError(error) = reply else { return Ok(reply) };
    match reason::of_reply(error.code(), error.details().unwrap_or_default()) {
        (Meaning::Refused, sentence) => Err(Failure::Refused(sentence)),
        (Meaning::Gone, sentence) => Err(Failure::Gone(sentence)),
    }
}

pub(super) fn bytes(reply: Value) -> Option<Bytes> {
    match reply {
        Value::BulkString(value) => Some(Bytes::from(value)),
        Value::SimpleString(value) => Some(Bytes::from(value)),
        Value::VerbatimString { text, .. } => Some(Bytes::from(text)),
        _ => None,
    }
}

pub(super) fn text(reply: Value) -> Option<String> {
    String::from_utf8(bytes(reply)?.to_vec()).ok()
}
