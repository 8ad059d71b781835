//! Wake-ups between the nodes of a service: a commit on one node gives another's loops something to do. They only make things
//! quicker; every loop polls too.

use crate::ctx::Shared;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// There are rows for the relay.
pub(crate) const OUTBOX: &str = "outbox";
/// There are timers for the keeper.
pub(crate) const TIMERS: &str = "timers";
/// There are effects for whoever is free.
pub(crate) const EFFECTS: &str = "effects";
/// A schedule was made due.
pub(crate) const SCHEDULES: &str = "schedules";
/// Groups made at run time have changed.
pub(crate) const GROUPS: &str = "groups";
/// Parked keys are due.
pub(crate) const PARKED: &str = "parked";
/// Leases were given back, or there are new ones.
pub(crate) const LEASES: &str = "leases";

/// Passes on what other nodes say, until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if !shared.members.shared() {
        return;
    }
    let of = |channel| shared.db.woken(channel);
    let (mut outbox, mut timers, mut effects) = (of(OUTBOX), of(TIMERS), of(EFFECTS));
    let (mut schedules, mut groups, mut leases) = (of(SCHEDULES), of(GROUPS), of(LEASES));
    let mut parked = of(PARKED);
    loop {
        tokio::select! {
            // The most frequent last, so that it keeps nothing else out.
            biased;
            () = stop.cancelled() => return,
            () = leases.wait() => shared.held.look.notify_one(),
            () = parked.wait() => shared.wake.parked.notify_one(),
            () = groups.wait() => shared.wake.groups.notify_one(),
            () = schedules.wait() => shared.wake.schedules.notify_one(),
            () = timers.wait() => shared.wake.timers.ring(),
            () = effects.wait() => shared.wake.effects(),
            () = outbox.wait() => shared.wake.relay.notify_one(),
        }
    }
}

impl Shared {
    /// Wakes the loops of other nodes on this database, where there may be some.
    pub fn wake_others(&self, channel: &'static str) {
        if self.members.shared() {
            self.db.wake(channel);
        }
    }

    /// The same where this node's own loops are woken by name.
    pub fn wake_elsewhere(&self, channel: &'static str) {
        if self.members.shared() {
            self.db.wake_elsewhere(channel);
        }
    }
}
