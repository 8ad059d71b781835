//! What a schedule that is due does: plain decisions.

use super::when::{Missed, Recurrence};
use artel_message::Time;
use std::time::Duration;

/// A run that begins so late is missed, for those that skip missed runs.
const GRACE: Duration = Duration::from_secs(60);
/// Missed runs are counted up to so many at once.
const COUNTED: u32 = 100_000;

/// What becomes of a schedule that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether it runs now.
    pub run: bool,
    pub next: Time,
    /// Runs that will never be; counted up to a bound.
    pub missed: u32,
}

/// The same where many runs may have been missed: counting them takes a while, and is done where it holds up nobody.
pub(crate) async fn plan_apart(
    recurrence: &Recurrence,
    missed: Missed,
    due: Time,
    (now, began): (Time, bool),
) -> Option<Plan> {
    if now.since(due) <= GRACE {
        return plan(recurrence, missed, due, (now, began));
    }
    let recurrence = recurrence.clone();
    // What can't be waited for is the end of the process.
    tokio::task::spawn_blocking(move || plan(&recurrence, missed, due, (now, began))).await.ok().flatten()
}

/// `due` has come; `None` where the schedule never runs again. A run that `began` is not missed, however long it fails: it was
/// tried in time, or somebody asked for it.
pub(crate) fn plan(
    recurrence: &Recurrence,
    missed: Missed,
    due: Time,
    (now, began): (Time, bool),
) -> Option<Plan> {
    let later = Later::count(recurrence, due, now)?;
    Some(match missed {
        Missed::Once => Plan { run: true, next: later.next(recurrence, now)?, missed: later.n },
        Missed::Skip if began => Plan { run: true, next: later.next(recurrence, now)?, missed: later.n },
        Missed::Skip if later.n > 0 || now.since(due) > GRACE => {
            Plan { run: false, next: later.next(recurrence, now)?, missed: later.n + 1 }
        }
        Missed::Skip => Plan { run: true, next: later.upcoming, missed: 0 },
        Missed::All(most) if later.n < most.max(1) => {
            Plan { run: true, next: recurrence.after(due)?, missed: 0 }
        }
        Missed::All(most) => {
            // The newest of them, and no run before it is known that these are not too many.
            let left_out = (later.n + 1).saturating_sub(most.max(1));
            let next = if later.whole { nth(recurrence, due, left_out)? } else { later.upcoming };
            Plan { run: false, next, missed: left_out }
        }
    })
}

/// The further runs that have come due since.
struct Later {
    n: u32,
    /// The first one behind those that were counted.
    upcoming: Time,
    /// Whether that one lies ahead.
    whole: bool,
}

impl Later {
    fn count(recurrence: &Recurrence, due: Time, now: Time) -> Option<Later> {
        let mut upcoming = recurrence.after(due)?;
        let mut n = 0;
        while upcoming <= now && n < COUNTED {
            n += 1;
            upcoming = recurrence.after(upcoming)?;
        }
        Some(Later { n, upcoming, whole: upcoming > now })
    }

    /// The first one that lies ahead.
    fn next(&self, recurrence: &Recurrence, now: Time) -> Option<Time> {
        if self.whole { Some(self.upcoming) } else { recurrence.after(now) }
    }
}

fn nth(recurrence: &Recurrence, due: Time, n: u32) -> Option<Time> {
    (0..n).try_fold(due, |at, _| recurrence.after(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::when::Schedule;
    use proptest::prelude::*;

    fn hourly() -> Recurrence {
        Schedule::cron("0 * * * *").parse().expect("a schedule")
    }

    fn at(hour: u32, minute: u32) -> Time {
        format!("2026-01-0{}T{:02}:{minute:02}:00Z", 1 + hour / 24, hour % 24).parse().expect("a time")
    }

    #[test]
    fn what_is_on_time_runs() {
        for missed in [Missed::Once, Missed::Skip, Missed::All(3)] {
            let plan = plan(&hourly(), missed, at(3, 0), (at(3, 0), false));
            assert_eq!(plan, Some(Plan { run: true, next: at(4, 0), missed: 0 }), "{missed:?}");
        }
    }

    #[test]
    fn missed_runs_run_once_or_not_at_all() {
        let (due, now) = (at(3, 0), at(7, 30));
        assert_eq!(
            plan(&hourly(), Missed::Once, due, (now, false)),
            Some(Plan { run: true, next: at(8, 0), missed: 4 })
        );
        assert_eq!(
            plan(&hourly(), Missed::Skip, due, (now, false)),
            Some(Plan { run: false, next: at(8, 0), missed: 5 })
        );
        assert_eq!(
            plan(&hourly(), Missed::Skip, due, (at(3, 2), false)),
            Some(Plan { run: false, next: at(4, 0), missed: 1 })
        );
    }

    #[test]
    fn a_run_that_was_tried_in_time_is_not_missed_and_those_behind_it_are() {
        let of = |now| plan(&hourly(), Missed::Skip, at(3, 0), (now, true));
        assert_eq!(of(at(3, 20)), Some(Plan { run: true, next: at(4, 0), missed: 0 }));
        assert_eq!(of(at(5, 20)), Some(Plan { run: true, next: at(6, 0), missed: 2 }));
    }

    proptest! {
        /// What runs after a downtime: all up to the bound, the newest of more, each once and in order.
        #[test]
        fn all_means_the_newest_up_to_the_bound(away in 0u32..60, most in 1u32..20, distance in 1u64..4) {
            let distance = Duration::from_secs(distance * 60);
            let recurrence = Schedule::every(distance).parse().expect("a schedule");
            let first = at(0, 12);
            let now = first + distance * away + Duration::from_secs(30);
            let (mut due, mut ran, mut left_out) = (first, Vec::new(), 0);
            for _ in 0..100 {
                if due > now {
                    break;
                }
                let plan = plan(&recurrence, Missed::All(most), due, (now, false)).expect("a plan");
                prop_assert!(plan.next > due);
                if plan.run {
                    ran.push(due);
                }
                left_out += plan.missed;
                due = plan.next;
            }
            let all: Vec<Time> = (0..=away).map(|n| first + distance * n).collect();
            let kept = all.len().min(usize::try_from(most).expect("few"));
            prop_assert_eq!(&ran[..], &all[all.len() - kept..]);
            prop_assert_eq!(usize::try_from(left_out).expect("few"), all.len() - kept);
        }
    }

    /// A schedule of every second that nobody ran for a month.
    #[test]
    fn a_long_time_away_is_passed_in_bounded_steps() {
        let recurrence = Schedule::every(Duration::from_secs(1)).parse().expect("a schedule");
        let first = at(0, 0);
        let now = first + Duration::from_secs(30 * 86_400);
        let (mut due, mut steps, mut ran) = (first, 0, 0);
        while due <= now {
            let plan = plan(&recurrence, Missed::All(5), due, (now, false)).expect("a plan");
            (due, steps, ran) = (plan.next, steps + 1, ran + u32::from(plan.run));
        }
        assert!(steps < 40 && ran == 5, "{steps} steps, {ran} runs");
    }
}
