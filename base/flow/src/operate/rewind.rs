//! Projections by hand: taken back, so that they take in again, and removed.

use super::places::detail;
use super::{By, Step, begin_plain, note, reason_given};
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::consumer::partition::{mismatch, start};
use crate::projections::{self, Declared, Phase, Projections, Rewound, RewoundPlace};
use crate::storage::offsets::{self, Offset};
use crate::storage::projections as stored;
use crate::{Failure, Tx};
use artel_bus::From as StartAt;
use artel_message::{Cause, Fault, Time};

/// Where a projection goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The beginning of the log, in every partition.
    Earliest,
    /// The first message at or after this time, in every partition; where none is so late, the partition stays.
    Time(Time),
    /// One partition.
    Offset { topic: String, partition: u32, offset: i64 },
}

/// A projection's version that is to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewind {
    /// The group's full name, or without the service's.
    pub group: String,
    pub to: Back,
    /// Also where nothing takes away what its handlers have written: they run over it again.
    pub force: bool,
}

/// What a move back takes in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewinding {
    /// The full name.
    pub group: String,
    pub places: Vec<RewoundPlace>,
    /// Offsets that are taken in again, of those that the log holds; some may be no messages.
    pub messages: i64,
    /// What an operator should know about it.
    pub notes: Vec<String>,
}

struct Judged<'a> {
    declared: &'a Declared,
    what: Rewinding,
    places: Vec<Offset>,
}

