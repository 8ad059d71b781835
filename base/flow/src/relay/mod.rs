//! The relay: carries committed messages from the outbox to the log, in seq order per partition, and confirms them.

mod confirm;
mod jump;
mod lines;
mod never;
mod publish;
mod round;
mod unsure;

pub(crate) use jump::{NoNumber, jump, now_of};

use crate::Failure;
use crate::ctx::Shared;
use crate::outage::{Outage, Whose};
use crate::storage::outbox::Waiting;
use lines::Lines;
use publish::Appended;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use unsure::Unsure;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_millis(500);
/// How long a take-over that is under way may still take when the node stops.
const GRACE: Duration = Duration::from_secs(1);
/// How long a relay that stops waits for the next append that is under way.
const LINGER: Duration = Duration::from_secs(2);

struct Relay {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// The epoch of the relay's lease, as this node has it.
    lease: watch::Receiver<Option<i64>>,
    state: State,
    /// A take-over that fails, and rounds that do.
    beginning: Outage,
    going: Outage,
}

/// What is known of the outbox; good for one holding of the lease.
struct State {
    epoch: i64,
    /// Every turn up to here has been read once; of what is not in the log since, `lines` knows.
    read_to: i64,
    /// The last number given.
    given: i64,
    /// Whether rows with a number may lie after `read_to`, where the relay gives them.
    backlog: bool,
    /// What was handed over came right behind what was read, and nothing was there behind it.
    at_end: bool,
    /// The table was read behind that, and had nothing.
    is_empty: bool,
    /// A commit that gave numbers ended in an error: whether it holds is known once it has ended in the database too.
    doubtful: bool,
    lines: Lines,
    /// Partitions that may not be written to yet.
    unsure: Unsure,
    /// What is on its way to the log. Those of a holding that ended are not waited for: the next relay repeats them.
    appends: JoinSet<Appended>,
    /// In the log, with their offsets, and not yet deleted here.
    unconfirmed: Vec<(Waiting, i64)>,
    /// Since when some are there.
    unconfirmed_since: Option<Instant>,
    /// They are to be deleted at once.
    urgent: bool,
    /// How often the service's own handler of reports failed for them.
    unreported: u32,
    /// Rows that the log will never take, with the reason, of which the service is to be told.
    never: Vec<(Waiting, String)>,
    /// Of which it was told.
    told: HashSet<i64>,
}

impl State {
    fn new(epoch: i64) -> State {
        State {
            epoch,
            read_to: -1,
            given: -1,
            backlog: true,
            at_end: false,
            is_empty: false,
            doubtful: false,
            lines: Lines::default(),
            unsure: Unsure::default(),
            appends: JoinSet::new(),
            unconfirmed: Vec::new(),
            unconfirmed_since: None,
            urgent: false,
            unreported: 0,
            never: Vec::new(),
            told: HashSet::new(),
        }
    }
}

/// Runs until stopped, then empties the outbox as far as the log takes it. Where several nodes share the database it works
/// while this one has the lease.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let lease = shared.held.relay.subscribe();
    let of = || Whose::Service(shared.name().to_owned());
    let beginning =
        Outage::new(of(), "the relay can't begin yet; it tries again", "the relay could begin in the end");
    let going = Outage::new(of(), "the relay waits and tries again", "the relay goes on");
    let mut relay = Relay { shared, stop, lease, state: State::new(0), beginning, going };
    while let Some(epoch) = relay.leased().await {
        relay.state = State::new(epoch);
        if relay.take_over().await {
            relay.shared.metrics.relays(relay.shared.name(), true);
            let ended = relay.carry().await;
            relay.shared.metrics.relays(relay.shared.name(), false);
            relay.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if ended {
                return;
            }
        } else if relay.stop.is_cancelled() {
            // Nobody tells this node any more that the lease is another one's: what waits leaves from there, or at the next start.
            return;
        }
    }
}

impl Relay {
    /// Waits for the lease; `None` when it is time to stop.
    async fn leased(&mut self) -> Option<i64> {
        loop {
            if let Some(epoch) = *self.lease.borrow_and_update() {
                return Some(epoch);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                changed = self.lease.changed() => changed.ok()?,
            }
        }
    }

