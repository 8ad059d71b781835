//! Over TLS: HTTP/2 where the other side has it, HTTP/1.1 where not, and nothing where the certificate is nobody's.

use super::{http, stage, status, token};
use artel_wires::Stage;
use artel_wires::fcm::{Fcm, FcmSettings, ServiceAccount};
use artel_wires::http::{HttpSettings, Roots};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

#[derive(Default)]
struct Seen {
    connections: usize,
    versions: Vec<Version>,
}

struct Server {
    address: SocketAddr,
    pem: String,
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

/// Answers everything with a token and a name.
async fn server(protocols: &[&str]) -> Server {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let kept = Arc::clone(&seen);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                kept.lock().unwrap().connections += 1;
                let service = service_fn(move |request: Request<Incoming>| {
                    kept.lock().unwrap().versions.push(request.version());
                    async move {
                        let body = r#"{"access_token":"t","expires_in":3600,"name":"projects/p/messages/1"}"#;
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
                    }
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Server { address, pem: made.cert.pem(), seen, _task: task }
}

async fn client(server: SocketAddr, roots: Roots, whole: Duration) -> Fcm {
    let account = ServiceAccount::parse(&token::key_file().await.to_string()).unwrap();
    let base = format!("https://localhost:{}", server.port());
    let settings = FcmSettings {
        token_uri: Some(format!("{base}/token")),
        base,
        http: HttpSettings { roots, whole, ..http() },
        ..FcmSettings::default()
    };
    Fcm::new(account, settings).unwrap()
}

async fn send_many(client: Fcm, n: usize) {
    let client = Arc::new(client);
    let mut all = JoinSet::new();
    for _ in 0..n {
        let client = Arc::clone(&client);
        all.spawn(async move { client.send(&super::fcm::push()).await.unwrap() });
    }
    while let Some(handed) = all.join_next().await {
        let handed = handed.unwrap();
        assert_eq!((status(&handed), handed.reference.as_deref()), (200, Some("projects/p/messages/1")));
    }
}

#[tokio::test]
async fn many_messages_share_one_connection_over_http_2() {
    let server = server(&["h2", "http/1.1"]).await;
    let roots = Roots::Pem(server.pem.clone());
    send_many(client(server.address, roots, Duration::from_secs(30)).await, 100).await;
    let seen = server.seen.lock().unwrap();
    assert!(seen.connections == 1 && seen.versions.iter().all(|version| *version == Version::HTTP_2));
    assert_eq!(seen.versions.len(), 101);
}

#[tokio::test]
async fn http_1_is_spoken_where_there_is_no_http_2() {
    let server = server(&["http/1.1"]).await;
    let roots = Roots::Pem(server.pem.clone());
    send_many(client(server.address, roots, Duration::from_secs(30)).await, 10).await;
    let seen = server.seen.lock().unwrap();
    assert!(seen.versions.iter().all(|version| *version == Version::HTTP_11));
}

#[tokio::test]
async fn a_certificate_of_nobody_is_not_spoken_to() {
    let server = server(&["h2"]).await;
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let client = client(server.address, Roots::Pem(other), Duration::from_secs(30)).await;
    let handed = client.send(&super::fcm::push()).await.unwrap();
    assert_eq!(stage(&handed).0, Stage::Before);
    assert!(stage(&handed).1.contains("certificate"), "{handed:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_sent_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pem = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let address = silent.local_addr().unwrap();
    let client = client(address, Roots::Pem(pem), Duration::from_secs(1)).await;
    let handed = client.send(&super::fcm::push()).await.unwrap();
    assert_eq!((stage(&handed).0, stage(&handed).1.contains("within the time")), (Stage::Before, true));
}
