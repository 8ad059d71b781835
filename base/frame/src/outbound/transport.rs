//! Sending one request once. The real transport, and the seam for the recorder and the replayer.

use super::failure::OutboundError;
use super::guard::{NotPublic, Resolver, literal};
use artel_flow::{Call, Reply};
use async_trait::async_trait;
use axum::http::{HeaderValue, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::time::Duration;

#[cfg(feature = "https")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector<Resolver>>;
#[cfg(not(feature = "https"))]
type Connector = HttpConnector<Resolver>;

/// A call whose URL has been looked at.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) call: Call,
    pub(super) uri: Uri,
    /// `host:port`, in lower case.
    pub(super) host: String,
    pub(super) public_only: bool,
}

#[async_trait]
pub(super) trait Transport: Send + Sync {
    async fn send(&self, call: &Checked) -> Result<Reply, OutboundError>;
}

/// Two pools: a connection that was allowed for one kind of call is never used for the other.
pub(super) struct Http {
    any: Client<Connector, Full<Bytes>>,
    public: Client<Connector, Full<Bytes>>,
    bound: usize,
}

impl Http {
    pub(super) fn new(
        connect_timeout: Duration,
        idle_per_host: usize,
        bound: usize,
    ) -> Result<Http, OutboundError> {
        let pool = |public_only| {
            let mut http = HttpConnector::new_with_resolver(Resolver { public_only });
            http.set_connect_timeout(Some(connect_timeout));
            http.set_nodelay(true);
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_max_idle_per_host(idle_per_host).pool_idle_timeout(Duration::from_secs(60));
            Ok(builder.pool_timer(hyper_util::rt::TokioTimer::new()).build(connector(http)?))
        };
        Ok(Http { any: pool(false)?, public: pool(true)?, bound })
    }
}

#[cfg(feature = "https")]
fn connector(mut http: HttpConnector<Resolver>) -> Result<Connector, OutboundError> {
    http.enforce_http(false);
    let roots = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| OutboundError::Request { reason: format!("no certificates to trust: {error}") })?;
    Ok(roots.https_or_http().enable_http1().wrap_connector(http))
}

#[cfg(not(feature = "https"))]
fn connector(http: HttpConnector<Resolver>) -> Result<Connector, OutboundError> {
    Ok(http)
}

#[async_trait]
impl Transport for Http {
    async fn send(&self, call: &Checked) -> Result<Reply, OutboundError> {
        let pool = if call.public_only { &self.public } else { &self.any };
        let failed = |error: &(dyn Error + 'static), connecting: bool| failure(&call.host, error, connecting);
        let response = pool.request(request(call)?).await;
        let response = response.map_err(|error| failed(&error, error.is_connect()))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.bound).collect().await.map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                OutboundError::TooBig { host: call.host.clone(), bound: self.bound }
            } else {
                failed(error.as_ref(), false)
            }
        })?;
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
    }
}

fn request(call: &Checked) -> Result<Request<Full<Bytes>>, OutboundError> {
    let Checked { call, uri, .. } = call;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = call.headers.clone();
    if let Some(key) = &call.key {
        let key = HeaderValue::try_from(key.as_str());
        let key = key
            .map_err(|_| OutboundError::Request { reason: "the idempotency key is no header".to_owned() })?;
        request.headers_mut().insert("idempotency-key", key);
    }
    Ok(request)
}

fn failure(host: &str, error: &(dyn Error + 'static), connecting: bool) -> OutboundError {
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<NotPublic>()) {
            return OutboundError::Forbidden { host: refused.host.clone() };
        }
        match cause.source() {
            Some(next) => cause = next,
            None => break,
        }
    }
    let (host, reason) = (host.to_owned(), cause.to_string());
    if connecting { OutboundError::Connect { host, reason } } else { OutboundError::Broken { host, reason } }
}

/// Refuses what can't be called, before anything is counted for it.
pub(super) fn check(call: Call, public_only: bool) -> Result<Checked, OutboundError> {
    if let Some(reason) = call.problem {
        return Err(OutboundError::Request { reason });
    }
    let refuse = |reason: &str| OutboundError::Url { reason: reason.to_owned() };
    let uri: Uri = call.url.parse().map_err(|_| refuse("not a URL; write https://HOST/PATH"))?;
    let port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") if cfg!(feature = "https") => 443,
        Some("https") => return Err(refuse("https is not compiled in; rebuild with --features https")),
        _ => return Err(refuse("not a URL that can be called; write https://HOST/PATH")),
    };
    let authority = uri.authority().ok_or_else(|| refuse("it names no host; write https://HOST/PATH"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("a user or a password in it; send them in a header"));
    }
    let name = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return Err(refuse("it names no host; write https://HOST/PATH"));
    }
    let public_only = public_only || call.from_user;
    if public_only && literal(&name).is_some_and(|address| !super::guard::is_public(address)) {
        return Err(OutboundError::Forbidden { host: name });
    }
    let host = format!("{name}:{}", uri.port_u16().unwrap_or(port));
    Ok(Checked { call, uri, host, public_only })
}
