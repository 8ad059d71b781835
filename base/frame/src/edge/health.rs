//! `/livez`, `/readyz`, `/metrics`: what an orchestrator and Prometheus ask for.

use super::problem::Problem;
use crate::telemetry::{Exposition, Metrics};
use artel_message::{Fault, Time};
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A dependency that takes longer is not ready.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Probes of several askers within this time share one answer.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Says whether a dependency works. An async closure is one.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// The error says what is wrong and what to do; it is shown to whoever asks.
    async fn check(&self) -> Result<(), String>;
}

#[async_trait]
impl<F, Fut> Check for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), String>> + Send,
{
    async fn check(&self) -> Result<(), String> {
        self().await
    }
}

/// What a dependency was found to be, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub status: Status,
    pub since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ready,
    /// It does not work, and the node goes on without it.
    Degraded,
    Failed,
}

/// Every dependency by name; ready when all are, or are only degraded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub status: Status,
    pub checks: BTreeMap<String, Finding>,
}

struct Dependency {
    check: Arc<dyn Check>,
    /// What it is found to be when it does not work.
    without: Status,
    /// The last finding, and when it was made.
    last: Mutex<Option<(Instant, Finding)>>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Checked {
    check: String,
}

/// The dependencies of a node; clones share them.
#[derive(Clone)]
pub struct Readiness {
    checks: Arc<RwLock<BTreeMap<String, Arc<Dependency>>>>,
    gauges: Family<Checked, Gauge>,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
}

impl Readiness {
    pub fn new(now: Arc<dyn Fn() -> Time + Send + Sync>) -> Readiness {
        Readiness { checks: Arc::default(), gauges: Family::default(), now }
    }

    /// Shows the findings as metrics: they are those of the last report, and each scrape asks for one.
    pub fn show(&self, metrics: &Metrics) {
        let help = "1 where what the node depends on works, by the name that /readyz gives it";
        metrics.register(|registry| registry.register("artel_ready", help, self.gauges.clone()));
    }

    /// Adds a dependency, or replaces the one of this name.
    pub fn register(&self, name: &str, check: Arc<dyn Check>) {
        self.put(name, check, Status::Failed);
    }

    /// Adds what the node goes on without, such as a cache: what is wrong with it is shown, and the node stays ready.
    pub fn register_dispensable(&self, name: &str, check: Arc<dyn Check>) {
        self.put(name, check, Status::Degraded);
    }

    fn put(&self, name: &str, check: Arc<dyn Check>, without: Status) {
        let dependency = Arc::new(Dependency { check, without, last: Mutex::new(None) });
        self.checks.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), dependency);
    }

    /// Checks all dependencies at the same time; findings of the last second stand.
    pub async fn report(&self) -> Report {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let findings = checks.into_iter().map(|(name, dependency)| async move {
            let finding = self.find(&dependency).await;
            (name, finding)
        });
        let checks: BTreeMap<String, Finding> =
            futures::future::join_all(findings).await.into_iter().collect();
        for (check, finding) in &checks {
            let gauge = self.gauges.get_or_create_owned(&Checked { check: check.clone() });
            gauge.set(i64::from(finding.status == Status::Ready));
        }
        let ready = checks.values().all(|finding| finding.status != Status::Failed);
        Report { status: if ready { Status::Ready } else { Status::Failed }, checks }
    }

    async fn find(&self, dependency: &Dependency) -> Finding {
        let mut last = dependency.last.lock().await;
        if let Some((at, finding)) = &*last
            && at.elapsed() < KEPT_FOR
        {
            return finding.clone();
        }
        let result = tokio::time::timeout(CHECK_TIMEOUT, dependency.check.check()).await;
        let reason = match result {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_) => Some(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        };
        let status = if reason.is_none() { Status::Ready } else { dependency.without };
        let since = match &*last {
            Some((_, before)) if before.status == status => before.since,
            _ => (self.now)(),
        };
        let finding = Finding { status, since, reason };
        *last = Some((Instant::now(), finding.clone()));
        finding
    }
}

/// The three routes.
pub(crate) fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { axum::Json(serde_json::json!({ "status": "alive" })) }))
        .route("/readyz", get(ready).with_state(readiness.clone()))
        .route("/metrics", get(scrape).with_state((readiness, metrics)))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report().await;
    let status = match report.status {
        Status::Ready | Status::Degraded => StatusCode::OK,
        Status::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, axum::Json(report)).into_response()
}

async fn scrape(State((readiness, metrics)): State<(Readiness, Metrics)>, headers: HeaderMap) -> Response {
    readiness.report().await;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Exposition::asked_for(accept);
    match metrics.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => Problem::from(Fault::internal(format!("metrics: {error}"))).into_response(),
    }
}
