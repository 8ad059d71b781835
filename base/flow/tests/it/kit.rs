//! Nodes of two services on the embedded log, in a folder of their own.

use crate::gated::{Gated, Gates};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bus, Fetch, Kept, Received};
use artel_flow::{
    Clock, Ctx, FlowMetrics, Ids, Limits, Me, NoOutbound, Parts, Peers, Pulse, Runtime, Service, StartError,
};
use artel_message::{Described, Time};
use artel_store::conformance::{TestDatabase, database};
use artel_store::{Lane, MemoryCache, Store, StoreSettings};
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use uuid::Uuid;

/// Where every test begins: 2026-01-01T00:00:00Z.
pub const START: Time = Time::from_micros(1_767_225_600_000_000);

/// What makes one of several nodes different from the others.
pub struct This {
    pub me: Me,
    pub roles: Option<Vec<String>>,
    pub peers: Option<Arc<dyn Peers>>,
}

impl This {
    pub fn named(name: &str) -> This {
        let me = Me { id: Uuid::now_v7(), name: name.to_owned(), peer: None, version: String::new() };
        This { me, roles: None, peers: None }
    }
}

/// A folder and a clock that outlive the nodes on them.
pub struct Place {
    pub dir: TempDir,
    pub clock: Clock,
    pub limits: Limits,
    /// Which partitions of its log don't answer.
    pub gates: Gates,
    /// How often nodes say that they live.
    pub pulse: Pulse,
    /// The bounds of their databases.
    pub settings: StoreSettings,
    /// Where there is none, each node has SQLite files in the folder.
    database: Option<TestDatabase>,
    /// The log of several nodes.
    log: OnceLock<Arc<dyn Bus>>,
}

impl Place {
    /// The same on a PostgreSQL database of its own; `None` where no server is given.
    pub async fn on_postgres() -> Option<Place> {
        let database = Some(database().await?);
        // The server's clock can't be set: the day has to be the same.
        let now = Time::from_system(SystemTime::now());
        let clock = Clock::manual(
            now - Duration::from_micros(u64::try_from(now.micros() % 86_400_000_000).expect("after 1970")),
        );
        Some(Place { clock, database, ..Place::new() })
    }

    pub fn new() -> Place {
        let limits = Limits {
            partitions: 2,
            retry_pause: Duration::from_millis(1),
            outage_pause: Duration::from_millis(2),
            effect_pause: Duration::from_secs(1),
            effects_beside: 3,
            ..Limits::default()
        };
        Place {
            dir: TempDir::new().expect("a temporary folder"),
            clock: Clock::manual(START),
            limits,
            gates: Gates::default(),
            pulse: Pulse { beat: Duration::from_millis(200), silence: Duration::from_secs(2) },
            settings: StoreSettings::default(),
            database: None,
            log: OnceLock::new(),
        }
    }

    /// Starts a node with these services.
    pub async fn start(&self, services: Vec<Service>, catalogue: Vec<Described>) -> Result<Node, StartError> {
        self.start_roles(services, catalogue, None).await
    }

    /// The same with some of the services only.
    pub async fn start_roles(
        &self,
        services: Vec<Service>,
        catalogue: Vec<Described>,
        roles: Option<Vec<String>>,
    ) -> Result<Node, StartError> {
        let this = This { roles, ..This::named("test") };
        self.start_on(self.open_log(), this, services, catalogue).await
    }

    /// One of several nodes on one log and one database.
    pub async fn start_named(
        &self,
        name: &str,
        services: Vec<Service>,
        catalogue: Vec<Described>,
    ) -> Result<Node, StartError> {
        self.start_this(This::named(name), services, catalogue).await
    }

    /// The same with all that may differ from node to node.
    pub async fn start_this(
        &self,
        this: This,
        services: Vec<Service>,
        catalogue: Vec<Described>,
    ) -> Result<Node, StartError> {
        let log = self.log.get_or_init(|| Kept::of(self.open_log())).clone();
        self.start_on(log, this, services, catalogue).await
    }

    /// The databases of the nodes, for what a node does not do.
    pub async fn store(&self) -> Store {
        let folder = format!("sqlite:{}", self.dir.path().join("db").display());
        let url = self.database.as_ref().map_or(folder, |database| database.url.clone());
        Store::open(&url, self.settings.clone()).await.expect("the database opens")
    }

    fn open_log(&self) -> Arc<dyn Bus> {
        let log =
            Segments::open(self.dir.path().join("log"), SegmentsConfig::default()).expect("the log opens");
        Arc::new(Gated { log, gates: self.gates.clone() })
    }

    async fn start_on(
        &self,
        log: Arc<dyn Bus>,
        this: This,
        services: Vec<Service>,
        catalogue: Vec<Described>,
    ) -> Result<Node, StartError> {
        let This { me, roles, peers } = this;
        let store = self.store().await;
        let clock = self.clock.clone();
        let cache_clock = clock.clone();
        let metrics = FlowMetrics::default();
        let runtime = Runtime::start(Parts {
            services,
            roles,
            catalogue,
            settings: BTreeMap::new(),
            bus: log.clone(),
            store: store.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20, Arc::new(move || cache_clock.now()))),
            outbound: Arc::new(NoOutbound),
            limits: self.limits.clone(),
            clock,
            ids: Ids::system(),
            metrics: metrics.clone(),
            me,
            pulse: self.pulse,
            peers,
        })
        .await?;
        Ok(Node { runtime, log, store, metrics })
    }
}

/// Changes the tables of a service behind its back.
pub async fn alter(store: &Store, service: &str, sql: &'static str) {
    let db = store.db(service).await.expect("the database");
    let mut write = db.begin_plain(Lane::Interactive).await.expect("begins");
    write.exec(sql, ()).await.expect("altered");
    write.commit().await.expect("committed");
}

pub struct Node {
    pub runtime: Runtime,
    pub log: Arc<dyn Bus>,
    pub store: Store,
    metrics: FlowMetrics,
}

impl Node {
    /// Its figures, as they are scraped.
    pub fn metrics(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        text
    }

    pub fn ctx(&self, service: &str) -> &Ctx {
        self.runtime.ctx(service).expect("the service runs")
    }

    pub async fn settle(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.runtime.settle())
            .await
            .expect("the node becomes quiet");
    }

    pub async fn stop(self) {
        self.runtime.stop(Duration::from_secs(10)).await;
        self.store.close().await;
    }

    /// Every record of a topic, partition by partition.
    pub async fn records(&self, topic: &str) -> Vec<(u32, Received)> {
        let partitions = self.log.describe(topic).await.expect("the topic exists").partitions;
        let mut all = Vec::new();
        for partition in 0..partitions {
            let mut from = self.log.bounds(topic, partition).await.expect("bounds").begin;
            loop {
                let fetch = Fetch { max_records: 1000, max_bytes: 1 << 20 };
                let got = self.log.read(topic, partition, from, fetch).await.expect("read");
                if got.records.is_empty() {
                    break;
                }
                from = got.next;
                all.extend(got.records.into_iter().map(|r| (partition, r)));
            }
        }
        all
    }
}
