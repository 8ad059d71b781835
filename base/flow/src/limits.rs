//! Every bound of the flow; each is a setting.

use std::time::Duration;

/// The settings of the runtime, the same for every service of a node.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Partitions of topics that are made here.
    pub partitions: u32,
    /// How long such topics keep their messages; `None` = for ever. Dead letters are kept for ever.
    pub retention: Option<Duration>,
    /// How much each of their partitions keeps, in bytes; `None` = without limit.
    pub retention_bytes: Option<u64>,
    /// Messages in one transaction of a group.
    pub batch_records: usize,
    /// Bytes in one transaction of a group.
    pub batch_bytes: usize,
    /// Attempts in place before a message is given up.
    pub tries: u32,
    /// The first pause between attempts; it doubles.
    pub retry_pause: Duration,
    /// The pause after a failure of the infrastructure; it doubles up to ten times this.
    pub outage_pause: Duration,
    /// Rows that wait in a service's outbox before commands that publish answer `exhausted`.
    pub outbox_rows: u64,
    /// Rows that the relay takes at once.
    pub relay_rows: usize,
    /// The largest value of a message, in bytes.
    pub message_bytes: usize,
    /// The longest a command, query or message handler may take.
    pub handler_time: Duration,
    /// How long an effect may take.
    pub effect_time: Duration,
    /// Attempts of an effect before it is given up, and the first pause between them; it doubles.
    pub effect_tries: u32,
    pub effect_pause: Duration,
    /// How long replies are kept for repeats of a command with a key.
    pub answered: Duration,
    /// How long messages that were given up on are kept.
    pub dead: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            partitions: 4,
            retention: None,
            retention_bytes: None,
            batch_records: 500,
            batch_bytes: 4 << 20,
            tries: 4,
            retry_pause: Duration::from_millis(50),
            outage_pause: Duration::from_millis(250),
            outbox_rows: 200_000,
            relay_rows: 2_000,
            message_bytes: 1_000_000,
            handler_time: Duration::from_secs(30),
            effect_time: Duration::from_secs(60),
            effect_tries: 8,
            effect_pause: Duration::from_millis(500),
            answered: Duration::from_secs(7 * 86_400),
            dead: Duration::from_secs(30 * 86_400),
        }
    }
}
