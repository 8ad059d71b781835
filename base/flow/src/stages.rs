//! How old messages are at each stage of their way, from the transaction that made them to the one that took them in.

use crate::FlowMetrics;
use artel_message::Time;

/// Where a message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its relay hands it to the log, for the first time.
    Relayed,
    /// The log has it, durably.
    Logged,
    /// A group begins to take it in, in the transaction that holds.
    Taken,
    /// What its handler did is committed.
    Handled,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Relayed => "relayed",
            Stage::Logged => "logged",
            Stage::Taken => "taken",
            Stage::Handled => "handled",
        }
    }
}

impl FlowMetrics {
    /// Notes the ages of messages that were `made`; `by` is the service whose relay, or the group whose transaction it is.
    pub(crate) fn arrived(&self, by: &str, stage: Stage, now: Time, made: impl Iterator<Item = Time>) {
        let histogram = self.stage(by, stage);
        // A clock of another node that is ahead makes no message younger than nothing.
        made.for_each(|made| histogram.observe(now.since(made).as_secs_f64()));
    }
}
