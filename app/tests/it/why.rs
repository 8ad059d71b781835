//! The story of one message, from the command line.

use crate::process::Process;
use crate::system::{artel, consumed, messages, post, stderr, stdout};
use serde_json::{Value, json};

async fn with_message() -> (Process, String) {
    let process = Process::start().await;
    let message = json!({ "topic": "greetings", "key": "ann", "value": { "secret": "hello" } });
    assert_eq!(post(&process, "/api/bridge/messages", &message).await.status, 202);
    consumed(&process, 1).await;
    let all = messages(&process, "greetings").await;
    (process, all[0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_story_of_a_message_is_told() {
    let (process, id) = with_message().await;
    let run = |args: &[&str]| artel(&process, args).output().unwrap();
    let told = run(&["why", &id]);
    let text = stdout(&told);
    assert!(told.status.success(), "{text}{}", stderr(&told));
    let parts = [
        &id[..],
        "from artel/bridge, key ann",
        "in the log at greetings/",
        "group bridge.",
        "taken in",
        "because of",
    ];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hello"), "values are shown where they are asked for: {text}");
    assert!(stdout(&run(&["why", &id, "--payload"])).contains("value {\"secret\":\"hello\"}"));
    let narrow = run(&["why", &id, "--topic", "greetings", "--key", "ann", "--json"]);
    let story: Value = serde_json::from_str(&stdout(&narrow)).unwrap();
    let message = &story["message"];
    assert_eq!((&message["id"], &message["places"][0]["topic"]), (&json!(id), &json!("greetings")));
    assert_eq!(message["groups"][0]["fate"], "taken-in", "{story}");

    let unknown = run(&["why", "0198f2a0-1111-7000-8000-000000000001"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = stdout(&unknown);
    assert!(said.contains("nothing is known of 0198f2a0") && said.contains("the tables of bridge"), "{said}");
    let wrong = run(&["why", "tea"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("id: 'tea' is no message's id; write a UUID"), "{}", stderr(&wrong));
    let wrong = run(&["why", &id, "--since", "yesterday"]);
    assert!(stderr(&wrong).contains("since"), "{}", stderr(&wrong));
}
