//! Asking other nodes: kept connections, at most two tries, never longer than `peers.timeout`. A node that is silent for half of
//! that is not given up: another one is asked beside it, and the first answer counts.

use super::breaker::{Choice, NoChoice, Nodes};
use super::measure::PeerMetrics;
use super::token::{Claims, Signer, body_hash};
use super::wire::{ANSWER, COMMAND, FAULT, QUERY, REFUSED, REPLY, VIEW};
use crate::config::Peers as Settings;
use artel_flow::{Asked, Clock, Member, PeerCall, Peers};
use artel_message::{Code, Fault};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a connection may take to be made, so that another node can be tried in time.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Idle connections are closed before the other side does it.
const IDLE: Duration = Duration::from_secs(30);
/// How long another node may take to say how it is.
const VIEW_WITHIN: Duration = Duration::from_secs(3);

/// The way to the other nodes.
pub(crate) struct PeerClient {
    node: Uuid,
    signer: Signer,
    clock: Clock,
    timeout: Duration,
    body_limit: usize,
    slots: Arc<Semaphore>,
    nodes: Nodes,
    pool: Pool<HttpConnector, Full<Bytes>>,
    metrics: PeerMetrics,
}

/// What is sent, whichever node gets it.
struct Sent<'a> {
    method: Method,
    path: String,
    body: &'a Bytes,
    asked: &'a Asked,
}

impl Tried {
    /// Where there is no other try.
    fn last(self) -> Result<Bytes, Fault> {
        match self {
            Tried::Done(answer) => answer,
            Tried::Elsewhere(fault) | Tried::Lost(fault) => Err(fault),
        }
    }
}

/// What came of one try.
enum Tried {
    /// The answer, for good.
    Done(Result<Bytes, Fault>),
    /// Another node may answer better.
    Elsewhere(Fault),
    /// The answer got lost on the way: the same node may be asked too.
    Lost(Fault),
}

