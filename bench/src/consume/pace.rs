//! How quickly messages are taken in: from the first tenth on, so that neither side's start is in it.

use crate::cpu::Used;
use std::time::{Duration, Instant};

/// Follows one side.
pub(super) struct Pace {
    messages: u32,
    started: Instant,
    /// When at least a tenth was there: how many, when, and what had been used.
    warm: Option<(u32, Instant, Used)>,
}

/// What came of it, in messages a second.
pub(super) struct Taken {
    /// From the first tenth on.
    pub rate: f64,
    /// From the start of the node, or of the loop by hand, on.
    pub whole: f64,
}

impl Pace {
    pub fn begin(messages: u32) -> Pace {
        Pace { messages, started: Instant::now(), warm: None }
    }

    /// Notes that so many are taken in; true when that is all.
    pub fn saw(&mut self, taken: u32) -> bool {
        if self.warm.is_none() && taken >= self.messages / 10 {
            self.warm = Some((taken, Instant::now(), Used::now()));
        }
        taken >= self.messages
    }

    /// All is taken in: says what it took.
    pub fn end(self, what: &str) -> Taken {
        let (took, now) = (self.started.elapsed(), Instant::now());
        let (taken, at, used) = self.warm.unwrap_or((0, self.started, Used::now()));
        let rest = now.duration_since(at).max(Duration::from_nanos(1));
        println!(
            "<!-- {what}: {:.2} s, of which {:.2} until {taken} were there; processors from there on: {} -->",
            took.as_secs_f64(),
            at.duration_since(self.started).as_secs_f64(),
            Used::now().since(used)
        );
        let rate = f64::from(self.messages.saturating_sub(taken)) / rest.as_secs_f64();
        Taken { rate, whole: f64::from(self.messages) / took.as_secs_f64() }
    }
}
