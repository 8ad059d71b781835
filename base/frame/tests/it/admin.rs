//! The administration over HTTP.

use crate::stall::{Add, catalogue, services};
use artel_bus::{Bus, Record};
use artel_frame::Sandbox;
use artel_frame::client::{Client, Event, Events, Opened, Outgoing, query};
use artel_message::Time;
use serde_json::{Value, json};
use std::time::Duration;

async fn sandbox() -> Sandbox {
    Sandbox::start(services, catalogue).await.unwrap()
}

async fn get(client: &Client, path: &str) -> Value {
    let answer = client.get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json().unwrap()
}

/// A topic that is nobody's, with these values in its partition 0.
async fn foreign(node: &Sandbox, values: &[&[u8]]) {
    let bus = node.node().bus();
    node.ctx("stall").topics().ensure("far").await.unwrap();
    for value in values {
        append(bus.as_ref(), 0, value).await;
    }
}

async fn append(bus: &dyn Bus, partition: u32, value: &[u8]) {
    let headers = [("x", Some(&b"1"[..])), ("x", None)];
    let record =
        Record { key: Some(b"k"), value: Some(value), headers: &headers, time: Time::from_millis(5) };
    bus.append("far", partition, &[record]).await.unwrap();
}

#[tokio::test]
async fn everything_needs_the_operator() {
    let node = sandbox().await;
    let stranger = Client::new(&node.url()).unwrap();
    for path in [
        "/api/admin/topics",
        "/api/admin/topics/stall.item",
        "/api/admin/topics/stall.item/messages",
        "/api/admin/topics/stall.item/messages/live",
        "/api/admin/groups",
        "/api/admin/dead-letters",
        "/api/admin/cache",
        "/api/admin/cache/key",
        "/api/admin/topology",
        "/api/admin/schedules",
        "/api/admin/status",
        "/api/admin/migrations",
        "/api/admin/why/tea",
    ] {
        let answer = stranger.get(path).await.unwrap();
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        let document = get(&node.client(), "/api/openapi.json").await;
        let known = document["paths"].as_object().unwrap();
        let template = path
            .replace("stall.item", "{topic}")
            .replace("cache/key", "cache/{key}")
            .replace("why/tea", "why/{id}");
        assert!(known.contains_key(&template), "{template} is not described");
    }
    node.stop().await;
}

#[tokio::test]
async fn topics_are_listed_page_by_page_and_shown() {
    let node = sandbox().await;
    foreign(&node, &[b"1", b"2"]).await;
    let client = node.client();
    let (mut names, mut path) = (Vec::new(), "/api/admin/topics?limit=1".to_owned());
    loop {
        let page = get(&client, &path).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|row| row["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/admin/topics?limit=1&cursor={next}");
    }
    assert_eq!(names, ["far", "stall.commands", "stall.item"]);
    let far = get(&client, "/api/admin/topics/far").await;
    assert_eq!((far["partitions"][0]["end"].clone(), far["owner"].clone()), (json!(2), Value::Null));
    let own = get(&client, "/api/admin/topics/stall.item").await;
    assert_eq!((own["owner"].as_str(), own["groups"].as_array().unwrap().len()), (Some("stall"), 4));
    assert_eq!(client.get("/api/admin/topics/none").await.unwrap().status, 404);
    assert_eq!(client.get("/api/admin/topics?limt=1").await.unwrap().status, 400);
    node.stop().await;
}

#[tokio::test]
async fn messages_are_shown_as_they_were_sent() {
    let node = sandbox().await;
    foreign(&node, &[b"{\"id\": 9007199254740993}", b"plain", b"\xff\xfe"]).await;
    let text = node.client().get("/api/admin/topics/far/messages?partition=0").await.unwrap().text();
    assert!(text.contains("\"value\":{\"id\": 9007199254740993},\"value_encoding\":\"json\""), "{text}");
    assert!(text.contains("\"value\":\"plain\",\"value_encoding\":\"text\""), "{text}");
    assert!(text.contains("\"value\":\"//4=\",\"value_encoding\":\"base64\""), "{text}");
    let twice = "[{\"name\":\"x\",\"value\":\"1\",\"encoding\":\"text\"},{\"name\":\"x\",\"value\":null,\"encoding\":\"none\"}]";
    assert!(text.contains(twice), "{text}");
    node.stop().await;
}