#[async_trait]
impl Peers for PeerClient {
    async fn ask(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault> {
        self.call(COMMAND, nodes, call, asked).await
    }

    async fn query(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault> {
        self.call(QUERY, nodes, call, asked).await
    }
}

impl PeerClient {
    pub(super) fn new(
        node: Uuid,
        signer: Signer,
        clock: Clock,
        settings: &Settings,
        metrics: PeerMetrics,
    ) -> PeerClient {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency.min(64))
            .build(connector);
        PeerClient {
            node,
            signer,
            clock,
            timeout: settings.timeout.get(),
            body_limit: settings.body_limit.len(),
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            nodes: Nodes::default(),
            pool,
            metrics,
        }
    }

    pub fn port(self: Arc<PeerClient>) -> Arc<dyn Peers> {
        self
    }

    /// What another node says of itself.
    pub async fn view(&self, member: &Member) -> Result<Bytes, Fault> {
        let empty = Bytes::new();
        let asked = Asked::by("operator");
        let sent = Sent { method: Method::GET, path: VIEW.to_owned(), body: &empty, asked: &asked };
        let choice = self.nodes.choose(std::slice::from_ref(member), None, Instant::now());
        let choice = choice.map_err(|_| Fault::unavailable("it did not answer before and is left alone"))?;
        match tokio::time::timeout(VIEW_WITHIN, self.send(&choice, &sent)).await {
            Ok(Tried::Done(answer)) => answer,
            Ok(Tried::Elsewhere(fault) | Tried::Lost(fault)) => Err(fault),
            Err(_) => Err(Fault::timeout(format!("{} gave no answer within {VIEW_WITHIN:?}", choice.name))),
        }
    }

    async fn call(
        &self,
        route: &str,
        nodes: &[Member],
        call: PeerCall<'_>,
        asked: &Asked,
    ) -> Result<Bytes, Fault> {
        let started = Instant::now();
        let sent =
            Sent { method: Method::POST, path: format!("{route}{}", call.name), body: call.body, asked };
        let result = self.in_bounds(nodes, call, &sent).await;
        let code = result.as_ref().err().map_or("ok", |fault| fault.code.as_str());
        self.metrics.called(call.service, code, started.elapsed());
        result
    }

    async fn in_bounds(&self, nodes: &[Member], call: PeerCall<'_>, sent: &Sent<'_>) -> Result<Bytes, Fault> {
        if call.body.len() > self.body_limit {
            let limit = self.body_limit;
            return Err(Fault::invalid(format!(
                "{} is larger than peers.body_limit ({limit} bytes); ask for less, or raise it on every node",
                call.name
            )));
        }
        let Ok(_slot) = self.slots.try_acquire() else {
            let reason = "too many calls to other nodes at once (peers.concurrency); try again";
            return Err(pausing(reason.to_owned(), 1));
        };
        self.try_twice(nodes, call.service, sent).await
    }

    async fn try_twice(&self, nodes: &[Member], service: &str, sent: &Sent<'_>) -> Result<Bytes, Fault> {
        let until = Instant::now() + self.timeout;
        let first = self.nodes.choose(nodes, None, Instant::now()).map_err(|none| nobody(service, none))?;
        let mut asking = pin!(self.send(&first, sent));
        let (fault, lost) = match tokio::time::timeout(self.timeout / 2, &mut asking).await {
            Ok(Tried::Done(answer)) => return answer,
            Ok(Tried::Elsewhere(fault)) => (fault, false),
            Ok(Tried::Lost(fault)) => (fault, true),
            Err(_) => {
                let second = self.nodes.choose(nodes, Some(first.id()), Instant::now()).ok();
                return self.beside(service, sent, (&first, asking), second, until).await;
            }
        };
        let second = self.nodes.choose(nodes, Some(first.id()), Instant::now());
        let second = match &second {
            Ok(second) => second,
            // It had the request, so it may well be there again.
            Err(_) if lost => &first,
            Err(_) => return Err(fault),
        };
        self.metrics.again(service);
        match tokio::time::timeout_at(until, self.send(second, sent)).await {
            Ok(tried) => tried.last(),
            Err(_) => {
                second.failed(Instant::now());
                Err(self.silent(service))
            }
        }
    }

    /// The first node is silent: another one, if there is one, is asked beside it. It may be slow or be gone, and a command runs
    /// once whoever answers first.
    async fn beside(
        &self,
        service: &str,
        sent: &Sent<'_>,
        (first, mut asking): (&Choice, Pin<&mut impl Future<Output = Tried>>),
        second: Option<Choice>,
        until: Instant,
    ) -> Result<Bytes, Fault> {
        let mut also = pin!(async {
            match &second {
                Some(second) => {
                    self.metrics.again(service);
                    self.send(second, sent).await
                }
                None => std::future::pending().await,
            }
        });
        let (mut first_silent, mut second_silent) = (true, second.is_some());
        let mut last = None;
        while first_silent || second_silent {
            let tried = tokio::select! {
                biased;
                tried = &mut asking, if first_silent => {
                    first_silent = false;
                    tried
                }
                tried = &mut also, if second_silent => {
                    second_silent = false;
                    tried
                }
                () = tokio::time::sleep_until(until) => break,
            };
            match tried {
                Tried::Done(answer) => {
                    last = Some(answer);
                    break;
                }
                Tried::Elsewhere(fault) | Tried::Lost(fault) => last = Some(Err(fault)),
            }
        }
        if first_silent {
            first.failed(Instant::now());
        }
        if let Some(second) = second.as_ref().filter(|_| second_silent && Instant::now() >= until) {
            second.failed(Instant::now());
        }
        last.unwrap_or_else(|| Err(self.silent(service)))
    }

    fn silent(&self, service: &str) -> Fault {
        Fault::timeout(format!(
            "service '{service}' gave no answer within {:?} (peers.timeout); a command may still run there",
            self.timeout
        ))
    }

    /// One try; each has a token of its own.
    async fn send(&self, to: &Choice, sent: &Sent<'_>) -> Tried {
        let request = match self.request(to, sent) {
            Ok(request) => request,
            Err(fault) => return Tried::Done(Err(fault)),
        };
        let response = match self.pool.request(request).await {
            Ok(response) => response,
            Err(error) => {
                to.failed(Instant::now());
                let (reason, name) = (innermost(&error), &to.name);
                return if error.is_connect() {
                    let reason = format!("no connection to node {name} at {} ({reason})", to.url);
                    Tried::Elsewhere(Fault::unavailable(reason))
                } else {
                    let reason = format!("the connection to node {name} broke off ({reason}); ask again");
                    Tried::Lost(Fault::unavailable(reason))
                };
            }
        };
        let (parts, body) = response.into_parts();
        match Limited::new(body, self.body_limit).collect().await {
            Ok(body) => self.understand(to, parts.status, &parts.headers, body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                to.answered();
                let limit = self.body_limit;
                // Not the caller's fault, and no word on whether a command has run: it has.
                Tried::Done(Err(Fault::internal(format!(
                    "the reply is larger than peers.body_limit ({limit} bytes), and a command has run; raise the limit on every node"
                ))))
            }
            Err(error) => {
                to.failed(Instant::now());
                let reason = innermost(error.as_ref());
                Tried::Lost(Fault::unavailable(format!(
                    "the answer of node {} broke off ({reason}); ask again",
                    to.name
                )))
            }
        }
    }

    fn request(&self, to: &Choice, sent: &Sent<'_>) -> Result<Request<Full<Bytes>>, Fault> {
        let wrong = |error: &dyn std::fmt::Display| {
            Fault::internal(format!("no request to node {} at {}: {error}", to.name, to.url))
        };
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|error| wrong(&error))?;
        let claims = Claims {
            method: sent.method.as_str().to_owned(),
            path: sent.path.clone(),
            node: self.node,
            caller: sent.asked.caller.clone(),
            key: sent.asked.key.clone(),
            trace: sent.asked.trace.clone(),
            body: body_hash(sent.body),
            at: self.clock.now(),
            nonce: Uuid::from_bytes(nonce),
        };
        let token = self.signer.seal(&claims).map_err(|error| wrong(&error))?;
        Request::builder()
            .method(sent.method.clone())
            .uri(format!("{}{}", to.url, sent.path))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(sent.body.clone()))
            .map_err(|error| wrong(&error))
    }

    fn understand(&self, to: &Choice, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Tried {
        let kind = headers.get(ANSWER).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let fault = || serde_json::from_slice::<Fault>(&body).ok();
        match (kind, fault) {
            (REPLY, _) => {
                to.answered();
                Tried::Done(Ok(body))
            }
            (FAULT, fault) => {
                to.answered();
                match fault() {
                    Some(fault) if fault.code == Code::Unavailable => Tried::Elsewhere(fault),
                    Some(fault) => Tried::Done(Err(fault)),
                    None => Tried::Done(Err(Fault::internal("the fault of another node can't be read"))),
                }
            }
            (REFUSED, fault) => refused(to, headers, fault()),
            _ => {
                to.failed(Instant::now());
                Tried::Elsewhere(Fault::unavailable(format!(
                    "what answers at {} is no listener for nodes (status {}); check peers.url of node {}",
                    to.url,
                    status.as_u16(),
                    to.name
                )))
            }
        }
    }
}

