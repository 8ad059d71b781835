//! Everything an embedded node keeps, moved to Kafka and PostgreSQL.
//!
//! Nothing of the services runs meanwhile. The node that goes on afterwards stands as one that was killed and started again:
//! what waited in its outboxes is published there, with the numbers it had; timers, effects and answers go on; groups read on
//! behind the last message that they took in.
//!
//! The order is what makes it safe to interrupt:
//! 1. the source is held by its locks, so that no node runs on it;
//! 2. what the target would refuse is looked for;
//! 3. the target is written down as being moved to (no node starts there) and has to be empty: a node joins the others before it
//!    looks for a move, and a move is written down before it looks for nodes, so that one of them sees the other;
//! 4. tables and topics are made, then filled, each database in one transaction; then all of it is read back and compared;
//! 5. the source is closed for nodes, with the reason; only then the target is opened for them.
//!
//! So there is no moment at which both could run. What was interrupted is begun anew: the target of the first attempt is emptied.

mod failure;
mod plan;
mod records;
mod tables;
mod target;
mod topics;

pub use failure::MoveError;
pub use plan::{Plan, PlannedDatabase, PlannedTopic};

use crate::backup::Progress;
use crate::config::Config;
use crate::node::{Closed, Standing, identity_of};
use artel_flow::Service;
use artel_flow::moving::{Arrival, NewPlaces, derived};
use artel_message::Time;
use std::time::SystemTime;
use target::Target;
use uuid::Uuid;

/// What is moved where.
pub struct Move {
    /// The settings of the node that stands.
    pub from: Config,
    /// Those that the node has afterwards.
    pub to: Config,
    /// The whole table of services.
    pub services: Vec<Service>,
    /// Whether an unfinished move of the same node is emptied and begun anew.
    pub again: bool,
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub plan: Plan,
    /// What was read back from the target and is the same. `None` where that was done before, and only the last step was missing.
    pub same: Option<Same>,
    /// Topics that keep their messages for ever there: a group needs some that are older than the topic's time.
    pub kept_for_ever: Vec<String>,
    /// Where to, without passwords.
    pub target: String,
}

/// What was found to be the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Same {
    pub topics: Vec<SameTopic>,
    pub tables: Vec<SameTable>,
}

/// A topic whose records were compared one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameTopic {
    pub name: String,
    pub same: u64,
    /// Records that the brokers have removed by their age already, none of which a group needs.
    pub gone: u64,
}

/// A table whose rows were compared by a checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameTable {
    pub service: String,
    pub table: String,
    pub rows: u64,
    /// Hexadecimal; it does not depend on the order of the rows.
    pub checksum: String,
}

impl Move {
    /// What would be moved, each message looked at. Nothing is changed, and the target is not asked.
    pub async fn plan(&self, progress: &Progress) -> Result<Plan, MoveError> {
        target::check(&self.from, &self.to)?;
        let source = Standing::open(&self.from).await.map_err(MoveError::source)?;
        let plan = self.planned(&source, progress).await;
        source.close().await;
        plan
    }

    /// The plan, if the target can take what is in it.
    async fn planned(&self, source: &Standing, progress: &Progress) -> Result<Plan, MoveError> {
        progress.begin("looking at what there is", 0);
        let plan = plan::of(source, &self.services).await?;
        target::check_names(&plan, &self.to)?;
        records::refuse_unfit(source, &plan, self.to.bus.max_message_bytes.len(), progress).await?;
        Ok(plan)
    }

    /// Moves everything; what the source holds stays there as it is, closed.
    pub async fn run(&self, progress: &Progress) -> Result<Moved, MoveError> {
        target::check(&self.from, &self.to)?;
        let source = Standing::open_also_moved(&self.from).await.map_err(MoveError::source)?;
        let moved = self.run_from(&source, progress).await;
        source.close().await;
        moved
    }

