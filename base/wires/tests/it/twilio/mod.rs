//! The client for Twilio's messages.

mod foreign;
mod reports;
mod sending;

use artel_wires::http::system_clock;
use artel_wires::simulators::twilio::{TwilioSimulator, TwilioSimulatorSettings};
use artel_wires::simulators::{Board, Judge};
use artel_wires::twilio::{From, Settings, Text, Twilio};
use std::sync::Arc;
use std::time::Duration;

pub const TOKEN: &str = "artel-simulator";
pub const ACCOUNT: &str = "AC00000000000000000000000000000000";
/// Longer than anything takes; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Both {
    pub simulator: TwilioSimulator,
    pub client: Twilio,
    pub board: Board,
}

pub fn settings(base: &str) -> Settings {
    Settings::new(base, ACCOUNT, TOKEN, From::Sender("+15005550006".into()))
}

pub async fn both(judge: Judge, of_client: impl FnOnce(&mut Settings)) -> Both {
    let board = Board::new(16 << 20, Arc::new(|| 0));
    let repeat = Duration::from_millis(10);
    let simulator = TwilioSimulatorSettings { repeat, ..TwilioSimulatorSettings::default() };
    let simulator = TwilioSimulator::start(simulator, board.clone(), judge).await.unwrap();
    let mut settings = settings(&simulator.served().url());
    of_client(&mut settings);
    Both { simulator, client: Twilio::new(settings, system_clock()).unwrap(), board }
}

pub fn text(body: &str) -> Text {
    Text { to: "+79161234567".into(), from: None, body: body.into(), reference: None, validity: None }
}
