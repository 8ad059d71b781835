//! A node of two services on the embedded log and SQLite, in a folder of its own.

use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bus, Fetch, Received};
use artel_flow::{Clock, Ctx, FlowMetrics, Ids, Limits, NoOutbound, Parts, Runtime, Service, StartError};
use artel_message::{Described, Time};
use artel_store::{MemoryCache, Store, StoreSettings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Where every test begins: 2026-01-01T00:00:00Z.
pub const START: Time = Time::from_micros(1_767_225_600_000_000);

/// A folder and a clock that outlive the nodes on them.
pub struct Place {
    pub dir: TempDir,
    pub clock: Clock,
    pub limits: Limits,
}

impl Place {
    pub fn new() -> Place {
        let limits = Limits {
            partitions: 2,
            retry_pause: Duration::from_millis(1),
            outage_pause: Duration::from_millis(2),
            effect_pause: Duration::from_secs(1),
            ..Limits::default()
        };
        Place { dir: TempDir::new().expect("a temporary folder"), clock: Clock::manual(START), limits }
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
        let log: Arc<dyn Bus> =
            Segments::open(self.dir.path().join("log"), SegmentsConfig::default()).expect("the log opens");
        let url = format!("sqlite:{}", self.dir.path().join("db").display());
        let store = Store::open(&url, StoreSettings::default()).await?;
        let clock = self.clock.clone();
        let cache_clock = clock.clone();
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
            metrics: FlowMetrics::default(),
        })
        .await?;
        Ok(Node { runtime, log, store })
    }
}

pub struct Node {
    pub runtime: Runtime,
    pub log: Arc<dyn Bus>,
    pub store: Store,
}

impl Node {
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
