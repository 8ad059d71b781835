//! One key's turn: its first message, and those behind it as long as they succeed.

use crate::consumer::Reader;
use crate::consumer::giveup::{self, Given};
use crate::consumer::handle::{ran, run_batch, run_one};
use crate::consumer::parking::{BYTES, MESSAGES, Tried};
use crate::consumer::sort::{Seen, Sorted};
use crate::failure::Class;
use crate::fingerprint::{self, Chain};
use crate::stages::Stage;
use crate::storage::dead;
use crate::storage::parked::{self, Claimed, Parked, Taken};
use crate::{Failure, Tx};
use artel_bus::Received;
use artel_message::{Envelope, Fault, Time};
use artel_store::Lane;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Messages of one key in one transaction, once its first one has succeeded; fewer where they take long, since the partition
/// waits for the key's row.
const MOST: i64 = 64;
const LONGEST: Duration = Duration::from_millis(50);
/// Messages of one key before others have their turn.
const TURN: i64 = 1_024;

/// How an attempt ended.
enum Ended {
    /// Nothing was to be had.
    Gone,
    /// So many were taken in; whether more wait.
    Went { count: i64, more: bool },
    /// This many succeeded, and were rolled back with the one behind them.
    Failed { key: Box<Claimed>, message: Box<Parked>, before: i64, failure: Failure },
}

/// Tries a key's messages until one fails, none is left or others are due; true when anything came of it.
pub(super) async fn turn(reader: &Reader, id: Uuid, stop: &CancellationToken) -> Result<bool, Failure> {
    let shared = &reader.shared;
    let (mut most, mut went) = (1, 0);
    loop {
        let now = shared.now();
        match shared.rerun(|| attempt(reader, id, most, now)).await {
            Ok(Ended::Gone) => return Ok(went > 0),
            Ok(Ended::Went { count, more }) => {
                went += count;
                if !more || went >= TURN || stop.is_cancelled() {
                    return Ok(true);
                }
                most = (most * 4).min(MOST);
            }
            Ok(Ended::Failed { before: 0, key, message, failure }) => {
                failed(reader, &key, &message, failure, now).await?;
                return Ok(true);
            }
            Ok(Ended::Failed { before, .. }) => most = before,
            // It collides with others more often than it may; its next round is soon.
            Err(failure) if failure.is_contended() => return Ok(went > 0),
            Err(failure) => return Err(failure),
        }
    }
}

