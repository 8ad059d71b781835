//! Groups made at run time: rows in the service's database, each run by a task of its own.

use crate::Failure;
use crate::consumer::{GroupKind, GroupTask, SharedStatus, Status};
use crate::ctx::Shared;
use crate::outage::{Outage, Whose};
use crate::storage::{self, groups::Stored, offsets};
use artel_message::{Fault, Time};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(5);

/// What a group made at run time is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    Running,
    /// Does not run, or not everywhere; `error` says why. It is tried again.
    Failed,
    Stopped,
}

/// A group as others see it.
#[derive(Debug, Clone)]
pub struct GroupInfo {
    pub name: String,
    /// The name its offsets are kept under: `<service>` or `<service>.<name>`.
    pub full_name: String,
    pub topic: String,
    pub state: GroupState,
    pub error: Option<String>,
    /// Messages not taken in yet, over all partitions; `None` when the log does not say.
    pub lag: Option<i64>,
    pub made_at: Time,
}

struct Running {
    id: Uuid,
    status: SharedStatus,
    stop: CancellationToken,
}

/// The groups of one service on this node.
#[derive(Clone)]
pub struct Groups(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    running: Mutex<BTreeMap<String, Running>>,
    /// Asks for a look at what the log still knows.
    look_for_gone: Notify,
}

impl Groups {
    pub(crate) fn new(shared: Arc<Shared>) -> Groups {
        Groups(Arc::new(Inner { shared, running: Mutex::default(), look_for_gone: Notify::new() }))
    }

    /// Keeps what runs equal to what is stored, until stopped.
    pub(crate) async fn supervise(self, tasks: TaskTracker, stop: CancellationToken) {
        if self.0.shared.service.raw.is_none() {
            return;
        }
        tasks.spawn(self.clone().forget_all_gone(stop.clone()));
        let of = Whose::Service(self.0.shared.name().to_owned());
        let mut outage =
            Outage::new(of, "groups wait for the infrastructure", "groups are looked after again");
        while !stop.is_cancelled() {
            match self.reconcile(&tasks, &stop).await {
                Ok(()) => outage.over(),
                Err(failure) => outage.failed(failure),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.0.shared.wake.groups.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn reconcile(&self, tasks: &TaskTracker, stop: &CancellationToken) -> Result<(), Failure> {
        let shared = &self.0.shared;
        let stored = storage::groups::list(&mut shared.db.read().await?).await?;
        self.start_and_stop(stored, tasks, stop);
        self.0.look_for_gone.notify_one();
        shared.progressed();
        Ok(())
    }

    fn start_and_stop(&self, stored: Vec<Stored>, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|name, task| {
            let keep = stored.iter().any(|s| s.name == *name && s.id == task.id && s.running);
            if !keep {
                task.stop.cancel();
            }
            keep
        });
        for group in stored.into_iter().filter(|s| s.running) {
            running.entry(group.name.clone()).or_insert_with(|| self.start(&group, tasks, stop));
        }
    }

    /// Keeps the log's list of groups equal to what is stored, until stopped. Beside the rest: brokers take their time over it.
    async fn forget_all_gone(self, stop: CancellationToken) {
        let of = Whose::Service(self.0.shared.name().to_owned());
        let mut outage = Outage::new(
            of,
            "the log could not be told which groups are gone; it is tried again",
            "the log was told which groups are gone",
        );
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.0.look_for_gone.notified() => {}
            }
            let forgotten = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                forgotten = self.forget_gone() => forgotten,
            };
            match forgotten {
                Ok(()) => outage.over(),
                Err(failure) => outage.failed(failure),
            }
        }
    }

    /// Tells the log about groups that were forgotten, so that retention no longer waits for them.
    async fn forget_gone(&self) -> Result<(), Failure> {
        let shared = &self.0.shared;
        let declared = shared.service.groups();
        let prefix = self.full_name("");
        let known = shared.topics.bus().offsets().await?;
        // Read afterwards: what the log knows was stored before that.
        let stored = storage::groups::list(&mut shared.db.read().await?).await?;
        for offset in known {
            let Some(name) = offset.group.strip_prefix(&prefix) else { continue };
            if !declared.contains_key(&offset.group) && !stored.iter().any(|stored| stored.name == name) {
                shared.topics.bus().forget(&offset.group, &offset.topic).await?;
            }
        }
        Ok(())
    }

    fn start(&self, group: &Stored, tasks: &TaskTracker, stop: &CancellationToken) -> Running {
        let shared = self.0.shared.clone();
        let stop = stop.child_token();
        let kind = GroupKind::RunTime { name: Arc::from(group.name.as_str()), id: group.id };
        let topics = std::slice::from_ref(&group.topic);
        let task = GroupTask::new(
            shared,
            self.full_name(&group.name),
            topics,
            kind,
            offsets::start_of(&group.start_at),
            stop.clone(),
        );
        let status = task.status.clone();
        tasks.spawn(task.run());
        Running { id: group.id, status, stop }
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}.{name}", self.0.shared.name())
    }

    /// Every group made at run time, by name.
    pub async fn list(&self) -> Result<Vec<GroupInfo>, Fault> {
        let shared = &self.0.shared;
        let read = async {
            let stored = storage::groups::list(&mut shared.db.read().await?).await?;
            let mut infos = Vec::with_capacity(stored.len());
            for group in stored {
                infos.push(self.info(group).await);
            }
            Ok::<_, Failure>(infos)
        };
        read.await.map_err(Failure::into_fault)
    }

    async fn info(&self, group: Stored) -> GroupInfo {
        let status = {
            let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.get(&group.name).map(|r| r.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
        };
        let full_name = self.full_name(&group.name);
        let (mut error, mut lag) = (None, None);
        if let Some(status) = &status {
            let stopped = status.partitions.values().find_map(|(_, reason)| reason.clone());
            error = status.error.clone().or(stopped);
            let places = status.partitions.iter().map(|(place, (next, _))| (place, *next));
            lag = lag_of(&self.0.shared, places).await.filter(|_| status.assigned);
        }
        let state = match (group.running, &error) {
            (false, _) => GroupState::Stopped,
            (true, Some(_)) => GroupState::Failed,
            (true, None) => GroupState::Running,
        };
        GroupInfo {
            name: group.name,
            full_name,
            topic: group.topic,
            state,
            error,
            lag,
            made_at: group.made_at,
        }
    }

    /// What every group that runs here says of itself, by full name.
    pub(crate) fn statuses(&self) -> Vec<(String, Status)> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |r: &Running| r.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.iter().map(|(name, r)| (self.full_name(name), status(r))).collect()
    }

    /// Whether every running group has taken in all there is; stopped partitions count as taken in.
    pub(crate) async fn quiet(&self) -> bool {
        let statuses = self.statuses();
        let stored =
            async { storage::groups::list(&mut self.0.shared.db.read().await.ok()?).await.ok() }.await;
        let wanted = stored.map_or(usize::MAX, |s| s.iter().filter(|g| g.running).count());
        if self.0.shared.service.raw.is_some() && statuses.len() != wanted {
            return false;
        }
        for (_, status) in statuses {
            if !is_quiet(&self.0.shared, &status).await {
                return false;
            }
        }
        true
    }

    /// Why partitions or groups do not run, for readiness.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().flat_map(|r| troubles_of(&r.status)).collect()
    }

    pub(crate) fn pauses(&self) -> Vec<String> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().flat_map(|r| pauses_of(&r.status)).collect()
    }
}

