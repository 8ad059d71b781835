//! Kafka and PostgreSQL that a node is moved to: empty before, and closed for nodes until all is there.

use super::{MoveError, Plan, now};
use crate::backup::Progress;
use crate::config::{BusAdapter, Config, DbAdapter, Problem};
use crate::node::{open_brokers, open_store};
use artel_bus::{Bus, BusError};
use artel_flow::Service;
use artel_flow::moving::{Arrival, Arrivals};
use artel_store::{Store, Table};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Tables that migrations themselves put rows into: these say nothing about whether anything ran.
const SEEDED: &[&str] = &["flow_lease"];

pub(super) struct Target {
    pub log: Arc<dyn Bus>,
    pub store: Store,
    /// The two URLs, without passwords.
    pub shown: String,
    /// Where topics are made: the brokers, and what stands before their names.
    pub place: String,
    arrivals: Arrivals,
}

/// Refuses settings that name something else, or that have no room for what the source let in.
pub(super) fn check(from: &Config, to: &Config) -> Result<(), MoveError> {
    let log = match to.bus_adapter() {
        Ok(BusAdapter::Kafka(_)) => None,
        Ok(_) => Some("a move goes to Kafka; write kafka://HOST:PORT,HOST:PORT".to_owned()),
        Err(reason) => Some(reason),
    };
    let db = match to.db_adapter() {
        Ok(DbAdapter::Postgres(_)) => None,
        Ok(_) => Some("a move goes to PostgreSQL; write postgres://USER:PASSWORD@HOST/DATABASE".to_owned()),
        Err(reason) => Some(reason),
    };
    let (had, has) = (from.bus.max_message_bytes, to.bus.max_message_bytes);
    let room = (has.len() < had.len()).then(|| {
        format!(
            "is less than the {} bytes of the node that is moved, which may hold larger messages",
            had.len()
        )
    });
    let wrong = [("bus.url", log), ("db.url", db), ("bus.max_message_bytes", room)];
    let problems: Vec<Problem> =
        wrong.into_iter().filter_map(|(path, reason)| Some(to.problem(path, &reason?))).collect();
    if problems.is_empty() { Ok(()) } else { Err(MoveError::Settings(problems)) }
}

/// The longest name that brokers take.
const NAME_BYTES: usize = 249;

