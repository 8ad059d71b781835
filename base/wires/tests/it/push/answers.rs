//! A server that answers as the test says, and keeps what it was asked.

use artel_wires::simulators::Served;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub type Answer = Option<Response<Full<Bytes>>>;
type How = dyn Fn(usize, &Request<Bytes>) -> Answer + Send + Sync;

pub struct Answers {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Request<Bytes>>>>,
    _task: JoinSet<()>,
}

impl Answers {
    /// `how` is given the number of the request, from 0; `None` closes the connection.
    pub async fn start(how: impl Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static) -> Answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Request<Bytes>>>> = Arc::default();
        let (how, kept): (Arc<How>, _) = (Arc::new(how), Arc::clone(&asked));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (how, kept) = (Arc::clone(&how), Arc::clone(&kept));
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (how, kept) = (Arc::clone(&how), Arc::clone(&kept));
                        async move {
                            let (parts, body) = request.into_parts();
                            let request =
                                Request::from_parts(parts, body.collect().await.unwrap().to_bytes());
                            let mut kept = kept.lock().unwrap();
                            let answer = how(kept.len(), &request);
                            kept.push(request);
                            answer.ok_or_else(|| std::io::Error::other("closed"))
                        }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Answers { address, asked, _task: task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Request<Bytes>>> {
        self.asked.lock().unwrap()
    }
}

pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Some(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

/// One HTTP request and its answer, as text, over a connection of its own.
pub async fn ask(to: &Served, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(to.address()).await.unwrap();
    let host = if headers.to_lowercase().contains("host:") {
        String::new()
    } else {
        format!("host: {}\r\n", to.address())
    };
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut whole = String::new();
    stream.read_to_string(&mut whole).await.unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}
