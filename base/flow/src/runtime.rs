//! The runtime: opens each service's database, makes the topics, starts the loops, and stops them in order.

use crate::clock::{Clock, Ids};
use crate::consumer::{GroupKind, GroupTask, SharedStatus, Status};
use crate::ctx::{Ctx, Shared, Wake};
use crate::groups::{Groups, is_quiet, troubles_of};
use crate::http::Routes;
use crate::leases::{self, Held, Leased};
use crate::limits::Limits;
use crate::mediator::{Mediator, Table};
use crate::members::{self, Me, Members, Pulse};
use crate::metrics::FlowMetrics;
use crate::peers::Peers;
use crate::service::Service;
use crate::slots::Slots;
use crate::storage::{self, effects, outbox};
use crate::topics::Topics;
use crate::{
    Failure, Outbound, StartError, effects as effect_loop, registry, relay, schedules, timers, wakes,
};
use artel_bus::{Bus, From as StartAt};
use artel_message::{Described, Fault, Time};
use artel_store::{Cache, Engine, Lane, Store};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a runtime is made of. Nothing in it is global: several run in one process.
pub struct Parts {
    /// The whole table of services, also those whose role is off.
    pub services: Vec<Service>,
    /// The roles that run here; `None` = all.
    pub roles: Option<Vec<String>>,
    pub catalogue: Vec<Described>,
    /// Each service's table of the configuration.
    pub settings: BTreeMap<String, serde_json::Value>,
    pub bus: Arc<dyn Bus>,
    pub store: Store,
    pub cache: Arc<dyn Cache>,
    pub outbound: Arc<dyn Outbound>,
    pub limits: Limits,
    pub clock: Clock,
    pub ids: Ids,
    pub metrics: FlowMetrics,
    /// How this node shows itself to others on the same database.
    pub me: Me,
    pub pulse: Pulse,
    /// The way to services that run on other nodes only; `None` = there is none.
    pub peers: Option<Arc<dyn Peers>>,
}

struct Reading {
    shared: Arc<Shared>,
    grp: String,
    status: SharedStatus,
}

/// A node's services, running.
pub struct Runtime {
    services: BTreeMap<&'static str, Ctx>,
    mediator: Mediator,
    members: Members,
    topology: Vec<registry::Handles>,
    readings: Vec<Reading>,
    bus: Arc<dyn Bus>,
    /// Intake: groups, timers, schedules, effects. Stopped first.
    intake: CancellationToken,
    /// The relays. Stopped when the intake has ended.
    carry: CancellationToken,
    /// This node among the members. Ended last: the others hold the leases of who is gone for free.
    presence: CancellationToken,
    intake_tasks: TaskTracker,
    carry_tasks: TaskTracker,
    presence_tasks: TaskTracker,
    progress: watch::Receiver<u64>,
}

impl Runtime {
    /// Checks the table, opens everything and starts. On an error nothing runs.
    pub async fn start(parts: Parts) -> Result<Runtime, StartError> {
        let mut mistakes = registry::check(&parts.services, &parts.catalogue);
        let known = |role: &&String| parts.services.iter().any(|s| s.name == role.as_str());
        for role in parts.roles.iter().flatten().filter(|role| !known(role)) {
            mistakes.push(format!(
                "role '{role}' is no service; there is: {}",
                names(&parts.services).join(", ")
            ));
        }
        if !mistakes.is_empty() {
            return Err(StartError::Registry(mistakes));
        }
        let topology = registry::topology(&parts.services);
        let owners = registry::topics(&parts.services, &parts.catalogue);
        let names = names(&parts.services);
        let topics = Topics::new(parts.bus.clone(), &parts.limits, names.clone(), owners);
        topics.make_all().await?;
        register_all(&parts.bus, &parts.services).await?;
        let roles: Vec<String> = match &parts.roles {
            Some(roles) => roles.clone(),
            None => names.clone(),
        };
        let members = match parts.store.engine() {
            Engine::Sqlite => Members::alone(parts.me, roles, parts.clock.clone()),
            Engine::Postgres => {
                let db = parts.store.db(members::DATABASE).await?;
                Members::join(db, parts.me, roles, parts.pulse, parts.clock.clone())
                    .await
                    .map_err(StartError::Flow)?
            }
        };
        let mut opening = Opening {
            members: members.clone(),
            store: parts.store,
            cache: parts.cache,
            outbound: parts.outbound,
            topics,
            limits: Arc::new(parts.limits),
            clock: parts.clock,
            ids: parts.ids,
            metrics: Arc::new(parts.metrics),
            settings: parts.settings,
            progress: watch::Sender::new(0),
            intake: CancellationToken::new(),
        };
        let mediator = Mediator::default();
        let mut services = BTreeMap::new();
        for service in parts.services {
            if parts.roles.as_ref().is_none_or(|roles| roles.iter().any(|role| role == service.name)) {
                let shared = opening.open(service).await?;
                let groups = Groups::new(shared.clone());
                services
                    .insert(shared.name(), Ctx { shared, mediator: mediator.clone(), groups, call: None });
            }
        }
        mediator.fill(Table {
            here: services.iter().map(|(name, ctx)| (*name, ctx.shared.clone())).collect(),
            known: names,
            members: members.clone(),
            peers: parts.peers,
            clock: opening.clock.clone(),
            ids: opening.ids.clone(),
        });
        let mut runtime = Runtime {
            members,
            services,
            mediator,
            topology,
            readings: Vec::new(),
            bus: parts.bus,
            intake: opening.intake,
            carry: CancellationToken::new(),
            presence: CancellationToken::new(),
            intake_tasks: TaskTracker::new(),
            carry_tasks: TaskTracker::new(),
            presence_tasks: TaskTracker::new(),
            progress: opening.progress.subscribe(),
        };
        runtime.presence_tasks.spawn(runtime.members.clone().run(runtime.presence.clone()));
        for ctx in runtime.services.values().cloned().collect::<Vec<_>>() {
            runtime.spawn(&ctx);
        }
        Ok(runtime)
    }

