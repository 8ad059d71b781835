//! An HTTP/1.1 server of the few routes that a simulator has.

use super::fit::fits_host;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Where to listen, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// Names by which this machine may be called besides `localhost` and loopback addresses. Others are refused: a page in a
    /// browser can give its own name this machine's address.
    pub hosts: Vec<String>,
    pub most_connections: usize,
    /// For a request's head, and again for its body.
    pub read: Duration,
}

impl Listen {
    /// This machine only; port 0 is any.
    pub fn loopback(port: u16) -> Listen {
        Listen {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            hosts: Vec::new(),
            most_connections: 1_024,
            read: Duration::from_secs(10),
        }
    }
}

pub(super) type Answer = Response<Full<Bytes>>;

/// What a server does with a request.
pub(super) trait Routes: Send + Sync + 'static {
    /// Of a request's body.
    const MOST_BODY: usize;

    /// `None` closes the connection without an answer.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Option<Answer>> + Send;
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…` without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn serve<R: Routes>(listen: Listen, routes: Arc<R>) -> io::Result<Served> {
    let listener = TcpListener::bind(listen.address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(accept(listener, Arc::new(listen), routes));
    Ok(Served { address, task })
}

/// Connections end with this.
async fn accept<R: Routes>(listener: TcpListener, listen: Arc<Listen>, routes: Arc<R>) {
    let places = Arc::new(Semaphore::new(listen.most_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of files, most likely: some will be closed soon.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (listen, routes) = (Arc::clone(&listen), Arc::clone(&routes));
        connections.spawn(async move {
            let _place = place;
            connection(stream, &listen, routes).await;
        });
    }
}

async fn connection<R: Routes>(stream: TcpStream, listen: &Arc<Listen>, routes: Arc<R>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (listen, routes) = (Arc::clone(listen), Arc::clone(&routes));
        async move { one(request, &listen, &*routes).await.ok_or(NoAnswer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(listen.read).max_buf_size(64 << 10);
    // How a connection ended says nothing to anybody.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

#[derive(Debug, thiserror::Error)]
#[error("no answer, as it was asked for")]
struct NoAnswer;

async fn one<R: Routes>(request: Request<Incoming>, listen: &Listen, routes: &R) -> Option<Answer> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !fits_host(host, &listen.hosts) {
        return Some(text(StatusCode::MISDIRECTED_REQUEST, "this server is not called by that name"));
    }
    let (parts, body) = request.into_parts();
    let body = match timeout(listen.read, Limited::new(body, R::MOST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Some(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off"));
        }
        Err(_) => return Some(text(StatusCode::REQUEST_TIMEOUT, "the body did not come within the time")),
    };
    routes.answer(Request::from_parts(parts, body)).await
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    bytes(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Our own structs are always written.
    bytes(status, "application/json; charset=utf-8", serde_json::to_vec(body).unwrap_or_default().into())
}

pub(super) fn bytes(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn header(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
