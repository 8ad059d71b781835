//! What surrounds each request: its id, its trace, the access log, metrics, and problem documents that name it.

use super::auth::CallerName;
use super::marked::Marked;
use super::problem::Problem;
use crate::telemetry::{Metrics, Trace};
use artel_flow::http::{Input, Op};
use artel_message::{Code, Fault};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, Span};
use uuid::Uuid;

/// Where ids of requests and spans come from.
pub type NewId = Arc<dyn Fn() -> Uuid + Send + Sync>;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest key of a caller. The flow takes 200; a route that divides its work adds the number of the part.
const KEY_LENGTH: usize = 180;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// nginx's status for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;
/// Seconds; from a look-up in memory to the longest request there may be.
const LATENCY: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The request at hand: its id, and its place in a trace, for what it causes.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    pub id: Arc<str>,
    pub trace: Trace,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let info = parts.extensions.get::<RequestInfo>().cloned();
        info.ok_or_else(|| Problem::from(Fault::internal("a route is not behind the edge")))
    }
}

impl Input for RequestInfo {
    fn describe(op: Op) -> Op {
        op
    }
}

/// The `Idempotency-Key` of a request, if it has one: the same key with the same body gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = given.next() else { return Ok(IdempotencyKey(None)) };
        let refused = |reason: String| Err(Problem::from(Fault::field("idempotency-key", reason)));
        if given.next().is_some() {
            return refused("stands twice; send one".to_owned());
        }
        match value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_LENGTH) {
            Some(key) => Ok(IdempotencyKey(Some(key.to_owned()))),
            None => refused(format!("use 1 to {KEY_LENGTH} characters of ascii")),
        }
    }
}

impl Input for IdempotencyKey {
    fn describe(op: Op) -> Op {
        op.header("Idempotency-Key", "repeats with the same key and body get the first answer again")
            .refuses(&[Code::Conflict])
    }
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

/// What the middleware needs: metrics and ids.
#[derive(Clone)]
pub(crate) struct Observer {
    new_id: NewId,
    trace_ratio: f64,
    /// Their paths may hold what proves who calls.
    open: Marked,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
}

impl Observer {
    pub(crate) fn new(metrics: &Metrics, new_id: NewId, trace_ratio: f64, open: Marked) -> Observer {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY);
        let observer = Observer {
            new_id,
            trace_ratio,
            open,
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            in_flight: Gauge::default(),
        };
        metrics.register(|registry| {
            let (requests, seconds) = (observer.requests.clone(), observer.seconds.clone());
            registry.register("artel_http_requests", "requests by route and status", requests);
            registry.register(
                "artel_http_request_duration_seconds",
                "time to the head of the answer",
                seconds,
            );
            registry.register("artel_http_requests_in_flight", "requests now", observer.in_flight.clone());
        });
        observer
    }

    /// A new trace, sampled by the ratio.
    fn root(&self, id: Uuid) -> Trace {
        // The last 32 bits of an id are random, whatever its kind.
        let part = f64::from(id.as_u128() as u32) / f64::from(u32::MAX);
        Trace::root(id.as_u128(), part < self.trace_ratio || self.trace_ratio >= 1.0)
    }
}

/// The caller's place in a trace.
fn given_trace(headers: &HeaderMap) -> Option<Trace> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// An id from outside is taken over when it is short and plain, so that it can stand in logs as it is.
fn given_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (plain && (1..=128).contains(&text.len())).then(|| Arc::from(text))
}

/// Methods outside of the standard would be labels without bound.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// One request while it runs. Dropped unfinished, the client has left.
struct Running<'a> {
    observer: &'a Observer,
    method: &'static str,
    route: String,
    started: Instant,
    finished: bool,
}

impl Running<'_> {
    fn finish(&mut self, status: u16) {
        self.finished = true;
        let (method, route) = (self.method, self.route.clone());
        self.observer
            .seconds
            .get_or_create(&Route { method, route })
            .observe(self.started.elapsed().as_secs_f64());
        self.count(status);
    }

    fn count(&self, status: u16) {
        let (method, route) = (self.method, self.route.clone());
        self.observer.requests.get_or_create(&Answered { method, route, status }).inc();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.observer.in_flight.dec();
        if !self.finished {
            self.count(CLIENT_LEFT);
            tracing::info!(http.request.method = self.method, http.route = self.route, "the client left");
        }
    }
}

