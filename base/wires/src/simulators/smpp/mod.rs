//! A centre for short messages, as SMPP 3.4 has it.
//!
//! What arrives in several parts stands on the board as one message, once all of its parts are there; parts whose others don't come
//! are put up after a while as they are. Receipts come as `deliver_sm`, again and again until they are taken.

mod centre;
mod esme;
mod parts;
mod receipts;

use super::{Board, Judge};
use crate::smpp::Ids;
use crate::smpp::pdu::Message;
use centre::Centre;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

/// How a centre is.
#[derive(Clone)]
pub struct SmppSimulatorSettings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub tls: Option<Arc<ServerConfig>>,
    /// Names and passwords; with an empty list anybody may bind.
    pub accounts: Vec<(String, String)>,
    /// Reads `data_coding` 0, an octet for a septet: the tables are the caller's.
    pub gsm: fn(&[u8]) -> String,
    /// Messages on a link that have no answer yet: more are throttled.
    pub window: usize,
    /// How ids are written in the text of receipts.
    pub ids: Ids,
    /// Which of its two forms a receipt has.
    pub receipts: Receipts,
    /// A receipt that was not taken comes again after this pause, so often at most.
    pub repeat: Duration,
    pub most_repeats: u32,
    /// For a bind after the connection, and for answers.
    pub answer_limit: Duration,
    /// A link on which nothing is heard for so long is asked whether it is there.
    pub enquire_link: Duration,
    /// How long the parts of a message wait for the others.
    pub parts_limit: Duration,
}

/// The forms of receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receipts {
    /// Optional parameters and text.
    #[default]
    Both,
    /// The text of appendix B alone, as most centres that are older do it.
    Text,
    Tlvs,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `submit_sm`, each part one.
    pub parts: u64,
    pub parts_taken: u64,
    /// Parts that were there already.
    pub parts_again: u64,
    /// The most messages without an answer on one link.
    pub most_waiting: usize,
    /// Receipts that were sent, again ones too, and those that were taken.
    pub receipts: u64,
    pub receipts_taken: u64,
}

/// A centre at work.
pub struct SmppSimulator {
    address: SocketAddr,
    centre: Arc<Centre>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl SmppSimulatorSettings {
    /// A centre that lets anybody in.
    pub fn new(gsm: fn(&[u8]) -> String) -> SmppSimulatorSettings {
        SmppSimulatorSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            accounts: Vec::new(),
            gsm,
            window: 1_000,
            ids: Ids::Alike,
            receipts: Receipts::Both,
            repeat: Duration::from_secs(1),
            most_repeats: 100,
            answer_limit: Duration::from_secs(10),
            enquire_link: Duration::from_secs(30),
            parts_limit: Duration::from_secs(30),
        }
    }
}

impl SmppSimulator {
    /// Begins to listen.
    pub async fn start(
        settings: SmppSimulatorSettings,
        board: Board,
        judge: Judge,
    ) -> io::Result<SmppSimulator> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let centre = Arc::new(Centre::new(settings, board, judge, stopped));
        let work = tokio::spawn(serve(Arc::clone(&centre), listener));
        Ok(SmppSimulator { address, centre, stop, work })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn counts(&self) -> Counts {
        self.centre.counts()
    }

    /// Links that are bound.
    pub fn bound(&self) -> usize {
        self.centre.bound()
    }

    /// Sends a message as a telephone would, to a link of this account that receives; waits for one. Gives the `command_status` that
    /// was answered, or `None` where no answer came.
    pub async fn deliver(&self, account: &str, message: Message) -> Option<u32> {
        self.centre.deliver(account, message).await
    }

    /// Unbinds everybody and stops to listen. Receipts that were still to come never do.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.work.await;
    }
}

async fn serve(centre: Arc<Centre>, listener: TcpListener) {
    let mut links = JoinSet::new();
    let mut sweep =
        interval(Duration::from_secs(1).min(centre.settings.parts_limit / 4).max(Duration::from_millis(1)));
    loop {
        tokio::select! {
            biased;
            () = centre.stopped() => break,
            Some(_) = links.join_next(), if !links.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(links.spawn(link(Arc::clone(&centre), stream))),
                Err(error) => tracing::warn!(%error, "the SMSC can't take a connection"),
            },
            _ = sweep.tick() => centre.sweep(centre.settings.parts_limit),
        }
    }
    drop(listener);
    while links.join_next().await.is_some() {}
    centre.sweep(Duration::ZERO);
}

/// One connection, from the handshake to its end.
async fn link(centre: Arc<Centre>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some(config) = centre.settings.tls.clone() else {
        let (reader, writer) = stream.into_split();
        return esme::serve(centre, Box::new(reader), Box::new(writer)).await;
    };
    let shaken = timeout(centre.settings.answer_limit, TlsAcceptor::from(config).accept(stream)).await;
    if let Ok(Ok(stream)) = shaken {
        let (reader, writer) = tokio::io::split(stream);
        esme::serve(centre, Box::new(reader), Box::new(writer)).await;
    }
}
