//! A node without HTTP, as benchmarks run it: the flow's runtime on a log and a store.

use anyhow::{Context, Result};
use artel_bus::Bus;
use artel_flow::{Clock, FlowMetrics, Ids, Limits, Me, NoOutbound, Parts, Pulse, Runtime, Service};
use artel_message::Described;
use artel_store::{MemoryCache, Store, StoreSettings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a node runs, and on what.
pub(crate) struct Node {
    pub services: Vec<Service>,
    /// The services that run; the others are only known.
    pub roles: Vec<&'static str>,
    pub catalogue: Vec<Described>,
    pub bus: Arc<dyn Bus>,
    /// `sqlite:FOLDER` or `postgres://…`
    pub store: String,
    pub limits: Limits,
}

impl Node {
    pub async fn start(self) -> Result<Runtime> {
        self.measured(FlowMetrics::default()).await
    }

    /// The same, with metrics that somebody looks at.
    pub async fn measured(self, metrics: FlowMetrics) -> Result<Runtime> {
        self.run(metrics, BTreeMap::new()).await
    }

    /// With a table of settings for one service.
    pub async fn with_settings(self, service: &str, table: Value) -> Result<Runtime> {
        self.run(FlowMetrics::default(), BTreeMap::from([(service.to_owned(), table)])).await
    }

    async fn run(self, metrics: FlowMetrics, settings: BTreeMap<String, Value>) -> Result<Runtime> {
        let clock = Clock::system();
        let cache_clock = clock.clone();
        let started = Runtime::start(Parts {
            services: self.services,
            roles: Some(self.roles.iter().map(|role| (*role).to_owned()).collect()),
            catalogue: self.catalogue,
            settings,
            bus: self.bus,
            store: Store::open(&self.store, StoreSettings::default()).await?,
            cache: Arc::new(MemoryCache::new(1 << 20, Arc::new(move || cache_clock.now()))),
            outbound: Arc::new(NoOutbound),
            limits: self.limits,
            clock,
            ids: Ids::system(),
            metrics,
            me: Me { id: Uuid::now_v7(), name: "bench".to_owned(), peer: None, version: String::new() },
            pulse: Pulse::default(),
            peers: None,
        });
        started.await.context("the node does not start")
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
