//! The timers that a transaction has taken out and not run yet. A handler that runs before them may still cancel or replace
//! one: then it does not run.

use crate::storage::timers::Timer;
use std::collections::{HashSet, VecDeque};

#[derive(Default)]
pub(crate) struct Taken {
    queue: VecDeque<Timer>,
    /// The identities in the queue; made when somebody first asks for one.
    known: Option<HashSet<(String, String)>>,
    /// Those in the queue that were cancelled or replaced.
    gone: HashSet<(String, String)>,
}

fn identity(timer: &Timer) -> (String, String) {
    (timer.name.clone(), timer.key.clone())
}

impl Taken {
    pub fn new(timers: Vec<Timer>) -> Taken {
        Taken { queue: timers.into(), ..Taken::default() }
    }

    /// The next one to run.
    pub fn pop(&mut self) -> Option<Timer> {
        loop {
            let timer = self.queue.pop_front()?;
            if self.gone.is_empty() || !self.gone.remove(&identity(&timer)) {
                if let Some(known) = &mut self.known {
                    known.remove(&identity(&timer));
                }
                return Some(timer);
            }
        }
    }

    /// The next one to run, if it has this name.
    pub fn pop_named(&mut self, name: &str) -> Option<Timer> {
        while let Some(first) = self.queue.front() {
            if !self.gone.is_empty() && self.gone.remove(&identity(first)) {
                self.queue.pop_front();
            } else {
                return if first.name == name { self.pop() } else { None };
            }
        }
        None
    }

    /// Takes one back; whether it was still to be run.
    pub fn remove(&mut self, name: &str, key: &str) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let queue = &self.queue;
        let known = self.known.get_or_insert_with(|| queue.iter().map(identity).collect());
        let wanted = (name.to_owned(), key.to_owned());
        known.remove(&wanted) && self.gone.insert(wanted)
    }

    /// What is left to be run.
    pub fn rest(&mut self) -> Vec<Timer> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Time;
    use bytes::Bytes;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn timer(name: &str, key: &str) -> Timer {
        Timer {
            name: name.to_owned(),
            key: key.to_owned(),
            order: None,
            due: Time::from_micros(0),
            body: Bytes::new(),
            cause: Uuid::nil(),
            trace: None,
            attempts: 0,
            since: None,
            ordinal: 0,
        }
    }

    proptest! {
        /// Against a plain list that is searched.
        #[test]
        fn what_was_removed_does_not_run(
            keys in proptest::collection::btree_set((0u8..2, 0u8..12), 0..20),
            steps in proptest::collection::vec((0u8..3, 0u8..2, 0u8..12), 0..40),
        ) {
            let timers: Vec<Timer> =
                keys.iter().map(|(name, key)| timer(&name.to_string(), &key.to_string())).collect();
            let (mut model, mut taken) = (timers.clone(), Taken::new(timers));
            for (what, name, key) in steps {
                let (name, key) = (name.to_string(), key.to_string());
                match what {
                    0 => {
                        let found = model.iter().position(|t| t.name == name && t.key == key);
                        found.map(|at| model.remove(at));
                        prop_assert_eq!(taken.remove(&name, &key), found.is_some());
                    }
                    1 => {
                        let first = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(taken.pop(), first);
                    }
                    _ => {
                        let fits = model.first().is_some_and(|t| t.name == name);
                        let first = fits.then(|| model.remove(0));
                        prop_assert_eq!(taken.pop_named(&name), first);
                    }
                }
            }
            prop_assert_eq!(taken.rest(), model);
        }
    }
}
