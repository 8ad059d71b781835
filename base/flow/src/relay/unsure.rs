//! Partitions whose end could not be read when numbers were made to jump ahead. Their messages wait until it can: if numbers
//! given since then turn out to be in the log already, what waits gets higher ones first. The others don't wait for that.

use super::Relay;
use super::jump::{highest_own_seq, may_give};
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

/// What is known of a look.
#[derive(Default)]
struct Look {
    failures: u32,
    /// `None` = it is under way.
    again_at: Option<Instant>,
}

type Looked = (Place, Result<i64, BusError>);

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
        self.places.values().filter_map(|look| look.again_at).min()
    }
}

impl Relay {
    /// Begins the looks that are due, and lets those partitions go whose end is known by now.
    pub(super) async fn look_at_unsure(&mut self) -> Result<(), Failure> {
        if !self.state.unsure.known {
            let places = numbers::unsure(&mut self.shared.db.read().await?).await?;
            for place in places {
                self.state.lines.hold(&place);
                let look = Look { failures: 0, again_at: Some(Instant::now()) };
                self.state.unsure.places.insert(place, look);
            }
            self.state.unsure.known = true;
        }
        let now = Instant::now();
        let Relay { shared, state, .. } = self;
        for (place, look) in &mut state.unsure.places {
            if look.again_at.is_some_and(|again| again <= now) {
                look.again_at = None;
                let (bus, name, place) = (shared.topics.bus().clone(), shared.name(), place.clone());
                state.unsure.looks.spawn(async move {
                    let look = highest_own_seq(&bus, name, &place.0, place.1);
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
            self.state.unsure = Unsure::default();
            return Ok(());
        };
        let problem = match seen {
            Ok(highest) => match self.settle(&place, highest).await {
                Ok(()) => {
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

    async fn settle(&mut self, place: &Place, highest: i64) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let now = shared.db_now().await?;
        let mut write = self.begin_held().await?;
        let settled = numbers::settle(&mut write, Numbering::of(&shared.db), place, highest).await?;
        if let Some(settled) = &settled
            && !may_give(settled.next, now)
        {
            write.rollback().await?;
            let sentence = crate::StartError::Clock { service: shared.name().to_owned() }.to_string();
            return Err(Failure::Infrastructure(Fault::unavailable(sentence)));
        }
        let committed = write.commit().await;
        if let Some(moved) = settled.as_ref().filter(|_| !planted!(KeepsHandedOverSettle)) {
            // Also where the outcome is unknown: rows that came from commits before this one are read in the table.
            shared.handed.renumbered(moved.next);
        }
        if let Err(error) = committed {
            // Nobody knows which numbers the rows have now: all is read again, once that is over.
            self.state.doubtful = true;
            self.begin_anew();
            return Err(error.into());
        }
        self.state.lines.let_go(place, settled.map(|moved| moved.from));
        // What got other numbers comes again by these.
        self.state.backlog = true;
        Ok(())
    }
}
