//! Nodes among each other: a listener of their own, where other nodes ask for what runs here, and the client that asks them.
//! Every request carries a token that is signed with the secret which the nodes share (`peers.secret`); [`token`] says what
//! it proves. Answers are believed as they come, and nothing is encrypted: the network between the nodes has to be yours.

mod breaker;
mod client;
mod measure;
mod nonces;
mod server;
mod token;
mod wire;

pub(crate) use client::PeerClient;
pub(crate) use server::{Inside, View};

use crate::config::{Config, Period};
use crate::edge::serve;
use crate::node::StartFailure;
use crate::telemetry::Metrics;
use artel_flow::Clock;
use measure::PeerMetrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use token::Signer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a connection of another node may lie idle. Clients close theirs earlier, so that no request meets the end.
const IDLE: Duration = Duration::from_secs(60);

/// This node's side of the traffic between nodes.
pub(crate) struct PeerSide {
    config: crate::config::Peers,
    /// Connections are served with the bounds of the public listener.
    http: crate::config::Http,
    listener: Option<TcpListener>,
    url: Option<String>,
    signer: Option<Signer>,
    metrics: PeerMetrics,
}

impl PeerSide {
    /// Binds the listener, if there is to be one: from here on others can be told the URL.
    pub async fn open(config: &Config, registry: &Metrics) -> Result<PeerSide, StartFailure> {
        let peers = config.peers.clone();
        let listener = match peers.listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let bound = listener.as_ref().and_then(|listener: &TcpListener| listener.local_addr().ok());
        let given = peers.url.as_ref().map(|url| url.expose().trim_end_matches('/').to_owned());
        let url = bound.map(|address| given.unwrap_or_else(|| format!("http://{address}")));
        let signer = peers.secret.as_ref().map(Signer::new);
        let (http, metrics) = (config.http.clone(), PeerMetrics::default());
        if signer.is_some() {
            registry.register(|registry| metrics.register(registry));
        }
        Ok(PeerSide { config: peers, http, listener, url, signer, metrics })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Where other nodes reach this one.
    pub fn url(&self) -> Option<String> {
        self.url.clone()
    }

    /// The way to the others; none without the secret.
    pub fn client(&self, node: Uuid, clock: &Clock) -> Option<Arc<PeerClient>> {
        let signer = self.signer.clone()?;
        Some(Arc::new(PeerClient::new(node, signer, clock.clone(), &self.config, self.metrics.clone())))
    }

    /// Serves other nodes until `stop` is cancelled, and running requests for at most `deadline` longer. Returns how many
    /// connections were cut off.
    pub async fn serve(self, inside: Inside, stop: CancellationToken, deadline: Duration) -> usize {
        let (Some(listener), Some(signer)) = (self.listener, self.signer) else { return 0 };
        let mut http = self.http;
        http.head_timeout = Period::millis(u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX));
        // Each node keeps some connections open that it doesn't use.
        http.connections = self.config.concurrency.saturating_mul(2).saturating_add(64);
        let router = server::router(inside, signer, &self.config, self.metrics);
        serve(listener, router, &http, stop, deadline).await
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartFailure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartFailure::Peers { address, reason: error.to_string().to_lowercase() })
}
