//! The real flow on simulated databases, log and time, with chance out of a seed. The same seed is the same run.
//!
//! `cargo xtask simulate --seeds N` runs more of them, `--seed S` one, with everything that happened in it.

mod chance;
mod forced;
mod judge;
mod judge_later;
mod later;
mod life;
mod log;
mod many;
mod oracle;
mod outside;
mod run;
mod services;
mod stage;
mod trials;
mod walk;

use artel_flow::planted::{Bug, plant};
use many::{number, on_all_cores, plan, run_many, show};
use run::run;
use stage::Stage;

/// As many as take a minute or two on two cores.
const SEEDS: u64 = 1_000;
/// A planted bug has to be found among so many.
const SEARCH: u64 = 150;
/// Rules that only a rare coincidence shows broken. They have tests of their own (`forced.rs`), and are looked for here where they are
/// named.
const RARE: [Bug; 2] = [Bug::KeepsHandedOverSettle, Bug::ReadsOthersNumbers];

#[test]
fn the_same_seed_is_the_same_run() {
    Stage::keep_lines(true);
    // A calm one, one on a database of its own, one whose log loses something, one whose database goes back.
    for seed in [1, 5, 7, 13] {
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
    if let Some(seed) = number("ARTEL_TEST_SIM_SEED") {
        Stage::keep_lines(true);
        let verdict = run(plan(seed));
        verdict.lines.iter().for_each(|line| println!("{line}"));
        show(&verdict);
        assert_eq!(verdict.broken, Vec::<String>::new());
        return;
    }
    let from = number("ARTEL_TEST_SIM_FROM").unwrap_or(1);
    let done = run_many(from..from + number("ARTEL_TEST_SIM_SEEDS").unwrap_or(SEEDS));
    println!("{done}");
    done.failed.iter().for_each(show);
    let failed: Vec<u64> = done.failed.iter().map(|verdict| verdict.seed).collect();
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed; cargo xtask simulate --seed {} shows one",
        failed[0]
    );
    assert!(done.seeds < 50 || done.counted * 5 >= done.seeds * 4, "too many seeds prove too little: {done}");
}

/// The rules of the flow are held by the simulation as a whole: it finds whoever breaks one, without knowing of it.
#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("ARTEL_TEST_SIM_BUG").ok();
    let wanted = |bug: &Bug| match &only {
        Some(only) => *only == format!("{bug:?}"),
        None => !RARE.contains(bug),
    };
    let bugs: Vec<Bug> = Bug::ALL.into_iter().filter(wanted).collect();
    assert!(!bugs.is_empty(), "{only:?} is no planted bug; there are {:?}", Bug::ALL);
    // Searches from different seeds, of which the middle one counts.
    let starts: &[u64] =
        if number("ARTEL_TEST_SIM_PLANTED").is_some() { &[1, 10_001, 20_001, 30_001, 40_001] } else { &[1] };
    let found = on_all_cores(&bugs, |bug| {
        let mut tries: Vec<u64> = starts.iter().map(|from| search(*bug, *from)).collect();
        tries.sort_unstable();
        tries
    });
    println!("| planted bug | seeds until it is found: median | least | most |");
    for (bug, tries) in bugs.iter().zip(&found) {
        println!("| {bug:?} | {} | {} | {} |", tries[tries.len() / 2], tries[0], tries[tries.len() - 1]);
    }
    let missed: Vec<&Bug> = bugs
        .iter()
        .zip(&found)
        .filter(|(_, tries)| tries[tries.len() / 2] > SEARCH)
        .map(|(bug, _)| bug)
        .collect();
    assert!(missed.is_empty(), "{missed:?} not found in {SEARCH} seeds");
}

/// How many seeds it takes; one more than the search has where it finds nothing.
fn search(bug: Bug, from: u64) -> u64 {
    plant(Some(bug));
    let found = (from..from + SEARCH).find(|seed| !run(plan(*seed)).broken.is_empty());
    plant(None);
    found.map_or(SEARCH + 1, |seed| seed - from + 1)
}
