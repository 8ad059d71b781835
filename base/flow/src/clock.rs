//! Time and chance, injected: the system's in a node, set by hand in tests.

use artel_message::{Cause, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use uuid::Uuid;

/// The longest single sleep, so that a wall clock that is set anew is noticed.
const RECHECK: Duration = Duration::from_secs(30);

/// The wall clock of a node.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<Time>>),
}

impl Clock {
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that moves only by [`Clock::advance`].
    pub fn manual(start: Time) -> Clock {
        Clock(Source::Manual(Arc::new(watch::Sender::new(start))))
    }

    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => Time::from_system(SystemTime::now()),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Returns when the clock has reached `due`.
    pub async fn until(&self, due: Time) {
        match &self.0 {
            Source::System => loop {
                let left = due.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(RECHECK)).await;
            },
            Source::Manual(time) => {
                // The sender lives as long as the clock, so waiting cannot fail.
                let _ = time.subscribe().wait_for(|now| *now >= due).await;
            }
        }
    }

    /// Moves a manual clock on; nothing happens to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| *now = *now + by);
        }
    }
}

/// Where ids without a cause come from.
#[derive(Clone)]
pub struct Ids(Option<Arc<(u64, AtomicU64)>>);

impl Ids {
    pub fn system() -> Ids {
        Ids(None)
    }

    /// The same ids in the same order for the same seed.
    pub fn seeded(seed: u64) -> Ids {
        Ids(Some(Arc::new((seed, AtomicU64::new(0)))))
    }

    /// A fresh UUIDv7.
    pub fn fresh(&self, now: Time) -> Uuid {
        match &self.0 {
            None => Uuid::now_v7(),
            Some(state) => {
                let (seed, ordinal) = (state.0, state.1.fetch_add(1, Ordering::Relaxed));
                Cause::keyed("seed", &seed.to_string(), &ordinal.to_string(), now).id()
            }
        }
    }
}