impl Projections {
    /// Moves a projection back, so that it takes in again from there, in one transaction with its `.clear` handler: what it had
    /// written goes, and so do its parked messages and dead letters from there on. A dry run (`by` is none) says what would be
    /// taken in again. Needs a reason.
    pub async fn rewind(&self, rewind: &Rewind, by: Option<&By>) -> Result<Rewinding, Fault> {
        let judged = self.judge(rewind).await.map_err(Failure::into_fault)?;
        let Some(by) = by else { return Ok(judged.what) };
        reason_given(by)?;
        // Lower than the truth at any moment, so that retention takes nothing that is taken in again.
        self.tell_the_log(&judged).await.map_err(Failure::into_fault)?;
        let done = self.shared.rerun(|| async {
            let mut tx = begin_plain(&self.shared).await?;
            match step(&mut tx, &judged, by).await {
                Ok(done) => tx.commit().await.map(|()| done),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        let done = done.await.map_err(Failure::into_fault)?;
        self.shared.places_moved();
        self.tell_the_log(&judged).await.map_err(Failure::into_fault)?;
        Ok(done)
    }

    async fn tell_the_log(&self, judged: &Judged<'_>) -> Result<(), Failure> {
        let bus = self.shared.topics.bus();
        for place in &judged.what.places {
            bus.advise(&judged.what.group, &place.topic, place.partition, place.to).await?;
        }
        Ok(())
    }

    async fn judge(&self, rewind: &Rewind) -> Result<Judged<'_>, Failure> {
        let service = &self.shared.service;
        let is = |d: &&Declared| *d.group == *rewind.group || service.group_name(&d.group) == rewind.group;
        let Some(declared) = service.projections.values().find(is) else {
            return Err(self.no_projection(&rewind.group).await?);
        };
        let group = service.group_name(&declared.group);
        let mut read = self.shared.db.read().await?;
        let versions = stored::of_name(&mut read, declared.name).await?;
        let phase = versions.iter().find(|v| v.version == declared.version).map(|v| v.phase);
        let all = offsets::of_group(&mut read, &group).await?;
        drop(read);
        if phase == Some(Phase::Retired) {
            return Err(conflict(format!("group '{group}' was removed by an operator; it takes in nothing")));
        }
        if declared.clear.is_none() && !rewind.force {
            return Err(conflict(format!(
                "nothing takes away what group '{group}' has written (its service registers no .clear for it), so its handlers would \
                 run over it a second time; where they stand that, say --force"
            )));
        }
        let mut judged = Judged {
            declared,
            what: Rewinding { group, places: Vec::new(), messages: 0, notes: Vec::new() },
            places: Vec::new(),
        };
        for place in all {
            self.judge_place(rewind, place, &mut judged).await?;
        }
        if judged.places.is_empty() {
            let group = &judged.what.group;
            return Err(Failure::Refused(match &rewind.to {
                Back::Offset { topic, partition, .. } => Fault::not_found(format!(
                    "group '{group}' has no place in {topic}/{partition}; artel groups names groups and their topics"
                )),
                _ => Fault::not_found(format!("group '{group}' has no places yet")),
            }));
        }
        if phase == Some(Phase::Serving) {
            judged.what.notes.push(
                "it is read from: who asks sees it while it is built anew; a next version is built beside it"
                    .to_owned(),
            );
        }
        Ok(judged)
    }

    async fn judge_place(
        &self,
        rewind: &Rewind,
        place: Offset,
        judged: &mut Judged<'_>,
    ) -> Result<(), Failure> {
        let to = match &rewind.to {
            Back::Earliest => StartAt::Earliest,
            Back::Time(time) => StartAt::Time(*time),
            Back::Offset { topic, partition, offset }
                if *topic == place.topic && *partition == place.partition =>
            {
                StartAt::Offset(*offset)
            }
            Back::Offset { .. } => return Ok(()),
        };
        let bus = self.shared.topics.bus();
        let log = self.shared.topics.describe(&place.topic).await?.id;
        // One that lies before what the log still has may go to its beginning.
        let begin = bus.bounds(&place.topic, place.partition).await?.begin;
        if place.next >= begin
            && let Some(reason) = mismatch(bus.as_ref(), &place, log).await?
        {
            return Err(conflict(reason));
        }
        let to = start(bus.as_ref(), &place.topic, place.partition, to).await?;
        let to = match rewind.to {
            Back::Time(_) => to.min(place.next.max(begin)),
            _ => to,
        };
        if to > place.next.max(begin) {
            return Err(conflict(format!(
                "group '{}' stands at {} in {}/{}, and {to} is behind that: artel groups skip moves it on",
                judged.what.group, place.next, place.topic, place.partition
            )));
        }
        if begin > 0 && to == begin {
            judged.what.notes.push(format!(
                "{}/{} begins at {begin}: what retention has taken before that is not taken in again",
                place.topic, place.partition
            ));
        }
        judged.what.messages += (place.next - to).max(0);
        judged.what.places.push(RewoundPlace {
            topic: place.topic.clone(),
            partition: place.partition,
            from: place.next,
            to,
            whole: to == begin,
        });
        judged.places.push(place);
        Ok(())
    }

    async fn no_projection(&self, group: &str) -> Result<Failure, Failure> {
        let shared = &self.shared;
        let mut read = shared.db.read().await?;
        let full = shared.service.group_name(group);
        for name in [group, full.as_str()] {
            if !offsets::of_group(&mut read, name).await?.is_empty() {
                return Ok(conflict(format!(
                    "group '{name}' is no projection of this program: its handlers may send messages and start effects, so it goes \
                     forward only; to run single messages again use artel dead retry, to build what is read anew register its \
                     handlers with .projection()"
                )));
            }
        }
        Ok(Failure::Refused(Fault::not_found(format!(
            "service '{}' has no group '{group}'; artel groups names them",
            shared.name()
        ))))
    }

    /// Removes a version that is not read from any more: its group, its places, what of it waits or was given up. Its tables are the
    /// service's to drop. Needs a reason; a dry run (`by` is none) only says whether it may be.
    pub async fn retire(&self, name: &str, version: u32, by: Option<&By>) -> Result<(), Fault> {
        self.retire_it(name, version, by).await.map_err(Failure::into_fault)
    }

    async fn retire_it(&self, name: &str, version: u32, by: Option<&By>) -> Result<(), Failure> {
        let shared = &self.shared;
        let mut read = shared.db.read().await?;
        let versions = stored::of_name(&mut read, name).await?;
        let Some(found) = versions.iter().find(|v| v.version == version) else {
            let known: Vec<String> = versions.iter().map(|v| v.version.to_string()).collect();
            return Err(Failure::Refused(Fault::not_found(format!(
                "service '{}' has no version {version} of a projection '{name}'; there is: {}",
                shared.name(),
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))));
        };
        let group = shared.service.group_name(&projections::group_of(name, version));
        let topics: Vec<String> =
            offsets::of_group(&mut read, &group).await?.into_iter().map(|place| place.topic).collect();
        drop(read);
        match found.phase {
            Phase::Retired => return Ok(()),
            Phase::Serving => {
                return Err(conflict(format!(
                    "version {version} of '{name}' is read from: it can go when a later one serves (artel groups says which)"
                )));
            }
            Phase::Building | Phase::Replaced => {}
        }
        let latest = versions.iter().filter(|v| v.phase == Phase::Serving).map(|v| v.version).max();
        let serving = latest.map(|v| shared.service.group_name(&projections::group_of(name, v)));
        let knows = |group: &str| shared.members.living_with(shared.name(), group);
        let behind: Vec<_> = match &serving {
            Some(serving) => {
                let later = knows(serving);
                knows(&group).into_iter().filter(|node| !later.contains(node)).collect()
            }
            None => Vec::new(),
        };
        if found.phase == Phase::Replaced && !behind.is_empty() {
            return Err(conflict(format!(
                "{} living nodes know no later version than {version} of '{name}' and read from it; replace their program first",
                behind.len()
            )));
        }
        let Some(by) = by else { return Ok(()) };
        reason_given(by).map_err(Failure::Refused)?;
        let gone = shared.rerun(|| async {
            let mut tx = begin_plain(shared).await?;
            let now = tx.now();
            let done = async {
                let retired = projections::retire(tx.write(), &group, found, now).await?;
                if retired {
                    let (target, detail) = (group.clone(), format!("was {}", found.phase.word()));
                    note(&mut tx, Step { action: "retire", target, detail, by }).await?;
                }
                Ok::<_, Failure>(retired)
            };
            match done.await {
                Ok(retired) => tx.commit().await.map(|()| retired),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        if !gone.await? {
            return Err(conflict(format!("version {version} of '{name}' has changed meanwhile; look again")));
        }
        shared.places_moved();
        for topic in topics {
            if let Err(error) = shared.topics.bus().forget(&group, &topic).await {
                tracing::warn!(group, topic, %error, "the log was not told that the group is gone; the next start tells it");
            }
        }
        Ok(())
    }
}

async fn step(tx: &mut Tx, judged: &Judged<'_>, by: &By) -> Result<Rewinding, Failure> {
    let Judged { declared, what, places } = judged;
    let mut done = Rewinding { places: Vec::new(), messages: 0, ..what.clone() };
    // All places first: who takes in or tries again is through by then, or finds its fence failed.
    for (place, wanted) in places.iter().zip(&what.places) {
        let from = offsets::lock(tx.write(), &what.group, place).await?;
        let Some(from) = from.filter(|from| wanted.to <= *from || *from == wanted.from) else {
            return Err(conflict(format!(
                "group '{}' has moved in {}/{} meanwhile; look again (artel groups)",
                what.group, place.topic, place.partition
            )));
        };
        done.places.push(RewoundPlace { from, ..wanted.clone() });
    }
    let (mut waiting, mut bytes) = (0, 0);
    for (place, wanted) in places.iter().zip(&done.places) {
        let (lowest, stopped) = stored::lowest_parked(tx.write(), &what.group, place).await?;
        let in_the_way = lowest.is_some_and(|lowest| lowest < wanted.to) || (stopped && !wanted.whole);
        if in_the_way {
            return Err(conflict(format!(
                "keys of {}/{} are parked that wait from before {}: let them finish, drop what waits (artel parked list --group {}), \
                 or go further back",
                place.topic, place.partition, wanted.to, what.group
            )));
        }
        let gone = stored::move_back(tx.write(), &what.group, place, wanted.to).await?;
        (waiting, bytes) = (waiting + gone.waiting, bytes + gone.bytes);
        let messages = (wanted.from - wanted.to).max(0);
        done.messages += messages;
        let target = format!("{} {}/{}", what.group, place.topic, place.partition);
        let detail = detail(wanted.from, wanted.to, &format!("{messages} messages taken in again"));
        note(tx, Step { action: "rewind", target, detail, by }).await?;
    }
    tx.count_in(&what.group, MESSAGES, -waiting);
    tx.count_in(&what.group, BYTES, -bytes);
    tx.count_in(&what.group, "rewound", done.messages);
    if let Some(clear) = &declared.clear {
        let now = tx.now();
        let cause = Cause::message(tx.new_id(), now);
        tx.enter("clear", cause, false, None);
        let mark = tx.mark();
        tx.silence(true);
        let rewound = Rewound { version: declared.version, places: done.places.clone() };
        let result = clear(tx, rewound).await;
        tx.silence(false);
        tx.verdict(result)?;
        tx.check(mark)?;
    }
    Ok(done)
}

fn conflict(reason: String) -> Failure {
    Failure::Refused(Fault::conflict(reason))
}
