//! Commands, queries, reports of the relay, and what consumers read.

use crate::config::BridgeSettings;
use crate::store;
use artel_bus::From as Begin;
use artel_contract::bridge::{
    Accepted, ConsumeMessage, GetMessage, GetStats, GetTimer, ListMessages, MessageId, NewMessage,
    ProduceMany, ProduceMessage, Purge, SetTimer, StartAt, StartConsumer, Stats, Status, StopConsumer, Tick,
    Timer, Tracked,
};
use artel_flow::{GivenUp, Msg, Produce, Published, Raw, Read, Tx};
use artel_message::{Code, Cursor, Envelope, Fault, Message, Page, check_json};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// The name that the bridge's messages carry.
pub(crate) const MESSAGE: &str = "bridge.message";
/// The identity of the timer that sends test messages.
const TIMER: &str = "test-messages";
/// The identity of the timer that goes on with a purge.
const PURGING: &str = "rest";
/// How many messages a purge deletes in one transaction, and the pause before the next.
const PURGE: i64 = 2_000;
const PURGE_PAUSE: Duration = Duration::from_millis(100);
/// The longest reason of a message that failed, in characters.
const REASON: usize = 500;
/// Values are read as JSON down to this depth.
const VALUE_DEPTH: usize = 120;

pub async fn produce_message(tx: &mut Tx, command: ProduceMessage) -> Result<Accepted, Fault> {
    let topic = command.message.topic.clone();
    let id = accept(tx, vec![command.message]).await?;
    Ok(Accepted { id, topic, status: Status::Accepted })
}

pub async fn produce_many(tx: &mut Tx, command: ProduceMany) -> Result<u32, Fault> {
    let count = u32::try_from(command.messages.len()).unwrap_or(u32::MAX);
    accept(tx, command.messages).await?;
    Ok(count)
}

/// Saves messages as accepted, publishes them, and has them consumed. Returns the first id.
async fn accept(tx: &mut Tx, messages: Vec<NewMessage>) -> Result<MessageId, Fault> {
    let topics: BTreeSet<&str> = messages.iter().map(|m| m.topic.as_str()).collect();
    for topic in topics {
        if store::meet_topic(tx, topic).await? {
            tx.adopt_topic(topic).await?;
            if tx.settings::<BridgeSettings>().consume {
                consume(tx, topic).await?;
            }
        }
    }
    let messages: Vec<(MessageId, NewMessage)> =
        messages.into_iter().map(|message| (tx.new_id().into(), message)).collect();
    store::insert(tx, &messages).await?;
    let first = messages.first().map(|(id, _)| *id);
    for (id, message) in messages {
        let value: Box<str> = message.value.into();
        tx.produce(
            MESSAGE,
            Produce {
                topic: message.topic,
                key: message.key.map(Bytes::from),
                value: Some(Bytes::from(String::from(value))),
                headers: message.headers.into_iter().map(|(name, value)| (name, Some(value))).collect(),
                id: Some(id.uuid()),
            },
        );
    }
    first.ok_or_else(|| Fault::field("messages", "there are none"))
}

/// Starts the topic's own consumer, named after it. Where a consumer of another topic has that name, it gets one that nobody can
/// choose: who names a consumer must not keep a topic from being sent to.
async fn consume(tx: &mut Tx, topic: &str) -> Result<(), Fault> {
    match tx.start_group(topic, topic, Begin::Earliest).await {
        Err(taken) if taken.code == Code::Conflict => {
            tx.start_group(&format!("{topic}:auto"), topic, Begin::Earliest).await
        }
        done => done,
    }
}

/// The relay says where messages went.
pub async fn produced(tx: &mut Tx, published: Vec<Published>) -> Result<(), Fault> {
    let ours: Vec<&Published> = published.iter().filter(|p| p.name == MESSAGE).collect();
    Ok(store::mark_produced(tx, &ours).await?)
}

/// A consumer has read a message: `ConsumeMessage` says so.
pub async fn read(tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    // Who only copies our headers has another id: the runtime vouches for `raw.id`.
    let ours = Envelope::from_headers(&raw.headers).is_ok_and(|e| e.id == raw.id && e.name == MESSAGE);
    let read_at = tx.now();
    let problem = raw.value.as_deref().and_then(not_json);
    tx.send(ConsumeMessage {
        id: raw.id.into(),
        topic: raw.topic.to_string(),
        partition: raw.partition,
        offset: raw.offset,
        written_at: raw.time,
        read_at,
        ours,
        problem,
    });
    Ok(())
}

/// What others write may be anything. A value that is no JSON is not consumed, and its message says so; it stays in the log, and
/// is no dead letter: a topic full of such would fill the database with copies.
fn not_json(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).map_err(|e| e.to_string());
    let checked = text.and_then(|text| check_json(text, VALUE_DEPTH));
    checked.err().map(|reason| format!("the value is not JSON: {reason}"))
}

