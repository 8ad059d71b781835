//! The HTTP edge: everything between a socket and a handler. Services bring [`Routes`], [`Edge::router`] puts the rest
//! around them, [`serve`] serves it.

mod auth;
mod docs;
mod door;
mod extract;
mod health;
mod limits;
mod marked;
mod openapi;
mod problem;
mod request;
mod serve;

pub use artel_flow::http::{Answer, BodyDoc, Input, Inputs, Op, Parameter, Place, RouteDoc, Routes};
pub use auth::{Access, Caller, Needs, Operate, Permission, Produce, Read, operator_token};
pub use door::Door;
pub use extract::{Json, Path, Query, broke_off, parse_json, wrong_type};
pub use health::{Check, Finding, Readiness, Report, Status};
pub use openapi::{Info, document};
pub use problem::{PROBLEM_JSON, Problem, ProblemDocument, status_of};
pub use request::{IdempotencyKey, NewId, RequestInfo};
pub use serve::serve;

use crate::config::Http;
use crate::telemetry::Metrics;
use artel_message::Fault;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use marked::Marked;
use std::time::Duration;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;

/// How long browsers may remember what a foreign page may do.
const CORS_KEPT_FOR: Duration = Duration::from_secs(600);

/// What is put around the routes of the services.
pub struct Edge {
    pub http: Http,
    pub access: Access,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub new_id: NewId,
    /// `telemetry.trace_ratio`
    pub trace_ratio: f64,
    pub info: Info,
}

impl Edge {
    /// The whole of what is served: the routes, their document and page, probes and metrics.
    pub fn router(self, routes: Routes) -> Router {
        let (router, docs) = routes.into_parts();
        let document =
            axum::body::Bytes::from(document(&self.info, &docs, self.access.is_closed()).to_string());
        let openapi = get(move |_: Needs<Read>| {
            let document = document.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], document) }
        });
        let router = router
            .route("/api/openapi.json", openapi)
            .merge(docs::router())
            .merge(health::router(self.readiness, self.metrics.clone()))
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed);
        let open = Marked::of(&docs, |doc| doc.open);
        let observer = request::Observer::new(&self.metrics, self.new_id, self.trace_ratio, open.clone());
        // The last layer is the outermost.
        let mut router = router
            .layer(DefaultBodyLimit::max(self.http.body_limit.len()))
            .layer(from_fn_with_state(limits::Limits::new(&self.http, &docs), limits::limit))
            .layer(from_fn_with_state(auth::Gate::new(self.access, open), auth::authenticate))
            .layer(from_fn_with_state(limits::Hosts::new(&self.http), limits::guard_host))
            .layer(from_fn(request::catch_panics))
            .layer(from_fn(request::name_problems));
        if self.http.compression {
            router = router.layer(CompressionLayer::new());
        }
        if !self.http.cors_origins.is_empty() {
            router = router.layer(cors(&self.http));
        }
        router.layer(from_fn(limits::secure_headers)).layer(from_fn_with_state(observer, request::observe))
    }
}

/// Pages of the configured origins may do what any client may; no cookies are involved.
fn cors(http: &Http) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        http.cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let request_headers = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("traceparent"),
        request::REQUEST_ID,
    ];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(request_headers)
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, request::REQUEST_ID])
        .max_age(CORS_KEPT_FOR)
}

async fn not_found(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::from(Fault::not_found(format!(
        "nothing is served at {path}; the routes are listed at /api/docs"
    )))
}

async fn not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let fault = Fault::invalid(format!("{method} is not served at {path}; the header allow names what is"));
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, fault)
}
