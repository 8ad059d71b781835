//! The runtime: opens each service's database, makes the topics, starts the loops, and stops them in order.

mod opening;
mod quiet;

use crate::clock::{Clock, Ids};
use crate::consumer::{GroupKind, GroupTask, SharedStatus, Status};
use crate::ctx::{Ctx, Shared};
use crate::groups::{Groups, pauses_of, troubles_of};
use crate::http::Routes;
use crate::leases::{self, Leased};
use crate::limits::Limits;
use crate::mediator::{Mediator, Table};
use crate::members::{self, Me, Members, Pulse};
use crate::metrics::FlowMetrics;
use crate::peers::Peers;
use crate::service::Service;
use crate::storage::outbox;
use crate::topics::Topics;
use crate::{
    Failure, Outbound, StartError, effects as effect_loop, projections, registry, relay, retry, schedules,
    timers, wakes,
};
use artel_bus::{Bus, From as StartAt};
use artel_message::{Described, Fault};
use artel_store::{Cache, Store};
use opening::{Opening, register_all};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long what has begun may take to end where a service refuses the start.
const HOOK_REFUSED: Duration = Duration::from_secs(5);

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
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Store,
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
        if parts.store.is_shared() {
            let db = parts.store.db(members::DATABASE).await?;
            db.migrate(&[members::tables()]).await?;
            crate::moving::refuse_half(&db).await?;
        }
        let topology = registry::topology(&parts.services);
        let owners = registry::topics(&parts.services, &parts.catalogue);
        let names = names(&parts.services);
        let topics = Topics::new(parts.bus.clone(), &parts.limits, names.clone(), owners);
        let roles: Vec<String> = match &parts.roles {
            Some(roles) => roles.clone(),
            None => names.clone(),
        };
        let groups = groups_of(&parts.services, &roles);
        let members = if parts.store.is_shared() {
            let db = parts.store.db(members::DATABASE).await?;
            let joined = Members::join(db, parts.me, roles, groups, parts.pulse, parts.clock.clone()).await;
            joined.map_err(StartError::Flow)?
        } else {
            Members::alone(parts.me, roles, groups, parts.clock.clone())
        };
        let prepared = async {
            if parts.store.is_shared() {
                // Once more, now that this node can be seen: a move writes itself down and looks for nodes then, so that one of
                // the two sees the other.
                crate::moving::refuse_half(&parts.store.db(members::DATABASE).await?).await?;
            }
            topics.make_all().await?;
            register_all(&parts.bus, &parts.services).await
        };
        if let Err(refused) = prepared.await {
            if let Err(failure) = members.leave().await {
                tracing::warn!(error = %failure, "this node could not take leave; the others notice by its silence");
            }
            return Err(refused);
        }
        let mut opening = Opening {
            members: members.clone(),
            store: parts.store.clone(),
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
        for mut service in parts.services {
            service.join_projections();
            if parts.roles.as_ref().is_none_or(|roles| roles.iter().any(|role| role == service.name)) {
                let shared = Box::pin(opening.open(service)).await?;
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
            store: parts.store,
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
        if let Err(refused) = runtime.run_hooks() {
            runtime.stop(HOOK_REFUSED).await;
            return Err(refused);
        }
        Ok(runtime)
    }

    /// What services do when everything is there.
    fn run_hooks(&self) -> Result<(), StartError> {
        for ctx in self.services.values() {
            let run = |hook: &crate::service::StartHook| hook(ctx);
            ctx.shared
                .service
                .starts
                .iter()
                .try_for_each(run)
                .map_err(|fault| StartError::Hook { service: ctx.service().to_owned(), fault })?;
        }
        Ok(())
    }

    fn spawn(&mut self, ctx: &Ctx) {
        let (shared, intake) = (&ctx.shared, &self.intake);
        self.carry_tasks.spawn(relay::run(shared.clone(), self.carry.clone()));
        self.carry_tasks.spawn(wakes::run(shared.clone(), self.carry.clone()));
        self.intake_tasks.spawn(leases::run(shared.clone(), self.members.clone(), intake.clone()));
        self.intake_tasks.spawn(timers::run(shared.clone(), intake.clone()));
        self.intake_tasks.spawn(schedules::run(shared.clone(), intake.clone()));
        self.intake_tasks.spawn(retry::run(shared.clone(), intake.clone()));
        self.intake_tasks.spawn(projections::run(shared.clone(), intake.clone()));
        for name in shared.service.effects.keys() {
            self.intake_tasks.spawn(effect_loop::run(ctx.clone(), name, intake.clone()));
        }
        self.intake_tasks.spawn(ctx.groups.clone().supervise(self.intake_tasks.clone(), intake.clone()));
        for (grp, topics) in shared.service.groups() {
            let events = shared.service.events.keys().find(|g| shared.service.group_name(g) == grp);
            let kind = GroupKind::Declared { events: events.cloned().unwrap_or_else(|| Arc::from("")) };
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
        let routes = |ctx: &Ctx| Some((ctx.service(), (ctx.shared.service.routes.as_ref()?)(ctx)));
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

    /// Why partitions take nothing in for a while: most of what they hold fails, or no more may be parked. The node itself is well.
    pub fn pauses(&self) -> Vec<String> {
        let declared = self.readings.iter().flat_map(|r| pauses_of(&r.status));
        declared.chain(self.services.values().flat_map(|ctx| ctx.groups.pauses())).collect()
    }

    /// What every group that runs here says of itself.
    pub(crate) fn statuses(&self) -> Vec<(String, Status)> {
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
        // Beside each other: each waits for its transactions, up to a bound.
        futures::future::join_all(self.services.values().map(|ctx| ctx.shared.db.close())).await;
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

/// The groups of the services that run here, by their full names: nodes of another release may have others.
fn groups_of(services: &[Service], roles: &[String]) -> Vec<String> {
    let here = services.iter().filter(|service| roles.iter().any(|role| role == service.name));
    here.flat_map(|service| service.groups().into_keys()).collect()
}

fn names(services: &[Service]) -> Vec<String> {
    services.iter().map(|s| s.name.to_owned()).collect()
}
