//! What all nodes of a run share: chance, time, whether there are faults, and what has happened.

use crate::chance::Chance;
use artel_flow::Clock;
use artel_message::Time;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
pub const START: Time = Time::from_micros(1_767_225_600_000_000);

thread_local! {
    /// Handlers are functions and hold nothing; a run is one thread.
    static HERE: RefCell<Option<Arc<Stage>>> = const { RefCell::new(None) };
    static LINES: Cell<bool> = const { Cell::new(false) };
}

/// Time goes by in the run. It is simulated: nobody waits for it.
pub async fn pass(by: Duration) {
    tokio::time::sleep_until(Instant::now() + by).await;
}

/// How often faults come, of 10,000 steps unless it says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub delay: u64,
    pub statement_fails: u64,
    /// Commits whose outcome nobody is told.
    pub commit_unknown: u64,
    pub freeze: u64,
    /// Steps that a node lives at most, under faults.
    pub life: u64,
    pub append_fails: u64,
    pub read_fails: u64,
    pub leaderless: u64,
}

/// What happened, for whoever judges whether the run was worth something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    pub crashes: u64,
    pub freezes: u64,
    pub lease_takeovers: u64,
    pub relay_takeovers: u64,
    pub unknown_commits: u64,
    pub unknown_appends: u64,
    pub restores: u64,
    /// Appends that were confirmed, and of which nothing is there.
    pub lost_tails: u64,
    /// Things that left twice, since a database went back.
    pub twice: u64,
    /// Rows of an outbox that got other numbers.
    pub renumbered: u64,
}

struct Inner {
    chance: Chance,
    hash: u64,
    lines: Vec<String>,
    counts: Counts,
    /// How often a handler was run that fails at first.
    attempts: BTreeMap<Uuid, u32>,
    /// What broke a rule while the run went on.
    broken: Vec<String>,
}

pub struct Stage {
    inner: Mutex<Inner>,
    pub weather: Weather,
    faults: AtomicBool,
    begun: Instant,
    /// The databases' clock.
    pub clock: Clock,
}

impl Stage {
    pub fn new(seed: u64, weather: Weather) -> Arc<Stage> {
        let inner = Inner {
            chance: Chance::new(seed),
            hash: 0xcbf2_9ce4_8422_2325,
            lines: Vec::new(),
            counts: Counts::default(),
            attempts: BTreeMap::new(),
            broken: Vec::new(),
        };
        let stage = Arc::new(Stage {
            inner: Mutex::new(inner),
            weather,
            faults: AtomicBool::new(true),
            begun: Instant::now(),
            clock: Clock::timed(START),
        });
        HERE.set(Some(stage.clone()));
        stage
    }

    /// The one of this thread's run.
    pub fn here() -> Arc<Stage> {
        HERE.with_borrow(|here| here.clone()).expect("a run is under way in this thread")
    }

    /// Whether lines are kept, not only their hash.
    pub fn keep_lines(keep: bool) {
        LINES.set(keep);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn chance<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.inner().chance)
    }

    /// True so many times of 10,000 while there are faults.
    pub fn strikes(&self, of_ten_thousand: u64) -> bool {
        self.has_faults() && self.chance(|chance| chance.once_in(of_ten_thousand))
    }

    pub fn has_faults(&self) -> bool {
        self.faults.load(Ordering::Relaxed)
    }

    pub fn end_faults(&self) {
        self.faults.store(false, Ordering::Relaxed);
    }

    /// Time goes by; where it ends in peace, nothing comes of it.
    pub async fn pass_in_faults(&self, by: Duration) {
        pass(by).await;
        if !self.has_faults() {
            std::future::pending::<()>().await;
        }
    }

    pub fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.inner().counts);
    }

    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes note of a thing that happened: who, what, and with what.
    pub fn note(&self, who: usize, what: &str, with: &str) {
        let at = self.elapsed().as_micros();
        let mut inner = self.inner();
        let mut hash = inner.hash;
        let bytes = at.to_le_bytes().into_iter().chain([who as u8]);
        for byte in bytes.chain(what.bytes()).chain(with.bytes().take(48)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.hash = hash;
        if LINES.get() {
            let mut line = format!("{:>9}.{:03} ", at / 1000, at % 1000);
            let _ =
                write!(line, "node {who} {what} {}", with.split_whitespace().collect::<Vec<_>>().join(" "));
            inner.lines.push(line);
        }
    }

    /// The hash of all that happened.
    pub fn hash(&self) -> u64 {
        self.inner().hash
    }

    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().lines)
    }

    /// A rule was broken: the run has failed, whatever becomes of it.
    pub fn broke(&self, what: String) {
        self.note(99, "BROKEN", &what);
        let mut inner = self.inner();
        if inner.broken.len() < 20 {
            inner.broken.push(what);
        }
    }

    pub fn broken(&self) -> Vec<String> {
        self.inner().broken.clone()
    }

    /// How often this was asked for that id, this time included.
    pub fn attempt(&self, id: Uuid) -> u32 {
        let mut inner = self.inner();
        let attempts = inner.attempts.entry(id).or_default();
        *attempts += 1;
        *attempts
    }
}
