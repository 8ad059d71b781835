//! Members: which nodes there are on a shared database, and which of them live. Each process beats in a row of its own; a node
//! whose beat has not moved for a while, on the *watcher's* monotonic clock, is dead. Wall clocks of several nodes never meet.

mod store;
mod watch;

use crate::Failure;
use crate::changes::{Changed, Changes};
use crate::outage::{Outage, Whose};
use artel_message::Time;
use artel_store::{Db, Lane, Migrations, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use watch::Watch;

/// The name of the database (on PostgreSQL: the schema) that the members are kept in.
pub(crate) const DATABASE: &str = "nodes";

/// Saying that one lives must not wait for handlers, or a busy node is taken for dead.
const BEAT: Lane = Lane::Interactive;

/// Stands before the roles of a node that is leaving: it takes nothing any more, and keeps what it has until it gives it back.
const LEAVING: &str = "leaving:";

/// The wake-up of a node that comes or goes.
const CAME_OR_WENT: &str = "members";

/// How a node shows itself to the others.
#[derive(Debug, Clone)]
pub struct Me {
    /// The same after a restart on the same data folder: it takes its own leases back at once.
    pub id: Uuid,
    /// For people, such as a host's name.
    pub name: String,
    /// Where other nodes reach it, when it listens for them.
    pub peer: Option<String>,
    pub version: String,
}

/// A node as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: Uuid,
    pub name: String,
    /// The services that run there.
    pub roles: Vec<String>,
    /// The groups of its services' tables, by their full names: nodes of several releases have several.
    pub groups: Vec<String>,
    pub peer: Option<String>,
    pub version: String,
    pub started_at: Time,
    /// Its own clock at its last beat.
    pub seen_at: Time,
    /// Whether its beat moves, as this node sees it.
    pub alive: bool,
}

/// How often a node beats, and how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    pub beat: Duration,
    pub silence: Duration,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { beat: Duration::from_secs(1), silence: Duration::from_secs(6) }
    }
}

/// The members of one installation. Cloning it is cheap.
#[derive(Clone)]
pub struct Members(Arc<Inner>);

struct Inner {
    me: Me,
    roles: Vec<String>,
    groups: Vec<String>,
    started_at: Time,
    pulse: Pulse,
    /// None where this node is alone, on a database of its own.
    db: Option<Db>,
    clock: crate::Clock,
    seen: Mutex<Vec<Member>>,
    watch: Mutex<Watch>,
    /// Counts changes of who lives.
    changes: Changes,
    withdrawn: AtomicBool,
    withdraws: Notify,
}

/// The table of members.
pub(crate) fn tables() -> Migrations {
    const FIRST: &str = include_str!("../../migrations/nodes/0001_nodes.sql");
    const SECOND: &str = include_str!("../../migrations/nodes/0002_moves.sql");
    const THIRD: &str = include_str!("../../migrations/nodes/0003_kept.sql");
    Migrations {
        component: "nodes",
        files: &[("0001_nodes.sql", FIRST), ("0002_moves.sql", SECOND), ("0003_kept.sql", THIRD)],
    }
}

/// Whether any node ever beat here and did not take leave.
pub(crate) async fn any(db: &Db) -> Result<bool, StoreError> {
    store::any(&mut db.read().await?).await
}

impl Members {
    /// A node on a database of its own.
    pub(crate) fn alone(me: Me, roles: Vec<String>, groups: Vec<String>, clock: crate::Clock) -> Members {
        Members::new(me, (roles, groups), Pulse::default(), None, clock)
    }

    fn new(
        me: Me,
        (roles, groups): (Vec<String>, Vec<String>),
        pulse: Pulse,
        db: Option<Db>,
        clock: crate::Clock,
    ) -> Members {
        let started_at = clock.now();
        let myself = member_of(&me, &roles, &groups, started_at);
        Members(Arc::new(Inner {
            me,
            roles,
            groups,
            started_at,
            pulse,
            db,
            clock,
            seen: Mutex::new(vec![myself]),
            watch: Mutex::default(),
            changes: Changes::default(),
            withdrawn: AtomicBool::new(false),
            withdraws: Notify::new(),
        }))
    }

    /// Beats for the first time, and looks who else is there.
    pub(crate) async fn join(
        db: Db,
        me: Me,
        roles: Vec<String>,
        groups: Vec<String>,
        pulse: Pulse,
        clock: crate::Clock,
    ) -> Result<Members, Failure> {
        let members = Members::new(me, (roles, groups), pulse, Some(db.clone()), clock);
        members.beat().await?;
        db.wake(CAME_OR_WENT);
        Ok(members)
    }

    pub fn me(&self) -> &Me {
        &self.0.me
    }

