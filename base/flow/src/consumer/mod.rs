//! Taking in: one task per group reads its partitions and runs its handlers, a batch to a transaction.

mod assign;
mod attempt;
mod failing;
mod fetching;
pub(crate) mod giveup;
pub(crate) mod handle;
pub(crate) mod parking;
pub(crate) mod partition;
pub(crate) mod reader;
mod recent;
mod registering;
pub(crate) mod sort;
mod starts;

use crate::Failure;
use crate::changes::Changed;
use crate::ctx::Shared;
use crate::failure::{Class, RERUNS};
use crate::outage::{Outage, Whose};
use crate::stages::Stage;
use artel_bus::BusError;
use artel_bus::From as StartAt;
use attempt::{Broken, Done, Overlay, Plan};
use fetching::Check;
use futures::FutureExt;
use futures::future::select_all;
use partition::Partition;
pub(crate) use reader::{GroupKind, Reader};
use registering::Registering;
use starts::Starts;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Stopped partitions are looked at again this often.
const RECHECK: Duration = Duration::from_secs(5);

/// What others see of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Why the whole group does not run; it is tried again.
    pub error: Option<String>,
    /// (topic, partition) → (next, why it is stopped).
    pub partitions: HashMap<(String, u32), (i64, Option<String>)>,
    /// Those of them that only pause.
    pub paused: HashSet<(String, u32)>,
    /// Whether all of its places are known to fit the log; false until the first assignment.
    pub assigned: bool,
}

pub(crate) type SharedStatus = Arc<Mutex<Status>>;

pub(crate) struct GroupTask {
    pub shared: Arc<Shared>,
    /// The full name, as offsets are kept under.
    pub grp: String,
    pub topics: Vec<Arc<str>>,
    pub reader: Arc<Reader>,
    pub from: StartAt,
    pub status: SharedStatus,
    pub stop: CancellationToken,
    pub(crate) partitions: Vec<Partition>,
    /// How much of the group is parked.
    filled: parking::Filled,
    /// Under way for `partitions`; they end with the assignment.
    fetches: JoinSet<fetching::Answer>,
    starts: Starts,
    /// What the log has lost: (topic, partition) and why.
    lost: Vec<((String, u32), String)>,
    /// When stopped partitions are looked at again.
    recheck_at: Instant,
    /// Changes when this node gained or lost partitions.
    leased: Changed,
    /// The log is being told of the group.
    registering: Option<Registering>,
    /// Its infrastructure is away.
    outage: Outage,
}

/// How many messages a plan takes in.
pub(super) fn size(plan: &Plan) -> usize {
    plan.iter().map(|(_, count)| count).sum()
}

impl GroupTask {
    pub fn new(
        shared: Arc<Shared>,
        grp: String,
        topics: &[String],
        kind: GroupKind,
        from: StartAt,
        stop: CancellationToken,
    ) -> GroupTask {
        let topics = topics.iter().map(|t| Arc::from(t.as_str())).collect();
        let leased = shared.held.partitions.subscribe();
        let reader = Arc::new(Reader { shared: shared.clone(), grp: grp.clone(), kind });
        let outage = Outage::new(
            Whose::Group(grp.clone()),
            "the group waits for the infrastructure and tries again",
            "the group goes on",
        );
        GroupTask {
            leased,
            registering: None,
            shared,
            grp,
            topics,
            reader,
            from,
            status: SharedStatus::default(),
            stop,
            partitions: Vec::new(),
            filled: parking::Filled::default(),
            fetches: JoinSet::new(),
            starts: Starts::default(),
            lost: Vec::new(),
            recheck_at: Instant::now() + RECHECK,
            outage,
        }
    }