#[tokio::test]
async fn a_scan_is_resumed_where_it_ended() {
    let node = sandbox().await;
    let values: Vec<String> = (0..25).map(|n| format!("{{\"n\":{n}}}")).collect();
    foreign(&node, &values.iter().map(String::as_bytes).collect::<Vec<_>>()).await;
    append(node.node().bus().as_ref(), 3, b"{\"n\":25}").await;
    let client = node.client();
    let (mut seen, mut scanned, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let query = query(&[("limit", Some("10")), ("cursor", cursor.as_deref())]);
        let page = get(&client, &format!("/api/admin/topics/far/messages{query}")).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["value"]["n"].as_i64().unwrap()));
        scanned += page["scanned"].as_i64().unwrap();
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!((seen, scanned), ((0..26).collect(), 26));
    for (query, expected) in [
        ("contains=%22n%22:2", vec![2, 20, 21, 22, 23, 24, 25]),
        ("partition=0&from=23", vec![23, 24]),
        ("partition=0&from=latest&limit=2", vec![23, 24]),
        ("from=1970-01-01T00:00:01Z", vec![]),
        ("key=other", vec![]),
    ] {
        let page = get(&client, &format!("/api/admin/topics/far/messages?{query}")).await;
        let found: Vec<i64> =
            page["items"].as_array().unwrap().iter().map(|row| row["value"]["n"].as_i64().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    for (query, field) in [("from=yesterday", "from"), ("partition=9", "partition"), ("cursor=zz", "cursor")]
    {
        let answer = client.get(&format!("/api/admin/topics/far/messages?{query}")).await.unwrap();
        assert_eq!((answer.status, answer.json::<Value>().unwrap()["field"].clone()), (400, json!(field)));
    }
    node.stop().await;
}

async fn follow(client: &Client, query: &str, last: Option<&str>) -> Events {
    let path = format!("/api/admin/topics/far/messages/live{query}");
    let mut request = Outgoing::new("GET".parse().unwrap(), path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    match client.events(request).await.unwrap() {
        Opened::Events(events) => events,
        Opened::Refused(answer) => panic!("refused: {}", answer.text()),
    }
}

async fn next(events: &mut Events) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("an event in time").unwrap()
}

fn value(event: &Event) -> i64 {
    assert_eq!(event.name, "message");
    serde_json::from_str::<Value>(&event.data).unwrap()["value"].as_i64().unwrap()
}

#[tokio::test]
async fn a_live_stream_goes_on_behind_its_last_event_and_ends_with_the_node() {
    let node = sandbox().await;
    foreign(&node, &[b"0", b"1"]).await;
    let client = node.client();
    let bus = node.node().bus().clone();
    let mut events = follow(&client, "?from=earliest", None).await;
    assert_eq!(value(&next(&mut events).await.unwrap()), 0);
    let second = next(&mut events).await.unwrap();
    assert_eq!(value(&second), 1);
    drop(events);
    append(bus.as_ref(), 0, b"2").await;
    append(bus.as_ref(), 1, b"3").await;
    let mut events = follow(&client, "", second.id.as_deref()).await;
    let mut later = [value(&next(&mut events).await.unwrap()), value(&next(&mut events).await.unwrap())];
    later.sort_unstable();
    assert_eq!(later, [2, 3]);
    append(bus.as_ref(), 2, b"4").await;
    assert_eq!(value(&next(&mut events).await.unwrap()), 4);
    let stopped = tokio::spawn(node.stop());
    assert_eq!(next(&mut events).await, None);
    stopped.await.unwrap();
}

#[tokio::test]
async fn groups_dead_letters_and_the_rest() {
    let node = sandbox().await;
    let client = node.client();
    for item in ["a", "poison"] {
        node.ctx("stall").ask(Add { item: item.to_owned(), count: 1 }).await.unwrap();
    }
    node.settle().await;
    let groups = get(&client, "/api/admin/groups").await;
    let group = groups["items"].as_array().unwrap().iter().find(|g| g["topic"] == "stall.item").unwrap();
    assert_eq!((&group["lag"], &group["state"]), (&json!(0), &json!("running")));
    let dead = get(&client, "/api/admin/dead-letters").await;
    let letter = &dead["items"][0];
    assert_eq!((&letter["key"], &letter["code"]), (&json!("poison"), &json!("invalid")));
    assert_eq!(letter["value"]["item"], "poison");
    let document = get(&client, "/api/openapi.json").await;
    let content = &document["paths"]["/api/admin/topology"]["get"]["responses"]["200"]["content"];
    assert!(content["application/json"].is_object() && content["text/plain"].is_object(), "{content}");
    let topology = client.get("/api/admin/topology?format=text").await.unwrap().text();
    assert!(topology.starts_with("stall\n  command   stall.add "), "{topology}");
    let migrations = get(&client, "/api/admin/migrations").await;
    let states: Vec<&Value> =
        migrations["items"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert!(states.len() >= 2 && states.iter().all(|state| *state == "applied"), "{migrations}");
    let status = get(&client, "/api/admin/status").await;
    assert_eq!((&status["services"][0]["name"], &status["problems"]), (&json!("stall"), &json!([])));
    node.stop().await;
}

#[tokio::test]
async fn schedules_are_listed_and_run_when_asked() {
    let node = sandbox().await;
    let client = node.client();
    let list = get(&client, "/api/admin/schedules").await;
    let row = &list["items"][0];
    let shown =
        ["service", "schedule", "when", "zone", "rule", "missed", "last"].map(|field| row[field].clone());
    let wanted = json!(["stall", "stall.tick", "0 * * * *", "UTC", "once", 0, null]);
    assert_eq!(json!(shown), wanted);
    let run = async |name: &str| {
        let path = format!("/api/admin/schedules/stall/{name}/run");
        client.send(Outgoing::new(axum::http::Method::POST, path)).await.unwrap()
    };
    assert_eq!(run("stall.tick").await.status, 202);
    node.settle().await;
    let list = get(&client, "/api/admin/schedules").await;
    assert!(list["items"][0]["last"].is_string(), "{list}");
    assert_eq!(list["items"][0]["next"], row["next"], "its regular run stays");
    let refused = run("stall.tock").await;
    assert!(refused.status == 404 && refused.text().contains("stall.tick"), "{}", refused.text());
    node.stop().await;
}

#[tokio::test]
async fn the_cache_is_looked_into() {
    let node = sandbox().await;
    let (client, cache) = (node.client(), node.ctx("stall").cache().clone());
    for key in ["stall:a/1", "stall:b", "other"] {
        cache.set(key, "{\"big\": 9007199254740993}".into(), Duration::from_secs(60)).await.unwrap();
    }
    let page = get(&client, "/api/admin/cache?prefix=stall:").await;
    let keys: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, ["stall:a/1", "stall:b"]);
    let entry = client.get("/api/admin/cache/stall%3Aa%2F1").await.unwrap().text();
    assert!(entry.contains("{\"big\": 9007199254740993}"), "{entry}");
    assert_eq!(client.delete("/api/admin/cache/stall%3Aa%2F1").await.unwrap().status, 204);
    assert_eq!(client.get("/api/admin/cache/stall%3Aa%2F1").await.unwrap().status, 404);
    node.stop().await;
}

#[tokio::test]
async fn dead_letters_are_a_list_of_pages() {
    let node = sandbox().await;
    let client = node.client();
    for count in 0..5 {
        node.ctx("stall").ask(Add { item: "poison".to_owned(), count }).await.unwrap();
    }
    node.settle().await;
    let (mut seen, mut path) = (Vec::new(), "/api/admin/dead-letters?service=stall&limit=2".to_owned());
    loop {
        let page = get(&client, &path).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|letter| letter["value"]["count"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/admin/dead-letters?service=stall&limit=2&cursor={next}");
    }
    assert_eq!(seen, [4, 3, 2, 1, 0], "the newest first, each once");
    node.stop().await;
}

#[tokio::test]
async fn a_limit_out_of_range_is_refused_in_every_list() {
    let node = sandbox().await;
    let client = node.client();
    for (list, most) in
        [("dead-letters", 500), ("cache", 1_000), ("topics", 1_000), ("topics/stall.item/messages", 1_000)]
    {
        for limit in [0, most + 1] {
            let answer = client.get(&format!("/api/admin/{list}?limit={limit}")).await.unwrap();
            let said = format!("limit: {limit} is not 1 to {most}");
            assert_eq!((answer.status, answer.problem()), (400, said), "{list}");
        }
        for cursor in ["zz", "%00", "bnVsbA", "W10"] {
            let answer = client.get(&format!("/api/admin/{list}?cursor={cursor}")).await.unwrap();
            assert_eq!(answer.status, 400, "{list} {cursor}: {}", answer.text());
        }
        assert_eq!(client.get(&format!("/api/admin/{list}?limit={most}")).await.unwrap().status, 200);
    }
    node.stop().await;
}
