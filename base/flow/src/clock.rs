//! Time and chance, injected: the system's in a node, set by hand in tests.

use artel_message::{Cause, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
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
    Timed(Arc<Timed>),
}

/// A clock that goes with tokio's, which a test may pause, and can be set anew.
struct Timed {
    start: Time,
    begun: Instant,
    /// In microseconds.
    shift: AtomicI64,
}

impl Clock {
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that moves only by [`Clock::advance`].
    pub fn manual(start: Time) -> Clock {
        Clock(Source::Manual(Arc::new(watch::Sender::new(start))))
    }

    /// A clock that shows `start` now and goes on with tokio's.
    pub fn timed(start: Time) -> Clock {
        Clock(Source::Timed(Arc::new(Timed { start, begun: Instant::now(), shift: AtomicI64::new(0) })))
    }

    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => Time::from_system(SystemTime::now()),
            Source::Timed(timed) => {
                let now = (timed.start + timed.begun.elapsed()).micros();
                Time::from_micros(now.saturating_add(timed.shift.load(Ordering::Relaxed)))
            }
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Returns when the clock has reached `due`.
    pub async fn until(&self, due: Time) {
        match &self.0 {
            Source::System | Source::Timed(_) => loop {
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
        match &self.0 {
            Source::Manual(time) => time.send_modify(|now| *now = *now + by),
            Source::Timed(timed) => {
                let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                timed.shift.fetch_add(micros, Ordering::Relaxed);
            }
            Source::System => {}
        }
    }

    /// Sets back a clock made by [`Clock::timed`].
    pub fn set_back(&self, by: Duration) {
        if let Source::Timed(timed) = &self.0 {
            timed.shift.fetch_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
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
