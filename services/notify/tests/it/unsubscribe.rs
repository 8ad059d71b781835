//! Links by which people turn off what a message is about.

use crate::board::Board;
use crate::edit::put;
use crate::{ACCOUNTS, fresh, get, of, post, send, start, to};
use artel_frame::Sandbox;
use artel_frame::client::{Answer, Outgoing};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

const PUBLIC: &str = "https://parcels.example.com";

/// A node that has links, and the folder of its secret.
async fn linked(board: &Arc<Board>) -> (Sandbox, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("unsubscribe");
    std::fs::write(&secret, "a secret that is long enough for links\n").unwrap();
    let node = of(board)
        .file(ACCOUNTS)
        .setting("notify.public_url", PUBLIC)
        .setting("notify.unsubscribe_secret_file", secret.display().to_string());
    (node.start().await.expect("the node starts"), folder)
}

/// The path that the last mail's link leads to.
fn path(board: &Board) -> String {
    let url = board.all().pop().unwrap().unsubscribe_url.expect("a link");
    url.strip_prefix(PUBLIC).expect("our address").to_owned()
}

async fn click(node: &Sandbox, path: &str, said: &str) -> Answer {
    let request = Outgoing::new(Method::POST, path)
        .body("application/x-www-form-urlencoded", format!("List-Unsubscribe={said}"));
    node.client().send(request).await.expect("an answer")
}

async fn sent(node: &Sandbox, board: &Board, body: &Value) -> bool {
    let before = board.all().len();
    let id = send(node, body).await;
    node.settle().await;
    let state = fresh(node, &id).await["state"].as_str().unwrap().to_owned();
    assert_eq!(state, if board.all().len() > before { "sent" } else { "suppressed" });
    board.all().len() > before
}

#[tokio::test]
async fn a_subscriber_turns_a_topic_off_with_one_click_and_on_again() {
    let Some(board) = super::board().await else { return };
    let (node, _folder) = linked(&board).await;
    let client = node.client();
    let addresses = json!([{ "kind": "email", "address": "ivan@example.com" }, { "kind": "phone", "address": "+79161234567" }]);
    put(&client, "/api/notify/subscribers/ivan", &json!({ "language": "ru", "addresses": addresses })).await;
    let mail = to(json!({ "subscriber": "ivan" }), &["email"]);
    assert!(sent(&node, &board, &mail).await);
    let link = path(&board);
    assert!(board.all()[0].text.contains(&link), "{}", board.all()[0].text);
    assert!(!link.contains("ivan"), "{link}");

    // Looking changes nothing.
    let page = client.get(&link).await.unwrap();
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8"),
        "{}",
        page.text()
    );
    assert!(
        page.text().contains("Отписаться") && page.text().contains("i***@example.com"),
        "{}",
        page.text()
    );
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    assert!(sent(&node, &board, &mail).await);

    let wrong = click(&node, &link, "Two-Clicks").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    for _ in 0..2 {
        let done = click(&node, &link, "One-Click").await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(done.text().contains("Готово"), "{}", done.text());
    }
    let own = get(&client, "/api/notify/subscribers/ivan").await;
    assert_eq!(own["profile"]["preferences"]["topics"], json!({ "shipments": { "email": "out" } }));
    assert_eq!((&own["rev"], own["profile"]["addresses"].as_array().unwrap().len()), (&json!(2), 2));
    assert!(!sent(&node, &board, &mail).await);
    // That topic, by mail.
    assert!(sent(&node, &board, &to(json!({ "subscriber": "ivan" }), &["sms"])).await);
    let mut other = mail.clone();
    other["content"]["topic"] = json!("news");
    assert!(sent(&node, &board, &other).await);

    assert_eq!(click(&node, &link, "Again").await.status, 200);
    assert!(sent(&node, &board, &mail).await);
    node.stop().await;
}

#[tokio::test]
async fn somebody_who_is_no_subscriber_turns_a_topic_off_too() {
    let Some(board) = super::board().await else { return };
    let (node, _folder) = linked(&board).await;
    let mail = to(json!({ "email": "anna@example.com", "language": "en" }), &["email"]);
    assert!(sent(&node, &board, &mail).await);
    let link = path(&board);
    let form =
        "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let request = Outgoing::new(Method::POST, link.clone()).body("multipart/form-data; boundary=b", form);
    let done = node.client().send(request).await.unwrap();
    assert!(done.status == 200 && done.text().contains("Done"), "{}", done.text());
    assert!(!sent(&node, &board, &mail).await);
    let mut other = mail.clone();
    other["content"]["topic"] = json!("news");
    assert!(sent(&node, &board, &other).await);
    assert_eq!(click(&node, &link, "Again").await.status, 200);
    assert!(sent(&node, &board, &mail).await);
    node.stop().await;
}