/// A message that a consumer could not take in, or whose `ConsumeMessage` was refused, or that the log refuses for ever.
pub async fn given_up(tx: &mut Tx, given: GivenUp) -> Result<(), Fault> {
    let reason: String = given.reason.chars().take(REASON).collect();
    let at = given.read.as_ref();
    let (id, foreign) = match at.filter(|at| at.run_time) {
        Some(at) => {
            let read = ConsumeMessage {
                id: given.id.into(),
                topic: given.topic.clone(),
                partition: given.partition,
                offset: at.offset,
                written_at: at.written_at,
                read_at: given.at,
                ours: given.name.as_deref() == Some(MESSAGE),
                problem: Some(reason.clone()),
            };
            (Some(read.id), Some(read))
        }
        None if given.name.as_deref() == Some(MESSAGE) => (Some(given.id.into()), None),
        None if given.name.as_deref() == Some(ConsumeMessage::NAME) => of_command(&given, &reason),
        None => (None, None),
    };
    let Some(id) = id else { return Ok(()) };
    if !store::mark_failed(tx, id, &reason).await?
        && let Some(foreign) = foreign
    {
        store::insert_foreign(tx, &[&foreign]).await?;
    }
    Ok(())
}

/// Which message a `ConsumeMessage` is about; where it can't be read its key still says so.
fn of_command(given: &GivenUp, reason: &str) -> (Option<MessageId>, Option<ConsumeMessage>) {
    let read: Option<ConsumeMessage> =
        given.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
    let key = given.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
    let id = read.as_ref().map(|read| read.id).or(key);
    let foreign = read.filter(|read| !read.ours);
    (id, foreign.map(|read| ConsumeMessage { problem: Some(reason.to_owned()), ..read }))
}

pub async fn consume_messages(tx: &mut Tx, commands: Vec<Msg<ConsumeMessage>>) -> Result<(), Fault> {
    let (ours, foreign): (Vec<&ConsumeMessage>, Vec<&ConsumeMessage>) =
        commands.iter().map(|message| &**message).partition(|command| command.ours);
    if !ours.is_empty() {
        store::mark_consumed(tx, &ours).await?;
    }
    if !foreign.is_empty() {
        store::insert_foreign(tx, &foreign).await?;
    }
    Ok(())
}

pub async fn start_consumer(tx: &mut Tx, command: StartConsumer) -> Result<String, Fault> {
    let name = command.name.unwrap_or_else(|| command.topic.clone());
    let from = match command.from {
        StartAt::Earliest => Begin::Earliest,
        StartAt::Latest => Begin::Latest,
        StartAt::Offset(offset) => Begin::Offset(offset),
        StartAt::Time(time) => Begin::Time(time),
    };
    tx.start_group(&name, &command.topic, from).await?;
    Ok(name)
}

pub async fn stop_consumer(tx: &mut Tx, command: StopConsumer) -> Result<(), Fault> {
    let found =
        if command.forget { tx.forget_group(&command.id).await? } else { tx.stop_group(&command.id).await? };
    if found { Ok(()) } else { Err(Fault::not_found(format!("there is no consumer '{}'", command.id))) }
}

pub async fn set_timer(tx: &mut Tx, command: SetTimer) -> Result<Timer, Fault> {
    store::set_timer(tx, &command.timer).await?;
    if command.timer.enabled {
        tx.after(TIMER, Duration::from_millis(command.timer.interval_ms), Tick {});
    } else {
        tx.cancel::<Tick>(TIMER).await?;
    }
    Ok(command.timer)
}

/// Sends one test message and sets the timer anew. A tick that comes after the timer was switched off sends nothing.
pub async fn tick(tx: &mut Tx, _: Tick) -> Result<(), Fault> {
    let timer = store::timer(tx).await?;
    if !timer.enabled {
        return Ok(());
    }
    let text = serde_json::json!({ "test": true, "sent_at": tx.now() }).to_string();
    let value = serde_json::value::RawValue::from_string(text).map_err(|e| Fault::internal(e.to_string()))?;
    let message =
        NewMessage { topic: timer.topic, key: Some("timer".to_owned()), value, headers: Default::default() };
    accept(tx, vec![message]).await?;
    tx.after(TIMER, Duration::from_millis(timer.interval_ms), Tick {});
    Ok(())
}

pub async fn get_message(read: &Read, query: GetMessage) -> Result<Tracked, Fault> {
    store::find(read, query.id)
        .await?
        .ok_or_else(|| Fault::not_found(format!("there is no message {}", query.id)))
}

pub async fn list_messages(read: &Read, query: ListMessages) -> Result<Page<Tracked>, Fault> {
    let before = query.cursor.clone().map(|text| Cursor(text).key::<MessageId>()).transpose()?;
    let limit = i64::from(query.limit.unwrap_or(50));
    let mut items = store::list(read, &query, before, limit + 1).await?;
    let more = i64::try_from(items.len()).unwrap_or(i64::MAX) > limit;
    if more {
        items.pop();
    }
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&last.id));
    Ok(Page { items, next })
}

pub async fn get_stats(read: &Read, _: GetStats) -> Result<Stats, Fault> {
    Ok(store::totals(read).await?)
}

pub async fn get_timer(read: &Read, _: GetTimer) -> Result<Timer, Fault> {
    Ok(store::read_timer(read).await?)
}

/// Forgets messages that are older than the setting; totals stay.
pub async fn purge_on_time(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    purge(tx, Purge {}).await
}

/// One part of it. What is left goes on after a pause, in a transaction of its own, so that nobody waits for long.
pub async fn purge(tx: &mut Tx, _: Purge) -> Result<(), Fault> {
    let before = tx.now() - tx.settings::<BridgeSettings>().keep();
    let deleted = store::purge(tx, before, PURGE).await?;
    if deleted > 0 {
        tracing::info!(deleted, "old messages purged");
    }
    if deleted == PURGE.unsigned_abs() {
        tx.after(PURGING, PURGE_PAUSE, Purge {});
    }
    Ok(())
}
