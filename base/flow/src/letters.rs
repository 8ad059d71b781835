//! Letters of timers and effects: work of a service's own that is given up on. How it is kept, told and counted, and read again
//! to be tried once more. They name no topic of the log; what stands there is [`TIMERS`] or [`EFFECTS`].

use crate::around::{Call, around};
use crate::consumer::giveup::tell_failed;
use crate::ctx::Shared;
use crate::failure::Class;
use crate::fingerprint::{fingerprint, tame};
use crate::handler::GivenUp;
use crate::mediator::hash_of;
use crate::storage::dead::{self, DeadLetter, Trail};
use crate::{Failure, Tx};
use artel_message::{Cause, Code, Headers, Time};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// What stands as the topic of a timer's letter, and of an effect's.
pub(crate) const TIMERS: &str = "timers";
pub(crate) const EFFECTS: &str = "effects";

/// The longest reason that is kept, in characters.
const REASON: usize = 2_000;

/// What orders a timer's message; the letter's key is the timer's identity.
const ORDER: &str = "artel_order";
/// Of which body an effect was called: another one is another effect.
const BODY: &str = "artel_body";
/// What an effect's call gave, where only its done handler is to be run again.
const RESULT: &str = "artel_result";
const FAULT: &str = "artel_fault";

/// What is given up on.
pub(crate) struct Own<'a> {
    pub topic: &'static str,
    /// What ids of the letter derive from.
    pub cause: Cause,
    /// Its own id, where it has one.
    pub id: Uuid,
    pub name: &'a str,
    pub key: Option<&'a str>,
    pub body: &'a Bytes,
    pub kept: Headers,
    pub code: Code,
    pub reason: String,
    pub attempts: u32,
    pub since: Option<Time>,
}

impl Own<'_> {
    /// Counts it and says it; once the letter is committed.
    pub fn count(&self, shared: &Shared) {
        let (group, code) = (shared.name(), self.code.as_str());
        tracing::warn!(
            service = group, of = self.topic, name = self.name, key = self.key, id = %self.id, code,
            attempts = self.attempts, error = tame(&self.reason, REASON), "given up"
        );
        shared.metrics.taken(group, "dead", 1);
        shared.metrics.dead(group, code, &fingerprint(code, &tame(&self.reason, REASON)));
    }
}

/// Writes the letter, and tells the service if it is to be `told`. False: the service's handler of what is given up fails, and
/// this transaction can't be committed.
pub(crate) async fn bury(tx: &mut Tx, own: &Own<'_>, told: bool) -> Result<bool, Failure> {
    let shared = tx.shared.clone();
    tx.enter("dead-letter", own.cause, false, None);
    let letter = DeadLetter {
        id: tx.new_id(),
        group: shared.name().to_owned(),
        topic: own.topic.to_owned(),
        partition: 0,
        offset: 0,
        message: own.id,
        name: Some(own.name.to_owned()),
        key: own.key.map(|key| Bytes::from(key.to_owned())),
        headers: crate::wire::encode(&own.kept),
        value: Some(own.body.clone()),
        code: own.code.as_str().to_owned(),
        reason: tame(&own.reason, REASON),
        attempts: own.attempts,
        at: tx.now(),
        trail: Trail { cause: Some(own.cause), failing_since: own.since, ..Trail::default() },
    };
    let given = GivenUp {
        id: own.id,
        name: letter.name.clone(),
        topic: letter.topic.clone(),
        partition: 0,
        read: None,
        key: letter.key.clone(),
        value: letter.value.clone(),
        reason: letter.reason.clone(),
        at: letter.at,
    };
    dead::insert(tx.write(), letter).await?;
    tx.count_in(shared.name(), "dead", 1);
    let Some(handler) = shared.service.given_up.as_ref().filter(|_| told) else { return Ok(true) };
    tx.enter("given-up", own.cause, false, None);
    let mark = tx.mark();
    let call = Call::new(&shared, "given-up", "*", None);
    let work = handler(tx, given);
    let result = around(call, shared.limits.handler_time, work).await;
    match tx.verdict(result).and_then(|()| tx.check(mark)) {
        Err(failure) if failure.class() != Class::Infrastructure => {
            tell_failed(shared.name(), &failure);
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// What a timer's letter keeps beside the message.
pub(crate) fn of_timer(order: Option<&str>) -> Headers {
    order.map(|order| (ORDER, Some(order.as_bytes()))).into_iter().collect()
}

/// What an effect's letter keeps beside the message: where the call has a result, that too.
pub(crate) fn of_effect(name: &str, body: &Bytes, result: Option<&(bool, Bytes)>) -> Headers {
    let mut kept = Headers::new();
    if let Ok(hash) = hash_of(name, body) {
        kept.push(BODY, Some(&hash));
    }
    if let Some((ok, result)) = result {
        kept.push(if *ok { RESULT } else { FAULT }, Some(result));
    }
    kept
}

/// A letter of a timer or an effect of this service, as it may be tried again. The names that such letters have for their topic
/// may be those of users' topics too, but what is read from a topic is given up on by a group that has another name, or in a topic
/// that has a service's.
pub(crate) enum Again {
    Timer {
        order: Option<String>,
    },
    Effect {
        /// Its id and what it gave, where it is still the one that was called.
        same: bool,
        result: Option<(bool, Bytes)>,
    },
}

impl Again {
    /// `None`: the letter is that of a message.
    pub fn of(shared: &Arc<Shared>, letter: &DeadLetter) -> Option<Again> {
        if letter.group != shared.name() {
            return None;
        }
        let kept = letter.headers();
        let find = |wanted: &str| kept.get(wanted).flatten();
        match letter.topic.as_str() {
            TIMERS => {
                let order = find(ORDER).map(|order| String::from_utf8_lossy(order).into_owned());
                Some(Again::Timer { order })
            }
            EFFECTS => {
                let (name, body) = (letter.name.as_deref()?, letter.value.as_deref()?);
                // Letters from before this was kept are of what was called, unless somebody edited them.
                let same = find(BODY).is_none_or(|hash| hash_of(name, body).is_ok_and(|now| now == *hash));
                let given = find(RESULT).map(|result| (true, result));
                let result = given.or_else(|| find(FAULT).map(|fault| (false, fault)));
                let result = result.filter(|_| same).map(|(ok, result)| (ok, Bytes::copy_from_slice(result)));
                Some(Again::Effect { same, result })
            }
            _ => None,
        }
    }
}