    fn lost(&self) -> bool {
        *self.lease.borrow() != Some(self.state.epoch)
    }

    /// Makes sure that no number is given twice. False when the lease was lost meanwhile, or the node stops before it is sure.
    async fn take_over(&mut self) -> bool {
        let shared = self.shared.clone();
        while shared.members.shared() && !self.lost() {
            let lease = Some((shared.node, self.state.epoch));
            // Where this relay has given numbers, what it gives next lies above them whatever the database says.
            let floor = self.state.given.saturating_add(1);
            let jump = jump(&shared.db, shared.topics.bus(), shared.name(), &shared.clock, lease, floor);
            let stopped = async {
                self.stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            let jumped = tokio::select! {
                biased;
                jumped = jump => jumped,
                () = stopped => return false,
            };
            let reason = match jumped {
                Ok(()) => {
                    self.beginning.over();
                    shared.say_relay(None);
                    return true;
                }
                Err(NoNumber::Lost) => {
                    shared.held.look.notify_one();
                    "the lease is another node's by now".to_owned()
                }
                Err(NoNumber::Failed(failure)) => failure.to_string(),
                Err(NoNumber::Clock) => {
                    crate::StartError::Clock { service: shared.name().to_owned() }.to_string()
                }
            };
            self.beginning.failed(&reason);
            shared.say_relay(Some(reason));
            self.pause(self.beginning.pause(&shared.limits)).await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
        !self.lost()
    }

    /// Publishes until stopped (true) or until the lease is lost (false).
    async fn carry(&mut self) -> bool {
        loop {
            let stopping = self.stop.is_cancelled();
            if self.lost() {
                // What the log has needn't be sent again by the next one.
                if let Err(failure) = self.confirm().await {
                    tracing::debug!(service = self.shared.name(), error = %failure, "not confirmed; the next relay repeats it");
                }
                return stopping;
            }
            let done = self.round().await;
            if done.is_ok() {
                self.going.over();
            }
            match done {
                Ok(true) => {}
                Ok(false) if stopping => {
                    if !self.linger().await {
                        return true;
                    }
                }
                Ok(false) => {
                    if let Err(failure) = self.idle().await {
                        self.fails(&failure).await;
                    }
                }
                Err(Failure::Fenced { .. }) => {
                    if stopping {
                        return true;
                    }
                    self.shared.held.look.notify_one();
                    self.pause(self.shared.limits.outage_pause).await;
                }
                // Nobody is there to see it tried again.
                Err(failure) if stopping => {
                    tracing::warn!(service = self.shared.name(), error = %failure, "the relay ends with messages in its outbox");
                    return true;
                }
                Err(failure) => self.fails(&failure).await,
            }
        }
    }

    async fn fails(&mut self, failure: &Failure) {
        self.going.failed(failure);
        self.pause(self.going.pause(&self.shared.limits)).await;
    }

    async fn idle(&mut self) -> Result<(), Failure> {
        let state = &mut self.state;
        let agains = state.lines.again_at().into_iter().chain(state.unsure.again_at());
        let (_, gone_since) = self.shared.gone.waiting();
        let since = state.unconfirmed_since.into_iter().chain(gone_since);
        let agains = agains.chain(since.map(|since| since + confirm::WITHIN));
        let until = agains.fold(Instant::now() + POLL, |until, again| until.min(again));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = self.lease.changed() => {}
            Some(looked) = state.unsure.looks.join_next() => self.looked(looked).await?,
            Some(ended) = state.appends.join_next_with_id() => self.ended(ended),
            () = self.shared.wake.relay.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
        Ok(())
    }

    /// Waits for an append, when the node stops, but not for one that is refused anyway, or for the first look at the end of a
    /// partition: false = for none.
    async fn linger(&mut self) -> bool {
        if let Some(looks) = self.state.unsure.hopeful() {
            let looked = tokio::time::timeout(LINGER, looks.join_next()).await;
            let Ok(Some(looked)) = looked else { return false };
            return self.looked(looked).await.is_ok();
        }
        if !self.state.lines.hopes() {
            return false;
        }
        let ended = tokio::time::timeout(LINGER, self.state.appends.join_next_with_id()).await;
        let Ok(Some(ended)) = ended else { return false };
        self.ended(ended);
        true
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
