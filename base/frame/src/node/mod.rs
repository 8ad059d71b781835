//! A node: one running process with its data folder, adapters, services, and listener. Several run in one process when
//! their folders differ; nothing here is global.

mod adapters;
mod closed;
mod failure;
mod folder;
mod identity;
#[cfg(feature = "kafka")]
mod kafka;
mod measure;
mod ready;
mod settings;
mod standing;
mod waiting;

pub(crate) use adapters::open_brokers;
pub use adapters::open_store;
pub use closed::Closed;
pub use failure::StartFailure;
pub(crate) use folder::FolderLock;
pub use folder::TOKEN_FILE;
pub(crate) use identity::of as identity_of;
pub use settings::check_services;
pub use standing::Standing;

use crate::admin::{Admin, AdminParts, Backups, Facts};
use crate::config::{Config, Secret};
use crate::edge::{Access, Door, Edge, Info, Readiness, Routes, operator_token, serve};
use crate::peers::{Inside, PeerClient, PeerSide};
use crate::telemetry::{Metrics, SpanCounts};
use adapters::OpenBus;
use artel_bus::Bus;
use artel_flow::{Clock, Ctx, FlowMetrics, Ids, Me, Outbound, Parts, Pulse, Runtime, Service};
use artel_message::Described;
use artel_store::Store;
use folder::TokenFile;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waiting::Waiting;

/// What a node takes from outside its configuration; the default is the real thing.
pub struct Overrides {
    pub clock: Clock,
    pub ids: Ids,
    /// In place of the log that `bus.url` names; the node closes it when it stops.
    pub bus: Option<Arc<dyn Bus>>,
    /// In place of real calls to the outside, such as a recording's.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// What the API's document says of itself.
    pub info: Info,
    /// What became of spans, of the process's telemetry.
    pub spans: SpanCounts,
}

impl Default for Overrides {
    fn default() -> Overrides {
        let info = Info {
            title: "Artel".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description:
                "Messages in, stored, carried on, and followed. Errors are problem documents (RFC 9457)."
                    .to_owned(),
        };
        let spans = SpanCounts::default();
        Overrides { clock: Clock::system(), ids: Ids::system(), bus: None, outbound: None, info, spans }
    }
}

/// A running node. Dropping it without [`Node::stop`] leaves its tasks to the runtime they run on.
pub struct Node {
    address: SocketAddr,
    operator: Secret,
    data_dir: PathBuf,
    runtime: Arc<Runtime>,
    bus: Arc<dyn Bus>,
    store: Store,
    clock: Clock,
    stop_within: Duration,
    /// Ends the listener and the streams of events.
    closing: CancellationToken,
    served: JoinHandle<usize>,
    /// The listener for other nodes.
    peer_address: Option<SocketAddr>,
    peers_served: JoinHandle<usize>,
    token_file: Option<TokenFile>,
    lock: FolderLock,
}

