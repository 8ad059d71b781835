//! What became of a message in a group, out of the group's tables.

use super::accounts::Hit;
use super::sides::{Group, Side, Takes};
use super::story::{At, ByHand, Failed, Fate, Kept, Reading, Timer};
use crate::operate::moved;
use crate::storage::audit::Audit;
use crate::storage::parked::lane;
use crate::storage::{dead, held, why};
use artel_message::commands_topic;
use artel_store::{Read, StoreError};
use uuid::Uuid;

/// Among so many timers, those due first, it is looked for the ones that a message has set.
pub(super) const TIMERS: i64 = 100_000;

impl Side {
    /// What became of a message in each of this service's groups that read its topic.
    pub(super) async fn readings(&self, hit: &Hit) -> Result<Vec<Reading>, StoreError> {
        let mut all = Vec::new();
        for (nth, at) in hit.account.places.iter().enumerate() {
            for group in self.groups.iter().filter(|group| group.topic == at.topic) {
                let mut read = self.db.read().await?;
                let mut reading = self.reading(&mut read, group, hit, at).await?;
                let before = &hit.account.places[..nth];
                let again = before.iter().any(|b| b.topic == at.topic && b.partition == at.partition);
                if again && reading.fate == Fate::TakenIn && hit.account.name.is_some() {
                    reading.fate = Fate::Repeat;
                    reading.says = "published again with the same number: known, and dropped".to_owned();
                }
                all.push(reading);
            }
        }
        Ok(all)
    }

    async fn reading(
        &self,
        read: &mut Read,
        group: &Group,
        hit: &Hit,
        at: &At,
    ) -> Result<Reading, StoreError> {
        let mut reading = Reading {
            service: self.name.clone(),
            group: group.name.clone(),
            partition: at.partition,
            offset: at.offset,
            fate: Fate::Unknown,
            says: String::new(),
            next: None,
            attempts: None,
            due: None,
            parked_key: None,
            letter: None,
            given_up_at: None,
            fingerprint: None,
            errors: Vec::new(),
            steps: Vec::new(),
        };
        let stand = why::stand(read, &group.name, &at.topic, at.partition).await?;
        reading.next = stand.as_ref().map(|stand| stand.next);
        let key = self.parked(read, &mut reading, at, hit).await?;
        self.letter(read, &mut reading, at, hit).await?;
        self.by_hand(read, &mut reading, at, hit, key).await?;
        if matches!(reading.fate, Fate::Parked | Fate::Dead) {
            return Ok(reading);
        }
        let (fate, says) = match stand {
            None => (Fate::Unknown, "the group has no place in this partition yet".to_owned()),
            Some(stand) if stand.begun.is_some_and(|begun| at.offset < begun) => {
                let begun = stand.begun.unwrap_or_default();
                (Fate::Before, format!("the group began at offset {begun}, after it"))
            }
            Some(stand) if at.offset >= stand.next => {
                let ahead = at.offset - stand.next;
                (Fate::NotYet, self.not_yet(group, at, stand.next, ahead))
            }
            Some(_) => self.passed(read, group, hit, at, &reading.steps).await?,
        };
        (reading.fate, reading.says) = (fate, says);
        Ok(reading)
    }

    fn not_yet(&self, group: &Group, at: &At, next: i64, ahead: i64) -> String {
        let place = (at.topic.clone(), at.partition);
        let status = self.statuses.get(&group.name);
        let why = status.and_then(|status| {
            let (_, stopped) = status.partitions.get(&place)?;
            stopped.clone().or_else(|| status.error.clone())
        });
        let why = match &group.takes {
            Takes::Anything { running: false } => Some("the group is stopped".to_owned()),
            _ => why,
        };
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        format!("the group stands at {next}, {ahead} before it{why}")
    }

    /// The group is behind it.
    async fn passed(
        &self,
        read: &mut Read,
        group: &Group,
        hit: &Hit,
        at: &At,
        steps: &[ByHand],
    ) -> Result<(Fate, String), StoreError> {
        let target = format!("{} {}/{}", group.name, at.topic, at.partition);
        let moves = why::moves(read, &target).await?;
        if let Some(step) = over(&moves, at.offset) {
            let reason = step.reason.as_deref().unwrap_or("no reason given");
            let says = format!(
                "{} moved the group over it at {} ({reason}); it is never taken in",
                step.who, step.at
            );
            return Ok((Fate::Skipped, says));
        }
        let last = steps.iter().rev().find(|s| {
            matches!(s.action.as_str(), "retry-letter" | "drop-letter" | "drop-message" | "release-key")
        });
        // A group that went back before it since has met it again.
        let again = |step: &ByHand| moves.iter().any(|back| back.at >= step.at && is_behind(back, at.offset));
        if let Some(step) = last.filter(|step| step.action.starts_with("drop") && !again(step)) {
            let reason = step.reason.as_deref().unwrap_or("no reason given");
            return Ok((Fate::Dropped, format!("{} threw it away at {} ({reason})", step.who, step.at)));
        }
        let name = hit.account.name.as_deref().unwrap_or_default();
        let taken = match &group.takes {
            Takes::Anything { .. } => true,
            Takes::Named(names) => names.contains(name),
        };
        Ok(if taken {
            (Fate::TakenIn, "taken in".to_owned())
        } else {
            (Fate::Unhandled, "the group has no handler for its type: passed over and counted".to_owned())
        })
    }