    async fn run_from(&self, source: &Standing, progress: &Progress) -> Result<Moved, MoveError> {
        let id = identity_of(&self.from.node.data_dir).map_err(MoveError::source)?;
        let plan = match source.closed() {
            // All of it is there already.
            Some(Closed::Moved { .. }) => plan::of(source, &self.services).await?,
            _ => self.planned(source, progress).await?,
        };
        let target = Target::open(&self.to).await?;
        let moved = self.run_to(source, &target, id, plan, progress).await;
        target.close().await;
        moved
    }

    async fn run_to(
        &self,
        source: &Standing,
        target: &Target,
        node: Uuid,
        plan: Plan,
        progress: &Progress,
    ) -> Result<Moved, MoveError> {
        let done = |same, kept_for_ever| Moved {
            plan: plan.clone(),
            same,
            kept_for_ever,
            target: target.shown.clone(),
        };
        if let Some(Closed::Moved { id, to, .. }) = source.closed() {
            // All was there and compared; only the last step was missing.
            return match target.opened(id).await? {
                Some(kept) => Ok(done(None, kept)),
                None => Err(MoveError::Moved { to }),
            };
        }
        let arrival = Arrival {
            id: Uuid::now_v7(),
            source: node,
            source_name: self.from.node.name.clone(),
            topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
            log: target.place.clone(),
            empty: false,
            kept: Vec::new(),
            began_at: now(),
            done_at: None,
        };
        target.begin(&arrival, &self.services, self.again, progress).await?;
        if let Err(error) = target.refuse_full(&arrival, &self.services).await {
            target.forget(&arrival).await?;
            return Err(error);
        }
        self.make_tables(source, target, &plan).await?;
        let (new, kept_for_ever) = topics::make(source, target, &plan).await?;
        target.keeps(arrival.id, &kept_for_ever).await?;
        let mut places = topics::copy(source, target, &plan, new, progress).await?;
        let tables = self.tables(source, target, arrival.id, &mut places, &plan, progress).await?;
        let topics = topics::compare(source, target, &places, &plan, progress).await?;
        target.still_alone(arrival.id).await?;
        let at = now();
        let closed = Closed::Moved { to: target.shown.clone(), at, id: arrival.id };
        source.close_for_nodes(&closed).map_err(|error| MoveError::Close {
            path: source.databases.clone(),
            reason: error.to_string().to_lowercase(),
        })?;
        target.opened(arrival.id).await?.ok_or(MoveError::TakenOver)?;
        Ok(done(Some(Same { topics, tables }), kept_for_ever))
    }

    /// The services whose databases are moved.
    fn moved<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (&'a Service, &'a PlannedDatabase)> {
        // Named by the plan, which knows no other.
        plan.databases.iter().filter_map(|database| {
            Some((self.services.iter().find(|service| service.name() == database.service)?, database))
        })
    }

    /// Every table, with the columns that it has in the source: what does not fit is known before anything is copied.
    async fn make_tables(&self, source: &Standing, target: &Target, plan: &Plan) -> Result<(), MoveError> {
        for (service, _) in self.moved(plan) {
            let (from, to) = (source.store.db(service.name()).await?, target.store.db(service.name()).await?);
            to.migrate(&service.migration_sets()).await?;
            tables::same(service, from.tables().await?, to.tables().await?)?;
        }
        Ok(())
    }

    /// Every database, with the places as they are now; compared when it is there.
    async fn tables(
        &self,
        source: &Standing,
        target: &Target,
        id: Uuid,
        places: &mut NewPlaces,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<Vec<SameTable>, MoveError> {
        let mut same = Vec::new();
        for (service, database) in self.moved(plan) {
            target.still_alone(id).await?;
            let from = source.store.db(service.name()).await?;
            let to = target.store.db(service.name()).await?;
            derived(&from, source.log.as_ref(), places).await.map_err(MoveError::Flow)?;
            same.extend(tables::copy(service, &from, &to, places, database.rows(), progress).await?);
        }
        Ok(same)
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}