    fn spawn(&mut self, ctx: &Ctx) {
        let (shared, intake) = (&ctx.shared, &self.intake);
        self.carry_tasks.spawn(relay::run(shared.clone(), self.carry.clone()));
        self.carry_tasks.spawn(wakes::run(shared.clone(), self.carry.clone()));
        self.intake_tasks.spawn(leases::run(shared.clone(), self.members.clone(), intake.clone()));
        self.intake_tasks.spawn(timers::run(shared.clone(), intake.clone()));
        self.intake_tasks.spawn(schedules::run(shared.clone(), intake.clone()));
        for name in shared.service.effects.keys() {
            self.intake_tasks.spawn(effect_loop::run(ctx.clone(), name, intake.clone()));
        }
        self.intake_tasks.spawn(ctx.groups.clone().supervise(self.intake_tasks.clone(), intake.clone()));
        for (grp, topics) in shared.service.groups() {
            let events = shared.service.events.keys().find(|g| shared.service.group_name(g) == grp);
            let kind = GroupKind::Declared { events: events.copied().unwrap_or("") };
            let stop = intake.child_token();
            let task = GroupTask::new(shared.clone(), grp.clone(), &topics, kind, StartAt::Earliest, stop);
            self.readings.push(Reading { shared: shared.clone(), grp, status: task.status.clone() });
            self.intake_tasks.spawn(task.run());
        }
    }

    /// What a service that runs here is given.
    pub fn ctx(&self, service: &str) -> Option<&Ctx> {
        self.services.get(service)
    }

    pub fn mediator(&self) -> &Mediator {
        &self.mediator
    }

    pub fn topology(&self) -> &[registry::Handles] {
        &self.topology
    }

    /// The routes of every service that runs here.
    pub fn routes(&self) -> Vec<(&'static str, Routes)> {
        let routes = |ctx: &Ctx| Some((ctx.service(), ctx.shared.service.routes?(ctx)));
        self.services.values().filter_map(routes).collect()
    }

    /// Every node on the same database.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Who does what: partitions of groups, relays and keepers, of the services that run here.
    pub async fn leases(&self) -> Result<Vec<Leased>, Fault> {
        leases::list(self.services.values().map(|ctx| ctx.shared.as_ref()), &self.members)
            .await
            .map_err(Failure::into_fault)
    }

    /// Rows in the outbox of each service that runs here; counted up to `flow.outbox_limit`.
    pub async fn outboxes(&self) -> Result<Vec<(&'static str, i64)>, Fault> {
        let mut rows = Vec::new();
        for ctx in self.services.values() {
            let count = async {
                let most = i64::try_from(ctx.shared.limits.outbox_rows).unwrap_or(i64::MAX);
                outbox::count(&mut ctx.shared.db.read().await?, most).await
            };
            rows.push((ctx.service(), count.await?));
        }
        Ok(rows)
    }

