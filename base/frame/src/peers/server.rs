//! What other nodes ask this one: commands and queries of the services that run here, and what the node says of itself.

use super::measure::PeerMetrics;
use super::nonces::{Nonces, Use};
use super::token::{Claims, Refusal, Signer, body_hash, same};
use super::wire::{ANSWER, COMMAND, FAULT, QUERY, REFUSED, REPLY, VIEW};
use crate::config::Peers;
use crate::edge::status_of;
use artel_flow::{Clock, Mediator};
use artel_message::{Code, Fault};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// What a node that is too busy asks for.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What the node says of itself, as JSON.
pub(crate) type View = Arc<dyn Fn() -> BoxFuture<'static, Result<Bytes, Fault>> + Send + Sync>;

/// What other nodes are let into.
pub(crate) struct Inside {
    pub mediator: Mediator,
    pub view: View,
    pub clock: Clock,
}

/// The listener's state.
#[derive(Clone)]
struct Listener(Arc<Inner>);

struct Inner {
    inside: Inside,
    signer: Signer,
    nonces: Mutex<Nonces>,
    slots: Arc<Semaphore>,
    body_limit: usize,
    metrics: PeerMetrics,
}

/// A request that may be done, and its place among those at the same time.
struct Taken {
    claims: Claims,
    body: Bytes,
    _slot: OwnedSemaphorePermit,
}

/// Everything that the listener serves.
pub(super) fn router(inside: Inside, signer: Signer, peers: &Peers, metrics: PeerMetrics) -> Router {
    let listener = Listener(Arc::new(Inner {
        inside,
        signer,
        nonces: Mutex::new(Nonces::new(Instant::now())),
        slots: Arc::new(Semaphore::new(peers.concurrency)),
        body_limit: peers.body_limit.len(),
        metrics,
    }));
    Router::new()
        .route(&format!("{COMMAND}{{name}}"), post(command))
        .route(&format!("{QUERY}{{name}}"), post(query))
        .route(VIEW, get(view))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(listener)
}

impl Listener {
    /// Lets a request in, or says why not. The token is looked at before a byte of the body is read.
    async fn take(&self, request: Request) -> Result<Taken, Refusal> {
        let inner = &self.0;
        let (parts, body) = request.into_parts();
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let claims =
            inner.signer.open(token, parts.method.as_str(), parts.uri.path(), inner.inside.clock.now())?;
        let slot = inner.slots.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let body = read(body, inner.body_limit).await?;
        if !same(&body_hash(&body), &claims.body) {
            return Err(Refusal::Body);
        }
        let mut nonces = inner.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        match nonces.take(claims.nonce, Instant::now()) {
            Use::First => Ok(Taken { claims, body, _slot: slot }),
            Use::Again => Err(Refusal::Replayed),
            Use::Full => Err(Refusal::Busy),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        let times = self.0.metrics.refused(refusal.kind());
        // A node with the wrong secret asks for ever: the log is told less and less often.
        if refusal.code() == Code::Unauthenticated && times.is_power_of_two() {
            tracing::warn!(%refusal, times, "a request on the listener for nodes was refused");
        }
        let mut response = answer(REFUSED, &refusal.fault());
        if refusal.code() == Code::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let whole = tokio::time::timeout(BODY_WITHIN, Limited::new(body, limit).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { limit }),
        Ok(Err(_)) => Err(Refusal::BrokeOff),
        Err(_) => Err(Refusal::Slow(BODY_WITHIN)),
    }
}

async fn command(State(listener): State<Listener>, Path(name): Path<String>, request: Request) -> Response {
    match listener.take(request).await {
        Ok(Taken { claims, body, _slot }) => {
            reply(listener.0.inside.mediator.ask_bytes(&name, body, claims.asked()).await)
        }
        Err(refusal) => listener.refuse(&refusal),
    }
}

async fn query(State(listener): State<Listener>, Path(name): Path<String>, request: Request) -> Response {
    match listener.take(request).await {
        Ok(Taken { claims, body, _slot }) => {
            reply(listener.0.inside.mediator.query_bytes(&name, body, claims.asked()).await)
        }
        Err(refusal) => listener.refuse(&refusal),
    }
}

async fn view(State(listener): State<Listener>, request: Request) -> Response {
    match listener.take(request).await {
        Ok(Taken { _slot, .. }) => reply((listener.0.inside.view)().await),
        Err(refusal) => listener.refuse(&refusal),
    }
}

/// Whoever has no token is told so, and not which paths there are.
async fn nothing(State(listener): State<Listener>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let refusal = listener.take(request).await.err().unwrap_or(Refusal::NoRoute(path));
    listener.refuse(&refusal)
}

fn reply(result: Result<Bytes, Fault>) -> Response {
    match result {
        Ok(body) => {
            let headers = [(ANSWER, REPLY), (header::CONTENT_TYPE.as_str(), "application/json")];
            (headers, body).into_response()
        }
        Err(fault) => answer(FAULT, &fault),
    }
}

/// A fault as it is: between nodes nothing is hidden.
fn answer(kind: &'static str, fault: &Fault) -> Response {
    let headers = [(ANSWER, kind), (header::CONTENT_TYPE.as_str(), "application/json")];
    match serde_json::to_vec(fault) {
        Ok(body) => (status_of(fault), headers, body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
