//! One life of a node: from its start to its death. Whatever it does outside of its own memory passes here, and may wait, fail,
//! freeze with the node, or be the last thing that it does.

use crate::stage::Stage;
use artel_message::Time;
use artel_store::{SimClient, SimDeed, SimHook, SimPlan, SimServer, SimStep};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub struct Life {
    pub stage: Arc<Stage>,
    /// The node's number.
    pub node: usize,
    dead: AtomicBool,
    killed: AtomicBool,
    /// Steps that are left.
    left: AtomicI64,
    frozen_until: Mutex<Option<Instant>>,
    /// Told when it dies.
    pub death: Notify,
    stops: Mutex<Vec<Arc<Stop>>>,
    client: OnceLock<SimClient>,
}

/// Steps that wait until they are let go, for a test that forces what comes before what.
pub struct Stop {
    what: &'static str,
    with: String,
    is_reached: AtomicBool,
    goes: watch::Sender<bool>,
}

impl Stop {
    /// Whether a step waits, or has waited.
    pub fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Relaxed)
    }

    pub fn let_go(&self) {
        self.goes.send_replace(true);
    }
}

impl Life {
    pub fn begin(stage: &Arc<Stage>, node: usize, server: &SimServer, shared: bool) -> Arc<Life> {
        let left = stage.chance(|chance| chance.range(1..stage.weather.life));
        let life = Arc::new(Life {
            stage: stage.clone(),
            node,
            dead: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            left: AtomicI64::new(i64::try_from(left).unwrap_or(i64::MAX)),
            frozen_until: Mutex::new(None),
            death: Notify::new(),
            stops: Mutex::default(),
            client: OnceLock::new(),
        });
        let hook = Hook { life: Arc::downgrade(&life), stage: stage.clone() };
        let _ = life.client.set(server.client(Arc::new(hook), shared));
        life
    }

    pub fn client(&self) -> SimClient {
        self.client.get().expect("set at its begin").clone()
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// As by SIGKILL: nothing of it goes on, no destructor of it does anything.
    pub fn die(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.killed.store(true, Ordering::Relaxed);
            self.stage.count(|counts| counts.crashes += 1);
            self.stage.note(self.node, "DIES", "");
            if let Some(client) = self.client.get() {
                client.die();
            }
            self.death.notify_one();
        }
    }

    /// It has ended by itself; nothing of it goes on.
    pub fn leave(&self) {
        self.dead.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.get() {
            client.die();
        }
    }

    /// As by SIGSTOP, for longer than the others are patient.
    fn freeze(&self) {
        let how_long = self.stage.chance(|chance| chance.millis(3_500..9_000));
        self.stage.count(|counts| counts.freezes += 1);
        self.stage.note(self.node, "FREEZES", &format!("{how_long:?}"));
        *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + how_long);
    }

    /// Whether it ended by dying.
    pub fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether it is frozen, or was so long ago.
    pub fn was_frozen(&self, ago: Duration) -> bool {
        let until = *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until + ago > Instant::now())
    }

    fn frozen(&self) -> Option<Instant> {
        let until = *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }

    /// From then on steps of that kind wait: `with` is how that begins what they are done with.
    pub fn stop_at(&self, what: &'static str, with: impl Into<String>) -> Arc<Stop> {
        let (goes, is_reached) = (watch::Sender::new(false), AtomicBool::new(false));
        let stop = Arc::new(Stop { what, with: with.into(), is_reached, goes });
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).push(stop.clone());
        stop
    }

    /// What a step has to wait for before it is done.
    fn stopped(&self, what: &str, with: &str) -> Option<watch::Receiver<bool>> {
        let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = stops.iter().find(|stop| stop.what == what && with.starts_with(&stop.with))?;
        stop.is_reached.store(true, Ordering::Relaxed);
        Some(stop.goes.subscribe())
    }

    /// What every step may meet: `None` = it goes on at once.
    fn meets(&self) -> Option<Met> {
        if self.is_dead() {
            return Some(Met::Death);
        }
        if self.stage.has_faults() {
            if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
                self.die();
                return Some(Met::Death);
            }
            if self.stage.strikes(self.stage.weather.freeze) {
                self.freeze();
            }
        }
        if let Some(until) = self.frozen() {
            return Some(Met::Wait(until));
        }
        if self.stage.strikes(self.stage.weather.delay) {
            let how_long = self.stage.chance(|chance| {
                let most = if chance.once_in(500) { 900 } else { 30 };
                chance.millis(0..most)
            });
            return Some(Met::Wait(Instant::now() + how_long));
        }
        None
    }

    /// For what is no step of a database: returns when it goes on, never when the node is dead.
    pub async fn pass(&self, what: &str, with: &str) {
        self.stage.note(self.node, what, with);
        if let Some(mut goes) = self.stopped(what, with) {
            let _ = goes.wait_for(|goes| *goes).await;
        }
        match self.meets() {
            None => {}
            Some(Met::Death) => std::future::pending().await,
            Some(Met::Wait(until)) => {
                tokio::time::sleep_until(until).await;
                if self.is_dead() {
                    std::future::pending().await
                }
            }
        }
    }
}

