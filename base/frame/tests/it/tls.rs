//! The client over TLS, against a server whose certificate an authority of the test has signed.

use crate::stall::{catalogue, services};
use artel_frame::Sandbox;
use artel_frame::client::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority's certificate as a file, and what a server shows that it has signed.
fn certificates(folder: &TempDir, host: &str) -> (PathBuf, ServerConfig) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (file, config.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap())
}

/// What a proxy in front of a node does: ends TLS and hands the bytes on.
async fn proxy(config: ServerConfig, node: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut outer), Ok(mut inner)) =
                    (acceptor.accept(stream).await, TcpStream::connect(node).await)
                else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_node_behind_tls_is_spoken_to_by_whoever_knows_its_authority() {
    let node = Sandbox::start(services, catalogue).await.unwrap();
    let folder = TempDir::new().unwrap();
    let (authority, config) = certificates(&folder, "localhost");
    let address = proxy(config, node.node().address()).await;
    let url = format!("https://localhost:{}", address.port());

    let client = Client::trusting(&url, Some(&authority)).unwrap();
    let client = client.with_token(Some(node.node().operator_token().clone()));
    let answer = client.get("/api/admin/status").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    let other = TempDir::new().unwrap();
    let (stranger, _) = certificates(&other, "localhost");
    let refused =
        Client::trusting(&url, Some(&stranger)).unwrap().get("/livez").await.unwrap_err().to_string();
    assert!(refused.contains("is not trusted") && refused.contains("--ca-file"), "{refused}");
    let wrong_name = format!("https://127.0.0.1:{}", address.port());
    let refused = Client::trusting(&wrong_name, Some(&authority)).unwrap().get("/livez").await.unwrap_err();
    assert!(refused.to_string().contains("is not trusted"), "{refused}");
    node.stop().await;
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_is_refused_with_its_name() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for file in [empty, folder.path().join("none.pem")] {
        let refused = Client::trusting("https://localhost", Some(&file)).err().expect("refused").to_string();
        assert!(refused.contains(&file.display().to_string()) && refused.contains("PEM"), "{refused}");
    }
}
