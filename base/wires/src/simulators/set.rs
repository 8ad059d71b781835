//! All simulators together, with one list of what arrived and one plan of faults.

use super::fcm::{FcmSimulator, FcmSimulatorSettings};
use super::smpp::{SmppSimulator, SmppSimulatorSettings};
use super::twilio::{TwilioSimulator, TwilioSimulatorSettings};
use super::web_push::{WebPushSimulator, WebPushSimulatorSettings};
use super::{Board, FaultPlan, Faults, Listen, Served, front, smtp};
use crate::http::{Clock, system_clock};
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Which to start. `None` leaves one out.
#[derive(Clone)]
pub struct Settings {
    pub smtp: Option<smtp::Settings>,
    pub fcm: Option<FcmSimulatorSettings>,
    pub web_push: Option<WebPushSimulatorSettings>,
    /// Left out where nothing else is said: it needs the caller's tables to read texts.
    pub smpp: Option<SmppSimulatorSettings>,
    pub twilio: Option<TwilioSimulatorSettings>,
    /// The API and the page.
    pub front: Option<Listen>,
    pub faults: FaultPlan,
    /// About so many bytes of arrivals are kept.
    pub most_bytes: usize,
    pub clock: Clock,
}

impl Default for Settings {
    /// All, on any free ports of this machine.
    fn default() -> Settings {
        Settings {
            smtp: Some(smtp::Settings::on(Listen::loopback(0).address)),
            fcm: Some(FcmSimulatorSettings::default()),
            web_push: Some(WebPushSimulatorSettings::default()),
            smpp: None,
            twilio: Some(TwilioSimulatorSettings::default()),
            front: Some(Listen::loopback(0)),
            faults: FaultPlan::by_address(),
            most_bytes: 64 << 20,
            clock: system_clock(),
        }
    }
}

/// Why they did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    #[error("faults: {0}")]
    Faults(#[from] super::BadPlan),
    #[error("{name}: {error}")]
    Server { name: &'static str, error: io::Error },
}

/// The simulators, until this is dropped.
pub struct Running {
    pub board: Board,
    pub faults: Faults,
    servers: Vec<(&'static str, SocketAddr)>,
    held: Vec<Box<dyn Any + Send + Sync>>,
    front: Option<Served>,
}

pub async fn start(settings: Settings) -> Result<Running, StartFailure> {
    let board = Board::new(settings.most_bytes, Arc::clone(&settings.clock));
    let faults = Faults::new(settings.faults)?;
    let judge = faults.judge();
    let mut running = Running { board, faults, servers: Vec::new(), held: Vec::new(), front: None };
    // A simulator is added by its lines here, and a field above.
    if let Some(own) = settings.smtp {
        let server = smtp::Simulator::start(own, running.board.clone(), Arc::clone(&judge)).await;
        running.add("smtp", server, smtp::Simulator::address)?;
    }
    if let Some(own) = settings.fcm {
        let server = FcmSimulator::start(own, running.board.clone(), Arc::clone(&judge)).await;
        running.add("fcm", server, |server| server.served().address())?;
    }
    if let Some(own) = settings.web_push {
        let server = WebPushSimulator::start(own, running.board.clone(), Arc::clone(&judge)).await;
        running.add("web_push", server, |server| server.served().address())?;
    }
    if let Some(own) = settings.smpp {
        let server = SmppSimulator::start(own, running.board.clone(), Arc::clone(&judge)).await;
        running.add("smpp", server, SmppSimulator::address)?;
    }
    if let Some(own) = settings.twilio {
        let server = TwilioSimulator::start(own, running.board.clone(), Arc::clone(&judge)).await;
        running.add("twilio", server, |server| server.served().address())?;
    }
    if let Some(listen) = settings.front {
        let (board, faults) = (running.board.clone(), running.faults.clone());
        let front = front::start(listen, board, faults, running.servers.clone()).await;
        running.front = Some(front.map_err(|error| StartFailure::Server { name: "front", error })?);
    }
    Ok(running)
}

impl Running {
    /// Where a simulator listens, by its provider's name.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.servers.iter().find(|(own, _)| *own == name).map(|(_, address)| *address)
    }

    /// All of them, in the order in which they started.
    pub fn servers(&self) -> &[(&'static str, SocketAddr)] {
        &self.servers
    }

    /// The API and the page.
    pub fn front(&self) -> Option<&Served> {
        self.front.as_ref()
    }

    fn add<S: Any + Send + Sync>(
        &mut self,
        name: &'static str,
        server: io::Result<S>,
        address: impl FnOnce(&S) -> SocketAddr,
    ) -> Result<(), StartFailure> {
        let server = server.map_err(|error| StartFailure::Server { name, error })?;
        self.servers.push((name, address(&server)));
        self.held.push(Box::new(server));
        Ok(())
    }
}
