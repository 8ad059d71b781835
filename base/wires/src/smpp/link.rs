//! A link that is made again whenever it ends.

use super::codec::{encode, take};
use super::delivery::{Delivery, OfCentre};
use super::pdu::{Address, Bind, Body, Mode, RESPONSE, status};
use super::session::{Limits, Queue, Reader, Session, Writer};
use super::settings::{Settings, Tls};
use crate::said::{Said, Stage};
use crate::tls;
use bytes::BytesMut;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

/// The version that is spoken.
const VERSION: u8 = 0x34;

/// How a link is.
#[derive(Clone)]
pub(super) enum State {
    /// On its way, for the first time or again.
    Coming,
    Bound(Arc<Session>),
    /// What came of the last attempt.
    Down(Said),
    Closed,
}

/// What all links of a client share.
pub(super) struct Common {
    pub(super) settings: Settings,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// True when the client is being closed.
    pub(super) closing: watch::Receiver<bool>,
    /// Changes with the state of any link.
    pub(super) changes: watch::Sender<u64>,
}

struct Bound {
    session: Arc<Session>,
    halves: (Reader, Writer),
    queue: (Queue, BytesMut),
}

/// Keeps a link until the client is closed.
pub(super) async fn keep(common: Arc<Common>, mode: Mode, state: watch::Sender<State>) {
    let settings = &common.settings;
    let mut closing = common.closing.clone();
    let mut pause = settings.least_pause;
    let show = |now: State| {
        state.send_replace(now);
        common.changes.send_modify(|n| *n += 1);
    };
    while !*closing.borrow() {
        let opened = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            opened = open(settings, mode) => opened,
        };
        match opened {
            Ok(bound) => {
                let began = Instant::now();
                show(State::Bound(Arc::clone(&bound.session)));
                let why = work(&common, bound).await;
                tracing::info!(account = settings.account(), why, "an SMPP link has ended");
                show(State::Coming);
                // A link that lived is made again at once, one that is cut off each time is not.
                if began.elapsed() > pause {
                    pause = settings.least_pause;
                    continue;
                }
            }
            Err(said) => {
                tracing::warn!(account = settings.account(), ?said, "an SMPP link can't be made");
                show(State::Down(said));
            }
        }
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            () = sleep(pause) => pause = (pause * 2).min(settings.most_pause),
        }
    }
    show(State::Closed);
}

async fn work(common: &Common, bound: Bound) -> String {
    let Bound { session, halves, queue } = bound;
    let settings = &common.settings;
    let requests = OfCentre { ids: settings.ids, deliveries: &common.deliveries };
    let limits = Limits {
        answer: settings.answer_limit,
        enquire_link: settings.enquire_link,
        most_pdu: settings.most_pdu,
    };
    let leave = async {
        let _ = common.closing.clone().wait_for(|closing| *closing).await;
        leave(&session, settings).await;
        "closed by us".to_owned()
    };
    let why = tokio::select! {
        biased;
        why = session.run(halves, queue, limits, &requests) => why,
        why = leave => why,
    };
    session.end(&why);
    why
}

/// Waits for the last answers, then unbinds (section 4.2).
async fn leave(session: &Session, settings: &Settings) {
    let _ = timeout(settings.answer_limit, session.idle(settings.window)).await;
    session.close();
    let _ = session.ask(Body::Unbind, settings.answer_limit).await;
}

async fn open(settings: &Settings, mode: Mode) -> Result<Bound, Said> {
    let (mut reader, mut writer) = timeout(settings.connect_limit, connect(settings))
        .await
        .map_err(|_| down("no connection in time"))?
        .map_err(|error| down(&format!("no connection: {}", error.kind())))?;
    let read = timeout(settings.bind_limit, bind(settings, mode, &mut reader, &mut writer))
        .await
        .map_err(|_| down("no answer to the bind in time"))??;
    let (session, queue) = Session::new(settings.window);
    Ok(Bound { session, halves: (reader, writer), queue: (queue, read) })
}

fn down(text: &str) -> Said {
    Said::Broken { stage: Stage::Before, text: text.to_owned() }
}

async fn connect(settings: &Settings) -> std::io::Result<(Reader, Writer)> {
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
    stream.set_nodelay(true)?;
    let config = match &settings.tls {
        Tls::None => {
            let (reader, writer) = stream.into_split();
            return Ok((Box::new(reader), Box::new(writer)));
        }
        Tls::Implicit => trusted()?,
        Tls::With(config) => Arc::clone(config),
    };
    let name = ServerName::try_from(settings.host.clone()).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let (reader, writer) = tokio::io::split(stream);
    Ok((Box::new(reader), Box::new(writer)))
}

/// Trusts whom the machine trusts.
fn trusted() -> std::io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // Without any the handshake says so.
    let _ = tls::add_native(&mut roots);
    tls::client(roots).map(Arc::new).map_err(std::io::Error::other)
}

/// Binds, and gives what was read beyond the answer.
async fn bind(
    settings: &Settings,
    mode: Mode,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<BytesMut, Said> {
    let bind = Bind {
        mode,
        system_id: settings.system_id.clone(),
        password: settings.password.clone(),
        system_type: settings.system_type.clone(),
        interface_version: VERSION,
        range: Address::default(),
    };
    let mut octets = BytesMut::new();
    encode(&Body::Bind(bind).with(1), &mut octets).map_err(|unfit| down(&format!("bind: {unfit}")))?;
    let broken = |error: std::io::Error| down(&format!("bind: {}", error.kind()));
    writer.write_all(&octets).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    octets.clear();
    loop {
        while let Some(frame) = take(&mut octets, settings.most_pdu).map_err(|bad| down(&bad.to_string()))? {
            let answers = frame.command == mode.command() | RESPONSE || frame.command == RESPONSE;
            match frame.status {
                _ if !answers => {}
                status::OK if frame.command != RESPONSE => return Ok(octets),
                status::OK => return Err(Said::Smpp { status: status::BIND_FAILED }),
                status => return Err(Said::Smpp { status }),
            }
        }
        if reader.read_buf(&mut octets).await.map_err(broken)? == 0 {
            return Err(down("bind: closed by the centre"));
        }
    }
}
