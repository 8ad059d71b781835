//! Projections by hand: taken back, so that they take in again.

use super::marks::{self, Marks};
use super::places::detail;
use super::{By, Step, begin, conflict, note, reason_given};
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::consumer::partition::{mismatch, start};
use crate::projections::{Declared, Phase, Projections, Rewound, RewoundPlace};
use crate::storage::offsets::{self, Offset};
use crate::storage::projections::{self as stored, Target};
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
    /// Also where nothing takes away what its handlers have written (they run over it again), where retention has taken what does
    /// not come again, and where it can't be told which messages are repeats.
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
    phase: Phase,
    what: Rewinding,
    /// Every place of the group, and where it goes back to, if it does.
    places: Vec<(Offset, Option<Way>)>,
}

/// How one partition goes back.
struct Way {
    place: RewoundPlace,
    marks: Marks,
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
        self.tell_the_log(&judged, |place| place.to).await.map_err(Failure::into_fault)?;
        let done = self.shared.rerun(|| async {
            let mut tx = begin(&self.shared).await?;
            match step(&mut tx, &judged, by).await {
                Ok(done) => tx.commit().await.map(|()| done),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        let done = done.await;
        self.shared.places_moved();
        // A consumer may have told its place of before in between; where nothing was moved, the log need keep no more than before.
        let stands = |place: &RewoundPlace| if done.is_ok() { place.to } else { place.from };
        if let Err(error) = self.tell_the_log(&judged, stands).await {
            let group = &judged.what.group;
            tracing::warn!(group, %error, "the log was not told where the group stands; it is with the next messages taken in");
        }
        done.map_err(Failure::into_fault)
    }

    async fn tell_the_log(
        &self,
        judged: &Judged<'_>,
        stands: impl Fn(&RewoundPlace) -> i64,
    ) -> Result<(), Failure> {
        let bus = self.shared.topics.bus();
        for place in &judged.what.places {
            bus.advise(&judged.what.group, &place.topic, place.partition, stands(place)).await?;
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
        let found = versions.iter().find(|v| v.version == declared.version);
        let phase = found.map_or(Phase::Building, |found| found.phase);
        let all = offsets::of_group(&mut read, &group).await?;
        let begun = stored::begun(&mut read, &group).await?;
        drop(read);
        if phase == Phase::Retired {
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
            phase,
            what: Rewinding { group, places: Vec::new(), messages: 0, notes: Vec::new() },
            places: Vec::new(),
        };
        for (place, (.., begun)) in all.into_iter().zip(begun) {
            let way = self.judge_place(rewind, &place, begun.unwrap_or_default(), &mut judged.what).await?;
            judged.places.push((place, way));
        }
        if judged.what.places.is_empty() {
            let group = &judged.what.group;
            return Err(Failure::Refused(match &rewind.to {
                Back::Offset { topic, partition, .. } => Fault::not_found(format!(
                    "group '{group}' has no place in {topic}/{partition}; artel groups names groups and their topics"
                )),
                _ => Fault::not_found(format!("group '{group}' has no places yet")),
            }));
        }
        if phase == Phase::Serving {
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
        place: &Offset,
        begun: i64,
        what: &mut Rewinding,
    ) -> Result<Option<Way>, Failure> {
        let to = match &rewind.to {
            Back::Earliest => StartAt::Earliest,
            Back::Time(time) => StartAt::Time(*time),
            Back::Offset { topic, partition, offset }
                if *topic == place.topic && *partition == place.partition =>
            {
                StartAt::Offset(*offset)
            }
            Back::Offset { .. } => return Ok(None),
        };
        let bus = self.shared.topics.bus();
        let log = self.shared.topics.describe(&place.topic).await?.id;
        // One that lies before what the log still has may go to its beginning.
        let begin = bus.bounds(&place.topic, place.partition).await?.begin;
        if place.next >= begin
            && let Some(reason) = mismatch(bus.as_ref(), place, log).await?
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
                what.group, place.next, place.topic, place.partition
            )));
        }
        if to == begin && begin > begun {
            let lost = format!(
                "{}/{} begins at {begin}: what retention has taken before that, of what the group took in from {begun} on, is not \
                 taken in again",
                place.topic, place.partition
            );
            if !rewind.force {
                return Err(conflict(format!(
                    "{lost}; build a next version beside this one, or say --force to go on without it"
                )));
            }
            what.notes.push(lost);
        }
        let marks = if to > begin {
            marks::before(&self.shared, &what.group, place, (begin, to)).await?
        } else {
            Marks::default()
        };
        if !marks.open.is_empty() {
            let unsure = format!(
                "{}/{} holds too little from {} shortly before {to} to tell what of it was published twice, before that place and \
                 behind it, and would be taken in a second time",
                place.topic,
                place.partition,
                marks.open.join(", ")
            );
            if !rewind.force {
                return Err(conflict(format!(
                    "{unsure}; go back to another place, such as earliest, or say --force"
                )));
            }
            what.notes.push(unsure);
        }
        what.messages += (place.next - to).max(0);
        let way = RewoundPlace {
            topic: place.topic.clone(),
            partition: place.partition,
            from: place.next,
            to,
            whole: to == begin,
        };
        what.places.push(way.clone());
        Ok(Some(Way { place: way, marks }))
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
}

async fn step(tx: &mut Tx, judged: &Judged<'_>, by: &By) -> Result<Rewinding, Failure> {
    let Judged { declared, what, places, phase } = judged;
    let mut done = Rewinding { places: Vec::new(), messages: 0, ..what.clone() };
    // The version first: nobody switches to it while it is emptied.
    if !stored::hold(tx.write(), declared.name, declared.version, *phase).await? {
        return Err(conflict(format!(
            "group '{}' was {} and is not any more; look again (artel groups)",
            what.group,
            phase.word()
        )));
    }
    // Then all places, also those that stay, and all keys: who takes in or tries again is through by then, or finds its fence
    // failed, and what is cleared is all there is.
    for (place, way) in places {
        let Some(Way { place: wanted, .. }) = way else {
            stored::hold_place(tx.write(), &what.group, place).await?;
            continue;
        };
        let from = offsets::lock(tx.write(), &what.group, place).await?;
        let Some(from) = from.filter(|from| wanted.to <= *from || *from == wanted.from) else {
            return Err(conflict(format!(
                "group '{}' has moved in {}/{} meanwhile; look again (artel groups)",
                what.group, place.topic, place.partition
            )));
        };
        done.places.push(RewoundPlace { from, ..wanted.clone() });
    }
    stored::hold_keys(tx.write(), &what.group).await?;
    let rewound = Rewound {
        version: declared.version,
        places: done.places.clone(),
        everywhere: done.places.len() == places.len(),
    };
    let anew = declared.clear.is_some() && rewound.is_whole();
    let ways = places.iter().filter_map(|(place, way)| Some((place, way.as_ref()?)));
    let (mut waiting, mut bytes) = (0, 0);
    for ((place, Way { marks, .. }), wanted) in ways.zip(&rewound.places) {
        let overtaken = stored::overtaken(tx.write(), &what.group, place, wanted.to).await?;
        if overtaken.waiting > 0 || (overtaken.stopped > 0 && !wanted.whole) {
            return Err(conflict(format!(
                "keys of {}/{} are parked that wait from before {}, or for a decision about a letter from before it: let them \
                 finish, decide (artel parked list --group {}), or go further back",
                place.topic, place.partition, wanted.to, what.group
            )));
        }
        let target = Target { to: wanted.to, marks: &marks.known, anew };
        let gone = stored::move_back(tx.write(), &what.group, place, &target).await?;
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
    clear(tx, declared, rewound).await?;
    Ok(done)
}

/// Has the service take away what was written.
async fn clear(tx: &mut Tx, declared: &Declared, rewound: Rewound) -> Result<(), Failure> {
    let Some(clear) = &declared.clear else { return Ok(()) };
    let now = tx.now();
    let cause = Cause::message(tx.new_id(), now);
    tx.enter("clear", cause, false, None);
    let mark = tx.mark();
    tx.silence(true);
    let result = clear(tx, rewound).await;
    tx.silence(false);
    tx.verdict(result)?;
    tx.check(mark)
}
