//! Partitions of which nobody has made sure that the numbers given are new: those whose end could not be read when numbers were
//! made to jump ahead, and those that this database writes to for the first time, as far as it knows. Their messages wait until the
//! end is read: if numbers given since then turn out to be in the log already, what waits gets higher ones first. The others don't
//! wait for that.

use super::Relay;
use super::jump::{Seen, look_at_end, may_give};
use super::lines::Place;
use crate::Failure;
use crate::storage::numbers;
use crate::storage::outbox::Numbering;
use artel_bus::BusError;
use artel_message::Fault;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// How long a look may take before it is shown as a trouble and done again.
const LONG: Duration = Duration::from_secs(60);
/// How many ends are looked at at a time.
const WIDTH: usize = 32;

/// What is known of a look.
#[derive(Default)]
struct Look {
    failures: u32,
    /// `None` = it is under way.
    again_at: Option<Instant>,
}

type Looked = (Place, Result<Seen, BusError>);

#[derive(Default)]
pub(super) struct Unsure {
    /// False until the database was asked which there are.
    known: bool,
    places: BTreeMap<Place, Look>,
    pub looks: JoinSet<Looked>,
}

impl Unsure {
    /// When the next look is due.
    pub fn again_at(&self) -> Option<Instant> {
        let due = self.places.values().filter_map(|look| look.again_at);
        // Beyond the width the next one begins when one has ended.
        due.min().filter(|_| self.looks.len() < WIDTH)
    }

    /// What is under way, where none of it has failed before.
    pub fn hopeful(&mut self) -> Option<&mut JoinSet<Looked>> {
        let fails = self.places.values().any(|look| look.failures > 0);
        (!fails && !self.looks.is_empty()).then_some(&mut self.looks)
    }

    /// There may be more of them in the database.
    pub fn read_again(&mut self) {
        self.known = false;
    }

    /// Whether it was new.
    fn add(&mut self, place: Place) -> bool {
        let is_new = !self.places.contains_key(&place);
        if is_new {
            self.places.insert(place, Look { failures: 0, again_at: Some(Instant::now()) });
        }
        is_new
    }
}

impl Relay {
    /// Holds a partition's messages back until its end is known. Whether there is any doubt says its mark in the database, which is
    /// of the same transaction as its first number: that it is not there any more is found when it is to be taken off.
    pub(super) fn doubt(&mut self, place: Place) {
        self.state.lines.hold(&place);
        self.state.unsure.add(place);
    }

    /// Begins the looks that are due, and lets those partitions go whose end is known by now.
    pub(super) async fn look_at_unsure(&mut self) -> Result<(), Failure> {
        if !self.state.unsure.known {
            let places = numbers::unsure(&mut self.shared.db.read().await?).await?;
            places.into_iter().for_each(|place| self.doubt(place));
            self.state.unsure.known = true;
        }
        let now = Instant::now();
        let Relay { shared, state, .. } = self;
        for (place, look) in &mut state.unsure.places {
            if state.unsure.looks.len() < WIDTH && look.again_at.is_some_and(|again| again <= now) {
                look.again_at = None;
                let (bus, name, place) = (shared.topics.bus().clone(), shared.name(), place.clone());
                let now = shared.now();
                state.unsure.looks.spawn(async move {
                    let look = look_at_end(&bus, name, &place, now);
                    let seen = tokio::time::timeout(LONG, look).await;
                    let late = || BusError::Unavailable("its end can't be read".to_owned());
                    (place, seen.unwrap_or_else(|_| Err(late())))
                });
            }
        }
        while let Some(looked) = self.state.unsure.looks.try_join_next() {
            self.looked(looked).await?;
        }
        Ok(())
    }

    pub(super) async fn looked(&mut self, looked: Result<Looked, JoinError>) -> Result<(), Failure> {
        let Ok((place, seen)) = looked else {
            // Nobody knows which one it was: all are looked at again.
            let now = Instant::now();
            self.state.unsure.places.values_mut().for_each(|look| look.again_at = Some(now));
            return Ok(());
        };
        let problem = match seen {
            Ok(seen) => match self.settle(&place, seen.highest).await {
                Ok(was_marked) => {
                    if was_marked && seen.is_emptied {
                        self.warn_of_emptied(&place);
                    }
                    self.state.unsure.places.remove(&place);
                    self.goes_on(&place);
                    return Ok(());
                }
                Err(failure @ Failure::Fenced { .. }) => return Err(failure),
                // All is read again, these marks first: a round that went on would publish what they hold back.
                Err(failure) if !self.state.unsure.known => return Err(failure),
                Err(failure) => failure.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.waits(&place, &problem);
        let pause = self.shared.limits.outage_pause;
        if let Some(look) = self.state.unsure.places.get_mut(&place) {
            look.failures = look.failures.saturating_add(1);
            look.again_at = Some(Instant::now() + pause * look.failures.min(10));
        }
        Ok(())
    }

    /// A topic that is this service's alone has had messages, of which this database knows nothing and the log has none any more.
    fn warn_of_emptied(&self, (topic, partition): &Place) {
        let (topics, service) = (&self.shared.topics, self.shared.name());
        if topics.is_only_writer(topic, service) {
            tracing::warn!(
                service,
                topic,
                partition,
                "retention has left nothing in a partition of which the database knows nothing; if it was brought back and its clock is \
                 behind by more than the retention, what it publishes is taken for repeats: compare the clock"
            );
        }
    }

    /// Says whether it was marked.
    async fn settle(&mut self, place: &Place, highest: i64) -> Result<bool, Failure> {
        let shared = self.shared.clone();
        let now = shared.db_now().await?;
        let mut write = self.begin_held().await?;
        let settled = numbers::settle(&mut write, Numbering::of(&shared.db), place, highest).await?;
        if let Some(moved) = &settled.moved
            && !may_give(moved.next, now)
        {
            write.rollback().await?;
            let sentence = crate::StartError::Clock { service: shared.name().to_owned() }.to_string();
            return Err(Failure::Infrastructure(Fault::unavailable(sentence)));
        }
        let committed = write.commit().await;
        if let Some(moved) = settled.moved.as_ref().filter(|_| !planted!(KeepsHandedOverSettle)) {
            // Also where the outcome is unknown: rows that came from commits before this one are read in the table.
            shared.handed.renumbered(moved.next);
        }
        if let Err(error) = committed {
            // Nobody knows which numbers the rows have now: all is read again, once that is over.
            self.state.doubtful = true;
            self.begin_anew();
            return Err(error.into());
        }
        // What got other numbers comes again by these.
        self.state.backlog |= settled.moved.is_some();
        self.state.lines.let_go(place, settled.moved.map(|moved| moved.from));
        Ok(settled.was_marked)
    }
}
