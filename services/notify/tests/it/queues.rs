//! Our own queues in front of a provider's connections: they are no failure of the provider's.

use super::place;
use crate::place::Place;
use crate::{fresh, post, reaches, shipment};
use artel_frame::Sandbox;
use artel_wires::simulators::smtp::{Settings, Simulator};
use artel_wires::simulators::{Arrival, Behaviour, Board, Listen, Wanted};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A server that takes a mail a second and more, and a node with one connection to it.
struct Rig {
    node: Sandbox,
    board: Board,
    _server: Simulator,
    _folder: TempDir,
}

async fn start(place: &Place, more: &str) -> Rig {
    let board = Board::new(16 << 20, Arc::new(|| 0));
    let slow = |_: &Arrival| Behaviour { delay: Duration::from_millis(1_500), ..Behaviour::default() };
    let server =
        Simulator::start(Settings::on(Listen::loopback(0).address), board.clone(), Arc::new(slow)).await;
    let server = server.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    let text = format!(
        "[notify]\ncall_seconds = 3\n[notify.retry]\npause_seconds = 1\ntries = 1\n\
         [[notify.email.accounts]]\nname = \"post\"\n{more}\n[notify.email.accounts.smtp]\nhost = \"127.0.0.1\"\nport = {}\n\
         security = \"none\"\nfrom = \"parcels@example.com\"\nconnections = 1\n",
        server.address().port(),
    );
    fs::write(&file, text).unwrap();
    let node = place.with(artel_notify::service).file(&file).start().await.expect("the node starts");
    Rig { node, board, _server: server, _folder: folder }
}

impl Rig {
    /// Sends three mails together; they are sent in the end, with so many attempts in all.
    async fn send(&self) -> u64 {
        let recipients: Vec<Value> =
            (0..3).map(|n| json!({ "email": format!("n{n}@example.com") })).collect();
        let content =
            json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["email"] });
        let body = json!({ "recipients": recipients, "content": content });
        let queued: Value =
            post(&self.node.client(), "/api/notify/deliveries", &body).await.json().unwrap();
        let mut attempts = 0;
        for one in queued["deliveries"].as_array().unwrap() {
            let id = one["delivery"].as_str().unwrap();
            reaches(&self.node, id, "sent").await;
            attempts += fresh(&self.node, id).await["legs"][0]["attempts"].as_u64().unwrap();
        }
        assert_eq!(self.board.list(&Wanted::default()).len(), 3, "nothing is sent twice");
        attempts
    }
}

#[tokio::test]
async fn no_more_are_on_their_way_than_there_are_connections() {
    let Some(place) = place().await else { return };
    let rig = start(&place, "").await;
    assert_eq!(rig.send().await, 3);
    rig.node.stop().await;
}

#[tokio::test]
async fn waiting_for_a_connection_costs_no_try() {
    let Some(place) = place().await else { return };
    let rig = start(&place, "at_once = 10").await;
    // The only try of each is not used up by it.
    assert!(rig.send().await > 3);
    rig.node.stop().await;
}
