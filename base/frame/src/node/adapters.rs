//! From URLs and settings to adapters and bounds.

use super::waiting::Waiting;
use super::{Overrides, StartFailure};
use crate::config::{BusAdapter, CacheAdapter, Compression, Config, DbAdapter, HostRate, Url};
use crate::outbound::{OutboundParts, OutboundSettings, Rate};
use crate::telemetry::Metrics;
use artel_bus::segments::Compression as Stored;
use artel_bus::{Bus, BusError, Segments, SegmentsConfig};
use artel_flow::{Clock, Limits, Outbound};
use artel_store::{Cache, MemoryCache, Store, StoreError, StoreSettings};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a record may need beside its value: key, headers, framing.
const AROUND_A_VALUE: usize = 64 << 10;
/// Bytes of rows that are read before they are asked for, where whole tables are read.
const READ_AHEAD: usize = 32 << 20;
/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the configuration takes without its adapter compiled in can't get here.
#[cfg(not(all(feature = "kafka", feature = "postgres", feature = "redis")))]
fn not_here(config: &Config, path: &str) -> StartFailure {
    let reason = "no adapter of this program serves this URL; see config/artel.toml";
    StartFailure::Config(vec![config.problem(path, reason)])
}

fn wrong(config: &Config, path: &str, reason: String) -> StartFailure {
    StartFailure::Config(vec![config.problem(path, reason)])
}

/// A log, and the same as what it is where it is embedded.
pub(super) struct OpenBus {
    pub bus: Arc<dyn Bus>,
    pub embedded: Option<Arc<Segments>>,
}

impl OpenBus {
    pub fn of(bus: Arc<dyn Bus>) -> OpenBus {
        OpenBus { bus, embedded: None }
    }
}

/// Opens the log that `bus.url` names; brokers that are away are waited for.
pub(super) async fn open_bus(
    config: &Config,
    clock: &Clock,
    waiting: &Waiting,
) -> Result<OpenBus, StartFailure> {
    match config.bus_adapter().map_err(|reason| wrong(config, "bus.url", reason))? {
        BusAdapter::Segments(folder) => {
            let log = open_segments(config, clock, folder, true).await?;
            Ok(OpenBus { bus: log.clone(), embedded: Some(log) })
        }
        #[cfg(feature = "kafka")]
        BusAdapter::Kafka(brokers) => {
            super::kafka::open(config, &brokers, Some(waiting)).await.map(OpenBus::of)
        }
        #[cfg(not(feature = "kafka"))]
        BusAdapter::Kafka(_) => {
            let _ = waiting;
            Err(not_here(config, "bus.url"))
        }
    }
}

/// Opens the log on the brokers that `bus.url` names; those that are away are not waited for.
pub(crate) async fn open_brokers(config: &Config) -> Result<Arc<dyn Bus>, StartFailure> {
    match config.bus_adapter().map_err(|reason| wrong(config, "bus.url", reason))? {
        #[cfg(feature = "kafka")]
        BusAdapter::Kafka(brokers) => super::kafka::open(config, &brokers, None).await,
        _ => Err(wrong(config, "bus.url", "it names no brokers that this program can reach".to_owned())),
    }
}

/// Opens the embedded log in that folder, with its retention or without.
pub(super) async fn open_segments(
    config: &Config,
    clock: &Clock,
    folder: PathBuf,
    retains: bool,
) -> Result<Arc<Segments>, StartFailure> {
    let mut settings = segments(config, clock);
    if !retains {
        settings.retention_interval = NEVER;
    }
    // Opening reads files.
    match tokio::task::spawn_blocking(move || Segments::open(folder, settings)).await {
        Ok(opened) => Ok(opened?),
        Err(error) => Err(StartFailure::Log(BusError::Unavailable(error.to_string()))),
    }
}

fn segments(config: &Config, clock: &Clock) -> SegmentsConfig {
    let bus = &config.bus;
    let (defaults, clock) = (SegmentsConfig::default(), clock.clone());
    let max_message_bytes = bus.max_message_bytes.len();
    SegmentsConfig {
        segment_bytes: bus.segment_bytes.get(),
        max_message_bytes,
        max_batch_bytes: defaults.max_batch_bytes.max(max_message_bytes),
        compression: match bus.compression {
            Compression::None => Stored::None,
            Compression::Lz4 => Stored::Lz4,
            Compression::Zstd => Stored::Zstd,
        },
        hard_bytes: bus.hard_bytes.get(),
        clock: Arc::new(move || clock.now()),
        ..defaults
    }
}

/// Opens the databases that `db.url` names. A folder that another process has is refused, and so is a server that is away.
pub async fn open_store(config: &Config) -> Result<Store, StartFailure> {
    open_store_ahead(config, StoreSettings::default().rows_ahead).await
}

/// The same for reading whole tables: what is read ahead of whoever is slower takes no more than this, where rows are as large as
/// messages may be.
pub(super) async fn open_store_to_read(config: &Config) -> Result<Store, StartFailure> {
    let rows = READ_AHEAD / config.bus.max_message_bytes.len().max(1);
    open_store_ahead(config, rows.clamp(4, StoreSettings::default().rows_ahead)).await
}

