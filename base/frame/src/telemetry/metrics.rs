//! The registry of metrics: names and units after the convention of Prometheus, read at `/metrics`.

use super::{Exposition, ProcessCollector};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};

/// A handle on the one registry of a node; clones share it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// An empty registry.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// A registry that also tells of the process: memory, processor time, open files.
    pub fn with_process() -> Metrics {
        let metrics = Metrics::default();
        metrics.register(|registry| registry.register_collector(Box::new(ProcessCollector)));
        metrics
    }

    /// Registers metrics: `metrics.register(|r| r.register("artel_x", "help", x.clone()))`.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every metric, as text in this format.
    pub fn encode(&self, format: Exposition) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        drop(registry);
        Ok(match format {
            Exposition::OpenMetrics => text,
            Exposition::Text => super::exposition::text_of(&text),
        })
    }
}
