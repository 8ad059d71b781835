//! Rows of the outbox that the log has, where nobody is to be told of it and one process writes: they are deleted by the next
//! transaction of a group that commits anyway, and by the relay's own where none comes by. Which of them does it, and how often, is
//! all the same: such a row is in the log for good.

use crate::ctx::Shared;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What another's transaction takes along at most: few statements of many rows.
const RUNS: usize = 4;

/// Rows that follow each other: the first one's id and the last one's.
pub(crate) type Run = (i64, i64);

#[derive(Default)]
pub(crate) struct Gone(Mutex<Runs>);

#[derive(Default)]
struct Runs {
    /// By the first id; they neither meet nor overlap.
    runs: BTreeMap<i64, i64>,
    rows: usize,
    since: Option<Instant>,
    /// Taken by transactions whose end is not known yet.
    lent: usize,
}

/// The runs of ids, which are sorted.
pub(crate) fn runs(ids: &[i64]) -> Vec<Run> {
    ids.chunk_by(|one, next| one + 1 == *next).filter_map(|run| Some((*run.first()?, *run.last()?))).collect()
}

fn rows_of((first, last): Run) -> usize {
    usize::try_from(last - first + 1).unwrap_or(0)
}

impl Runs {
    fn add(&mut self, (mut first, mut last): Run) {
        // Rows between two runs may be on their way still.
        let reach = if planted!(DeletesOverHoles) { 6 } else { 1 };
        let before = self.runs.range(..=first).next_back().map(|(first, last)| (*first, *last));
        let mut known = 0;
        if let Some(run) = before.filter(|(_, end)| *end + reach >= first) {
            self.runs.remove(&run.0);
            known += rows_of(run);
            (first, last) = (run.0, last.max(run.1));
        }
        while let Some((next, end)) = self.runs.range(first..).next().map(|(next, end)| (*next, *end))
            && next <= last + reach
        {
            self.runs.remove(&next);
            known += rows_of((next, end));
            last = last.max(end);
        }
        self.runs.insert(first, last);
        self.rows = self.rows + rows_of((first, last)) - known;
        self.since.get_or_insert_with(Instant::now);
    }

    fn remove(&mut self, run: Run) {
        self.runs.remove(&run.0);
        self.rows -= rows_of(run);
        if self.runs.is_empty() {
            self.since = None;
        }
    }
}

/// Runs that a transaction takes along. Where it does not say that they are deleted, they wait again.
#[derive(Default)]
pub(crate) struct Lent {
    from: Option<Arc<Shared>>,
    runs: Vec<Run>,
}

impl Lent {
    pub fn of(shared: &Arc<Shared>) -> Lent {
        let runs = shared.gone.lend(shared.limits.relay_rows, shared.limits.relay_run);
        Lent { from: (!runs.is_empty()).then(|| shared.clone()), runs }
    }

    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The commit has returned; true when there were any.
    pub fn are_deleted(mut self) -> bool {
        self.from.take().is_some_and(|shared| {
            shared.gone.settled(&self.runs, true);
            true
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(shared) = self.from.take() {
            shared.gone.settled(&self.runs, false);
        }
    }
}

impl Gone {
    fn runs(&self) -> std::sync::MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, ids: impl Iterator<Item = i64>) {
        let mut runs = self.runs();
        ids.for_each(|id| runs.add((id, id)));
    }

    /// How many wait, and since when some do.
    pub fn waiting(&self) -> (usize, Option<Instant>) {
        let runs = self.runs();
        (runs.rows, runs.since)
    }

    /// Whether none is here, and none about to go.
    pub fn is_idle(&self) -> bool {
        let runs = self.runs();
        runs.rows == 0 && runs.lent == 0
    }

    /// Runs of at least so many rows, for a transaction that takes them along.
    pub fn lend(&self, most: usize, least: usize) -> Vec<Run> {
        let mut runs = self.runs();
        let all = runs.runs.iter().map(|(first, last)| (*first, *last));
        let long = all.filter(|run| rows_of(*run) >= least);
        let mut rows = 0;
        let taken: Vec<Run> = long
            .take(RUNS)
            .take_while(|run| {
                rows += rows_of(*run);
                rows <= most || rows == rows_of(*run)
            })
            .collect();
        runs.give(&taken);
        taken
    }

    /// All of them.
    pub fn take(&self) -> Vec<Run> {
        let mut runs = self.runs();
        let taken: Vec<Run> = runs.runs.iter().map(|(first, last)| (*first, *last)).collect();
        runs.give(&taken);
        taken
    }

    /// What was lent or taken is deleted, or is to be deleted after all.
    pub fn settled(&self, taken: &[Run], deleted: bool) {
        let mut runs = self.runs();
        runs.lent -= taken.iter().copied().map(rows_of).sum::<usize>();
        if !deleted {
            taken.iter().for_each(|run| runs.add(*run));
        }
    }
}

impl Runs {
    fn give(&mut self, taken: &[Run]) {
        for run in taken {
            self.remove(*run);
            self.lent += rows_of(*run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn what_is_added_in_any_order_is_taken_once_in_the_fewest_runs(ids in prop::collection::vec(0i64..200, 0..150)) {
            let gone = Gone::default();
            for some in ids.chunks(7) {
                gone.add(some.iter().copied());
            }
            let all: BTreeSet<i64> = ids.into_iter().collect();
            prop_assert_eq!(gone.waiting().0, all.len());
            let runs = gone.take();
            let found: Vec<i64> = runs.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(found, all.into_iter().collect::<Vec<_>>());
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", runs);
            prop_assert_eq!(gone.waiting(), (0, None));
        }
    }

    #[test]
    fn what_was_lent_in_vain_comes_back() {
        let gone = Gone::default();
        gone.add(0..100);
        gone.add(200..210);
        let lent = gone.lend(1_000, 32);
        assert_eq!(lent, [(0, 99)], "ten rows are not worth a statement of their own");
        assert_eq!((gone.waiting().0, gone.is_idle()), (10, false));
        gone.settled(&lent, false);
        let all = gone.take();
        assert_eq!(all, [(0, 99), (200, 209)]);
        assert!(!gone.is_idle());
        gone.settled(&all, true);
        assert!(gone.is_idle());
    }

    #[test]
    fn a_transaction_takes_no_more_than_it_may() {
        let gone = Gone::default();
        for first in [0, 1_000, 2_000] {
            gone.add(first..first + 100);
        }
        assert_eq!(gone.lend(250, 32).len(), 2);
        assert_eq!(gone.lend(50, 32), [(2_000, 2_099)], "one run goes in any case");
    }
}