async fn open_store_ahead(config: &Config, rows_ahead: usize) -> Result<Store, StartFailure> {
    let adapter = config.db_adapter().map_err(|reason| wrong(config, "db.url", reason))?;
    let settings = StoreSettings {
        rows_ahead,
        readers: usize::try_from(config.db.readers).unwrap_or(usize::MAX),
        slice: config.db.background_slice.get(),
        connections: usize::try_from(config.db.connections).unwrap_or(usize::MAX),
        ..StoreSettings::default()
    };
    match adapter {
        DbAdapter::Sqlite(folder) => {
            Ok(Store::open(&format!("sqlite:{}", folder.display()), settings).await?)
        }
        #[cfg(feature = "postgres")]
        DbAdapter::Postgres(url) => Ok(Store::open(url.expose(), settings).await?),
        #[cfg(not(feature = "postgres"))]
        DbAdapter::Postgres(_) => Err(not_here(config, "db.url")),
    }
}

/// The same, waiting for a server that is away.
pub(super) async fn await_store(config: &Config, waiting: &Waiting) -> Result<Store, StartFailure> {
    let is_away =
        |failure: &StartFailure| matches!(failure, StartFailure::Store(StoreError::Unavailable { .. }));
    waiting.until("the database (db.url)", || open_store(config), is_away).await
}

/// Opens the cache that `cache.url` names.
pub(super) fn open_cache(config: &Config, clock: &Clock) -> Result<Arc<dyn Cache>, StartFailure> {
    let adapter = config.cache_adapter().map_err(|reason| wrong(config, "cache.url", reason))?;
    match adapter {
        CacheAdapter::Memory => {
            let clock = clock.clone();
            Ok(Arc::new(MemoryCache::new(config.cache.bytes.get(), Arc::new(move || clock.now()))))
        }
        CacheAdapter::Redis(url) => open_redis(config, &url),
    }
}

#[cfg(feature = "redis")]
fn open_redis(config: &Config, url: &Url) -> Result<Arc<dyn Cache>, StartFailure> {
    let settings = artel_store::RedisSettings {
        prefix: config.cache.prefix.clone(),
        timeout: config.cache.timeout.get(),
        ..artel_store::RedisSettings::default()
    };
    let opened = artel_store::RedisCache::open(url.expose(), settings);
    Ok(Arc::new(opened.map_err(|error| wrong(config, "cache.url", error.to_string()))?))
}

#[cfg(not(feature = "redis"))]
fn open_redis(config: &Config, _: &Url) -> Result<Arc<dyn Cache>, StartFailure> {
    Err(not_here(config, "cache.url"))
}

/// The client for calls to the outside, or what a test put in its place.
pub(super) fn outbound(
    config: &Config,
    overrides: &Overrides,
    cache: &Arc<dyn Cache>,
    metrics: &Metrics,
) -> Result<Arc<dyn Outbound>, StartFailure> {
    if let Some(outbound) = &overrides.outbound {
        return Ok(Arc::clone(outbound));
    }
    let given = &config.outbound;
    let rate = |rate: &HostRate| Rate { calls: rate.calls, per: rate.per.get(), burst: rate.burst };
    let settings = OutboundSettings {
        connect_timeout: given.connect_timeout.get(),
        attempt_timeout: given.attempt_timeout.get(),
        timeout: given.timeout.get(),
        response_bytes: given.response_limit.len(),
        at_once: given.at_once,
        longest_wait: given.longest_wait.get(),
        public_only: given.public_only,
        rates: given.rates.iter().map(|given| (given.host.clone(), rate(given))).collect(),
        ..OutboundSettings::default()
    };
    // One process keeps its rates without a cache.
    let shared = !matches!(config.cache_adapter(), Ok(CacheAdapter::Memory));
    let parts = OutboundParts {
        cache: shared.then(|| Arc::clone(cache)),
        ..OutboundParts::new(settings, overrides.clock.clone())
    };
    let opened = parts.open().map_err(|error| wrong(config, "outbound", error.to_string()))?;
    opened.register(metrics);
    Ok(Arc::new(opened))
}

/// The flow's bounds; those without a setting of their own have the flow's defaults.
pub(super) fn limits(config: &Config) -> Limits {
    let (bus, flow) = (&config.bus, &config.flow);
    Limits {
        partitions: bus.partitions,
        retention: Some(bus.retention.get()),
        retention_bytes: bus.retention_bytes.map(|size| size.get()),
        batch_records: flow.batch_records,
        batch_bytes: flow.batch_bytes.len(),
        tries: flow.tries,
        retry_for: flow.retry_for.get(),
        attempts: flow.retry_attempts,
        parked_per_key: flow.parked_per_key,
        parked_messages: flow.parked_messages,
        parked_bytes: u64::try_from(flow.parked_bytes.len()).unwrap_or(u64::MAX),
        failing_window: flow.failing_window,
        dead: flow.dead_for.get(),
        audit: flow.audit_for.get(),
        outbox_rows: flow.outbox_limit,
        message_bytes: value_bytes(bus.max_message_bytes.len()),
        handler_time: flow.handler_time.get(),
        effect_time: flow.effect_time.get(),
        effect_age: flow.effect_for.get(),
        effect_tries: flow.effect_tries,
        effect_lease: flow.effect_lease.get(),
        timer_age: flow.timer_for.get(),
        timer_tries: flow.timer_tries,
        answered: flow.answered_for.get(),
        ..Limits::default()
    }
}

/// How large a value may be, so that its record fits.
fn value_bytes(record: usize) -> usize {
    record.saturating_sub(AROUND_A_VALUE).max(record / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_leaves_room_for_its_headers() {
        assert_eq!(value_bytes(2 << 20), (2 << 20) - (64 << 10));
        assert_eq!(value_bytes(1024), 512);
    }
}
