//! Other programs on our topics: Java's console consumer reads what the bridge sent, and the bridge takes in, once, what Java's
//! console producer wrote without any header of ours.

use crate::java::{CONSUMER, TOPICS, Tools};
use crate::nodes::{Nodes, Servers};
use crate::system::{System, consumed, get, messages, post, stats};
use crate::until::until;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Nothing that a message is made of holds it.
const BETWEEN: &str = " ~ ";

/// A message as the console consumer shows it.
struct Shown {
    partition: String,
    offset: String,
    headers: BTreeMap<String, String>,
    key: String,
    value: String,
}

fn shown(line: &str) -> Shown {
    let parts: Vec<&str> = line.splitn(5, '\t').collect();
    let [partition, offset, headers, key, value] = parts[..] else { panic!("five columns in: {line}") };
    let pairs = headers.split(BETWEEN).map(|pair| pair.split_once(':').unwrap());
    Shown {
        partition: partition.trim_start_matches("Partition:").to_owned(),
        offset: offset.trim_start_matches("Offset:").to_owned(),
        headers: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// A node, the tools, and what stands before its topics' names on the brokers.
async fn node_and_tools() -> Option<(Nodes, Tools, String)> {
    let servers = Servers::given().await?;
    let tools = Tools::given(&servers.kafka)?;
    let prefix = format!("{}.", servers.database.name);
    Some((Nodes::on(servers, 1).await, tools, prefix))
}

#[tokio::test]
async fn javas_console_consumer_reads_plain_json_with_cloudevents_headers() {
    let Some((nodes, tools, prefix)) = node_and_tools().await else { return };
    let sent = [
        json!({ "topic": "orders", "key": "ann", "value": { "item": "tea", "count": 2, "note": "ä \"b\"" },
                "headers": { "shop": "north", "note": "grün" } }),
        json!({ "topic": "orders", "value": [1, "two", null] }),
        json!({ "topic": "orders", "key": "bob", "value": "text" }),
    ];
    let mut ids = Vec::new();
    for message in &sent {
        let answer = post(&nodes, "/api/bridge/messages", message).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        ids.push(answer.json::<Value>().unwrap()["id"].as_str().unwrap().to_owned());
    }
    consumed(&nodes, 3).await;
    let topic = format!("{prefix}orders");
    let separator = format!("headers.separator={BETWEEN}");
    let mut arguments = vec!["--topic", &topic, "--from-beginning", "--max-messages", "3"];
    arguments.extend(["--timeout-ms", "60000"]);
    for property in ["print.partition=true", "print.offset=true", "print.headers=true", "print.key=true"] {
        arguments.extend(["--formatter-property", property]);
    }
    arguments.extend(["--formatter-property", &separator]);
    let told = tools.run(CONSUMER, &arguments, "").await;
    let shown: Vec<Shown> = told.lines().map(shown).collect();
    assert_eq!(shown.len(), 3, "{told}");
    for (message, id) in sent.iter().zip(&ids) {
        let found = shown.iter().find(|shown| shown.headers["ce_id"] == *id);
        let found = found.unwrap_or_else(|| panic!("{id} in {told}"));
        // The document alone, as it was sent.
        assert_eq!(found.value, message["value"].to_string());
        assert_eq!(found.key, message["key"].as_str().unwrap_or("null"));
        check_headers(found, message);
        let tracked = get(&nodes, &format!("/api/bridge/messages/{id}")).await;
        let place = (tracked["partition"].to_string(), tracked["offset"].to_string());
        assert_eq!((&found.partition, &found.offset), (&place.0, &place.1), "{tracked}");
    }
}

/// As the Kafka protocol binding of CloudEvents 1.0 demands in its binary mode.
fn check_headers(shown: &Shown, message: &Value) {
    let headers = &shown.headers;
    assert_eq!(headers["ce_specversion"], "1.0");
    assert_eq!(headers["ce_type"], "bridge.message");
    // A relative reference of RFC 3986: nothing in it needs an escape, and no colon makes a scheme of it.
    assert_eq!(headers["ce_source"], "artel/bridge");
    let time: artel_message::Time = headers["ce_time"].parse().unwrap();
    assert_eq!(time.to_string(), headers["ce_time"], "RFC 3339 in UTC");
    assert_eq!(headers["content-type"], "application/json");
    let id: uuid::Uuid = headers["ce_id"].parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let users = message["headers"].as_object().cloned().unwrap_or_default();
    for (name, value) in &users {
        assert_eq!(headers.get(name).map(String::as_str), value.as_str(), "{name}");
    }
    let known = |name: &str| {
        ["ce_", "artel_"].iter().any(|own| name.starts_with(own))
            || ["content-type", "traceparent"].contains(&name)
            || users.contains_key(name)
    };
    let unknown: Vec<&String> = headers.keys().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Where a tracked message lies.
fn place(message: &Value) -> (u64, u64) {
    (message["partition"].as_u64().unwrap(), message["offset"].as_u64().unwrap())
}

/// What a crash made a relay publish again lies in the log twice, and each second one is counted as a duplicate.
async fn repeats_are_counted(nodes: &Nodes, commands: u64) {
    until("each command of the log to be taken in or counted as a repeat", async || {
        let topic = get(nodes, "/api/admin/topics/bridge.commands").await;
        let ends = topic["partitions"].as_array().unwrap().iter().map(|row| row["end"].as_u64());
        let written: u64 = ends.collect::<Option<Vec<_>>>()?.into_iter().sum();
        let repeats = stats(nodes).await["duplicates"].as_u64()?;
        (written == commands + repeats).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_javas_console_producer_is_consumed_once_over_a_crash_too() {
    const KEYED: u64 = 3_000;
    const BARE: u64 = 3_000;
    let Some((mut nodes, tools, prefix)) = node_and_tools().await else { return };
    let topic = format!("{prefix}foreign");
    tools.run(TOPICS, &["--create", "--topic", &topic, "--partitions", "3"], "").await;
    let (mut keyed, mut bare) = (String::new(), String::new());
    (0..KEYED).for_each(|n| writeln!(keyed, "key {}|{{\"n\":{n}}}", n % 41).unwrap());
    (0..BARE).for_each(|n| writeln!(bare, "{{\"bare\":{n}}}").unwrap());
    let with_key = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"];
    tools.produce(&topic, &with_key, &keyed).await;

    let begin = json!({ "topic": "foreign", "from": "earliest" });
    let started = post(&nodes, "/api/bridge/consumers", &begin).await;
    assert_eq!(started.status, 201, "{}", started.text());
    // More comes while it reads, and what is no JSON between.
    let more = tokio::spawn({
        let (tools, topic) = (tools.clone(), topic.clone());
        async move { tools.produce(&topic, &[], &format!("no JSON: {{\n{bare}")).await }
    });
    consumed(&nodes, KEYED / 4).await;
    nodes.crash().await;
    more.await.unwrap();
    consumed(&nodes, KEYED + BARE / 2).await;
    nodes.crash().await;
    consumed(&nodes, KEYED + BARE).await;
    // One more: what comes twice would have come before it.
    tools.produce(&topic, &[], "{\"last\":true}\n").await;
    let good = KEYED + BARE + 1;
    let totals = until("every message taken in", async || {
        let now = stats(&nodes).await;
        (now["consumed"].as_u64() >= Some(good) && now["failed"] == 1).then_some(now)
    })
    .await;
    println!("{good} messages of others over two crashes: {totals}");
    repeats_are_counted(&nodes, good + 1).await;
    assert_eq!(totals["consumed"].as_u64(), Some(good), "{totals}");
    for all in ["accepted", "produced"] {
        assert_eq!(totals[all].as_u64(), Some(good + 1), "{all}: {totals}");
    }

    let tracked = messages(&nodes, "foreign").await;
    assert_eq!(tracked.len() as u64, good + 1);
    let places: BTreeSet<(u64, u64)> = tracked.iter().map(place).collect();
    assert_eq!(places.len(), tracked.len(), "no place is taken in twice");
    let mut ends = BTreeMap::new();
    for (partition, offset) in &places {
        let end = ends.entry(*partition).or_insert(0);
        assert_eq!(offset, end, "partition {partition} has no hole");
        *end += 1;
    }
    let failed: Vec<&Value> = tracked.iter().filter(|message| message["status"] != "consumed").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["status"], "failed");
    let reason = failed[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the value is not JSON: "), "{reason}");
    assert!(tracked.iter().all(|message| message["value"].is_null()), "values of others stay in the log");
}