/// One transaction: the key's row first, then up to `most` of its messages.
async fn attempt(reader: &Reader, id: Uuid, most: i64, now: Time) -> Result<Ended, Failure> {
    let shared = &reader.shared;
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    tx.scope(&reader.grp);
    let Some(key) = parked::claim(tx.write(), shared.db.engine(), id, now).await? else {
        tx.rollback().await;
        return Ok(Ended::Gone);
    };
    let messages = parked::first(tx.write(), id, key.until(), most).await?;
    if messages.is_empty() {
        parked::rest(tx.write(), id).await?;
        tx.commit().await?;
        return Ok(Ended::Gone);
    }
    let topic: Arc<str> = Arc::from(key.hold.topic.as_str());
    let mut outcomes: BTreeMap<&'static str, i64> = BTreeMap::new();
    let mut taken = Taken::default();
    let mut made: Vec<Time> = Vec::new();
    let (begun, begun_at) = (Instant::now(), shared.now());
    for message in &messages {
        if taken.count > 0 && (tx.pressed() || begun.elapsed() > LONGEST) {
            break;
        }
        match run(reader, &mut tx, &topic, key.hold.partition, message, now).await {
            Ok((outcome, at)) => {
                *outcomes.entry(outcome).or_default() += 1;
                if matches!(outcome, "run" | "foreign") {
                    made.push(at);
                }
            }
            Err(failure) => return ended(tx, key, message.clone(), taken.count, failure).await,
        }
        taken = Taken { count: taken.count + 1, bytes: taken.bytes + message.size(), to: message.offset };
    }
    if planted!(ParkedTakenApart) {
        tx.commit().await?;
        tx = Tx::begin(shared, Lane::Background).await?;
    }
    parked::take(tx.write(), &key, taken).await?;
    tx.count_in(&reader.grp, MESSAGES, -taken.count);
    tx.count_in(&reader.grp, BYTES, -taken.bytes);
    for (outcome, n) in outcomes.iter().filter(|(outcome, _)| **outcome != "run") {
        tx.count_in(&reader.grp, outcome, *n);
    }
    match tx.commit().await {
        Ok(()) => {}
        // What a message leaves behind can't be committed: it alone, and then it is known which.
        Err(failure) if failure.class() != Class::Infrastructure => {
            let Some(message) = messages.into_iter().next() else { return Err(failure) };
            let (key, message) = (Box::new(key), Box::new(message));
            return Ok(Ended::Failed { key, message, before: taken.count / 2, failure });
        }
        Err(failure) => return Err(failure),
    }
    shared.metrics.arrived(&reader.grp, Stage::Taken, begun_at, made.iter().copied());
    shared.metrics.arrived(&reader.grp, Stage::Handled, shared.now(), made.iter().copied());
    for (outcome, n) in outcomes {
        shared.metrics.taken(&reader.grp, outcome, u64::try_from(n).unwrap_or(0));
    }
    Ok(Ended::Went { count: taken.count, more: taken.count < key.hold.waiting })
}

async fn ended(
    tx: Tx,
    key: Claimed,
    message: Parked,
    before: i64,
    failure: Failure,
) -> Result<Ended, Failure> {
    tx.rollback().await;
    if failure.class() == Class::Infrastructure {
        return Err(failure);
    }
    Ok(Ended::Failed { key: Box::new(key), message: Box::new(message), before, failure })
}

/// Runs the handler of a message; a batch handler is given a batch of one. Returns how the message counts, and when it was made.
async fn run(
    reader: &Reader,
    tx: &mut Tx,
    topic: &Arc<str>,
    partition: u32,
    message: &Parked,
    now: Time,
) -> Result<(&'static str, Time), Failure> {
    let sorted = sorted_of(message, now)?;
    let made = sorted.envelope.as_ref().map_or(sorted.record.time, |envelope| envelope.time);
    if let Some(batch) = reader.batch_of(topic, &sorted)
        && (message.letter.is_some() || !reader.expired(&sorted))
    {
        run_batch(reader, tx, batch, (topic, partition), &[&sorted]).await?;
        return Ok((ran(&sorted), made));
    }
    let mark = tx.mark();
    let result = run_one(reader, tx, topic, partition, &sorted, message.letter.is_none()).await;
    let outcome = tx.verdict(result)?;
    tx.check(mark)?;
    match outcome {
        "run" => Ok((ran(&sorted), made)),
        // Somebody wants it run: it stays what it was. A node with the handler may have it next time.
        "unhandled" if message.letter.is_some() => Err(Failure::Refused(Fault::not_found(format!(
            "service '{}' has no handler for this message of {topic} here; it is tried again",
            reader.shared.name()
        )))),
        outcome => Ok((outcome, made)),
    }
}

/// The record as it was read from the log.
fn sorted_of(message: &Parked, now: Time) -> Result<Sorted, Failure> {
    let headers = crate::wire::decode(&message.headers)
        .map_err(|error| Failure::Undecodable(format!("the headers of a parked message: {error:?}")))?;
    let envelope = Envelope::from_headers(&headers).ok();
    let seq = envelope.as_ref().and_then(|e| e.seq).unwrap_or_default();
    let record = Received {
        offset: message.offset,
        time: message.time,
        key: message.key.clone(),
        value: message.value.clone(),
        headers,
    };
    let seen = if message.ours { Seen::New(seq) } else { Seen::Foreign };
    let bytes = 0; // no batch of a group is made of it
    Ok(Sorted { record, envelope, cause: message.cause, seen, bytes, moment: OnceLock::from(now) })
}

