//! Calls to the outside over HTTP: one client for all services of a node, see [`Outbound`] for what it promises.
//!
//! A call passes, in this order: what the host asked for by `Retry-After`, the host's rate (of this node, and of all nodes
//! when there is a cache), a bound on calls at the same time, the host's circuit breaker; then it is sent. What fails in
//! passing is sent again after a drawn pause, if that can't do a thing twice, and while the host's budget of repeats lasts.
//! Redirects are answers: nothing is followed.

mod breaker;
mod failure;
mod flight;
mod guard;
mod hosts;
mod metrics;
mod rate;
mod record;
mod retry;
mod transport;

pub use breaker::BreakerSettings;
pub use failure::OutboundError;
pub use guard::is_public;
pub use rate::Rate;
pub use retry::RetrySettings;

use crate::telemetry::Metrics;
use artel_flow::{Call, Clock, Outbound, Reply};
use artel_message::Fault;
use artel_store::Cache;
use async_trait::async_trait;
use breaker::Outcome;
use flight::Flights;
use futures::FutureExt as _;
use hosts::{Host, Hosts, Passed};
use metrics::OutboundMetrics;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use transport::{Checked, Transport};

/// A host that asks for more is asked again after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Bounds of what goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundSettings {
    pub connect_timeout: Duration,
    /// For a whole call with its waits and repeats, where the call names no other.
    pub timeout: Duration,
    /// For one attempt.
    pub attempt_timeout: Duration,
    /// Bytes of the largest answer's body.
    pub response_bytes: usize,
    /// Calls at the same time; further ones wait within their time.
    pub at_once: usize,
    /// Idle connections kept for each host.
    pub idle_connections: usize,
    /// Hosts whose state is kept.
    pub hosts: usize,
    /// Only addresses of the public internet, whoever gave the URL.
    pub public_only: bool,
    /// The rate of each host; none is without a bound.
    pub rate: Option<Rate>,
    /// The rates of some hosts, by `host` or `host:port`, in place of the general one.
    pub rates: BTreeMap<String, Rate>,
    /// How long a call waits for its place; if it had to wait longer it fails at once.
    pub longest_wait: Duration,
    pub breaker: BreakerSettings,
    pub retry: RetrySettings,
}

impl Default for OutboundSettings {
    fn default() -> OutboundSettings {
        OutboundSettings {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            response_bytes: 8 << 20,
            at_once: 256,
            idle_connections: 8,
            hosts: 1024,
            public_only: false,
            rate: None,
            rates: BTreeMap::new(),
            longest_wait: Duration::from_secs(5),
            breaker: BreakerSettings::default(),
            retry: RetrySettings::default(),
        }
    }
}

/// Numbers from 0 to 1, for pauses.
pub type Randomness = Arc<dyn Fn() -> f64 + Send + Sync>;

/// The client. Clones share everything.
#[derive(Clone)]
pub struct HttpOutbound(Arc<Inner>);

struct Inner {
    settings: OutboundSettings,
    transport: Arc<dyn Transport>,
    cache: Option<Arc<dyn Cache>>,
    clock: Clock,
    random: Randomness,
    hosts: Hosts,
    flights: Flights,
    places: Semaphore,
    metrics: OutboundMetrics,
}

/// What a client is made of.
pub struct OutboundParts {
    pub settings: OutboundSettings,
    pub clock: Clock,
    pub random: Randomness,
    /// Shares the rates among all nodes that have it. Without an answer of it each node keeps the rate for itself.
    pub cache: Option<Arc<dyn Cache>>,
}

impl OutboundParts {
    pub fn new(settings: OutboundSettings, clock: Clock) -> OutboundParts {
        OutboundParts { settings, clock, random: Arc::new(random), cache: None }
    }

    /// The client that calls.
    pub fn open(self) -> Result<HttpOutbound, OutboundError> {
        let transport = self.http()?;
        Ok(self.with(transport))
    }

    /// The client that calls, and writes every answer to `file` for [`OutboundParts::replay`]. Headers and parameters
    /// that are secret by their name are masked, and `secrets` wherever they stand.
    pub fn record(self, file: &Path, secrets: Vec<String>) -> Result<HttpOutbound, OutboundError> {
        let recorder = record::Recorder::new(self.http()?, file, secrets);
        Ok(self.with(Arc::new(recorder)))
    }