    /// Runs until stopped. A failure of the whole group is shown and tried again, with a growing pause.
    pub async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let result = self.assign_and_read().await;
            let Err(failure) = result else { return };
            self.update(|status| status.error = Some(failure.to_string()));
            self.fails(&failure).await;
        }
    }

    async fn assign_and_read(&mut self) -> Result<(), Failure> {
        self.assign().await?;
        self.update(|status| status.error = None);
        while !self.stop.is_cancelled() {
            if self.is_due() {
                self.assign().await?;
            }
            match self.round().await {
                Ok(true) => self.outage.over(),
                Ok(false) => {
                    self.outage.over();
                    if !self.wait().await? {
                        self.assign().await?;
                    }
                }
                Err(Failure::Fenced { topic, partition }) if self.reload(&topic, partition).await? => {}
                Err(failure) => {
                    if !matches!(failure, Failure::Fenced { .. }) {
                        self.fails(&failure).await;
                    }
                    self.assign().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the places are to be read again, also while there is more to take in.
    fn is_due(&mut self) -> bool {
        let mut due = self.leased.is_news();
        while let Some(start) = self.starts.under_way.try_join_next() {
            self.begins(start);
            due = true;
        }
        let now = Instant::now();
        due |= self.starts.again_at.is_some_and(|again| again <= now);
        if self.any_stopped() && self.recheck_at <= now {
            self.recheck_at = now + RECHECK;
            due = true;
        }
        due
    }

    fn any_stopped(&self) -> bool {
        !self.lost.is_empty() || self.partitions.iter().any(|p| p.stopped.is_some())
    }

    /// Takes in what is there; false when nothing was.
    async fn round(&mut self) -> Result<bool, Failure> {
        self.fetch().await?;
        let now = Instant::now();
        if self.partitions.iter().any(|p| p.parked) {
            self.look_at_filled(now).await?;
        }
        let mut plan = Plan::new();
        let mut room = self.batch();
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            if room.is_used_up() {
                break;
            }
            let fitting = partition.fits(now, room);
            let count = if fitting.records == 0 { 0 } else { partition.ready(fitting.records) };
            if count > 0 {
                room.take(fitting);
                plan.push((index, count));
            }
        }
        if plan.is_empty() {
            return Ok(false);
        }
        if room.is_used_up() {
            self.fetch_ahead(&plan);
        }
        // The partition that came first goes last in the next round, so that none starves the others.
        self.take_in(plan).await?;
        self.partitions.rotate_left(1);
        Ok(true)
    }

    async fn take_in(&mut self, plan: Plan) -> Result<(), Failure> {
        match self.attempt(&plan).await {
            Ok((done, overlay)) => {
                self.merge(&done, overlay);
                self.advise(&done).await;
                Ok(())
            }
            // Many collisions: fewer messages meet fewer others. One alone waits as for the infrastructure.
            Err(Broken { failure, .. }) if failure.is_contended() && size(&plan) > 1 => {
                self.halved(plan, failure).await
            }
            Err(Broken { failure, .. }) if failure.class() == Class::Infrastructure => Err(failure),
            Err(Broken { failure, at: None, .. }) => self.halved(plan, failure).await,
            Err(Broken { failure, at: Some((index, position)), span }) => {
                self.without(plan, index, position, span, failure).await
            }
        }
    }

    /// One attempt, run again at once when it collides with another transaction.
    pub(super) async fn attempt(&self, plan: &Plan) -> Result<(Done, Overlay), Broken> {
        let mut runs = 0;
        loop {
            match attempt::run(self, plan).await {
                Err(broken) if broken.failure.is_contended() && runs < RERUNS => {
                    runs += 1;
                    self.shared.metrics.rerun(self.shared.name());
                }
                result => return result,
            }
        }
    }

    /// Merges what a commit that succeeded has changed.
    fn merge(&mut self, done: &Done, overlay: Overlay) {
        for (index, count) in done {
            let partition = &mut self.partitions[*index];
            let last = partition.buffer.drain(..*count).last();
            if let Some(last) = last {
                let (log, topic) = (partition.offset.log, partition.topic.clone());
                partition.offset.next = last.record.offset + 1;
                partition.offset.last_offset = Some(last.record.offset);
                partition.offset.last_id =
                    Some(partition::identity(&last.record, log, &topic, partition.offset.partition));
            }
        }
        for (index, high) in &overlay.high {
            self.partitions[*index].high.extend(high.iter().map(|(source, seq)| (source.clone(), *seq)));
        }
        if let Some(begun) = overlay.begun {
            let (metrics, now) = (&self.shared.metrics, self.shared.now());
            metrics.arrived(&self.grp, Stage::Taken, begun, overlay.made.iter().copied());
            metrics.arrived(&self.grp, Stage::Handled, now, overlay.made.iter().copied());
        }
        self.merge_parking(done, &overlay);
        let total: usize = done.iter().map(|(_, count)| count).sum();
        let other: i64 = overlay.counts.values().sum();
        let run = u64::try_from(total).unwrap_or(0).saturating_sub(u64::try_from(other).unwrap_or(0));
        self.shared.metrics.taken(&self.grp, "run", run);
        for (kind, n) in overlay.counts {
            self.shared.metrics.taken(&self.grp, kind, u64::try_from(n).unwrap_or(0));
        }
        self.report();
        self.shared.progressed();
    }

    /// Waits for more; false when the places should be read again.
    async fn wait(&mut self) -> Result<bool, Failure> {
        loop {
            self.advise_all().await;
            if self.is_due() {
                return Ok(false);
            }
            let recheck_at = self.any_stopped().then_some(self.recheck_at);
            self.report();
            let bus = self.shared.topics.bus();
            let waiting = self.partitions.iter().enumerate().filter(|(_, p)| p.waits());
            let waits: Vec<_> = waiting
                .map(|(index, p)| {
                    async move { (index, bus.wait(&p.topic, p.number(), p.fetch_from).await) }.boxed()
                })
                .collect();
            let more = async {
                if waits.is_empty() { std::future::pending().await } else { select_all(waits).await.0 }
            };
            let again_at = self.partitions.iter().filter_map(Partition::again_at).min();
            let answer = tokio::select! {
                // What is always there under load comes last, so that it keeps nothing else out.
                biased;
                () = self.stop.cancelled() => return Ok(true),
                () = self.leased.changed() => return Ok(false),
                () = at(recheck_at) => return Ok(false),
                () = at(self.starts.again_at) => return Ok(false),
                Some(start) = self.starts.under_way.join_next() => Err(start),
                Some(answer) = self.fetches.join_next() => Ok(answer),
                () = at(again_at) => return Ok(true),
                () = registering::registered(&self.registering) => return Ok(true),
                (index, woken) = more => {
                    let partition = &mut self.partitions[index];
                    match woken {
                        Ok(()) => partition.failures = 0,
                        // What the log has lost is said by whoever compares the place with it.
                        Err(BusError::OutOfRange { .. }) => partition.check = Check::Again,
                        Err(error) => partition.failed(&self.grp, &self.shared.limits, &error),
                    }
                    return Ok(true);
                }
            };
            match answer {
                Ok(answer) => {
                    self.answered(answer).await?;
                }
                Err(start) => {
                    self.begins(start);
                    return Ok(false);
                }
            }
            // A late answer that brought nothing is no reason to ask again: the log says when there is more.
            let now = Instant::now();
            if self.partitions.iter().any(|p| p.may_take(now) > 0 && !p.buffer.is_empty()) {
                return Ok(true);
            }
        }
    }

    /// Notes that the infrastructure is away, and waits a while.
    async fn fails(&mut self, failure: &Failure) {
        self.outage.failed(failure);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(self.outage.pause(&self.shared.limits)) => {}
        }
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.progressed();
    }
}

/// Until then; for ever where there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
