//! The client for short messages over SMPP.

mod centre;
mod foreign;
mod receipts;
mod sending;

use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Board, Judge, Wanted};
use artel_wires::smpp::{Client, Delivery, Reference, Settings, Sms, sender};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything takes; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Of the alphabet of GSM 03.38 what tests use: it has most of ASCII in its places.
pub fn gsm(octets: &[u8]) -> String {
    octets.iter().map(|octet| if *octet == 0 { '@' } else { char::from(*octet) }).collect()
}

pub fn board() -> Board {
    Board::new(64 << 20, Arc::new(|| 0))
}

/// No receipts.
pub fn quiet() -> Judge {
    Arc::new(|_| Behaviour::default())
}

pub fn settings(smsc: &SmppSimulator) -> Settings {
    Settings {
        host: smsc.address().ip().to_string(),
        port: smsc.address().port(),
        system_id: "shop".into(),
        password: "secret".into(),
        source: sender("Parcels").unwrap(),
        least_pause: Duration::from_millis(5),
        ..Settings::default()
    }
}

pub struct Both {
    pub smsc: SmppSimulator,
    pub client: Client,
    pub incoming: mpsc::Receiver<Delivery>,
    pub board: Board,
}

/// A centre and a client of it.
pub async fn both(
    judge: Judge,
    of_centre: impl FnOnce(&mut SmppSimulatorSettings),
    of_client: impl FnOnce(&mut Settings),
) -> Both {
    let board = board();
    let mut centre = SmppSimulatorSettings::new(gsm);
    centre.accounts = vec![("shop".into(), "secret".into())];
    of_centre(&mut centre);
    let smsc = SmppSimulator::start(centre, board.clone(), judge).await.unwrap();
    let mut settings = settings(&smsc);
    of_client(&mut settings);
    let (client, incoming) = Client::start(settings);
    Both { smsc, client, incoming, board }
}

impl Both {
    pub async fn next(&mut self) -> Delivery {
        timeout(PATIENCE, self.incoming.recv()).await.unwrap().unwrap()
    }

    /// The board once so many have arrived, the first first.
    pub async fn arrived(&self, count: u64) -> Vec<Arrival> {
        timeout(PATIENCE, self.board.watch().wait_for(|last| *last >= count)).await.unwrap().unwrap();
        let mut all = self.board.list(&Wanted { limit: usize::MAX, ..Wanted::default() });
        all.reverse();
        all
    }
}

/// Waits until so many links are bound.
pub async fn bound(client: &Client, links: usize) {
    let mut changes = client.changes();
    let bound = async {
        while client.bound() != links {
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, bound).await.unwrap();
}

pub fn sms(text: &str) -> Sms {
    Sms::new("+79161234567", 0, vec![Bytes::from(text.to_owned())], Reference::Eight(0)).unwrap()
}

/// In UCS-2, so many characters a part.
pub fn long(text: &str, each: usize, reference: Reference) -> Sms {
    let characters: Vec<char> = text.chars().collect();
    let parts = characters.chunks(each).map(|part| {
        let text: String = part.iter().collect();
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    });
    Sms::new("+79161234567", 8, parts.collect(), reference).unwrap()
}
