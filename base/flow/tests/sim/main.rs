//! The real flow on simulated databases, log and time, with chance out of a seed. The same seed is the same run.
//!
//! `cargo xtask simulate --seeds N` runs more of them, `--seed S` one, with everything that happened in it.

mod chance;
mod life;
mod log;
mod many;
mod oracle;
mod run;
mod services;
mod stage;
mod trials;

use artel_flow::planted::{Bug, plant};
use many::{number, plan, run_many, show};
use run::run;
use stage::Stage;

/// As many as take a minute or so on two cores.
const SEEDS: u64 = 400;
/// A planted bug has to be found among so many.
const SEARCH: u64 = 150;

#[test]
fn the_same_seed_is_the_same_run() {
    Stage::keep_lines(true);
    for seed in [1, 2, 5] {
        let (first, again) = (run(plan(seed)), run(plan(seed)));
        if let Some(at) = first.lines.iter().zip(&again.lines).position(|(a, b)| a != b) {
            let from = at.saturating_sub(30);
            first.lines[from..at].iter().for_each(|line| println!("{line}"));
            panic!("seed {seed} parts in line {at}:\n{}\n{}", first.lines[at], again.lines[at]);
        }
        assert_eq!((first.hash, first.counts), (again.hash, again.counts), "seed {seed}");
    }
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("ARTEL_SIM_SEED") {
        Stage::keep_lines(true);
        let verdict = run(plan(seed));
        verdict.lines.iter().for_each(|line| println!("{line}"));
        show(&verdict);
        assert_eq!(verdict.broken, Vec::<String>::new());
        return;
    }
    let done = run_many(1..1 + number("ARTEL_SIM_SEEDS").unwrap_or(SEEDS));
    println!("{done}");
    done.failed.iter().for_each(show);
    let failed: Vec<u64> = done.failed.iter().map(|verdict| verdict.seed).collect();
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed; cargo xtask simulate --seed {} shows one",
        failed[0]
    );
    assert!(done.counted >= done.seeds / 2, "too many seeds prove too little: {done}");
}

/// The rules of the flow are held by the simulation as a whole: it finds whoever breaks one, without knowing of it.
#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("ARTEL_SIM_BUG").ok();
    let mut missed = Vec::new();
    for bug in Bug::ALL.into_iter().filter(|bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}")))
    {
        let mut tries = Vec::new();
        // Three searches from different seeds, of which the middle one counts.
        for from in [1, 10_001, 20_001] {
            plant(Some(bug));
            let found = (from..from + SEARCH).find(|seed| !run(plan(*seed)).broken.is_empty());
            plant(None);
            tries.extend(found.map(|seed| seed - from + 1));
        }
        tries.sort_unstable();
        let median = tries.get(1);
        println!("| {bug:?} | {} |", median.map_or("not found".to_owned(), u64::to_string));
        if median.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "{missed:?} not found in {SEARCH} seeds");
}