impl Node {
    /// Starts a node: its folder, the adapters that the URLs name, all services, the listener. On an error nothing runs.
    pub async fn start(
        config: Config,
        services: Vec<Service>,
        catalogue: Vec<Described>,
        overrides: Overrides,
    ) -> Result<Node, StartFailure> {
        let tables = settings::tables(&config, &services).map_err(StartFailure::Config)?;
        let data_dir = config.node.data_dir.clone();
        let lock = FolderLock::take(&data_dir)?;
        closed::check(&config)?;
        let listener = bind(config.http.listen).await?;
        let operator =
            operator_token(&config.auth).map_err(|error| StartFailure::Random(error.to_string()))?;
        let token_file = leave_token(&config, &operator);
        let clock = overrides.clock.clone();
        let closing = CancellationToken::new();
        // Ends the listener where the start fails, or is given up.
        let begun = closing.clone().drop_guard();
        let time = clock.clone();
        let readiness = Readiness::new(Arc::new(move || time.now()));
        let waiting = Waiting::new();
        let start = waiting.clone();
        readiness.register("start", Arc::new(move || start.clone().check()));
        let metrics = Metrics::with_process();
        measure::begin(&metrics, &readiness, &overrides);
        let address = listener.local_addr().map_err(|error| StartFailure::Listen {
            address: config.http.listen,
            reason: error.to_string(),
        })?;
        let door = Door::closed(readiness.clone(), metrics.clone());
        let (http, stop, stop_within) = (config.http.clone(), closing.clone(), config.node.stop_within.get());
        let router = door.router();
        let served = tokio::spawn(async move { serve(listener, router, &http, stop, stop_within / 2).await });
        let OpenBus { bus, embedded } = match &overrides.bus {
            Some(bus) => OpenBus::of(bus.clone()),
            None => adapters::open_bus(&config, &clock, &waiting).await?,
        };
        let store = adapters::await_store(&config, &waiting).await?;
        let cache = adapters::open_cache(&config, &clock)?;
        let outbound = adapters::outbound(&config, &overrides, &cache, &metrics)?;
        let flow_metrics = FlowMetrics::default();
        let (id, side) = (identity::of(&data_dir)?, PeerSide::open(&config, &metrics).await?);
        let peers = side.client(id, &clock);
        let facts = Facts::new(&config, &services, clock.now());
        let parts = Parts {
            services,
            roles: (!config.node.roles.is_empty()).then(|| config.node.roles.clone()),
            catalogue,
            settings: tables,
            bus: bus.clone(),
            store: store.clone(),
            cache: cache.clone(),
            outbound: outbound.clone(),
            limits: adapters::limits(&config),
            clock: clock.clone(),
            ids: overrides.ids.clone(),
            metrics: flow_metrics.clone(),
            me: Me {
                id,
                name: config.node.name.clone(),
                peer: side.url(),
                version: overrides.info.version.clone(),
            },
            pulse: Pulse { beat: config.flow.beat.get(), silence: config.flow.silence.get() },
            peers: peers.clone().map(PeerClient::port),
        };
        let runtime = Arc::new(Runtime::start(parts).await?);
        ready::register(&readiness, &runtime, &bus, &cache, &facts, &data_dir);
        measure::show(&metrics, &flow_metrics, &store);
        let admin = Admin::new(AdminParts {
            runtime: runtime.clone(),
            bus: bus.clone(),
            store: store.clone(),
            cache,
            facts,
            readiness: readiness.clone(),
            backups: Backups::of(embedded, &store, &config, &clock),
            peers,
            closing: closing.clone(),
        });
        let inside =
            Inside { mediator: runtime.mediator().clone(), view: admin.view(), clock: clock.clone() };
        let peer_address = side.address();
        let peers_served = tokio::spawn(side.serve(inside, closing.clone(), stop_within / 2));
        let (ids, time) = (overrides.ids, clock.clone());
        let edge = Edge {
            http: config.http.clone(),
            access: Access::new(&config.auth, &operator, address.ip().is_loopback()),
            metrics,
            readiness,
            new_id: Arc::new(move || ids.fresh(time.now())),
            trace_ratio: config.telemetry.trace_ratio,
            info: overrides.info,
        };
        let routes =
            runtime.routes().into_iter().fold(admin.routes(), |all: Routes, (_, own)| all.merge(own));
        door.open(edge.router(routes));
        waiting.over();
        tokio::spawn(measure::run(runtime.clone(), closing.clone()));
        begun.disarm();
        Ok(Node {
            address,
            operator,
            data_dir,
            runtime,
            bus,
            store,
            clock,
            stop_within,
            closing,
            served,
            peer_address,
            peers_served,
            token_file,
            lock,
        })
    }

    /// Where to reach it, such as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        if self.address.ip().is_unspecified() {
            format!("http://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for other nodes, if it does.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    /// The configured one, or the one made at this start.
    pub fn operator_token(&self) -> &Secret {
        &self.operator
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What a service that runs here is given.
    pub fn ctx(&self, service: &str) -> Option<&Ctx> {
        self.runtime.ctx(service)
    }

    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Stops in order within `node.stop_within`: no new requests, running ones end, groups and relays end, files close.
    pub async fn stop(self) {
        let until = Instant::now() + self.stop_within;
        self.closing.cancel();
        // Fails only when serving has panicked, which the log has.
        let _ = tokio::join!(self.served, self.peers_served);
        let left = until.saturating_duration_since(Instant::now());
        self.runtime.stop(left.max(Duration::from_millis(100))).await;
        self.store.close().await;
        if let Some(file) = self.token_file {
            file.remove();
        }
        drop(self.lock);
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartFailure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartFailure::Listen { address, reason: error.to_string().to_lowercase() })
}

/// A token of this start is left for the commands of this machine; a configured one is known where it is needed.
fn leave_token(config: &Config, operator: &Secret) -> Option<TokenFile> {
    if config.auth.operator_token.is_some() {
        return None;
    }
    match TokenFile::leave(&config.node.data_dir, operator) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, "the operator's token is not in the data folder; give it to commands by ARTEL_TOKEN");
            None
        }
    }
}