    /// Why something does not run, for readiness: empty = all is well.
    pub fn troubles(&self) -> Vec<String> {
        let declared = self.readings.iter().flat_map(|r| troubles_of(&r.status));
        let run_time = self.services.values().flat_map(|ctx| ctx.groups.troubles());
        let stuck = |ctx: &Ctx| -> Vec<String> {
            let relay = ctx.shared.relay_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let stuck = ctx.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner);
            relay.into_iter().chain(stuck.values().cloned()).collect()
        };
        declared.chain(run_time).chain(self.services.values().flat_map(stuck)).collect()
    }

    /// Returns when nothing is outstanding: outboxes empty, groups at the end of their topics, no timer or effect due. For
    /// tests; with a load that never ends it never returns.
    pub async fn settle(&self) {
        let mut progress = self.progress.clone();
        loop {
            progress.borrow_and_update();
            // Quiet only if nothing was committed while it was looked at.
            if self.is_quiet().await && !progress.has_changed().unwrap_or(true) {
                return;
            }
            // The time-out only covers progress that is made outside commits, such as an assignment.
            let _ = tokio::time::timeout(Duration::from_millis(50), progress.changed()).await;
        }
    }

    async fn is_quiet(&self) -> bool {
        if self.members.shared() && !self.all_leased().await.unwrap_or(false) {
            return false;
        }
        for ctx in self.services.values() {
            if !ctx.groups.quiet().await || !idle(&ctx.shared).await {
                return false;
            }
        }
        for reading in &self.readings {
            let status = reading.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !is_quiet(&reading.shared, &status).await {
                return false;
            }
        }
        true
    }

    /// Whether every lease of what runs is a living node's, and this node works with all of its own. What other nodes have they
    /// know best.
    async fn all_leased(&self) -> Result<bool, Fault> {
        let leases = self.leases().await?;
        let statuses = self.statuses();
        let me = self.members.me().id;
        Ok(leases.into_iter().all(|lease| {
            let (Some(topic), Some(partition)) = (lease.topic, lease.partition) else { return lease.alive };
            let Some((_, status)) = statuses.iter().find(|(grp, _)| *grp == lease.what) else { return true };
            lease.alive && (lease.owner != Some(me) || status.partitions.contains_key(&(topic, partition)))
        }))
    }

    /// What every group that runs here says of itself.
    fn statuses(&self) -> Vec<(String, Status)> {
        let run_time = self.services.values().flat_map(|ctx| ctx.groups.statuses());
        self.declared().map(|(_, grp, status)| (grp, status)).chain(run_time).collect()
    }

    /// What the groups of the services table say of themselves.
    pub(crate) fn declared(&self) -> impl Iterator<Item = (&Arc<Shared>, String, Status)> {
        self.readings.iter().map(|reading| {
            let status = reading.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (&reading.shared, reading.grp.clone(), status)
        })
    }

    pub(crate) fn contexts(&self) -> impl Iterator<Item = &Ctx> {
        self.services.values()
    }

    /// Stops taking in, finishes what runs, lets the relays publish what they can, all within `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        self.intake.cancel();
        self.intake_tasks.close();
        let in_time = tokio::time::timeout(deadline / 2, self.intake_tasks.wait()).await;
        if in_time.is_err() {
            tracing::warn!(?deadline, "some handlers did not end in time; they run again at the next start");
        }
        self.give_back(false).await;
        self.members.withdraw();
        self.carry.cancel();
        self.carry_tasks.close();
        if tokio::time::timeout(deadline / 2, self.carry_tasks.wait()).await.is_err() {
            tracing::warn!(
                ?deadline,
                "the outbox was not emptied in time; the rest leaves at the next start"
            );
        }
        self.give_back(true).await;
        self.presence.cancel();
        self.presence_tasks.close();
        if tokio::time::timeout(deadline / 10, self.presence_tasks.wait()).await.is_err() {
            tracing::warn!("this node could not take leave in time; the others notice by its silence");
        }
        self.bus.close().await;
        for ctx in self.services.values() {
            ctx.shared.db.close().await;
        }
    }

    /// Gives leases back, so that other nodes go on at once: all but the relay's, or the relay's.
    async fn give_back(&self, relay: bool) {
        for ctx in self.services.values().filter(|_| self.members.shared()) {
            if let Err(failure) = leases::give_back(&ctx.shared, relay).await {
                tracing::warn!(service = ctx.service(), error = %failure, "leases were not given back; others take them in a while");
            }
        }
    }
}

fn names(services: &[Service]) -> Vec<String> {
    services.iter().map(|s| s.name.to_owned()).collect()
}

/// Registers all groups of the table, also those of roles that are off: retention must not pass them.
async fn register_all(bus: &Arc<dyn Bus>, services: &[Service]) -> Result<(), StartError> {
    for service in services {
        for (grp, topics) in service.groups() {
            for topic in topics {
                bus.register(&grp, &topic, StartAt::Earliest).await?;
            }
        }
    }
    Ok(())
}

