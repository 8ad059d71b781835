//! Many seeds, on all cores: each run is one thread.

use crate::run::{Plan, Trial, Verdict, run};
use crate::stage::Weather;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WEATHER: Weather = Weather {
    delay: 600,
    statement_fails: 8,
    commit_unknown: 120,
    freeze: 3,
    life: 3_000,
    append_fails: 900,
    read_fails: 200,
    leaderless: 6_000,
};

/// What a seed stands for.
pub fn plan(seed: u64) -> Plan {
    let shared = !seed.is_multiple_of(5);
    let nodes = if shared { 2 + (seed % 2) as usize } else { 1 };
    let trial = match seed % 20 {
        3 | 10 | 13 => Trial::Restored,
        7 | 17 => Trial::LostTail,
        _ => Trial::None,
    };
    Plan { seed, nodes, shared, requests: 80, trial, weather: WEATHER }
}

/// What came of many.
pub struct Done {
    pub seeds: u64,
    /// Those that were wild enough to prove something.
    pub counted: u64,
    pub failed: Vec<Verdict>,
    pub took: Duration,
    /// Of all seeds: messages, crashes, take-overs of leases and of relays, unknown commits, unknown appends; what left twice,
    /// outboxes that got other numbers, and losses of the log.
    pub sums: [u64; 9],
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.seeds as f64 / self.took.as_secs_f64();
        let [.., twice, renumbered, lost] = self.sums;
        let [messages, crashes, leases, relays, commits, appends, ..] =
            self.sums.map(|sum| sum / self.seeds.max(1));
        write!(
            f,
            "{} seeds in {:.1} s ({rate:.1} per second), {} failed, {} too tame to count; a run has about {messages} \
             messages, {crashes} crashes, {leases} take-overs of partitions, {relays} of relays, {commits} unknown commits, \
             {appends} unknown appends; in all {twice} things left twice, {renumbered} outboxes got other numbers, {lost} appends \
             were lost",
            self.seeds,
            self.took.as_secs_f64(),
            self.failed.len(),
            self.seeds - self.counted,
        )
    }
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub fn show(verdict: &Verdict) {
    println!("seed {} hash {:016x} {:?}", verdict.seed, verdict.hash, verdict.counts);
    verdict.broken.iter().for_each(|broken| println!("  {broken}"));
}

/// Does the work for each of them, several beside each other; the results in their order.
pub fn on_all_cores<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = all.get(index) else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs them all, and keeps those that failed.
pub fn run_many(seeds: Range<u64>) -> Done {
    let (next, all, begun) = (AtomicU64::new(seeds.start), seeds.end - seeds.start, Instant::now());
    let empty = Done { seeds: all, counted: 0, failed: Vec::new(), took: Duration::ZERO, sums: [0; 9] };
    let done = Mutex::new(empty);
    let watched = number("ARTEL_TEST_SIM_PROGRESS").is_some();
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let verdict = run(plan(seed));
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    take(&mut done, verdict);
                    if watched {
                        bar(seed - seeds.start + 1, all, done.failed.len(), begun);
                    }
                }
            });
        }
    });
    if watched {
        eprintln!();
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.took = begun.elapsed();
    done.failed.sort_by_key(|verdict| verdict.seed);
    done
}

fn take(done: &mut Done, verdict: Verdict) {
    let c = verdict.counts;
    let more = [
        c.messages,
        c.crashes,
        c.lease_takeovers,
        c.relay_takeovers,
        c.unknown_commits,
        c.unknown_appends,
        c.twice,
        c.renumbered,
        c.lost_tails,
    ];
    done.sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    done.counted += u64::from(verdict.too_tame(plan(verdict.seed).shared).is_none());
    if !verdict.broken.is_empty() {
        done.failed.push(verdict);
    }
}

fn bar(n: u64, all: u64, failed: usize, begun: Instant) {
    let filled = usize::try_from(n * 40 / all.max(1)).unwrap_or(40);
    let left = begun.elapsed().as_secs_f64() / n as f64 * (all - n) as f64;
    eprint!("\r[{:<40}] {n}/{all} seeds, {failed} failed, {left:.0} s left   ", "=".repeat(filled));
    let _ = std::io::stderr().flush();
}
