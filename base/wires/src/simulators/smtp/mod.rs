//! A server of mail (RFC 5321): PIPELINING, SIZE, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, AUTH PLAIN and LOGIN, and with a
//! certificate STARTTLS or TLS. Any login is taken. It keeps mails on the board and passes nothing on.
//!
//! The judge is asked at the final dot, once for each recipient; one that is refused refuses the mail. What real servers refuse
//! before they have the mail (a connection, a login, a sender, a recipient) the [`Gate`] refuses, if there is one; a recipient
//! refused there stands on the board too, without a mail.

mod content;
mod session;

pub(super) use content::html;

use super::{Board, Judge, Refusal};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Decides before there is a mail; `None` goes on. It has to be quick.
pub type Gate = Arc<dyn Fn(Moment<'_>) -> Option<Early> + Send + Sync>;

/// What a [`Gate`] is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    Connected,
    /// By this user.
    Login(&'a str),
    /// MAIL from this address, which may be empty.
    From(&'a str),
    /// RCPT to this address.
    To(&'a str),
}

/// What happens before there is a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Early {
    Refuse(Refusal),
    /// The connection is closed without an answer.
    HangUp,
}

/// Whether and how connections are under TLS.
#[derive(Clone, PartialEq, Eq)]
pub enum Tls {
    None,
    /// Offered (RFC 3207). Texts in PEM.
    StartTls {
        certificate: String,
        key: String,
    },
    /// From the first byte.
    Implicit {
        certificate: String,
        key: String,
    },
}

#[derive(Clone)]
pub struct Settings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub tls: Tls,
    pub gate: Option<Gate>,
    /// What the answer to EHLO leaves out, such as `PIPELINING`: to see what clients do without. Who uses it all the same is
    /// refused.
    pub without: Vec<&'static str>,
    /// At the same time; one more is turned away with 421.
    pub connections: usize,
    /// The largest mail, in bytes.
    pub mail: usize,
    /// Recipients of a mail.
    pub recipients: usize,
    /// A connection on which nothing comes for so long is closed with 421.
    pub idle: Duration,
}

impl Settings {
    pub fn on(listen: SocketAddr) -> Settings {
        Settings {
            listen,
            tls: Tls::None,
            gate: None,
            without: Vec::new(),
            connections: 500,
            mail: 25 << 20,
            recipients: 100,
            idle: Duration::from_secs(300),
        }
    }
}

/// A running server; it ends when this is dropped.
pub struct Simulator {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

struct Shared {
    settings: Settings,
    acceptor: Option<TlsAcceptor>,
    board: Board,
    judge: Judge,
    turns: Arc<Semaphore>,
    /// Numbers of mails, of which their references are made.
    last: AtomicU64,
}

impl Simulator {
    /// Listens from now on. Fails if the address is taken, or the certificate is none.
    pub async fn start(settings: Settings, board: Board, judge: Judge) -> io::Result<Simulator> {
        let acceptor = match &settings.tls {
            Tls::None => None,
            Tls::StartTls { certificate, key } | Tls::Implicit { certificate, key } => {
                Some(acceptor(certificate, key).map_err(io::Error::other)?)
            }
        };
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let turns = Arc::new(Semaphore::new(settings.connections));
        let shared = Arc::new(Shared { settings, acceptor, board, judge, turns, last: AtomicU64::new(0) });
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(listen(listener, shared, stopped));
        Ok(Simulator { address, stop: Some(stop), running })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections where they are; nobody listens any more when this returns.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.running).await;
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { sessions.spawn(session::run(stream, shared.clone())); }
                // Such as too many open files: others have to end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    sessions.shutdown().await;
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?)))
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tls::None => "None",
            Tls::StartTls { .. } => "StartTls",
            Tls::Implicit { .. } => "Implicit",
        })
    }
}