/// The first message of a key failed: it is tried again later, or given up.
async fn failed(
    reader: &Reader,
    key: &Claimed,
    message: &Parked,
    failure: Failure,
    now: Time,
) -> Result<(), Failure> {
    let shared = &reader.shared;
    shared.topics.look_for_missing().await;
    let sorted = sorted_of(message, now)?;
    let policy = reader.policy(&key.hold.topic, &sorted);
    let since = key.failing.since.unwrap_or(now);
    let mut errors = Chain::read(key.failing.errors.as_deref());
    errors.add(&failure, now);
    let tried = Tried { failure: &failure, attempts: key.failing.attempts.saturating_add(1), since, errors };
    let over = tried.attempts >= policy.attempts || now.since(since) >= policy.retry_for;
    if over || failure.class() == Class::Never {
        return give_up(reader, key, message, &sorted, &tried).await;
    }
    let due = super::due(shared, now, since, policy);
    let mut write = shared.begin_own(Lane::Background).await?;
    parked::put_off(&mut write, key, due, &tried.failing()).await?;
    write.commit().await?;
    shared.progressed();
    Ok(())
}

async fn give_up(
    reader: &Reader,
    key: &Claimed,
    message: &Parked,
    sorted: &Sorted,
    tried: &Tried<'_>,
) -> Result<(), Failure> {
    let topic: Arc<str> = Arc::from(key.hold.topic.as_str());
    let copies = giveup::copies(reader, &topic).await;
    let given = Given {
        reader,
        topic: &topic,
        partition: key.hold.partition,
        sorted,
        tried,
        answers: message.letter.is_none(),
    };
    let mut told = true;
    loop {
        match reader.shared.rerun(|| bury(&given, key, message, &copies, told)).await {
            Err(failure) if failure.class() != Class::Infrastructure && told => {
                giveup::tell_failed(&reader.grp, &failure);
                told = false;
            }
            Ok(true) => {
                let metrics = &reader.shared.metrics;
                metrics.taken(&reader.grp, "dead", 1);
                metrics.dead(&reader.grp, tried.failure.code().as_str(), &fingerprint::of(tried.failure));
                return Ok(());
            }
            done => return done.map(|_| ()),
        }
    }
}

/// One transaction: the key's row, the letter, the message out. False where somebody else was quicker.
async fn bury(
    given: &Given<'_>,
    key: &Claimed,
    message: &Parked,
    copies: &giveup::Copies,
    told: bool,
) -> Result<bool, Failure> {
    let reader = given.reader;
    let shared = &reader.shared;
    let policy = reader.policy(given.topic, given.sorted);
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    tx.scope(&reader.grp);
    let there = parked::claim(tx.write(), shared.db.engine(), key.hold.id, shared.now()).await?;
    let Some(mut there) = there.filter(|there| there.version == key.version) else {
        tx.rollback().await;
        return Ok(false);
    };
    let letter = match giveup::bury(&mut tx, given, copies, told).await {
        Ok(letter) => letter,
        Err(failure) => {
            tx.rollback().await;
            return Err(failure);
        }
    };
    if policy.stop_key && message.key.is_some() {
        parked::stop(tx.write(), &mut there, message.offset).await?;
        dead::hold(tx.write(), letter.id, there.hold.id).await?;
    }
    let taken = Taken { count: 1, bytes: message.size(), to: message.offset };
    parked::take(tx.write(), &there, taken).await?;
    tx.count_in(&reader.grp, MESSAGES, -1);
    tx.count_in(&reader.grp, BYTES, -message.size());
    tx.count_in(&reader.grp, "dead", 1);
    tx.commit().await?;
    letter.say(given);
    Ok(true)
}
