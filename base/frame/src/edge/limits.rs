//! Bounds of every request: how many at once, how long, and which hosts it may be made to.

use super::marked::Marked;
use super::problem::Problem;
use crate::config::Http;
use artel_flow::http::RouteDoc;
use artel_message::Fault;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutBody;

/// Requests under /api at once, and their time.
#[derive(Clone)]
pub(crate) struct Limits {
    slots: Arc<Semaphore>,
    timeout: Duration,
    /// The longest pause of a body that has no end of its own.
    pause: Duration,
    /// Routes whose bodies have no end of their own.
    streams: Marked,
}

impl Limits {
    pub(crate) fn new(http: &Http, docs: &[RouteDoc]) -> Limits {
        Limits {
            slots: Arc::new(Semaphore::new(http.concurrency)),
            timeout: http.request_timeout.get(),
            pause: http.body_pause.get(),
            streams: Marked::of(docs, |doc| doc.streams),
        }
    }
}

/// Probes and metrics are exempt: an overloaded node must still say so.
pub(crate) async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let Ok(_slot) = limits.slots.try_acquire() else {
        let reason = "too many requests at once (http.concurrency); try again";
        return Problem::from(Fault::unavailable(reason)).into_response();
    };
    if limits.streams.has(&request) {
        // Whoever sends nothing would keep one of the slots for as long as it likes.
        let pause = limits.pause;
        return next.run(request.map(|body| Body::new(TimeoutBody::new(pause, body)))).await;
    }
    match tokio::time::timeout(limits.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let millis = limits.timeout.as_millis();
            let reason =
                format!("no answer within {millis} ms (http.request_timeout); try again, or ask for less");
            Problem::from(Fault::timeout(reason)).into_response()
        }
    }
}

/// The hosts that requests may name. A page of a foreign site that has its name point to this machine (DNS rebinding)
/// sends that name.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<Names>);

struct Names {
    known: HashSet<String>,
    guarded: bool,
}

impl Hosts {
    pub(crate) fn new(http: &Http) -> Hosts {
        let plain = |host: &String| without_port(host).to_ascii_lowercase();
        let known = http.hosts.iter().map(plain).chain([http.listen.ip().to_string()]).collect();
        Hosts(Arc::new(Names { known, guarded: http.listen.ip().is_loopback() || !http.hosts.is_empty() }))
    }

    fn allows(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        !self.0.guarded
            || name == "localhost"
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.0.known.contains(&name)
    }
}

/// `[::1]:80` is `::1`, `a:80` is `a`.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or(host),
        None => host,
    }
}

pub(crate) async fn guard_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or("");
    if hosts.allows(host) {
        return next.run(request).await;
    }
    let shown: String = host.chars().take(80).collect();
    let reason = format!("host: '{shown}' is not a name of this server; add it to http.hosts if it is");
    let fault = Fault::forbidden(reason).with(serde_json::json!({ "field": "host" }));
    Problem::with_status(StatusCode::MISDIRECTED_REQUEST, fault).into_response()
}

const CONTENT_SECURITY_POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;

/// Headers that keep browsers from doing more with an answer than showing it. Pages set a policy of their own.
pub(crate) async fn secure_headers(request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let set = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in set {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if api {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}
