//! The start: what is made and checked before a loop runs.

use crate::clock::{Clock, Ids};
use crate::ctx::{Shared, Wake};
use crate::gone::Gone;
use crate::handed::Handed;
use crate::leases::{self, Held};
use crate::limits::Limits;
use crate::members::Members;
use crate::metrics::FlowMetrics;
use crate::service::Service;
use crate::slots::Slots;
use crate::storage::{self, claims, outbox};
use crate::topics::Topics;
use crate::{Failure, Outbound, StartError, projections, relay, schedules};
use artel_bus::{Bus, From as StartAt};
use artel_store::{Cache, Lane, Store};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Registers all groups of the table, also those of roles that are off: retention must not pass them.
pub(super) async fn register_all(bus: &Arc<dyn Bus>, services: &[Service]) -> Result<(), StartError> {
    for service in services {
        for (grp, topics) in service.groups() {
            for topic in topics {
                bus.register(&grp, &topic, StartAt::Earliest).await?;
            }
        }
    }
    Ok(())
}

/// What each service of the node is opened with.
pub(super) struct Opening {
    pub members: Members,
    pub store: Store,
    pub cache: Arc<dyn Cache>,
    pub outbound: Arc<dyn Outbound>,
    pub topics: Topics,
    pub limits: Arc<Limits>,
    pub clock: Clock,
    pub ids: Ids,
    pub metrics: Arc<FlowMetrics>,
    pub settings: BTreeMap<String, serde_json::Value>,
    pub progress: watch::Sender<u64>,
    pub intake: CancellationToken,
}

impl Opening {
    /// Opens one service: tables, numbers, places, schedules.
    pub async fn open(&mut self, service: Service) -> Result<Arc<Shared>, StartError> {
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
            relay::jump(&db, self.topics.bus(), name, &self.clock, None, 0)
                .await
                .map_err(|e| no_number(name, e))?;
        }
        // Other nodes may start at the same moment: nothing here is read that another one's row could make wrong.
        let mut write = db.begin_plain(Lane::Interactive).await?;
        // Before the places are locked: whoever removes a version locks in this order.
        projections::declare(&mut write, name, &service.projections, self.clock.now()).await?;
        if alone {
            storage::leases::take_all(&mut write, node).await?;
        } else {
            storage::leases::renew_own(&mut write, node).await?;
        }
        claims::release(&mut write, (!alone).then_some(node)).await?;
        for (topic, actual) in self.topics.of(name) {
            let recorded = storage::groups::partitions(&mut write, &topic, actual).await?;
            if recorded != actual {
                return Err(StartError::Partitions { topic, recorded, actual });
            }
        }
        write.commit().await?;
        for (projection, version) in projections::retired(&mut db.read().await?).await? {
            let group = service.group_name(&projections::group_of(&projection, version));
            for topic in service.groups().remove(&group).unwrap_or_default() {
                // Registered with the others, before it could be known: retention needn't wait for it.
                if let Err(error) = self.topics.bus().forget(&group, &topic).await {
                    tracing::warn!(group, topic, %error, "the log still knows a group that was removed; the next start tells it again");
                }
            }
        }
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
            handed: Handed::default(),
            gone: Gone::default(),
            adopted: RwLock::new(made.into_iter().collect()),
            stuck: Mutex::default(),
            wake: Wake::new(self.progress.clone(), service.effects.keys().copied()),
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
