//! The services whose tables tell of messages: those that run here, and on a shared database those that run elsewhere.

use super::story::Looked;
use crate::consumer::Status;
use crate::ctx::Shared;
use crate::storage::why::Outgoing;
use crate::storage::{dead, groups, held, why};
use crate::{DeadLetter, Runtime};
use artel_store::{Db, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

/// One service.
pub(super) struct Side {
    pub name: String,
    pub db: Db,
    /// Where it runs here.
    pub shared: Option<Arc<Shared>>,
    pub groups: Vec<Group>,
    /// What its groups here say of themselves, by full name.
    pub statuses: BTreeMap<String, Status>,
}

/// A group that reads a topic.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The full name.
    pub name: String,
    pub topic: String,
    pub takes: Takes,
}

#[derive(Debug, Clone)]
pub(super) enum Takes {
    /// Messages of these types.
    Named(BTreeSet<String>),
    /// Whatever there is: made at run time.
    Anything { running: bool },
}

/// What tables have of an id.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// What it is, where it is no message's.
    pub is: Option<String>,
    /// (Service, why it does not leave, the row.)
    pub outgoing: Option<(String, Option<String>, Outgoing)>,
    pub letter: Option<DeadLetter>,
    /// (Topic, partition, offset).
    pub place: Option<(String, u32, i64)>,
    /// The place is meant, whatever id stands there.
    pub by_place: bool,
}

impl Traces {
    pub fn add(&mut self, other: Traces) {
        self.is = self.is.take().or(other.is);
        self.outgoing = self.outgoing.take().or(other.outgoing);
        self.letter = self.letter.take().or(other.letter);
        self.by_place |= other.by_place;
        self.place = self.place.take().or(other.place);
    }
}

/// Every service of the table whose tables can be looked at; the others are named.
pub(super) async fn all(runtime: &Runtime, looked: &mut Looked) -> Vec<Side> {
    let statuses: BTreeMap<String, Status> = runtime.statuses().into_iter().collect();
    let names: BTreeSet<&str> = runtime.topology().iter().map(|row| row.service.as_str()).collect();
    let mut sides = Vec::new();
    for name in names {
        let shared = runtime.ctx(name).map(|ctx| ctx.shared.clone());
        let db = match &shared {
            Some(shared) => Ok(shared.db.clone()),
            None => elsewhere(runtime, name).await,
        };
        let mut side = match db {
            Ok(db) => Side {
                name: name.to_owned(),
                db,
                shared,
                groups: declared(runtime, name),
                statuses: statuses.clone(),
            },
            Err(reason) => {
                looked.open.push(format!("the tables of service '{name}' were not looked at: {reason}"));
                continue;
            }
        };
        match side.made_at_run_time().await {
            Ok(groups) => side.groups.extend(groups),
            Err(error) => {
                looked.open.push(format!("the tables of service '{name}' could not be read: {error}"));
                continue;
            }
        }
        looked.services.push(name.to_owned());
        sides.push(side);
    }
    sides
}

/// The database of a service that runs on other nodes. One that runs nowhere may have none yet, and a look must not make one.
async fn elsewhere(runtime: &Runtime, service: &str) -> Result<Db, String> {
    if !runtime.store.is_shared() {
        return Err("it does not run in this process".to_owned());
    }
    if runtime.members().holding(service).is_empty() {
        return Err("it runs on no living node".to_owned());
    }
    runtime.store.db(service).await.map_err(|error| error.to_string())
}

fn declared(runtime: &Runtime, service: &str) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for row in runtime.topology().iter().filter(|row| row.service == service) {
        let (Some(topic), Some(group)) = (&row.topic, &row.group) else { continue };
        let name = match row.kind {
            "reply" => format!("{}.reply", row.message),
            _ => row.message.clone(),
        };
        groups.entry((group, topic)).or_default().insert(name);
    }
    let group = |((name, topic), takes): ((&str, &str), BTreeSet<String>)| Group {
        name: name.to_owned(),
        topic: topic.to_owned(),
        takes: Takes::Named(takes),
    };
    groups.into_iter().map(group).collect()
}

impl Side {
    async fn made_at_run_time(&self) -> Result<Vec<Group>, StoreError> {
        let made = groups::list(&mut self.db.read().await?).await?;
        let group = |stored: groups::Stored| Group {
            name: format!("{}.{}", self.name, stored.name),
            topic: stored.topic,
            takes: Takes::Anything { running: stored.running },
        };
        Ok(made.into_iter().map(group).collect())
    }

    /// What this service's tables have of an id.
    pub async fn traces(&self, id: Uuid) -> Result<Traces, String> {
        self.look(id)
            .await
            .map_err(|error| format!("the tables of service '{}' could not be read: {error}", self.name))
    }

    /// The message where it waits behind a parked key.
    pub async fn waiting(&self, id: Uuid) -> Result<Option<why::Waiting>, StoreError> {
        why::waiting_message(&mut self.db.read().await?, id).await
    }

    async fn look(&self, id: Uuid) -> Result<Traces, StoreError> {
        let mut read = self.db.read().await?;
        let mut traces = Traces::default();
        if let Some(row) = why::outgoing(&mut read, id).await? {
            let stuck = self.stuck(&row);
            traces.outgoing = Some((self.name.clone(), stuck, row));
        }
        if let Some(letter) = dead::one(&mut read, id).await? {
            traces.is =
                Some(format!("a dead letter of group '{}', of message {}", letter.group, letter.message));
            traces.letter = Some(letter);
        } else if let Some(letter) = why::letters(&mut read, id).await?.first() {
            traces.letter = dead::one(&mut read, *letter).await?;
        }
        if let Some(letter) = traces.letter.as_ref().filter(|letter| !letter.topic.is_empty()) {
            traces.place = Some((letter.topic.clone(), letter.partition, letter.offset));
        }
        if let Some(key) = held::one(&mut read, id).await? {
            traces.is = Some(format!(
                "a parked key of group '{}' with {} messages behind it; this is about the first of them",
                key.group, key.waiting
            ));
            if let Some(first) = why::first_of(&mut read, id).await? {
                (traces.place, traces.by_place) = (Some((key.topic, key.partition, first)), true);
            }
        }
        if let Some(effect) = why::effect(&mut read, id).await? {
            let state = if effect.done {
                "its result is stored, and told to .done next"
            } else {
                "it waits or is called now"
            };
            traces.is = Some(format!(
                "effect '{}' of service '{}', queued at {}, {} attempts, due {}: {state}",
                effect.name, self.name, effect.made_at, effect.attempts, effect.due
            ));
        }
        Ok(traces)
    }

    /// Why a row of the outbox does not leave, as far as this node knows.
    pub fn stuck(&self, row: &Outgoing) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let stuck = shared.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let place = row.partition.and_then(|partition| stuck.get(&(row.topic.clone(), partition)).cloned());
        place.or_else(|| shared.relay_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
