//! The client of mail against the simulator and against servers that follow a script.

mod answers;
mod idle;
mod refusals;
mod script;
mod simulator;
mod tls;
mod whole;

use artel_wires::simulators::smtp::{Early, Gate, Moment, Settings as ServerSettings, Simulator};
use artel_wires::simulators::{Arrival, Behaviour, Board, Judge, Refusal, Wanted, all_good};
use artel_wires::smtp::{Address, Client, Envelope, Mail, Security, Settings};
use artel_wires::{Handed, Said, Stage, Step};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub fn board() -> Board {
    Board::new(64 << 20, Arc::new(|| 0))
}

pub fn free() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn settings(address: SocketAddr) -> Settings {
    Settings { port: address.port(), security: Security::None, ..Settings::to(address.ip().to_string()) }
}

pub fn client(address: SocketAddr) -> Client {
    Client::new(settings(address)).unwrap()
}

/// A mail whose Message-ID is `n@shop.example`.
pub fn mail(n: usize, to: &str) -> Mail {
    let content = format!("Message-ID: <{n}@shop.example>\r\nSubject: Parcel {n}\r\n\r\nIt is here.\r\n");
    with_content(to, content.as_bytes())
}

pub fn with_content(to: &str, content: &[u8]) -> Mail {
    let from = Some(Address::parse("shop@shop.example").unwrap());
    Mail::new(Envelope { from, to: Address::parse(to).unwrap() }, content).unwrap()
}

pub fn code(handed: &Handed) -> u16 {
    match &handed.said {
        Said::Smtp { code, .. } => *code,
        other => panic!("{other:?}"),
    }
}

/// The code, and what of the mail it is to.
pub fn at(handed: &Handed) -> (u16, Step) {
    match &handed.said {
        Said::Smtp { code, step, .. } => (*code, *step),
        other => panic!("{other:?}"),
    }
}

pub fn stage(handed: &Handed) -> Stage {
    match &handed.said {
        Said::Broken { stage, .. } => *stage,
        other => panic!("{other:?}"),
    }
}

pub fn refusal(code: u16, enhanced: &str) -> Refusal {
    Refusal::Smtp { code, enhanced: enhanced.to_owned(), text: "so it is".to_owned() }
}

/// A simulator that counts connections.
pub struct Rig {
    pub board: Board,
    pub server: Simulator,
    connections: Arc<AtomicUsize>,
    /// What to do at which recipient, sender or login, once for each time that it is named.
    early: Arc<Mutex<Vec<(String, Early)>>>,
}

impl Rig {
    pub async fn good() -> Rig {
        Rig::with(all_good(), |_| {}).await
    }

    pub async fn judged(judge: impl Fn(&Arrival) -> Behaviour + Send + Sync + 'static) -> Rig {
        Rig::with(Arc::new(judge), |_| {}).await
    }

    pub async fn with(judge: Judge, change: impl FnOnce(&mut ServerSettings)) -> Rig {
        let (board, connections) = (board(), Arc::new(AtomicUsize::new(0)));
        let early: Arc<Mutex<Vec<(String, Early)>>> = Arc::default();
        let (counted, wanted) = (connections.clone(), early.clone());
        let gate: Gate = Arc::new(move |moment| {
            let name = match moment {
                Moment::Connected => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    "connected"
                }
                Moment::Login(user) => user,
                Moment::From(address) | Moment::To(address) => address,
            };
            let mut wanted = wanted.lock().unwrap();
            let at = wanted.iter().position(|(at, _)| at == name)?;
            Some(wanted.remove(at).1)
        });
        let mut settings = ServerSettings { gate: Some(gate), ..ServerSettings::on(free()) };
        change(&mut settings);
        let server = Simulator::start(settings, board.clone(), judge).await.unwrap();
        Rig { board, server, connections, early }
    }

    pub fn early(&self, at: &str, early: Early) {
        self.early.lock().unwrap().push((at.to_owned(), early));
    }

    pub fn settings(&self) -> Settings {
        settings(self.server.address())
    }

    pub fn client(&self) -> Client {
        client(self.server.address())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// In the order of arrival.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = self.board.list(&Wanted { limit: usize::MAX, ..Wanted::default() });
        arrivals.reverse();
        arrivals
    }

    pub fn taken(&self) -> u64 {
        self.board.counts().taken.get("smtp").copied().unwrap_or(0)
    }
}
