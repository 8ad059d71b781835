//! What providers call messages: anything, where the provider is somebody's own.

use crate::board::Does;
use crate::{ACCOUNTS, of, reaches, send, to};
use artel_notify::domain::state::Receipt;
use artel_notify::{TakeReceipts, Told};
use serde_json::json;

#[tokio::test]
async fn a_name_that_no_table_has_room_for_is_none() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).start().await.expect("the node starts");
    // Nothing in it that could be packed.
    let mut long: Vec<String> = (0..1_000u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    long.truncate(500);
    for name in [long.concat(), "a\0b".to_owned(), String::new()] {
        board.answers("tower", [Does::Names(name)]);
        let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
        reaches(&node, &id, "sent").await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_receipt_that_names_nothing_takes_no_other_with_it() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).start().await.expect("the node starts");
    board.answers("tower", [Does::Names("SM1".to_owned())]);
    let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    reaches(&node, &id, "sent").await;
    let names = ["x".repeat(501), "a\0b".to_owned(), String::new(), "SM1".to_owned(), "SM2".to_owned()];
    let told = |reference| Told { reference, receipt: Receipt::Delivered };
    let receipts = names.into_iter().map(told).collect();
    let take = TakeReceipts { account: "tower".to_owned(), receipts };
    node.ctx("notify").ask(take).await.expect("the others are taken");
    reaches(&node, &id, "delivered").await;
    node.stop().await;
}
