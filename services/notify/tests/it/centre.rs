//! A centre in the test's hands: receipts of every part, and of what a node sent before it stopped.

use crate::{catalogue, fresh, reaches, send, to};
use artel_frame::Sandbox;
use artel_notify::domain::sms_text::decode_gsm;
use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Board, Judge, Refusal, Wanted};
use artel_wires::smpp::pdu::{Message, field};
use artel_wires::smpp::tlv;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

struct Rig {
    node: Sandbox,
    centre: SmppSimulator,
    board: Board,
    _folder: TempDir,
}

async fn start(judge: Judge) -> Rig {
    let board = Board::new(16 << 20, Arc::new(|| 0));
    let centre =
        SmppSimulator::start(SmppSimulatorSettings::new(decode_gsm), board.clone(), judge).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (folder.path().join("smpp"), folder.path().join("artel.toml"));
    fs::write(&secret, "secret").unwrap();
    let text = format!(
        "[notify]\nask_after_seconds = 0\ncache_ms = 50\n\
         [[notify.sms.accounts]]\nname = \"tower\"\n[notify.sms.accounts.smpp]\nhost = \"127.0.0.1\"\nport = {}\n\
         system_id = \"artel\"\nsecret_file = '{}'\nfrom = \"Parcels\"\n",
        centre.address().port(),
        secret.display(),
    );
    fs::write(&file, text).unwrap();
    let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(&file);
    Rig { node: node.start().await.expect("the node starts"), centre, board, _folder: folder }
}

impl Rig {
    /// Sends a message of several parts; its id, and what the centre calls each of them.
    async fn send_long(&self) -> (String, Vec<String>) {
        let mut body = to(json!({ "phone": "+79161234567", "language": "ru" }), &["sms"]);
        body["content"]["data"]["tracking_number"] = json!("RA123".repeat(30));
        let id = send(&self.node, &body).await;
        reaches(&self.node, &id, "sent").await;
        let arrived = self.board.list(&Wanted::default()).remove(0);
        (id, arrived.reference.split(' ').map(str::to_owned).collect())
    }

    /// Sends a receipt to whoever is bound, and waits until somebody is; it has to be stored.
    async fn told(&self, name: &str, state: u8) {
        let mut message = Message { esm_class: field::RECEIPT, ..Message::default() };
        message.tlvs.push_text(tlv::RECEIPTED_MESSAGE_ID, name);
        message.tlvs.push_u8(tlv::MESSAGE_STATE, state);
        let answered = tokio::time::timeout(Duration::from_secs(120), self.centre.deliver("artel", message));
        assert_eq!(answered.await.expect("somebody is bound"), Some(0), "it is stored");
    }
}

fn quiet() -> Judge {
    Arc::new(|_| Behaviour::default())
}

fn receipts(delivery: &Value) -> Vec<String> {
    let lines = delivery["timeline"].as_array().unwrap().iter();
    lines.filter_map(|line| line["what"].as_str()?.strip_prefix("receipt").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_receipt_after_a_restart_is_taken_before_anything_is_sent() {
    let mut rig = start(quiet()).await;
    let id = send(&rig.node, &to(json!({ "phone": "+79161234567", "language": "en" }), &["sms"])).await;
    reaches(&rig.node, &id, "sent").await;
    rig.node.restart().await.expect("it starts again");
    let name = rig.board.list(&Wanted::default())[0].reference.clone();
    rig.told(&name, 2).await;
    reaches(&rig.node, &id, "delivered").await;
    assert_eq!(rig.board.list(&Wanted::default()).len(), 1);
    rig.node.stop().await;
}

#[tokio::test]
async fn a_long_message_is_delivered_when_all_of_its_parts_are() {
    let rig = start(quiet()).await;
    let (id, parts) = rig.send_long().await;
    assert!(parts.len() > 2, "{parts:?}");
    // The last one first, and each twice.
    for (n, name) in parts.iter().enumerate().rev() {
        assert_eq!(fresh(&rig.node, &id).await["state"], "sent", "part {n} is missing");
        rig.told(name, 2).await;
        rig.told(name, 2).await;
    }
    let delivered = reaches(&rig.node, &id, "delivered").await;
    let expected = (1..=parts.len()).rev().map(|n| format!(": part {n} of {}: it has arrived", parts.len()));
    assert_eq!(receipts(&delivered), expected.collect::<Vec<_>>());
    rig.node.stop().await;
}

#[tokio::test]
async fn a_long_message_has_failed_when_one_part_has() {
    let rig = start(quiet()).await;
    let (id, parts) = rig.send_long().await;
    rig.told(&parts[2], 2).await;
    rig.told(&parts[1], 5).await;
    let failed = reaches(&rig.node, &id, "failed").await;
    let reason = format!("part 2 of {}: state 5", parts.len());
    assert_eq!(failed["legs"][0]["reason"], reason.as_str(), "{failed}");
    // The rest arrives, which changes nothing.
    rig.told(&parts[0], 2).await;
    rig.told(&parts[1], 5).await;
    assert_eq!(fresh(&rig.node, &id).await["state"], "failed");
    rig.node.stop().await;
}

#[tokio::test]
async fn a_centre_that_is_busy_in_the_middle_of_a_message_gets_the_rest_later() {
    let count = AtomicUsize::new(0);
    let rig = start(Arc::new(move |_: &Arrival| {
        let busy = count.fetch_add(1, Ordering::Relaxed) == 1;
        let refusal = busy.then_some(Refusal::Smpp { status: 0x58 });
        Behaviour { refusal, ..Behaviour::default() }
    }))
    .await;
    let (id, parts) = rig.send_long().await;
    for name in &parts {
        rig.told(name, 2).await;
    }
    assert_eq!(reaches(&rig.node, &id, "delivered").await["legs"][0]["attempts"], 1);
    let taken = rig.board.list(&Wanted::default()).into_iter().filter(|one| one.taken);
    assert_eq!(taken.map(|one| one.text.matches("RA123").count()).collect::<Vec<_>>(), [30]);
    rig.node.stop().await;
}
