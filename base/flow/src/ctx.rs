//! `Ctx`: what effects, HTTP handlers and background work are given. `Shared` is the same from within.

use crate::clock::{Clock, Ids};
use crate::failure::RERUNS;
use crate::gone::Gone;
use crate::handed::Handed;
use crate::leases::Held;
use crate::limits::Limits;
use crate::mediator::{Asked, Mediator};
use crate::members::Members;
use crate::metrics::FlowMetrics;
use crate::service::{AnySettings, Service};
use crate::slots::Slots;
use crate::stages::Stage;
use crate::storage::{
    self,
    outbox::{Sent, Waiting},
};
use crate::timers::Alarm;
use crate::topics::Topics;
use crate::wakes;
use crate::{Failure, Groups, Outbound, Read};
use artel_message::{Command, Fault, Query, Time};
use artel_store::{Cache, Db, Lane, StoreError, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One service as it runs on this node.
pub(crate) struct Shared {
    pub service: Service,
    pub settings: AnySettings,
    pub db: Db,
    pub cache: Arc<dyn Cache>,
    pub outbound: Arc<dyn Outbound>,
    pub topics: Topics,
    pub limits: Arc<Limits>,
    pub clock: Clock,
    pub ids: Ids,
    pub metrics: Arc<FlowMetrics>,
    /// The owner of this node's leases and claims.
    pub node: Uuid,
    pub slots: Arc<Slots>,
    pub members: Members,
    /// What this node has leased.
    pub held: Held,
    /// Rows in the outbox, as far as committed.
    pub outbox_rows: AtomicI64,
    /// Rows of it that the relay needn't read.
    pub handed: Handed,
    /// Rows of the outbox that only have to be deleted.
    pub gone: Gone,
    /// Topics that this service made at run time: its numbers count there.
    pub adopted: RwLock<BTreeSet<String>>,
    /// Partitions that the log refuses, with the reason; the relay's.
    pub stuck: Mutex<BTreeMap<(String, u32), String>>,
    /// Why the relay can't begin, while it can't.
    pub relay_trouble: Mutex<Option<String>>,
    pub wake: Wake,
    pub shutdown: CancellationToken,
}

/// What wakes the service's loops after a commit. Polling backs each of them up.
pub(crate) struct Wake {
    pub relay: Notify,
    pub timers: Alarm,
    /// By name: each effect has a loop of its own, and those of the others would look for nothing. Counted, so that none is missed.
    effects: BTreeMap<&'static str, watch::Sender<u64>>,
    pub schedules: Notify,
    pub groups: Notify,
    pub parked: Notify,
    /// Counts every commit of this node; tests wait for quiet on it.
    pub progress: watch::Sender<u64>,
}

impl Wake {
    /// For a service with these effects.
    pub fn new(progress: watch::Sender<u64>, effects: impl Iterator<Item = &'static str>) -> Wake {
        Wake {
            relay: Notify::new(),
            timers: Alarm::default(),
            effects: effects.map(|name| (name, watch::Sender::new(0))).collect(),
            schedules: Notify::new(),
            groups: Notify::new(),
            parked: Notify::new(),
            progress,
        }
    }

    /// Effects of a name may be claimed.
    pub fn effect(&self, name: &str) {
        if let Some(of) = self.effects.get(name) {
            of.send_modify(|n| *n += 1);
        }
    }

    /// Nobody knows of which name those are that may be claimed.
    pub fn effects(&self) {
        self.effects.values().for_each(|of| of.send_modify(|n| *n += 1));
    }

    /// The wake-ups of one effect from now on; `None` = the service has none of that name.
    pub fn of_effect(&self, name: &str) -> Option<watch::Receiver<u64>> {
        self.effects.get(name).map(watch::Sender::subscribe)
    }
}

impl Shared {
    pub fn name(&self) -> &'static str {
        self.service.name
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The clock of the database, which numbers are compared with.
    pub async fn db_now(&self) -> Result<Time, StoreError> {
        crate::relay::now_of(&self.db, &self.clock).await
    }

    /// Notes where messages of the outbox have arrived.
    pub fn arrived<'a>(&self, stage: Stage, rows: impl Iterator<Item = &'a Waiting>) {
        self.metrics.arrived(self.name(), stage, self.now(), rows.map(|row| row.message.at));
    }

    /// Wakes what has something to do after a commit.
    pub fn committed(&self, sent: Sent) {
        if sent.outbox > 0 {
            self.outbox_rows.fetch_add(i64::try_from(sent.outbox).unwrap_or(i64::MAX), Ordering::Relaxed);
            self.metrics.outbox(self.name(), self.outbox_rows.load(Ordering::Relaxed));
            self.handed.put(sent.rows);
            self.wake.relay.notify_one();
            if self.held.relay.borrow().is_none() {
                self.wake_others(wakes::OUTBOX);
            }
        }
        if !sent.adopted.is_empty() {
            self.adopted.write().unwrap_or_else(PoisonError::into_inner).extend(sent.adopted);
        }
        if let Some(due) = sent.timers {
            self.wake.timers.set(due);
            if self.held.keeper.borrow().is_none() {
                self.wake_others(wakes::TIMERS);
            }
        }
        if !sent.effects.is_empty() {
            sent.effects.iter().for_each(|name| self.wake.effect(name));
            self.wake_elsewhere(wakes::EFFECTS);
        }
        if sent.groups {
            self.wake.groups.notify_one();
            self.wake_others(wakes::GROUPS);
        }
        self.progressed();
    }

    /// Notes that rows of the outbox are deleted.
    pub fn deleted(&self, rows: u64) {
        let deleted = i64::try_from(rows).unwrap_or(0);
        let left = self.outbox_rows.fetch_sub(deleted, Ordering::Relaxed) - deleted;
        self.metrics.outbox(self.name(), left);
        self.metrics.published(self.name(), rows);
        self.progressed();
    }

    /// Runs a transaction again, from its start, as long as it collides with others, a few times.
    pub async fn rerun<T, F>(&self, mut work: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut runs = 0;
        loop {
            match work().await {
                Err(failure) if failure.is_contended() && runs < RERUNS => {
                    runs += 1;
                    self.metrics.rerun(self.name());
                }
                result => return result,
            }
        }
    }

    /// A transaction of the runtime's own: it locks the rows it depends on, and is nobody's reason to run again.
    pub async fn begin_own(&self, lane: Lane) -> Result<Write, StoreError> {
        self.db.begin_plain(lane).await
    }

    pub fn say_relay(&self, trouble: Option<String>) {
        *self.relay_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// An epoch that no earlier row of the same place had.
    pub fn fresh_epoch(&self) -> i64 {
        let bits = self.ids.fresh(self.now()).as_u128() as u64;
        i64::try_from(bits >> 2).unwrap_or(1)
    }

    /// Whether `source` may write to `topic` with numbers that count.
    pub fn trusts(&self, topic: &str, source: &str) -> bool {
        self.topics.may_write(topic, source).unwrap_or_else(|| {
            source.strip_prefix("artel/") == Some(self.name())
                && self.adopted.read().unwrap_or_else(PoisonError::into_inner).contains(topic)
        })
    }

    /// Looks whether a topic is this service's own by now; true when that is news.
    pub async fn learn_adopted(&self, topic: &str) -> Result<bool, Failure> {
        let made = storage::groups::topics(&mut self.db.read().await?).await?;
        let mut adopted = self.adopted.write().unwrap_or_else(PoisonError::into_inner);
        let before = adopted.contains(topic);
        adopted.extend(made);
        Ok(!before && adopted.contains(topic))
    }

    pub fn progressed(&self) {
        self.wake.progress.send_modify(|n| *n += 1);
    }
}

/// What runs outside transactions is given: settings, clock, ids, cache, the mediator, groups and topics.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mediator: Mediator,
    pub(crate) groups: Groups,
    pub(crate) call: Option<EffectCall>,
}

