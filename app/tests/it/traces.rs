//! Traces of a real node, as a real collector gets them.

use crate::collector::{Collector, texts};
use crate::process::Process;
use crate::system::{System, consumed, post, stats};
use crate::until::until;
use artel_frame::client::Outgoing;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A node that sends its traces there; `ratio` of those that begin with it.
async fn node(folder: &TempDir, url: &str, ratio: &str) -> Process {
    let file = folder.path().join("traced.toml");
    let text = format!("[node]\nname = \"n7\"\n[telemetry]\notlp_url = \"{url}\"\ntrace_ratio = {ratio}\n");
    std::fs::write(&file, text).unwrap();
    Process::with(None, &["--config", file.to_str().unwrap()]).await
}

/// Sends one message in a trace, and returns the status.
async fn send(process: &Process, topic: &str, traceparent: Option<&str>) -> u16 {
    let body = json!({ "topic": topic, "key": "ann", "value": { "text": "hello" } });
    let mut request = Outgoing::new("POST".parse().unwrap(), "/api/bridge/messages");
    if let Some(parent) = traceparent {
        request = request.header("traceparent", parent);
    }
    let request = request.body("application/json", serde_json::to_vec(&body).unwrap());
    process.client().send(request).await.unwrap().status
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one span of that name.
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(named.len(), 1, "'{name}' among {names:?}");
    named[0]
}

fn has(span: &Span, wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    let attributes = texts(&span.attributes);
    for (name, value) in wanted {
        assert_eq!(attributes.get(*name).map(String::as_str), Some(*value), "{name} of {}", span.name);
    }
    attributes
}

#[tokio::test]
async fn one_trace_goes_from_the_request_through_outbox_and_log_to_the_last_handler() {
    let (collector, folder) = (Collector::start(), TempDir::new().unwrap());
    let mut process = node(&folder, &collector.url(), "0.0").await;
    // Neither of these is wanted: the first by its caller, the second by the ratio.
    let unwanted = "00-11111111111111111111111111111111-2222222222222222-00";
    assert_eq!(send(&process, "greetings", Some(unwanted)).await, 202);
    assert_eq!(send(&process, "greetings", None).await, 202);
    assert_eq!(send(&process, "greetings", Some(&format!("00-{TRACE}-{CALLER}-01"))).await, 202);
    consumed(&process, 3).await;
    // What is held back is sent before the end.
    assert!(process.stop().await.success());

    let spans = collector.spans();
    let traces: BTreeSet<String> = spans.iter().map(|span| hex(&span.trace_id)).collect();
    assert_eq!(traces, BTreeSet::from([TRACE.to_owned()]), "one trace, and no other");
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");

    let request = one(&spans, "POST /api/bridge/messages");
    let command = one(&spans, "command bridge.produce-message");
    let sent = one(&spans, "send greetings");
    let read = one(&spans, "process greetings");
    let ordered = one(&spans, "send bridge.commands");
    let ended = one(&spans, "process bridge.commands");
    assert_eq!(hex(&request.parent_span_id), CALLER);
    for (child, parent) in
        [(command, request), (sent, command), (read, sent), (ordered, read), (ended, ordered)]
    {
        let (name, above) = (&child.name, &parent.name);
        assert_eq!(hex(&child.parent_span_id), hex(&parent.span_id), "{name} is below {above}");
        assert!(child.end_time_unix_nano >= child.start_time_unix_nano, "{name}");
        assert!(child.end_time_unix_nano >= parent.start_time_unix_nano, "{name} ends after {above} begins");
    }
    let kinds = [request, command, sent, read, ordered, ended].map(|span| span.kind());
    use SpanKind::{Consumer, Internal, Producer, Server};
    assert_eq!(kinds, [Server, Internal, Producer, Consumer, Producer, Consumer]);

    has(
        request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/api/bridge/messages"),
            ("http.response.status_code", "202"),
            ("url.path", "/api/bridge/messages"),
            ("url.scheme", "http"),
        ],
    );
    has(command, &[("artel.service", "bridge"), ("artel.handler.kind", "command")]);
    let sent = has(
        sent,
        &[
            ("messaging.system", "artel"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "greetings"),
        ],
    );
    // The key decides the partition; two messages of it went before.
    let place = [
        ("messaging.destination.partition.id", sent["messaging.destination.partition.id"].as_str()),
        ("messaging.kafka.offset", "2"),
        ("messaging.message.id", sent["messaging.message.id"].as_str()),
    ];
    assert_eq!(sent["messaging.kafka.offset"], "2");
    let read = has(read, &place);
    has(ended, &[("messaging.system", "artel"), ("messaging.destination.name", "bridge.commands")]);
    assert!(read["messaging.consumer.group.name"].starts_with("bridge."), "{read:?}");
    assert!(spans.iter().all(|span| span.status.as_ref().is_none_or(|s| s.code() != StatusCode::Error)));

    let resources = collector.resources();
    assert_eq!(resources.len(), 1, "{resources:?}");
    for (name, value) in [
        ("service.name", "artel"),
        ("service.instance.id", "n7"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(resources[0].get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_trace_that_begins_here_is_sent_by_the_ratio_and_a_refusal_names_its_kind() {
    let (collector, folder) = (Collector::start(), TempDir::new().unwrap());
    let mut process = node(&folder, &collector.url(), "1.0").await;
    let nobody = format!("/api/bridge/consumers/{}", uuid::Uuid::now_v7());
    let asked = Outgoing::new("DELETE".parse().unwrap(), nobody);
    assert_eq!(process.client().send(asked).await.unwrap().status, 404);
    let probe = process.client().get("/readyz").await.unwrap();
    assert_eq!(probe.status, 200);
    assert!(process.stop().await.success());
    let spans = collector.spans();
    let request = one(&spans, "DELETE /api/bridge/consumers/{id}");
    assert!(request.parent_span_id.is_empty(), "it begins here");
    let attributes = has(request, &[("http.response.status_code", "404")]);
    assert!(!attributes.contains_key("error.type"), "what the caller did wrong is no error of the server");
    let command = one(&spans, "command bridge.stop-consumer");
    assert_eq!(command.trace_id, request.trace_id);
    assert_eq!(command.status.as_ref().map(|status| status.code()), Some(StatusCode::Error));
    has(command, &[("error.type", "not_found")]);
    assert!(spans.iter().all(|span| !span.name.contains("readyz")), "probes are no traces");
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let folder = TempDir::new().unwrap();
    // It takes connections into its queue and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let process = node(&folder, &format!("http://{}", silent.local_addr().unwrap()), "1.0").await;
    for n in 0..20 {
        let answer = post(&process, "/api/bridge/messages", &json!({ "topic": "t", "value": n })).await;
        assert_eq!(answer.status, 202);
    }
    consumed(&process, 20).await;
    // Requests went through while the first batch still waited for its answer; then it is counted, and said once.
    until("spans counted as refused", async || {
        stats(&process).await;
        let text = process.client().get("/metrics").await.unwrap().text();
        let refused =
            text.lines().find_map(|line| line.strip_prefix("artel_spans_total{result=\"refused\"} "));
        refused.filter(|count| count.parse::<u64>().unwrap() > 0).map(drop)
    })
    .await;
    let said = process.log().matches("takes no traces").count();
    assert_eq!(said, 1, "{}", process.log());
}
