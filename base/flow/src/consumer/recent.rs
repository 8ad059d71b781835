//! What became of a partition's recent messages: whether most of them fail with one cause. Pure.

use std::collections::VecDeque;

/// The outcomes of the latest messages that ran or failed, each failure with its cause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    window: usize,
    outcomes: VecDeque<Option<String>>,
}

impl Recent {
    /// Over so many messages; 0 = never minds.
    pub fn over(window: usize) -> Recent {
        Recent { window, outcomes: VecDeque::new() }
    }

    pub fn ran(&mut self, count: usize) {
        (0..count.min(self.window)).for_each(|_| self.push(None));
    }

    /// Notes a failure; true when more than half of the recent messages failed with this cause. Less than half a window says
    /// nothing yet.
    pub fn failed(&mut self, cause: &str) -> bool {
        self.push(Some(cause.to_owned()));
        let same = self.outcomes.iter().filter(|o| o.as_deref() == Some(cause)).count();
        // One of an odd number is no majority yet: two causes in turn are none.
        self.window > 0 && self.outcomes.len() * 2 >= self.window && same * 2 > self.outcomes.len() + 1
    }

    pub fn forget(&mut self) {
        self.outcomes.clear();
    }

    fn push(&mut self, outcome: Option<String>) {
        self.outcomes.push_back(outcome);
        while self.outcomes.len() > self.window {
            self.outcomes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_window_with_one_cause_is_noticed() {
        let mut recent = Recent::over(8);
        assert!(!recent.failed("a") && !recent.failed("a") && !recent.failed("a"));
        assert!(recent.failed("a"), "half a window is enough");
        recent.forget();
        recent.ran(100);
        assert!((0..4).all(|_| !recent.failed("a")));
        assert!(recent.failed("a"), "five of the latest eight");
    }

    #[test]
    fn several_causes_are_no_common_one() {
        let mut recent = Recent::over(8);
        assert!((0..100).all(|n| !recent.failed(["a", "b"][n % 2])));
    }

    #[test]
    fn without_a_window_nothing_is_noticed() {
        let mut recent = Recent::over(0);
        assert!((0..100).all(|_| !recent.failed("a")));
    }
}
