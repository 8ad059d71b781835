//! Messages that fail, from the command line: dead letters, parked keys, a group moved on. What fails is put into the log of a
//! node that is down, as another program would write it.

use crate::process::Process;
use crate::system::{System, artel, get, stderr, stdout};
use crate::until::until;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Log, Record};
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

const TOPIC: &str = "bridge.commands";

/// A command that sets the timer to this interval; below 10 ms it is refused.
fn timer(interval: u64) -> String {
    json!({ "timer": { "enabled": false, "interval_ms": interval, "topic": "beats" } }).to_string()
}

/// Writes commands as (key, value) behind each other into one partition.
async fn write(data: &Path, commands: &[(&str, String)]) {
    let log = Segments::open(data.join("log"), SegmentsConfig::default()).unwrap();
    for (key, value) in commands {
        let id = Uuid::now_v7().to_string();
        let headers: [(&str, Option<&[u8]>); 6] = [
            ("ce_id", Some(id.as_bytes())),
            ("ce_type", Some(b"bridge.set-timer")),
            ("ce_source", Some(b"elsewhere")),
            ("ce_time", Some(b"2026-01-31T09:30:00Z")),
            ("ce_specversion", Some(b"1.0")),
            ("content-type", Some(b"application/json")),
        ];
        let record = Record {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &headers,
            time: artel_message::Time::from_millis(1_769_851_800_000),
        };
        log.append(TOPIC, 0, &[record]).await.unwrap();
    }
    log.close().await;
}

/// A node that has read these commands.
async fn with(commands: &[(&str, String)]) -> Process {
    let mut process = Process::start().await;
    process.stop().await;
    write(&process.data_dir(), commands).await;
    process.begin();
    process
}

