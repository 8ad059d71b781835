//! Connections: whom to connect to, and whose certificates to believe.

use super::HttpSettings;
use super::url::literal;
use crate::tls;
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Roots {
    /// The machine's.
    Native,
    /// Only these, as PEM.
    Pem(String),
}

/// No certificates to believe in.
#[derive(Debug, thiserror::Error)]
#[error("no certificates to trust: {0}")]
pub struct NoTrust(String);

/// Which addresses may be connected to. It is asked about every address, also about those that a name is resolved to, at the moment
/// of the connection.
#[derive(Clone)]
pub struct Addresses(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Addresses {
    pub fn any() -> Addresses {
        Addresses(Arc::new(|_| true))
    }

    /// Only those that `allowed` says yes to.
    pub fn only(allowed: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Addresses {
        Addresses(Arc::new(allowed))
    }

    /// And those of this machine.
    #[must_use]
    pub fn or_loopback(self) -> Addresses {
        Addresses::only(move |address| address.is_loopback() || self.allow(address))
    }

    pub fn allow(&self, address: IpAddr) -> bool {
        (self.0)(address)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses")
    }
}

pub(super) type Connector = HttpsConnector<HttpConnector<Judged>>;

pub(super) fn connector(settings: &HttpSettings) -> Result<Connector, NoTrust> {
    let mut http = HttpConnector::new_with_resolver(Judged(settings.addresses.clone()));
    http.set_connect_timeout(Some(settings.connect));
    http.set_nodelay(true);
    http.enforce_http(false);
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls(&settings.roots)?);
    Ok(builder.https_or_http().enable_all_versions().wrap_connector(http))
}

fn tls(roots: &Roots) -> Result<ClientConfig, NoTrust> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Native => tls::add_native(&mut store),
        Roots::Pem(pem) => tls::add_pem(&mut store, pem),
    }
    .map_err(NoTrust)?;
    tls::client(store).map_err(|error| NoTrust(error.to_string()))
}

/// A resolver that leaves out addresses which must not be connected to.
#[derive(Debug, Clone)]
pub(super) struct Judged(Addresses);

/// Carried through the connector as an I/O error, and found again by its type.
#[derive(Debug, thiserror::Error)]
#[error("'{host}' leads to an address that must not be connected to")]
pub(super) struct NotAllowed {
    host: String,
}

impl Service<Name> for Judged {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let addresses = self.0.clone();
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let open: Vec<SocketAddr> = all.iter().copied().filter(|a| addresses.allow(a.ip())).collect();
            if open.is_empty() && !all.is_empty() {
                return Err(io::Error::other(NotAllowed { host: name.as_str().to_owned() }));
            }
            Ok(open.into_iter())
        })
    }
}

/// A host that is an address already is not resolved.
pub(super) fn check_literal(uri: &Uri, addresses: &Addresses) -> Result<(), NotAllowed> {
    let host = uri.host().unwrap_or_default();
    match literal(host) {
        Some(address) if !addresses.allow(address) => Err(NotAllowed { host: host.to_owned() }),
        _ => Ok(()),
    }
}