#[tokio::test]
async fn there_is_a_link_where_something_can_be_turned_off_and_links_are_set_up() {
    let Some(board) = super::board().await else { return };
    let (node, _folder) = linked(&board).await;
    let has_link = async |node: &Sandbox, body: &Value| {
        assert!(sent(node, &board, body).await);
        board.all().pop().unwrap().unsubscribe_url.is_some()
    };
    let mail = to(json!({ "email": "ivan@example.com" }), &["email"]);
    let mut critical = mail.clone();
    critical["content"]["lane"] = json!("critical");
    assert!(has_link(&node, &mail).await && has_link(&node, &critical).await);
    let put_topic = async |settings: Value| {
        let saved = put(&node.client(), "/api/notify/topics/shipments", &settings).await;
        assert!(saved.is_success(), "{}", saved.text());
    };
    put_topic(json!({ "critical_passes": true })).await;
    assert!(has_link(&node, &mail).await && !has_link(&node, &critical).await);
    put_topic(json!({ "required": true })).await;
    assert!(!has_link(&node, &mail).await);
    node.stop().await;
}

#[tokio::test]
async fn without_an_address_of_ours_there_are_no_links() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let mail = to(json!({ "email": "ivan@example.com" }), &["email"]);
    assert!(sent(&node, &board, &mail).await);
    assert!(board.all().pop().unwrap().unsubscribe_url.is_none());
    let answer = node.client().get("/api/notify/unsubscribe/abc").await.unwrap();
    assert!(answer.status == 404 && answer.problem().contains("notify.public_url"), "{}", answer.text());
    node.stop().await;
}

#[tokio::test]
async fn a_link_that_is_none_of_ours_does_nothing_and_says_so() {
    let Some(board) = super::board().await else { return };
    let (node, _folder) = linked(&board).await;
    let mail = to(json!({ "email": "ivan@example.com" }), &["email"]);
    assert!(sent(&node, &board, &mail).await);
    let link = path(&board);
    let swapped = if link.ends_with('A') { "B" } else { "A" };
    let changed = format!("{}{swapped}", &link[..link.len() - 1]);
    for bad in [changed.as_str(), &link[..link.len() - 1], "/api/notify/unsubscribe/x"] {
        let answer = click(&node, bad, "One-Click").await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(answer.problem().starts_with("token: this link is none of ours"), "{}", answer.problem());
        let request = Outgoing::new(Method::GET, bad)
            .header("accept", "text/html")
            .header("accept-language", "ru-RU,ru;q=0.9");
        let page = node.client().send(request).await.unwrap();
        assert!(page.status == 404 && page.text().contains("Ссылка не работает"), "{}", page.text());
    }
    assert!(sent(&node, &board, &mail).await);
    node.stop().await;
}

#[tokio::test]
async fn whoever_has_a_link_needs_no_token() {
    let Some(board) = super::board().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    let secret = folder.path().join("unsubscribe");
    std::fs::write(&secret, "a secret that is long enough for links").unwrap();
    let accounts = std::fs::read_to_string(ACCOUNTS).unwrap();
    let links =
        format!("[notify]\npublic_url = '{PUBLIC}'\nunsubscribe_secret_file = '{}'\n", secret.display());
    let auth =
        "[auth]\ntokens = [{ name = \"shop\", secret = \"a token of the shop\", scopes = [\"produce\"] }]\n";
    std::fs::write(&file, format!("{auth}{}", accounts.replacen("[notify]\n", &links, 1))).unwrap();
    let node = of(&board).file(&file).start().await.expect("the node starts");
    let mail = to(json!({ "email": "ivan@example.com" }), &["email"]);
    let request = Outgoing::new(Method::POST, "/api/notify/deliveries")
        .header("authorization", "Bearer a token of the shop")
        .body("application/json", mail.to_string());
    let bare = artel_frame::client::Client::new(&node.url()).unwrap();
    assert_eq!(bare.send(request).await.unwrap().status, 202);
    node.settle().await;
    assert_eq!(post(&bare, "/api/notify/deliveries", &mail).await.status, 401);
    let link = path(&board);
    assert_eq!(bare.get(&link).await.unwrap().status, 200);
    let looks = Outgoing::new(Method::HEAD, link.clone());
    assert_eq!(bare.send(looks).await.unwrap().status, 200);
    let click = Outgoing::new(Method::POST, link)
        .body("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click");
    assert_eq!(bare.send(click).await.unwrap().status, 200);
    node.stop().await;
}