    /// Whether it waits; gives the key it waits behind.
    async fn parked(
        &self,
        read: &mut Read,
        reading: &mut Reading,
        at: &At,
        hit: &Hit,
    ) -> Result<Option<Uuid>, StoreError> {
        let lane = lane(hit.key.as_deref(), at.offset);
        let place = (at.topic.as_str(), at.partition, at.offset);
        let Some((id, first)) = why::waiting(read, &reading.group, place, &lane).await? else {
            return Ok(None);
        };
        (reading.fate, reading.parked_key) = (Fate::Parked, Some(id));
        let Some(key) = held::one(read, id).await? else { return Ok(Some(id)) };
        if first < at.offset {
            reading.says = format!("waits behind offset {first} of its key, {} messages in all", key.waiting);
            return Ok(Some(id));
        }
        (reading.attempts, reading.due) = (Some(key.attempts), key.due);
        reading.fingerprint.clone_from(&key.fingerprint);
        reading.errors = key.errors.troubles().iter().map(Failed::from).collect();
        let behind = key.waiting - 1;
        reading.says = match key.due {
            Some(due) => format!(
                "fails and is tried again at {due} ({} attempts so far); {behind} messages of its key wait behind it",
                key.attempts
            ),
            None => {
                format!("its key is stopped, {behind} messages wait behind it: artel parked release {id}")
            }
        };
        Ok(Some(id))
    }

    async fn letter(
        &self,
        read: &mut Read,
        reading: &mut Reading,
        at: &At,
        hit: &Hit,
    ) -> Result<(), StoreError> {
        for message in hit.names() {
            for id in why::letters(read, message).await? {
                let Some(letter) = dead::one(read, id).await? else { continue };
                let same = letter.group == reading.group
                    && (letter.topic.as_str(), letter.partition, letter.offset)
                        == (at.topic.as_str(), at.partition, at.offset);
                if !same {
                    continue;
                }
                reading.fate = Fate::Dead;
                reading.letter = Some(id);
                reading.given_up_at = Some(letter.at);
                reading.attempts = Some(letter.attempts);
                reading.fingerprint = Some(letter.fingerprint());
                reading.errors = letter.trail.errors.troubles().iter().map(Failed::from).collect();
                reading.says = format!(
                    "given up at {} after {} attempts with {}: {}; artel dead retry {id}, or drop it",
                    letter.at, letter.attempts, letter.code, letter.reason
                );
                return Ok(());
            }
        }
        Ok(())
    }

    /// What was done by hand. The ids of a letter and of a key are born of the message that failed, so that they are known also
    /// when they are gone.
    async fn by_hand(
        &self,
        read: &mut Read,
        reading: &mut Reading,
        at: &At,
        hit: &Hit,
        key: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let born = |handler: &str| {
            let scope = reading.group != self.name;
            let namespace = if scope { format!("{}/{handler}", reading.group) } else { handler.to_owned() };
            hit.cause.map(|cause| cause.derive(&namespace, 0))
        };
        let text = |id: Option<Uuid>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let letter = text(reading.letter.or_else(|| born("dead-letter")));
        let key = text(key.or_else(|| born("parked")));
        let place = crate::operate::place(&at.topic, at.partition, at.offset);
        let dropped = crate::operate::dropped(&reading.group, &place);
        let steps = why::steps(read, &letter, &key, &dropped).await?;
        reading.steps = steps.into_iter().map(by_hand).collect();
        Ok(())
    }

    /// The answer that is kept of a command of this service.
    pub(super) async fn kept(&self, hit: &Hit) -> Result<Option<Kept>, StoreError> {
        let own = commands_topic(&self.name);
        let account = &hit.account;
        let (Some(name), Some(source)) = (&account.name, &account.source) else { return Ok(None) };
        if !account.places.iter().any(|at| at.topic == own) {
            return Ok(None);
        }
        let caller = source.strip_prefix("artel/").unwrap_or(source);
        let mut read = self.db.read().await?;
        let kept = why::answered(&mut read, caller, name, &account.id.to_string()).await?;
        Ok(kept.map(|(ok, until)| Kept { ok, until }))
    }

    /// Timers that it has set in this service.
    pub(super) async fn timers(&self, hit: &Hit) -> Result<Vec<Timer>, StoreError> {
        let Some(cause) = hit.cause else { return Ok(Vec::new()) };
        let timers = why::timers(&mut self.db.read().await?, cause.id(), TIMERS).await?;
        let timer = |t: why::Timer| Timer {
            service: self.name.clone(),
            name: t.name,
            key: t.key,
            due: t.due,
            attempts: t.attempts,
        };
        Ok(timers.into_iter().map(timer).collect())
    }
}

fn by_hand(step: Audit) -> ByHand {
    let Audit { at, who, action, detail, reason, .. } = step;
    ByHand { at, who, action, detail, reason }
}

/// The move that passed over an offset, unless a later one went back before it.
fn over(moves: &[Audit], offset: i64) -> Option<&Audit> {
    let mut over = None;
    for step in moves {
        let Some((from, to)) = moved(&step.detail) else { continue };
        if from <= offset && offset < to {
            over = Some(step);
        } else if is_behind(step, offset) {
            over = None;
        }
    }
    over
}

/// Whether a move went back to an offset or before it.
fn is_behind(step: &Audit, offset: i64) -> bool {
    moved(&step.detail).is_some_and(|(from, to)| to <= offset && to < from)
}
