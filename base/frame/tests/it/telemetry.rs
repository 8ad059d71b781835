//! Log lines as readers get them, and traces as a collector does.

use crate::node::start;
use artel_frame::config::{Config, Sources};
use artel_frame::telemetry::{Identity, Telemetry};
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;
    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn telemetry(settings: &[(&str, &str)], terminal: bool) -> (Telemetry, Lines) {
    let sources =
        settings.iter().fold(Sources::new(), |sources, (path, value)| sources.set("test", path, *value));
    let config = Config::load(sources).unwrap();
    let who = Identity { service: "artel".into(), version: "1.2.3".into(), node: "n1".into() };
    let lines = Lines::default();
    (Telemetry::new(&config.telemetry, who, lines.clone(), terminal).unwrap(), lines)
}

#[test]
fn lines_are_ecs_with_the_fields_of_their_spans() {
    let (telemetry, lines) = telemetry(&[("telemetry.log_filter", "info,quiet=off")], false);
    tracing::dispatcher::with_default(&telemetry.dispatch, || {
        let outer = tracing::info_span!("outer", trace.id = "t1", topic = "a", later = tracing::field::Empty);
        outer.record("later", 7);
        outer.in_scope(|| {
            let inner = tracing::info_span!("inner", topic = "b");
            let error = io::Error::other("disk full");
            inner.in_scope(|| tracing::warn!(error = %error, event.action = "append", "cannot \"append\""));
        });
        tracing::debug!("not shown");
        tracing::info!(target: "quiet", "not shown");
    });
    let all = lines.json();
    assert_eq!(all.len(), 1);
    let line = &all[0];
    for (field, value) in [
        ("log.level", "warn"),
        ("message", "cannot \"append\""),
        ("ecs.version", "8.17.0"),
        ("service.name", "artel"),
        ("service.version", "1.2.3"),
        ("service.node.name", "n1"),
        ("log.logger", "it::telemetry"),
        ("event.action", "append"),
        ("error.message", "disk full"),
        ("trace.id", "t1"),
        ("labels.topic", "b"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["labels.later"], 7);
    assert!(line["@timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(lines.text().starts_with("{\"@timestamp\":"), "the time stands first");
}

#[test]
fn a_terminal_gets_text_and_settings_can_ask_for_either() {
    for (format, terminal, json) in
        [("auto", true, false), ("auto", false, true), ("text", false, false), ("json", true, true)]
    {
        let (telemetry, lines) = telemetry(&[("telemetry.log_format", format)], terminal);
        tracing::dispatcher::with_default(&telemetry.dispatch, || tracing::info!(topic = "a", "hello"));
        let text = lines.text();
        assert!(text.contains("hello") && text.starts_with('{') == json, "{format} {terminal}: {text}");
    }
}

#[tokio::test]
async fn a_request_is_logged_once_with_its_id_and_an_internal_cause() {
    let (telemetry, lines) = telemetry(&[], false);
    // The whole test runs on this thread.
    let _default = tracing::dispatcher::set_default(&telemetry.dispatch);
    let node = start(&[]).await;
    let headers =
        [("x-request-id", "r-7"), ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    node.send("GET", "/api/demo/fail/internal?secret=1", &headers, "").await;
    node.get("/livez").await;
    let all = lines.json();
    let messages: Vec<&str> = all.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["failed", "answered"]);
    assert_eq!(
        (&all[0]["error.message"], &all[0]["log.level"]),
        (&"the inner reason".into(), &"error".into())
    );
    for line in &all {
        assert_eq!(line["http.request.id"], "r-7");
        assert_eq!(line["trace.id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["url.path"], "/api/demo/fail/internal");
    }
    assert_eq!(all[1]["http.response.status_code"], 500);
    assert_eq!(all[1]["user.name"], "public");
    assert!(all[1]["event.duration"].as_u64().is_some());
    assert!(!lines.text().contains("secret"));
}

/// What is open to everybody may have its proof in its path, such as the token of a link.
#[tokio::test]
async fn of_an_open_route_the_log_has_the_template_only() {
    let (telemetry, lines) = telemetry(&[], false);
    let _default = tracing::dispatcher::set_default(&telemetry.dispatch);
    let node = start(&[]).await;
    node.send("POST", "/api/demo/calls/s3cret", &[], "").await;
    let all = lines.json();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["url.path"], "/api/demo/calls/{from}");
    assert!(!lines.text().contains("s3cret"));
}

/// A collector of our own: takes one request over a plain socket and returns it whole.
#[cfg(feature = "otlp")]
#[test]
fn traces_reach_a_collector() {
    use std::io::{BufRead, BufReader, Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        (head, body)
    });

    let compiled = artel_frame::config::Compiled { otlp: true, ..Default::default() };
    let sources = Sources::new().compiled(compiled).set("test", "telemetry.otlp_url", url);
    let config = Config::load(sources).unwrap();
    let who = Identity { service: "artel".into(), version: "1.2.3".into(), node: "n1".into() };
    let lines = Lines::default();
    let telemetry = Telemetry::new(&config.telemetry, who, lines.clone(), false).unwrap();
    let trace: artel_frame::telemetry::Trace =
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    tracing::dispatcher::with_default(&telemetry.dispatch, || {
        let target = artel_flow::spans::TARGET;
        assert_eq!(target, "artel_trace");
        let told =
            tracing::info_span!(target: "artel_trace", "told", otel.context = %trace, otel.name = "told as");
        told.in_scope(|| {
            // A service's own span within a handler, and what it logs.
            let own = tracing::info_span!("taking-in", topic = "orders");
            own.in_scope(|| tracing::info!("inside"));
        });
        tracing::info_span!("in-no-trace").in_scope(|| tracing::info!("elsewhere"));
        let unsampled = trace.to_string().replace("-01", "-00");
        drop(tracing::info_span!(target: "artel_trace", "unsampled", otel.context = unsampled));
    });
    telemetry.flush();
    let (head, body) = collector.join().unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    let holds = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert!(holds(&trace.trace.to_be_bytes()), "the trace's id is in the body");
    assert!(holds(&trace.span.to_be_bytes()), "and its span's");
    for part in ["told as", "taking-in", "orders", "inside", "artel", "1.2.3", "n1"] {
        assert!(holds(part.as_bytes()), "{part}");
    }
    for part in ["in-no-trace", "elsewhere", "unsampled"] {
        assert!(!holds(part.as_bytes()), "{part}");
    }
    assert!(!lines.text().contains("told as"), "a collector's spans are not in the lines: {}", lines.text());
}
