//! A server that answers as it is told and remembers what it was asked.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub headers: axum::http::HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Planned = (u16, Vec<(&'static str, String)>, Bytes);

#[derive(Default)]
struct Plan {
    next: VecDeque<Planned>,
    always: Option<u16>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
struct Shared {
    plan: Arc<Mutex<Plan>>,
    open: watch::Sender<bool>,
}

pub struct Server {
    shared: Shared,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Server {
        let shared = Shared { plan: Arc::default(), open: watch::Sender::new(true) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Server { shared, address, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The answer to the next request that has none yet; without one it is 200.
    pub fn answer(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.shared.plan.lock().unwrap().next.push_back((status, headers, Bytes::from(body.to_owned())));
    }

    pub fn always(&self, status: u16) {
        self.shared.plan.lock().unwrap().always = Some(status);
    }

    /// Lets requests wait for [`Server::release`].
    pub fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.plan.lock().unwrap().seen.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (status, headers, body) = {
        let mut plan = shared.plan.lock().unwrap();
        plan.seen.push(Seen {
            line: format!("{} {}", parts.method, parts.uri),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        let always = plan.always.unwrap_or(200);
        plan.next.pop_front().unwrap_or((always, Vec::new(), Bytes::new()))
    };
    let mut open = shared.open.subscribe();
    open.wait_for(|open| *open).await.unwrap();
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).unwrap()
}
