//! The service in a node of its own: real HTTP, real files.
#![allow(clippy::unwrap_used)]

use artel_contract::@name@::{AddNote, FindNote, Note, NoteAdded};
use artel_frame::Sandbox;
use artel_message::{Code, service_of};
use axum::http::Method;

/// A node without the other services.
async fn start() -> Sandbox {
    let ours = || artel_contract::catalogue().into_iter().filter(|m| service_of(m.name) == "@name@").collect();
    Sandbox::start(|| vec![artel_@name@::service()], ours).await.unwrap()
}

#[tokio::test]
async fn a_note_is_added_once_and_said_to_others() {
    let node = start().await;
    let ctx = node.ctx("@name@");
    let note = ctx.ask(AddNote { text: "hello".to_owned() }).await.unwrap();
    node.settle().await;
    assert_eq!(ctx.query(FindNote { note: note.id }).await, Ok(note.clone()));
    assert_eq!(node.published::<NoteAdded>().await, [NoteAdded { note: note.id, at: note.added_at }]);
    node.stop().await;
}

#[tokio::test]
async fn over_http_a_note_is_added_and_read() {
    let node = start().await;
    let body = AddNote { text: "hello".to_owned() };
    let answer = node.client().send_json(Method::POST, "/api/@name@/notes", &body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let note: Note = answer.json().unwrap();
    let answer = node.client().get(&format!("/api/@name@/notes/{}", note.id)).await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()), (200, note));
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_note_is_refused_and_nothing_is_said() {
    let node = start().await;
    let refused = node.ctx("@name@").ask(AddNote { text: " ".to_owned() }).await;
    assert_eq!(refused.map_err(|fault| fault.code), Err(Code::Invalid));
    node.settle().await;
    assert_eq!(node.published::<NoteAdded>().await, []);
    node.stop().await;
}
