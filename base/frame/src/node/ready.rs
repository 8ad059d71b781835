//! What `/readyz` asks: the log, each database, the cache, the groups, what fails, and room on the disk.

use crate::admin::Facts;
use crate::edge::Readiness;
use artel_bus::{Bus, BusError};
use artel_flow::Runtime;
use artel_store::Cache;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Less room than this is reported before writes fail.
const LEAST_ROOM: u64 = 16 << 20;
const LOG_ANSWERS: Duration = Duration::from_millis(1500);
/// A key that is never set.
const PROBE: &str = "node:probe";

pub(super) fn register(
    readiness: &Readiness,
    runtime: &Arc<Runtime>,
    bus: &Arc<dyn Bus>,
    cache: &Arc<dyn Cache>,
    facts: &Facts,
    data_dir: &Path,
) {
    let bus = bus.clone();
    readiness.register("log", Arc::new(move || log(bus.clone())));
    for name in facts.running(runtime) {
        let (check, service) = (runtime.clone(), name.clone());
        readiness.register(
            &format!("database {name}"),
            Arc::new(move || database(check.clone(), service.clone())),
        );
    }
    let cache = cache.clone();
    readiness.register_dispensable("cache", Arc::new(move || self::cache(cache.clone())));
    let groups = runtime.clone();
    readiness.register("groups", Arc::new(move || self::groups(groups.clone())));
    // What a handler fails with takes no node from those who ask it: the next release, which mends it, has to come up.
    let pauses = runtime.clone();
    readiness.register_dispensable("messages", Arc::new(move || self::messages(pauses.clone())));
    let folder: Arc<Path> = Arc::from(data_dir);
    readiness.register("disk", Arc::new(move || disk(folder.clone())));
}

/// Within less than any check may take, so that it is said for whom one waits.
async fn log(bus: Arc<dyn Bus>) -> Result<(), String> {
    tokio::time::timeout(LOG_ANSWERS, partitions(bus)).await.unwrap_or_else(|_| {
        Err("the log (bus.url) gives no answer; where it is Kafka, see whether its brokers run: what is accepted is saved, and \
             goes on by itself when they are back"
            .to_owned())
    })
}

/// Every partition can be read and written, as far as the log knows.
async fn partitions(bus: Arc<dyn Bus>) -> Result<(), String> {
    let mut stopped = Vec::new();
    for topic in bus.list().await.map_err(|error| error.to_string())? {
        for partition in 0..topic.partitions {
            match bus.bounds(&topic.name, partition).await {
                // A topic may be deleted meanwhile.
                Ok(_) | Err(BusError::UnknownTopic(_)) => {}
                Err(error) => stopped.push(error.to_string()),
            }
        }
    }
    if stopped.is_empty() { Ok(()) } else { Err(stopped.join("\n")) }
}

async fn database(runtime: Arc<Runtime>, service: String) -> Result<(), String> {
    let Some(ctx) = runtime.ctx(&service) else { return Ok(()) };
    ctx.read().await.map(drop).map_err(|fault| fault.reason)
}

/// Without it work goes on, slower: it takes nobody's readiness. A node that is idle finds out by asking.
async fn cache(cache: Arc<dyn Cache>) -> Result<(), String> {
    let Err(error) = cache.get(PROBE).await else { return Ok(()) };
    let reason = cache.trouble().unwrap_or_else(|| error.to_string());
    Err(format!("{reason}; work goes on without it, slower"))
}

async fn groups(runtime: Arc<Runtime>) -> Result<(), String> {
    let troubles = runtime.troubles();
    if troubles.is_empty() { Ok(()) } else { Err(troubles.join("\n")) }
}

async fn messages(runtime: Arc<Runtime>) -> Result<(), String> {
    let pauses = runtime.pauses();
    if pauses.is_empty() { Ok(()) } else { Err(pauses.join("\n")) }
}

async fn disk(folder: Arc<Path>) -> Result<(), String> {
    let looked = rustix::fs::statvfs(&*folder);
    let found = looked.map_err(|error| format!("'{}' can't be looked at: {error}", folder.display()))?;
    let room = found.f_bavail.saturating_mul(found.f_frsize);
    if room >= LEAST_ROOM {
        return Ok(());
    }
    Err(format!("only {} KiB are left on the disk of '{}'; free some", room >> 10, folder.display()))
}
