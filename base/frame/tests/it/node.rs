//! A node with a small service of its own, served on port 0, and a client for it.

use artel_frame::config::{Config, Secret, Sources};
use artel_frame::edge::{
    Access, Edge, IdempotencyKey, Info, Json, Needs, Operate, Path, Problem, Produce, Query, Read, Readiness,
    RequestInfo, Routes, serve,
};
use artel_frame::telemetry::Metrics;
use artel_message::{Code, Fault, Page, Time};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const OPERATOR: &str = "the-token-of-the-operator";

/// What the handlers share with the test.
#[derive(Clone, Default)]
pub struct Gate {
    pub entered: Arc<Notify>,
    pub open: Arc<Notify>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewThing {
    /// What it is called.
    pub name: String,
    pub count: Option<u8>,
    #[serde(default)]
    pub parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub size: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Thing {
    pub name: String,
    pub caller: String,
    pub key: Option<String>,
    pub trace: String,
    #[serde(default)]
    pub parts: Vec<Part>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// How many at most.
    pub limit: Option<u16>,
}

async fn create(
    caller: Needs<Produce>,
    key: IdempotencyKey,
    request: RequestInfo,
    Json(thing): Json<NewThing>,
) -> Result<(StatusCode, Json<Thing>), Problem> {
    if thing.name.is_empty() {
        return Err(Fault::field("name", "is empty; name the thing").into());
    }
    let trace = request.trace.trace_id();
    let thing =
        Thing { name: thing.name, caller: caller.name.to_string(), key: key.0, trace, parts: thing.parts };
    Ok((StatusCode::CREATED, Json(thing)))
}

async fn list(_: Needs<Read>, Query(filter): Query<Filter>) -> Json<Page<Thing>> {
    let thing = |n: u16| Thing {
        name: format!("thing {n}"),
        caller: String::new(),
        key: None,
        trace: String::new(),
        parts: Vec::new(),
    };
    Json(Page { items: (0..filter.limit.unwrap_or(1)).map(thing).collect(), next: None })
}

async fn one(_: Needs<Read>, Path(id): Path<Uuid>) -> Result<Json<Thing>, Problem> {
    Err(Unknown(id).into())
}

/// A service's own error, which knows its fault.
struct Unknown(Uuid);

impl From<Unknown> for Fault {
    fn from(Unknown(id): Unknown) -> Fault {
        Fault::not_found(format!("no thing {id}"))
    }
}

async fn operate(_: Needs<Operate>) -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn fail(Path(code): Path<String>) -> Result<(), Problem> {
    let code: Code = serde_json::from_value(Value::from(code)).map_err(|_| Fault::invalid("no such code"))?;
    Err(Fault::new(code, "the inner reason").into())
}

async fn wait(State(gate): State<Gate>) -> &'static str {
    gate.entered.notify_one();
    gate.open.notified().await;
    "waited"
}

async fn panics() -> StatusCode {
    panic!("on purpose")
}

/// Proves by itself who calls.
async fn called(Path(from): Path<String>) -> Result<StatusCode, Problem> {
    match from.as_str() {
        "friend" => Ok(StatusCode::NO_CONTENT),
        _ => Err(Fault::forbidden("who is that?").into()),
    }
}

fn routes(gate: Gate) -> Routes {
    Routes::new()
        .post("/api/demo/things", create, |op| op.summary("Make a thing").answers::<Thing>(201, "made"))
        .get("/api/demo/things", list, |op| op.summary("List things").answers::<Page<Thing>>(200, "a page"))
        .get("/api/demo/things/{id}", one, |op| {
            op.summary("Show a thing").answers::<Thing>(200, "the thing").refuses(&[Code::NotFound])
        })
        .post("/api/demo/calls/{from}", called, |op| op.summary("Call").open().answers_empty(204, "heard"))
        .get("/api/demo/visits/{from}", called, |op| op.summary("Visit").open().answers_empty(204, "seen"))
        .put("/api/demo/switch", operate, |op| op.summary("Switch").answers_empty(204, "switched"))
        .get("/api/demo/fail/{code}", fail, |op| op.summary("Fail").answers_empty(200, "never"))
        .get("/api/demo/wait", wait, |op| op.summary("Wait").answers_empty(200, "waited"))
        .get("/api/demo/stream", wait, |op| op.summary("Wait long").answers_empty(200, "waited").streams())
        .get("/api/demo/panic", panics, |op| op.summary("Panic").answers_empty(200, "never"))
        .with_state(gate)
}

pub struct Node {
    pub address: SocketAddr,
    pub gate: Gate,
    pub stop: CancellationToken,
    pub served: JoinHandle<usize>,
    pub readiness: Readiness,
}

/// Starts a node with these settings, `("http.body_limit", "1KiB")`.
pub async fn start(settings: &[(&str, &str)]) -> Node {
    let mut sources = Sources::new();
    for (path, value) in settings {
        let variable = format!("ARTEL_{}", path.replace('.', "_").to_uppercase());
        sources = sources.variables([(variable, value.to_string())]);
    }
    let config = Config::load(sources).unwrap();
    let readiness = Readiness::new(Arc::new(|| Time::from_millis(0)));
    let (metrics, gate) = (Metrics::with_process(), Gate::default());
    let loopback = config.http.listen.ip().is_loopback();
    let edge = Edge {
        http: config.http.clone(),
        access: Access::new(&config.auth, &Secret::new(OPERATOR), loopback),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        new_id: Arc::new(Uuid::now_v7),
        trace_ratio: config.telemetry.trace_ratio,
        info: Info { title: "Demo".into(), version: "1.2.3".into(), description: String::new() },
    };
    let router = edge.router(routes(gate.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (http, stopped, deadline) = (config.http.clone(), stop.clone(), config.node.stop_within.get());
    let served = tokio::spawn(async move { serve(listener, router, &http, stopped, deadline).await });
    Node { address, gate, stop, served, readiness }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// The sentence of a problem document, after checking that it is one.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let json = self.json();
        assert_eq!(json["status"], self.status);
        let instance = format!("urn:artel:request:{}", self.header("x-request-id"));
        assert_eq!(json["instance"], instance, "{json}");
        json["detail"].as_str().unwrap().to_owned()
    }
}

impl Node {
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(axum::body::Bytes::from(body.to_owned()))).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = Body::new(body).collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Stops and returns how many connections were cut off.
    pub async fn stop(self) -> usize {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.served).await.unwrap().unwrap()
    }
}