/// Outermost: id, trace, span, log and metrics of each request.
pub(crate) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let id = (observer.new_id)();
    let parent = given_trace(request.headers());
    let trace = parent.map_or_else(|| observer.root(id), |parent| parent.child(id.as_u128()));
    let info =
        RequestInfo { id: given_id(request.headers()).unwrap_or_else(|| id.to_string().into()), trace };
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let path = match observer.open.has(&request) {
        true => route.clone(),
        false => request.uri().path().to_owned(),
    };
    let told = told(trace, parent, (method, &route, &path));
    let span = told.in_scope(|| {
        tracing::info_span!(
            "request",
            http.request.id = &*info.id,
            http.request.method = method,
            url.path = path,
            trace.id = info.trace.trace_id(),
            span.id = info.trace.span_id(),
        )
    });
    request.extensions_mut().insert(info.clone());
    observer.in_flight.inc();
    let mut running =
        Running { observer: &observer, method, route, started: Instant::now(), finished: false };
    let mut response = next.run(request).instrument(span.clone()).instrument(told.clone()).await;
    let status = response.status().as_u16();
    running.finish(status);
    told.record("http.response.status_code", status);
    if status >= 500 {
        told.record("error.type", status.to_string());
        let code = response.extensions().get::<Problem>().map_or("", |problem| problem.fault.code.as_str());
        told.record("otel.status", code);
    }
    span.in_scope(|| log(&response, &running));
    if let Ok(value) = HeaderValue::from_str(&info.id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The span for a collector; none for what probes and scrapers ask for, nor in a trace that is not sampled.
fn told(trace: Trace, parent: Option<Trace>, (method, route, path): (&str, &str, &str)) -> Span {
    if !trace.sampled() || is_probe(route) {
        return Span::none();
    }
    // What nobody serves has no route, and a name with its path would be one without bound.
    let route = Some(route).filter(|route| *route != "none");
    tracing::info_span!(
        target: artel_flow::spans::TARGET,
        "request",
        otel.context = %trace,
        otel.parent = parent.map(|parent| parent.to_string()),
        otel.name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        otel.kind = "server",
        otel.status = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        url.path = path,
        url.scheme = "http",
    )
}

fn is_probe(route: &str) -> bool {
    matches!(route, "/livez" | "/readyz" | "/metrics")
}

/// One line per request. What probes and scrapers ask for is logged for those who debug.
fn log(response: &Response, running: &Running<'_>) {
    let status = response.status().as_u16();
    let nanos = u64::try_from(running.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let caller = response.extensions().get::<CallerName>().map_or("", |name| &*name.0);
    let code = response.extensions().get::<Problem>().map_or("", |problem| problem.fault.code.as_str());
    if is_probe(&running.route) {
        tracing::debug!(http.response.status_code = status, event.duration = nanos, "answered");
    } else {
        tracing::info!(
            event.action = "request",
            event.duration = nanos,
            http.route = running.route,
            http.response.status_code = status,
            user.name = caller,
            code,
            "answered"
        );
    }
}

/// Gives problem documents the id of their request, and logs the causes that callers are not told.
pub(crate) async fn name_problems(info: RequestInfo, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let (parts, body) = response.into_parts();
    let Some(problem) = parts.extensions.get::<Problem>().cloned() else {
        return Response::from_parts(parts, body);
    };
    if problem.fault.code == Code::Internal {
        tracing::error!(error = problem.fault.reason, "failed");
    }
    let caller = parts.extensions.get::<CallerName>().cloned();
    let mut response = problem.render(Some(&info.id));
    // What was said beside the document, such as `allow`, stays.
    for (name, value) in &parts.headers {
        if !response.headers().contains_key(name) && name != axum::http::header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    if let Some(caller) = caller {
        response.extensions_mut().insert(caller);
    }
    response
}

/// A handler's panic becomes an internal fault; the panic hook has logged its place.
pub(crate) async fn catch_panics(request: Request, next: Next) -> Result<Response, Infallible> {
    Ok(match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let reason = format!("a handler panicked: {}", text.unwrap_or_default());
            Problem::from(Fault::internal(reason)).into_response()
        }
    })
}