/// How many messages lie between places and the ends of their partitions.
pub(crate) async fn lag_of<'a>(
    shared: &Shared,
    places: impl Iterator<Item = (&'a (String, u32), i64)>,
) -> Option<i64> {
    let mut lag = 0;
    for ((topic, partition), next) in places {
        let bounds = shared.topics.bus().bounds(topic, *partition).await.ok()?;
        lag += (bounds.end - next).max(0);
    }
    Some(lag)
}

/// Whether a group has taken in all there is.
pub(crate) async fn is_quiet(shared: &Shared, status: &Status) -> bool {
    if status.error.is_some() {
        return true;
    }
    if !status.assigned {
        return false;
    }
    let going = status.partitions.iter().filter(|(_, (_, stopped))| stopped.is_none());
    lag_of(shared, going.map(|(place, (next, _))| (place, *next))).await == Some(0)
}

/// Why a group, or a partition of it, can't run here.
pub(crate) fn troubles_of(status: &SharedStatus) -> Vec<String> {
    let status = status.lock().unwrap_or_else(PoisonError::into_inner);
    let stopped = status.partitions.iter().filter(|(place, _)| !status.paused.contains(place));
    let stopped = stopped.filter_map(|(_, (_, reason))| reason.clone());
    status.error.clone().into_iter().chain(stopped).collect()
}

/// Why partitions take nothing in for a while, since what they hold fails.
pub(crate) fn pauses_of(status: &SharedStatus) -> Vec<String> {
    let status = status.lock().unwrap_or_else(PoisonError::into_inner);
    let paused = status.partitions.iter().filter(|(place, _)| status.paused.contains(place));
    paused.filter_map(|(_, (_, reason))| reason.clone()).collect()
}
