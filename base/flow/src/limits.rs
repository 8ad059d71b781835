//! Every bound of the flow. Those that operators have to set are settings of a node; the others have the values below.

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
    /// Attempts in place before a message's key is parked.
    pub tries: u32,
    /// The first pause between attempts in place; it doubles.
    pub retry_pause: Duration,
    /// How long a message is tried again after its first failure before it is given up.
    pub retry_for: Duration,
    /// Attempts of a message before it is given up, where that comes first.
    pub attempts: u32,
    /// The first and the longest pause between attempts of a parked message; it grows with the time for which it fails.
    pub parked_pause: Duration,
    pub parked_pause_most: Duration,
    /// Messages that wait behind one parked key, and in a group; at the bound the partition pauses.
    pub parked_per_key: u64,
    pub parked_messages: u64,
    /// Bytes that wait in a group.
    pub parked_bytes: u64,
    /// Of this many messages of a partition more than half have to fail with one cause for it to pause.
    pub failing_window: usize,
    /// The first pause before a partition that paused tries a message; it doubles up to thirty times this.
    pub probe_pause: Duration,
    /// The pause after a failure of the infrastructure; it doubles up to ten times this.
    pub outage_pause: Duration,
    /// Rows that wait in a service's outbox before commands that publish answer `exhausted`.
    pub outbox_rows: u64,
    /// Rows that the relay takes at once.
    pub relay_rows: usize,
    /// So many rows that follow each other, and that the log has, are worth a statement in another's transaction that deletes them.
    pub relay_run: usize,
    /// The largest value of a message, in bytes.
    pub message_bytes: usize,
    /// The longest a command, query or message handler may take.
    pub handler_time: Duration,
    /// How long an effect may take.
    pub effect_time: Duration,
    /// How long an effect that fails is tried again before it is given up, and in how many attempts at most.
    pub effect_age: Duration,
    pub effect_tries: u32,
    /// The first pause between attempts of effects and timers; it doubles.
    pub effect_pause: Duration,
    /// So many effects that wait to be told are prepared beside those that are being told.
    pub effects_beside: usize,
    /// How long another node leaves an effect alone whose caller says nothing any more.
    pub effect_lease: Duration,
    /// How long a timer that fails is tried again before it is given up, and in how many attempts at most.
    pub timer_age: Duration,
    pub timer_tries: u32,
    /// How long replies are kept for repeats of a command with a key.
    pub answered: Duration,
    /// How long messages that were given up on are kept.
    pub dead: Duration,
    /// How long it is kept what was done by hand.
    pub audit: Duration,
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
            retry_for: Duration::from_secs(3600),
            attempts: 100,
            parked_pause: Duration::from_secs(1),
            parked_pause_most: Duration::from_secs(300),
            parked_per_key: 10_000,
            parked_messages: 200_000,
            parked_bytes: 256 << 20,
            failing_window: 32,
            probe_pause: Duration::from_secs(1),
            outage_pause: Duration::from_millis(250),
            outbox_rows: 200_000,
            relay_rows: 2_000,
            relay_run: 32,
            message_bytes: 1_000_000,
            handler_time: Duration::from_secs(30),
            effect_time: Duration::from_secs(60),
            effect_age: Duration::from_secs(86_400),
            effect_tries: 50,
            effect_pause: Duration::from_millis(500),
            effects_beside: 250,
            effect_lease: Duration::from_secs(30),
            timer_age: Duration::from_secs(3_600),
            timer_tries: 50,
            answered: Duration::from_secs(7 * 86_400),
            dead: Duration::from_secs(30 * 86_400),
            audit: Duration::from_secs(90 * 86_400),
        }
    }
}