/// The effect that runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectCall {
    /// The idempotency key for the provider: the same on every attempt.
    pub key: Uuid,
    /// From 1.
    pub attempt: u32,
}

impl Ctx {
    pub fn service(&self) -> &'static str {
        self.shared.name()
    }

    /// The service's settings.
    ///
    /// # Panics
    /// When `T` is not the type that the service registered; a mistake that the first test shows.
    #[allow(clippy::expect_used)]
    pub fn settings<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.settings.clone().downcast().expect("the settings type that the service registered")
    }

    pub fn now(&self) -> Time {
        self.shared.now()
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub fn new_id(&self) -> Uuid {
        self.shared.ids.fresh(self.now())
    }

    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.shared.cache
    }

    /// Calls to the outside over HTTP.
    pub fn outbound(&self) -> &Arc<dyn Outbound> {
        &self.shared.outbound
    }

    pub fn topics(&self) -> &Topics {
        &self.shared.topics
    }

    /// The groups of this service that were made at run time.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The largest value of a message, in bytes.
    pub fn message_bytes(&self) -> usize {
        self.shared.limits.message_bytes
    }

    /// Tells how many living nodes run this service, this one among them: at once, and whenever it changes, until the node stops.
    pub fn on_nodes(&self, told: impl Fn(usize) + Send + 'static) {
        let shared = self.shared.clone();
        let mut changes = shared.members.changes();
        let tell = move |shared: &Shared| told(shared.members.living(shared.name()).len().max(1));
        tell(&shared);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shared.shutdown.cancelled() => return,
                    () = changes.changed() => tell(&shared),
                }
            }
        });
    }

    /// Cancelled when the node stops.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shared.shutdown
    }

    /// The effect that runs now, if any.
    pub fn effect(&self) -> Option<EffectCall> {
        self.call
    }

    /// The longest that an effect may take: it is cut off then, wherever it is.
    pub fn effect_time(&self) -> Duration {
        self.shared.limits.effect_time
    }

    /// Runs a command where its service is, and returns its reply.
    pub async fn ask<C: Command>(&self, command: C) -> Result<C::Reply, Fault> {
        self.mediator.ask(command, Asked::by(self.service())).await
    }

    /// The same for a caller from outside, with an idempotency key when it gave one.
    pub async fn ask_as<C: Command>(&self, command: C, asked: Asked) -> Result<C::Reply, Fault> {
        self.mediator.ask(command, asked).await
    }

    pub async fn query<Q: Query>(&self, query: Q) -> Result<Q::Reply, Fault> {
        self.mediator.query(query, Asked::by(self.service())).await
    }

    /// One read snapshot of this service's database.
    pub async fn read(&self) -> Result<Read, Fault> {
        Read::open(&self.shared).await.map_err(crate::Failure::into_fault)
    }
}