/// Refuses names of topics that the embedded log takes and brokers don't.
pub(super) fn check_names(plan: &Plan, to: &Config) -> Result<(), MoveError> {
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::new());
    for topic in &plan.topics {
        let name = &topic.name;
        let bytes = to.kafka.topic_prefix.len() + name.len();
        if bytes > NAME_BYTES {
            wrong.push(format!(
                "'{name}' has {bytes} bytes with kafka.topic_prefix, and {NAME_BYTES} are allowed"
            ));
        }
        // Brokers name their metrics so.
        if let Some(other) = seen.insert(name.replace('.', "_"), name) {
            wrong.push(format!("'{other}' and '{name}' differ in '.' and '_' alone"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(MoveError::Names(wrong)) }
}

impl Target {
    pub async fn open(to: &Config) -> Result<Target, MoveError> {
        let log = open_brokers(to).await.map_err(MoveError::target)?;
        let store = match open_store(to).await {
            Ok(store) => store,
            Err(failure) => {
                log.close().await;
                return Err(MoveError::target(failure));
            }
        };
        let shown = format!("{} and {}", to.bus.url, to.db.url);
        let place = format!("{} with kafka.topic_prefix '{}'", to.bus.url, to.kafka.topic_prefix);
        match Arrivals::open(&store).await {
            Ok(arrivals) => Ok(Target { log, store, shown, place, arrivals }),
            Err(failure) => {
                log.close().await;
                store.close().await;
                Err(MoveError::Flow(failure))
            }
        }
    }

    pub async fn close(&self) {
        self.log.close().await;
        self.store.close().await;
    }

    /// Writes the move down. One of the same node that was not done is emptied first, if that is wanted.
    pub async fn begin(
        &self,
        arrival: &Arrival,
        services: &[Service],
        again: bool,
        progress: &Progress,
    ) -> Result<(), MoveError> {
        let Some(open) = self.arrivals.begin(arrival).await.map_err(MoveError::Flow)? else { return Ok(()) };
        let (name, began_at) = (open.source_name.clone(), open.began_at);
        if open.source != arrival.source {
            return Err(MoveError::Other { name, began_at });
        }
        if !again {
            return Err(MoveError::Unfinished { name, began_at });
        }
        // Otherwise it was ended before it knew whether what is there is somebody else's.
        if open.empty && open.log != arrival.log {
            return Err(MoveError::OtherLog { log: open.log, now: arrival.log.clone() });
        }
        if open.empty {
            self.refuse_nodes().await?;
            progress.begin("emptying what was copied before", 0);
            self.empty(&open, services).await?;
        }
        self.forget(&open).await?;
        match self.arrivals.begin(arrival).await.map_err(MoveError::Flow)? {
            None => Ok(()),
            Some(other) => Err(MoveError::Other { name: other.source_name, began_at: other.began_at }),
        }
    }

    /// Deletes what a move has copied.
    async fn empty(&self, open: &Arrival, services: &[Service]) -> Result<(), MoveError> {
        for topic in &open.topics {
            match self.log.delete(topic).await {
                Ok(()) | Err(BusError::UnknownTopic(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for service in services {
            let db = self.store.db(service.name()).await?;
            // What a migration put in is not put in once more.
            let own = |table: &Table| !SEEDED.contains(&table.name.as_str());
            let tables: Vec<Table> = db.tables().await?.into_iter().filter(own).collect();
            db.refill(&tables).await?.finish().await?;
        }
        Ok(())
    }

    /// Refuses a target that another move has taken over, or that a node has shown itself on: an older program's does not look.
    pub async fn still_alone(&self, id: Uuid) -> Result<(), MoveError> {
        let all = self.arrivals.all().await.map_err(MoveError::Flow)?;
        if !all.iter().any(|arrival| arrival.id == id && arrival.done_at.is_none()) {
            return Err(MoveError::TakenOver);
        }
        self.refuse_nodes().await
    }

    async fn refuse_nodes(&self) -> Result<(), MoveError> {
        let any = self.arrivals.any_node().await.map_err(MoveError::Flow)?;
        if any { Err(MoveError::NodeThere) } else { Ok(()) }
    }

    /// Writes down which topics keep their messages for ever.
    pub async fn keeps(&self, id: Uuid, topics: &[String]) -> Result<(), MoveError> {
        self.arrivals.keeps(id, topics).await.map_err(MoveError::Flow)
    }

    pub async fn forget(&self, arrival: &Arrival) -> Result<(), MoveError> {
        self.arrivals.remove(arrival.id).await.map_err(MoveError::Flow)
    }

    /// Refuses a target that anything is in.
    pub async fn refuse_full(&self, arrival: &Arrival, services: &[Service]) -> Result<(), MoveError> {
        let mut there = Vec::new();
        if self.arrivals.any_node().await.map_err(MoveError::Flow)? {
            there.push("nodes run on the database, or were killed there".to_owned());
        }
        for service in services {
            let db = self.store.db(service.name()).await?;
            for table in db.tables().await? {
                let rows = db.read().await?.count_of(&table).await?;
                if rows > 0 && !SEEDED.contains(&table.name.as_str()) {
                    there.push(format!("the database of '{}' has rows in {}", service.name(), table.name));
                    break;
                }
            }
        }
        for topic in &arrival.topics {
            match self.log.describe(topic).await {
                Err(BusError::UnknownTopic(_)) => {}
                Ok(_) => there.push(format!("topic '{topic}' exists")),
                Err(error) => return Err(error.into()),
            }
        }
        if !there.is_empty() {
            return Err(MoveError::NotEmpty(there));
        }
        self.arrivals.empty(arrival.id).await.map_err(MoveError::Flow)
    }

    /// Lets nodes start, if that is the end of this move, now or before; then the topics that keep their messages for ever.
    pub async fn opened(&self, id: Uuid) -> Result<Option<Vec<String>>, MoveError> {
        self.arrivals.done(id, now()).await.map_err(MoveError::Flow)?;
        let all = self.arrivals.all().await.map_err(MoveError::Flow)?;
        Ok(all.into_iter().find(|arrival| arrival.id == id).map(|arrival| arrival.kept))
    }
}