    /// The client that calls nobody and answers from `file`. A request that is not there (any more) fails as `internal`
    /// and names the nearest one.
    pub fn replay(self, file: &Path, secrets: Vec<String>) -> Result<HttpOutbound, OutboundError> {
        let replayer = record::Replayer::open(file, secrets)?;
        Ok(self.with(Arc::new(replayer)))
    }

    fn http(&self) -> Result<Arc<dyn Transport>, OutboundError> {
        let OutboundSettings { connect_timeout, idle_connections, response_bytes, .. } = self.settings;
        Ok(Arc::new(transport::Http::new(connect_timeout, idle_connections, response_bytes)?))
    }

    fn with(self, transport: Arc<dyn Transport>) -> HttpOutbound {
        let places = Semaphore::new(self.settings.at_once.clamp(1, Semaphore::MAX_PERMITS));
        HttpOutbound(Arc::new(Inner {
            settings: self.settings,
            transport,
            cache: self.cache,
            clock: self.clock,
            random: self.random,
            hosts: Hosts::default(),
            flights: Flights::default(),
            places,
            metrics: OutboundMetrics::new(),
        }))
    }
}

fn random() -> f64 {
    // Without the system's randomness every pause is the whole one.
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

impl HttpOutbound {
    pub fn register(&self, metrics: &Metrics) {
        self.0.metrics.register(metrics);
    }

    /// As [`Outbound::call`], with the cause as a type.
    pub async fn send(&self, call: Call) -> Result<Reply, OutboundError> {
        let checked = transport::check(call, self.0.settings.public_only)?;
        let limit = checked.call.within.unwrap_or(self.0.settings.timeout);
        let deadline = Instant::now() + limit;
        let host = checked.host.clone();
        let Some(key) = flight::key(&checked) else { return self.0.run(&checked, limit, deadline).await };
        let inner = Arc::clone(&self.0);
        let begin = move || async move { inner.run(&checked, limit, deadline).await }.boxed();
        let boarded = self.0.flights.board(key, begin);
        if boarded.began {
            return boarded.flight.await;
        }
        // Who began it may have more time.
        let joined = timeout_at(deadline, boarded.flight).await;
        joined.unwrap_or(Err(OutboundError::Timeout { host, after: limit }))
    }
}

#[async_trait]
impl Outbound for HttpOutbound {
    async fn call(&self, call: Call) -> Result<Reply, Fault> {
        Ok(self.send(call).await?)
    }
}

impl Inner {
    async fn run(&self, call: &Checked, limit: Duration, deadline: Instant) -> Result<Reply, OutboundError> {
        let host = self.hosts.get(call, &self.settings);
        host.lock().budget.called(&self.settings.retry);
        let mut attempt = 1;
        loop {
            let late = || OutboundError::Timeout { host: call.host.clone(), after: limit };
            // Waiting for a place has an end of its own; sending is judged by the breaker and so has it inside.
            let ready = timeout_at(deadline, self.ready(call, &host)).await.map_err(|_| late())?;
            let result = match ready {
                Ok(place) => self.attempt(call, &host, deadline, place).await,
                Err(error) => Err(error),
            };
            let Some(pause) = self.again(call, &host, attempt, &result) else { return result };
            if Instant::now() + pause >= deadline || !host.lock().budget.take() {
                return result;
            }
            self.metrics.repeated(&host.label);
            if timeout_at(deadline, self.clock.until(self.clock.now() + pause)).await.is_err() {
                return result;
            }
            attempt += 1;
        }
    }

    /// Waits until the call may be sent.
    async fn ready(
        &self,
        call: &Checked,
        host: &Host,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, OutboundError> {
        let now = self.clock.now();
        let asked = host.lock().not_before.filter(|until| *until > now);
        if let Some(until) = asked {
            let after = until.since(now);
            if after > self.settings.longest_wait {
                return self.refused(host, OutboundError::AskedToWait { host: call.host.clone(), after });
            }
            self.clock.until(until).await;
        }
        self.rate(call, host).await?;
        // Never closed.
        let closed = |_| OutboundError::Request { reason: "the node is shutting down".to_owned() };
        self.places.acquire().await.map_err(closed)
    }

    async fn rate(&self, call: &Checked, host: &Host) -> Result<(), OutboundError> {
        let settings = &self.settings;
        let name = call.host.rsplit_once(':').map_or(call.host.as_str(), |(name, _)| name);
        let own = settings.rates.get(&call.host).or_else(|| settings.rates.get(name));
        let Some(rate) = own.or(settings.rate.as_ref()) else { return Ok(()) };
        let most = settings.longest_wait;
        let begin = self.clock.now();
        let taken = host.lock().gcra.take(rate, begin, most);
        let wait = match taken {
            Ok(wait) => wait,
            Err(after) => return self.refused(host, OutboundError::Rate { host: call.host.clone(), after }),
        };
        if !wait.is_zero() {
            self.clock.until(begin + wait).await;
        }
        let Some(cache) = &self.cache else { return Ok(()) };
        let window = rate::window(rate);
        loop {
            let now = self.clock.now();
            let number =
                now.micros().div_euclid(i64::try_from(window.as_micros()).unwrap_or(i64::MAX).max(1));
            let key = format!("outbound:rate:{}:{number}", call.host);
            // A cache that is away costs accuracy: this node keeps the rate for itself.
            let Ok(n) = cache.increment(&key, 1, window * 2).await else { return Ok(()) };
            let shared = rate::shared_wait(rate, n, window, now);
            if (now + shared.wait).since(begin) > most {
                return self
                    .refused(host, OutboundError::Rate { host: call.host.clone(), after: shared.wait });
            }
            if !shared.wait.is_zero() {
                self.clock.until(now + shared.wait).await;
            }
            if !shared.full {
                return Ok(());
            }
        }
    }

    fn refused<T>(&self, host: &Host, error: OutboundError) -> Result<T, OutboundError> {
        self.metrics.done(&host.label, error.name().to_owned(), None);
        Err(error)
    }

    /// Sends once, if the circuit lets it.
    async fn attempt(
        &self,
        call: &Checked,
        host: &Host,
        deadline: Instant,
        _place: tokio::sync::SemaphorePermit<'_>,
    ) -> Result<Reply, OutboundError> {
        let asked = host.lock().breaker.ask(self.clock.now());
        let permit = match asked {
            Ok(permit) => permit,
            Err(after) => return self.refused(host, OutboundError::Open { host: call.host.clone(), after }),
        };
        let passed = Passed { host, clock: &self.clock, metrics: &self.metrics, permit: Some(permit) };
        let begin = Instant::now();
        let end = deadline.min(begin + self.settings.attempt_timeout);
        let result = timeout_at(end, self.transport.send(call)).await.unwrap_or_else(|_| {
            Err(OutboundError::Timeout { host: call.host.clone(), after: end.duration_since(begin) })
        });
        let (outcome, told) = match &result {
            Ok(reply) if reply.status >= 500 && reply.status != 501 => (Outcome::Bad, class(reply)),
            Ok(reply) => (Outcome::Good, class(reply)),
            Err(error) if error.is_the_hosts() => (Outcome::Bad, error.name().to_owned()),
            Err(error) => (Outcome::Unknown, error.name().to_owned()),
        };
        passed.done(outcome);
        self.metrics.done(&host.label, told, Some(begin.elapsed().as_secs_f64()));
        if let Ok(reply) = &result
            && matches!(reply.status, 429 | 503)
            && let Some(after) = retry::retry_after(&reply.headers, self.clock.now())
        {
            let until = self.clock.now() + after.min(LONGEST_RETRY_AFTER);
            let mut state = host.lock();
            state.not_before = state.not_before.max(Some(until));
        }
        result
    }

    /// After what pause the call is worth another attempt.
    fn again(
        &self,
        call: &Checked,
        host: &Host,
        attempt: u32,
        result: &Result<Reply, OutboundError>,
    ) -> Option<Duration> {
        let settings = &self.settings.retry;
        let harmless = retry::is_idempotent(&call.call.method) || call.call.key.is_some();
        let wanted = match result {
            Ok(reply) => harmless && retry::is_passing(reply.status),
            // Nothing was sent.
            Err(OutboundError::Connect { .. }) => true,
            Err(OutboundError::Broken { .. } | OutboundError::Timeout { .. }) => harmless,
            Err(_) => false,
        };
        if !wanted || attempt >= settings.attempts {
            return None;
        }
        let now = self.clock.now();
        let asked = host.lock().not_before.map_or(Duration::ZERO, |until| until.since(now));
        let pause = retry::pause(settings, attempt, (self.random)());
        (asked <= self.settings.longest_wait).then(|| pause.max(asked))
    }
}

fn class(reply: &Reply) -> String {
    match reply.status {
        429 => "429".to_owned(),
        status => format!("{}xx", status / 100),
    }
}
