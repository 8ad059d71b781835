//! What is served can change: as long as a node waits for its servers it answers probes, and everything else is told to
//! come back.

use super::health::{self, Readiness};
use super::problem::Problem;
use crate::telemetry::Metrics;
use artel_message::Fault;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, PoisonError, RwLock};
use tower::ServiceExt;

/// The router that requests go to at the moment.
#[derive(Clone)]
pub struct Door(Arc<RwLock<Router>>);

impl Door {
    /// Answers `/livez`, `/readyz` and `/metrics` only.
    pub fn closed(readiness: Readiness, metrics: Metrics) -> Door {
        let router = health::router(readiness, metrics).fallback(not_yet);
        Door(Arc::new(RwLock::new(router)))
    }

    /// From now on requests go there, also those of connections that are open already.
    pub fn open(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = router;
    }

    /// What is to be served.
    pub fn router(&self) -> Router {
        let door = self.clone();
        Router::new().fallback(move |request: Request| {
            let behind = door.0.read().unwrap_or_else(PoisonError::into_inner).clone();
            async move {
                let answer: Response = match behind.oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                answer
            }
        })
    }
}

async fn not_yet() -> Response {
    Problem::from(Fault::unavailable("the node is starting; /readyz says what it waits for")).into_response()
}