    /// Whether other nodes may share the database.
    pub(crate) fn shared(&self) -> bool {
        self.0.db.is_some()
    }

    /// Every member, by id.
    pub fn list(&self) -> Vec<Member> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids of those that live and run a service, in order; this node is among them when it runs it.
    pub(crate) fn living(&self, service: &str) -> Vec<Uuid> {
        let runs = |m: &&Member| m.alive && m.roles.iter().any(|role| role == service);
        self.list().iter().filter(runs).map(|m| m.id).collect()
    }

    /// The ids of those that may still work with what they have leased of a service: the living, and those about to leave.
    pub(crate) fn holding(&self, service: &str) -> Vec<Uuid> {
        let holds = |role: &String| role.strip_prefix(LEAVING).unwrap_or(role) == service;
        self.list().iter().filter(|m| m.alive && m.roles.iter().any(holds)).map(|m| m.id).collect()
    }

    /// The same as [`Members::living`] of those that have a group's handlers.
    pub(crate) fn living_with(&self, service: &str, group: &str) -> Vec<Uuid> {
        let living = self.living(service);
        let has = |m: &&Member| m.groups.iter().any(|has| has == group) && living.contains(&m.id);
        self.list().iter().filter(has).map(|m| m.id).collect()
    }

    /// Tells the others that this node takes nothing any more; what it still has stays its own until it gives it back.
    pub(crate) fn withdraw(&self) {
        self.0.withdrawn.store(true, Ordering::Relaxed);
        self.0.withdraws.notify_one();
    }

    /// Changes whenever somebody comes, goes, or falls silent.
    pub(crate) fn changes(&self) -> Changed {
        self.0.changes.subscribe()
    }

    /// Beats until stopped, then takes itself off the list.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some(mut woken) = self.0.db.as_ref().map(|db| db.woken(CAME_OR_WENT)) else { return };
        let mut outage = Outage::new(
            Whose::Node,
            "this node could not say that it lives",
            "this node says that it lives again",
        );
        loop {
            let withdraws = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.0.withdraws.notified() => true,
                () = woken.wait() => false,
                () = tokio::time::sleep(self.0.pulse.beat) => false,
            };
            match self.beat().await {
                Ok(()) => {
                    outage.over();
                    if withdraws && let Some(db) = &self.0.db {
                        db.wake(CAME_OR_WENT);
                    }
                }
                Err(failure) => outage.failed(failure),
            }
        }
        if let Err(failure) = self.leave().await {
            tracing::warn!(error = %failure, "this node could not take leave; the others notice by its silence");
        }
    }

    async fn beat(&self) -> Result<(), Failure> {
        let Some(db) = &self.0.db else { return Ok(()) };
        let now = self.0.clock.now();
        let mut write = db.begin_plain(BEAT).await?;
        let mut me = member_of(&self.0.me, &self.0.roles, &self.0.groups, self.0.started_at);
        if self.0.withdrawn.load(Ordering::Relaxed) {
            me.roles.iter_mut().for_each(|role| role.insert_str(0, LEAVING));
        }
        store::beat(&mut write, &me, now).await?;
        let rows = store::all(&mut write).await?;
        write.commit().await?;
        let found = {
            let mut watch = self.0.watch.lock().unwrap_or_else(PoisonError::into_inner);
            watch.look(rows, self.0.me.id, self.0.pulse, Instant::now())
        };
        self.learn(found.members);
        for id in found.long_gone {
            let mut write = db.begin_plain(BEAT).await?;
            store::remove(&mut write, id).await?;
            write.commit().await?;
        }
        Ok(())
    }

    fn learn(&self, members: Vec<Member>) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let who = |list: &[Member]| -> Vec<(Uuid, Vec<String>, Vec<String>)> {
            list.iter().filter(|m| m.alive).map(|m| (m.id, m.roles.clone(), m.groups.clone())).collect()
        };
        let changed = who(&seen) != who(&members);
        *seen = members;
        drop(seen);
        if changed {
            self.0.changes.tell();
        }
    }

    /// Takes this node off the list.
    pub(crate) async fn leave(&self) -> Result<(), Failure> {
        let Some(db) = &self.0.db else { return Ok(()) };
        let mut write = db.begin_plain(BEAT).await?;
        store::remove(&mut write, self.0.me.id).await?;
        write.commit().await?;
        db.wake(CAME_OR_WENT);
        Ok(())
    }
}

fn member_of(me: &Me, roles: &[String], groups: &[String], started_at: Time) -> Member {
    Member {
        id: me.id,
        name: me.name.clone(),
        roles: roles.to_vec(),
        groups: groups.to_vec(),
        peer: me.peer.clone(),
        version: me.version.clone(),
        started_at,
        seen_at: started_at,
        alive: true,
    }
}