/// The other node has run nothing.
fn refused(to: &Choice, headers: &HeaderMap, fault: Option<Fault>) -> Tried {
    let reason = fault.as_ref().map_or("without a reason", |fault| fault.reason.as_str());
    let said = format!("node {} refuses this one's request: {reason}", to.name);
    match fault.as_ref().map(|fault| fault.code) {
        Some(Code::Unavailable) => {
            let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let seconds = asked.unwrap_or(1u64);
            to.rest(Duration::from_secs(seconds), Instant::now());
            Tried::Elsewhere(pausing(said, seconds))
        }
        Some(Code::Timeout) => Tried::Lost(Fault::unavailable(said)),
        Some(Code::Invalid) => Tried::Done(Err(Fault::invalid(said))),
        // Its secret, its clock, its version: the caller's own request is not to blame.
        _ => {
            to.failed(Instant::now());
            tracing::warn!(node = to.name, url = to.url, reason, "another node refuses this one");
            Tried::Elsewhere(Fault::unavailable(said))
        }
    }
}

/// `unavailable`, with the seconds after which asking again may help.
fn pausing(reason: String, seconds: u64) -> Fault {
    Fault::unavailable(reason).with(serde_json::json!({ "retry_after": seconds }))
}

fn nobody(service: &str, none: NoChoice) -> Fault {
    match none {
        NoChoice::None => {
            Fault::unavailable(format!("service '{service}' runs on no node that can be asked"))
        }
        NoChoice::Resting(left) => {
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let reason = format!(
                "every node with service '{service}' failed just now and is left alone for {seconds} s; ask again then"
            );
            pausing(reason, seconds)
        }
    }
}

/// The text of the error that began it all.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