fn ok(process: &Process, args: &[&str]) -> String {
    let output = artel(process, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

fn refused(process: &Process, args: &[&str]) -> String {
    let output = artel(process, args).output().unwrap();
    assert!(!output.status.success(), "{args:?}: {}", stdout(&output));
    stderr(&output)
}

fn items(process: &Process, args: &[&str]) -> Vec<Value> {
    let all: Value = serde_json::from_str(&ok(process, args)).unwrap();
    all["items"].as_array().unwrap().clone()
}

/// Waits until a list has so many items.
async fn until_there_are(process: &Process, count: usize, args: &[&str]) -> Vec<Value> {
    until(&format!("{count} of {args:?}"), async || {
        let all = items(process, args);
        (all.len() == count).then_some(all)
    })
    .await
}

async fn interval(process: &Process) -> Value {
    get(process, "/api/bridge/timer").await["interval_ms"].clone()
}

const DEAD: &[&str] = &["dead", "list", "--json"];
const PARKED: &[&str] = &["parked", "list", "--json"];

#[tokio::test]
async fn dead_letters_are_grouped_shown_edited_tried_again_and_dropped() {
    let process = with(&[("a", timer(1)), ("b", timer(2)), ("c", timer(3))]).await;
    let letters = until_there_are(&process, 3, DEAD).await;
    let causes = items(&process, &["dead", "causes", "--json"]);
    assert_eq!((causes.len(), &causes[0]["count"]), (1, &json!(3)), "{causes:?}");
    let cause = causes[0]["cause"].as_str().unwrap();
    let of = |key: &str| {
        letters.iter().find(|letter| letter["key"] == key).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (a, b) = (of("a"), of("b"));
    let whole: Value = serde_json::from_str(&ok(&process, &["dead", "show", &a])).unwrap();
    assert_eq!((&whole["code"], &whole["key"]), (&json!("invalid"), &json!("a")));
    assert!(
        whole["headers"].as_array().unwrap().iter().any(|header| header["name"] == "ce_source"),
        "{whole}"
    );

    let some = |step: &'static str, more: &[&'static str]| {
        let args: Vec<String> = ["dead", step, "--service", "bridge", "--cause", cause]
            .into_iter()
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect();
        ok(&process, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(some("retry", &["--dry-run"]), "3 would be tried\n");
    assert_eq!(some("retry", &["--dry-run", "--key", "a"]), "1 would be tried\n");
    assert_eq!(some("replay", &["--dry-run", "--from", "2999-01-01T00:00:00Z"]), "0 would be tried\n");
    assert_eq!(items(&process, &["audit", "--json"]), [] as [Value; 0], "a dry run changes nothing");

    let file = process.data_dir().join("mended.json");
    std::fs::write(&file, timer(77)).unwrap();
    ok(&process, &["dead", "edit", &a, file.to_str().unwrap(), "--reason", "too fast"]);
    assert_eq!(ok(&process, &["dead", "retry", &a]), "1 are tried again\n");
    until_there_are(&process, 2, DEAD).await;
    assert_eq!(interval(&process).await, 77);
    assert!(
        refused(&process, &["dead", "retry", &a]).contains("no service that runs here has a dead letter")
    );

    let gone = artel(&process, &["dead", "retry", &a, &b, "--dry-run"]).output().unwrap();
    assert_eq!(stdout(&gone), "1 would be tried\n", "what is refused ends nothing");
    assert!(!gone.status.success() && stderr(&gone).contains(&format!("not {a}: ")), "{}", stderr(&gone));
    let empty = ["dead", "drop", "--service", "bridge", "--cause", "", "--reason", "a test"];
    assert!(refused(&process, &empty).contains("is empty"));
    assert!(
        refused(&process, &["dead", "list", "--service", "bridg"]).contains("there is no service 'bridg'")
    );
    assert!(refused(&process, &["parked", "forget", "bridge", "--reason", "x"]).contains("runs"));
    assert_eq!(ok(&process, &["dead", "drop", &b, "--reason", "a test"]), "1 are dropped\n");
    assert_eq!(some("drop", &["--reason", "a test", "--dry-run"]), "1 would be dropped\n");
    assert_eq!(some("drop", &["--reason", "a test"]), "1 are dropped\n");
    assert_eq!(ok(&process, &["dead", "list"]), "no message was given up on\n");
    let steps = items(&process, &["audit", "--json"]);
    let actions: Vec<&str> = steps.iter().rev().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["edit-letter", "retry-letter", "drop-letter", "drop-letter"]);
    assert_eq!(steps[0]["reason"], "a test");
}

#[tokio::test]
async fn letters_are_tried_at_a_rate_and_come_again_where_they_fail_again() {
    let commands: Vec<(String, String)> = (0..5).map(|n| (format!("k{n}"), timer(n))).collect();
    let commands: Vec<(&str, String)> = commands.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let process = with(&commands).await;
    until_there_are(&process, 5, DEAD).await;
    let args = ["dead", "retry", "--service", "bridge", "--rate", "2", "--reason", "once more"];
    assert_eq!(ok(&process, &args), "5 are tried again\n");
    until_there_are(&process, 5, DEAD).await;
    assert_eq!(items(&process, &["audit", "--json"]).len(), 5);
}

#[tokio::test]
async fn a_parked_key_is_shown_tried_and_loses_its_first_message() {
    let process = with(&[("a", "{".to_owned()), ("a", timer(55)), ("b", timer(66))]).await;
    let keys = until_there_are(&process, 1, PARKED).await;
    until("the other key's message", async || (interval(&process).await == 66).then_some(())).await;
    let id = keys[0]["id"].as_str().unwrap();
    let key: Value = serde_json::from_str(&ok(&process, &["parked", "show", id])).unwrap();
    assert_eq!((&key["key"], &key["waiting"], &key["code"]), (&json!("a"), &json!(2), &json!("invalid")));
    assert_eq!(
        ok(&process, &["parked", "retry", id, "--reason", "perhaps now"]),
        format!("{id} is due now\n")
    );
    until("another attempt", async || {
        let key: Value = serde_json::from_str(&ok(&process, &["parked", "show", id])).unwrap();
        (key["attempts"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    let metrics = process.client().get("/metrics").await.unwrap().text();
    assert!(metrics.contains("artel_flow_parked_keys{group=\"bridge\""), "{metrics}");
    let offset = key["offset"].as_i64().unwrap();
    assert_eq!((&key["value"], &key["name"]), (&json!("{"), &json!("bridge.set-timer")));
    let other = (offset + 1).to_string();
    let said = refused(&process, &["parked", "drop-head", id, "--offset", &other, "--reason", "no JSON"]);
    assert!(said.contains(&format!("at offset {offset} now")), "{said}");
    let offset = offset.to_string();
    ok(&process, &["parked", "drop-head", id, "--offset", &offset, "--reason", "no JSON"]);
    until_there_are(&process, 0, PARKED).await;
    until("the message behind it", async || (interval(&process).await == 55).then_some(())).await;
    assert!(refused(&process, &["parked", "release", id]).contains("no key with id"));
    let steps = items(&process, &["audit", "--json"]);
    let actions: Vec<&str> = steps.iter().rev().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["retry-key", "drop-message"]);
}

#[tokio::test]
async fn a_group_is_moved_on_with_a_reason() {
    let process = with(&[("a", timer(44))]).await;
    until("the message", async || (interval(&process).await == 44).then_some(())).await;
    let skip = |more: &[&'static str]| {
        let args = ["groups", "skip", "bridge", TOPIC, "0"];
        args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()
    };
    let said = ok(&process, &skip(&["--to", "end", "--dry-run"]));
    assert!(said.contains("would go on at") && said.contains(" 0 messages are passed over"), "{said}");
    assert!(refused(&process, &skip(&["--to", "end"])).contains("--reason"));
    assert!(refused(&process, &skip(&["--to", "0", "--reason", "again"])).contains("forward only"));
    assert!(refused(&process, &skip(&["--to", "soon", "--reason", "x"])).contains("write earliest"));
    ok(&process, &skip(&["--to", "end", "--reason", "nothing is lost"]));
    let steps = items(&process, &["audit", "--json"]);
    assert_eq!((steps.len(), &steps[0]["action"]), (1, &json!("skip")));
}

#[tokio::test]
async fn a_group_that_is_no_projection_is_not_taken_back() {
    let process = Process::start().await;
    let rewind = |group: &'static str, to: &'static str| {
        refused(&process, &["groups", "rewind", "bridge", group, "--to", to, "--reason", "a test"])
    };
    assert!(rewind("bridge", "earliest").contains("goes forward only"));
    assert!(rewind("nobody", "earliest").contains("has no group 'nobody'"));
    assert!(rewind("bridge", "soon").contains("to: write earliest"));
    assert!(
        refused(&process, &["groups", "rewind", "bridge", "bridge", "--to", "earliest"]).contains("--reason")
    );
    let none = refused(&process, &["groups", "retire", "bridge", "sales", "1", "--reason", "a test"]);
    assert!(none.contains("no version 1 of a projection 'sales'; there is: none"), "{none}");
    let elsewhere = refused(&process, &["groups", "retire", "shop", "sales", "1", "--dry-run"]);
    assert!(elsewhere.contains("here run: bridge"), "{elsewhere}");
    assert_eq!(items(&process, &["audit", "--json"]), [] as [Value; 0]);
}