async fn idle(shared: &Shared) -> bool {
    let look = async {
        let mut read = shared.db.read().await?;
        let timer = storage::timers::next(&mut read).await?;
        let due = timer.is_some_and(|due: Time| due <= shared.now());
        let effect = effects::due(&mut read, shared.now()).await?;
        let running = effects::claimed(&mut read).await? > 0;
        let waiting = outbox::any(&mut read).await?;
        let schedule = storage::schedules::list(&mut read).await?.iter().any(|(_, due)| *due <= shared.now());
        Ok::<_, artel_store::StoreError>(!due && !effect && !running && !waiting && !schedule)
    };
    look.await.unwrap_or(false)
}

struct Opening {
    members: Members,
    store: Store,
    cache: Arc<dyn Cache>,
    outbound: Arc<dyn Outbound>,
    topics: Topics,
    limits: Arc<Limits>,
    clock: Clock,
    ids: Ids,
    metrics: Arc<FlowMetrics>,
    settings: BTreeMap<String, serde_json::Value>,
    progress: watch::Sender<u64>,
    intake: CancellationToken,
}

impl Opening {
    /// Opens one service: tables, numbers, places, schedules.
    async fn open(&mut self, service: Service) -> Result<Arc<Shared>, StartError> {
        let name = service.name;
        let table = self.settings.remove(name).unwrap_or_else(|| serde_json::json!({}));
        let settings = service
            .parse_settings(table)
            .map_err(|bad| StartError::Settings { service: name.to_owned(), problems: bad.sentences() })?;
        let db = self.store.db(name).await?;
        db.migrate(&service.migration_sets()).await?;
        self.check_log(name, &db).await?;
        let node = self.members.me().id;
        let alone = !self.members.shared();
        if alone {
            relay::jump(&db, self.topics.bus(), name, &self.clock, None)
                .await
                .map_err(|e| no_number(name, e))?;
        }
        // Other nodes may start at the same moment: nothing here is read that another one's row could make wrong.
        let mut write = db.begin_plain(Lane::Interactive).await?;
        if alone {
            storage::leases::take_all(&mut write, node).await?;
        } else {
            storage::leases::renew_own(&mut write, node).await?;
        }
        effects::release(&mut write, (!alone).then_some(node)).await?;
        for (topic, actual) in self.topics.of(name) {
            let recorded = storage::groups::partitions(&mut write, &topic, actual).await?;
            if recorded != actual {
                return Err(StartError::Partitions { topic, recorded, actual });
            }
        }
        write.commit().await?;
        let made = storage::groups::topics(&mut db.read().await?).await?;
        let most = i64::try_from(self.limits.outbox_rows).unwrap_or(i64::MAX);
        let waiting = outbox::count(&mut db.read().await?, most).await?;
        for topic in &made {
            self.topics.ensure(topic).await?;
        }
        let shared = Arc::new(Shared {
            settings,
            db,
            cache: self.cache.clone(),
            outbound: self.outbound.clone(),
            topics: self.topics.clone(),
            limits: self.limits.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            metrics: self.metrics.clone(),
            node,
            slots: Slots::of((!alone).then_some(node)),
            held: if alone { Held::all() } else { Held::new() },
            members: self.members.clone(),
            relay_trouble: Mutex::default(),
            outbox_rows: AtomicI64::new(waiting),
            adopted: RwLock::new(made.into_iter().collect()),
            stuck: Mutex::default(),
            wake: Wake::new(self.progress.clone()),
            shutdown: self.intake.clone(),
            service,
        });
        schedules::begin(&shared).await.map_err(StartError::Flow)?;
        Ok(shared)
    }
}

impl Opening {
    /// Refuses a log that none of the places in the service's own topics belongs to: what waits in the outbox would be published
    /// there. One topic of several that was made anew stops alone, when its group reads it.
    async fn check_log(&self, service: &str, db: &artel_store::Db) -> Result<(), StartError> {
        let stored = storage::offsets::logs(&mut db.read().await?).await?;
        let mut known = stored.into_iter().filter_map(|(topic, stored)| {
            // Those of the table were made or found just now.
            let found = self.topics.known(&topic).filter(|_| self.topics.owner(&topic) == Some(service))?;
            Some((topic, stored, found.id))
        });
        let Some((topic, stored, found)) = known.next() else { return Ok(()) };
        if stored == found || known.any(|(_, stored, found)| stored == found) {
            return Ok(());
        }
        Err(StartError::OtherLog { service: service.to_owned(), topic, stored, found })
    }
}

fn no_number(service: &str, reason: relay::NoNumber) -> StartError {
    match reason {
        relay::NoNumber::Clock => StartError::Clock { service: service.to_owned() },
        relay::NoNumber::Failed(failure) => StartError::Flow(failure),
        relay::NoNumber::Lost => {
            StartError::Flow(Failure::Fenced { topic: leases::RELAY.to_owned(), partition: 0 })
        }
    }
}