enum Met {
    Death,
    Wait(Instant),
}

/// Not an owner of the life, which owns its client and so this.
struct Hook {
    life: Weak<Life>,
    stage: Arc<Stage>,
}

impl SimHook for Hook {
    fn step(&self, step: SimStep<'_>) -> SimPlan {
        let Some(life) = self.life.upgrade().filter(|life| !life.is_dead()) else { return SimPlan::Dead };
        let what = match (step.deed, step.after) {
            (SimDeed::Begin, false) => "begins",
            (SimDeed::Begin, true) => "began",
            (SimDeed::Statement, false) => "runs",
            (SimDeed::Statement, true) => "ran",
            (SimDeed::Commit, false) => "commits",
            (SimDeed::Commit, true) => "committed",
            (SimDeed::Rollback, _) => "rolls back",
        };
        let with = if step.sql.is_empty() { step.database } else { step.sql };
        life.stage.note(life.node, what, with);
        if step.after && step.sql.starts_with("UPDATE flow_outbox SET id = id") {
            life.stage.count(|counts| counts.renumbered += 1);
        }
        if let Some(mut goes) = life.stopped(what, with) {
            return SimPlan::Later(Box::pin(async move {
                let _ = goes.wait_for(|goes| *goes).await;
                SimPlan::Go
            }));
        }
        let met = life.meets();
        let fails = fails(&life.stage, &step);
        // A commit that nobody is told of may take its time in the database.
        let late = (fails && step.deed == SimDeed::Commit && !step.after && life.stage.strikes(5_000))
            .then(|| life.stage.chance(|chance| chance.millis(1..2_500)));
        let then = move || match late {
            Some(after) => SimPlan::Late(after),
            None if fails => SimPlan::Fail,
            None => SimPlan::Go,
        };
        match met {
            None => then(),
            Some(Met::Death) => SimPlan::Dead,
            Some(Met::Wait(until)) => SimPlan::Later(Box::pin(async move {
                tokio::time::sleep_until(until).await;
                if life.is_dead() { SimPlan::Dead } else { then() }
            })),
        }
    }

    fn now(&self) -> Time {
        self.stage.clock.now()
    }
}

fn fails(stage: &Stage, step: &SimStep<'_>) -> bool {
    let rate = match step.deed {
        SimDeed::Commit if step.writes => stage.weather.commit_unknown,
        SimDeed::Commit | SimDeed::Rollback => 0,
        SimDeed::Begin | SimDeed::Statement => stage.weather.statement_fails,
    };
    let fails = stage.strikes(rate);
    if fails {
        let commit = step.deed == SimDeed::Commit;
        stage.note(98, "FAILS", if commit { "commit" } else { step.sql });
        if commit {
            stage.count(|counts| counts.unknown_commits += 1);
        }
    }
    fails
}

/// How long nobody waits for a request.
pub const PATIENCE: Duration = Duration::from_secs(6);
