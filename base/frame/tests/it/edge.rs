//! The edge over real sockets: refusals, limits, probes, stopping.

use crate::node::{Answer, start};
use artel_frame::edge::Check;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const THING: &str = "{\"name\": \"a\"}";

#[tokio::test]
async fn a_request_is_answered_with_its_id_and_safe_headers() {
    let node = start(&[]).await;
    let answer = node.post("/api/demo/things", THING).await;
    assert_eq!((answer.status, &answer.json()["caller"]), (201, &"public".into()));
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-request-id", "mine-1"),
        ("idempotency-key", "k1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let answer = node.send("POST", "/api/demo/things", &headers, THING).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.json()["key"], "k1");
    assert_eq!(answer.json()["trace"], "0af7651916cd43dd8448eb211c80319c");
    let strange = node.send("GET", "/api/demo/things", &[("x-request-id", "a b\"c")], "").await;
    assert_ne!(strange.header("x-request-id"), "a b\"c");
}

#[tokio::test]
async fn bad_bodies_are_refused_with_their_place() {
    let node = start(&[("http.body_limit", "1KiB")]).await;
    let json = [("content-type", "application/json")];
    for (body, status, detail, field) in [
        ("{\n  \"name\": nope\n}", 400, "not JSON: expected ident at line 2 column 12", None),
        (
            "{\"name\": 1}",
            400,
            "name: invalid type: integer `1`, expected a string at line 1 column 10",
            Some("name"),
        ),
        (
            "{\"nam\": \"a\"}",
            400,
            "nam: unknown field `nam`, expected one of `name`, `count`, `parts` at line 1 column 6",
            Some("nam"),
        ),
        (
            "{\"name\": \"a\", \"parts\": [{\"size\": -1}]}",
            400,
            "parts[0].size: invalid value: integer `-1`, expected u32 at line 1 column 35",
            Some("parts[0].size"),
        ),
        ("{\"name\": \"\"}", 400, "name: is empty; name the thing", Some("name")),
    ] {
        let answer = node.send("POST", "/api/demo/things", &json, body).await;
        assert_eq!((answer.status, &*answer.problem()), (status, detail));
        assert_eq!(answer.json()["field"].as_str(), field);
        assert_eq!(answer.json()["code"], "invalid");
    }
    let large = node.post("/api/demo/things", &format!("{{\"name\": \"{}\"}}", "x".repeat(2000))).await;
    assert_eq!(large.status, 413);
    assert!(large.problem().contains("http.body_limit"));
    let text = node.send("POST", "/api/demo/things", &[("content-type", "text/plain")], THING).await;
    assert_eq!(text.status, 415);
    assert!(text.problem().contains("send the header content-type: application/json"));
}

#[tokio::test]
async fn bad_paths_and_queries_are_refused() {
    let node = start(&[]).await;
    let query = node.get("/api/demo/things?limit=many").await;
    assert_eq!((query.status, &*query.problem()), (400, "limit: invalid digit found in string"));
    let unknown = node.get("/api/demo/things?limits=1").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.problem().contains("unknown field `limits`"));
    let path = node.get("/api/demo/things/7").await;
    assert_eq!(path.status, 400);
    assert!(path.problem().starts_with("the path /api/demo/things/7 does not fit"));
    let missing = node.get("/api/demo/things/01890a5d-ac96-774b-bcce-b302099a8057").await;
    assert_eq!(missing.status, 404);
    let nowhere = node.get("/api/none").await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.problem(), "nothing is served at /api/none; the routes are listed at /api/docs");
    let method = node.send("DELETE", "/api/demo/things", &[], "").await;
    assert_eq!(method.status, 405);
    assert!(method.problem().contains("DELETE is not served"));
    assert!(method.header("allow").contains("POST"), "{:?}", method.headers);
}

#[tokio::test]
async fn faults_have_their_statuses_and_internals_stay_inside() {
    let node = start(&[]).await;
    for (code, status) in
        [("conflict", 409), ("exhausted", 429), ("unavailable", 503), ("timeout", 504), ("internal", 500)]
    {
        let answer = node.get(&format!("/api/demo/fail/{code}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.problem().contains("the inner reason"), code != "internal");
        assert_eq!(answer.header("retry-after") == "1", matches!(status, 429 | 503));
    }
    let panic = node.get("/api/demo/panic").await;
    assert_eq!(panic.status, 500);
    assert!(!panic.problem().contains("on purpose"));
    assert_eq!(node.get("/livez").await.status, 200, "the node lives on");
}

#[tokio::test]
async fn slow_requests_end_and_streams_do_not() {
    let node = start(&[("http.request_timeout", "50ms")]).await;
    let slow = async {
        node.gate.entered.notified().await;
        // Begun after the stream and ended by the limit: the stream has outlived it.
        let slow = node.get("/api/demo/wait").await;
        node.gate.open.notify_one();
        slow
    };
    let (stream, slow) = tokio::join!(node.get("/api/demo/stream"), slow);
    assert_eq!(slow.status, 504);
    assert!(slow.problem().starts_with("no answer within 50 ms (http.request_timeout)"));
    assert_eq!((stream.status, stream.text()), (200, "waited".into()));
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused() {
    let node = start(&[("http.concurrency", "1")]).await;
    let second = async {
        node.gate.entered.notified().await;
        let refused = node.get("/api/demo/things").await;
        let probe = node.get("/livez").await;
        node.gate.open.notify_one();
        (refused, probe)
    };
    let (first, (refused, probe)) = tokio::join!(node.get("/api/demo/wait"), second);
    assert_eq!((first.status, refused.status, probe.status), (200, 503, 200));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.problem(), "too many requests at once (http.concurrency); try again");
    assert_eq!(node.get("/api/demo/things").await.status, 200);
}

#[tokio::test]
async fn foreign_hosts_are_refused_on_loopback() {
    let node = start(&[("http.hosts", "artel.test, Other.Test:81")]).await;
    let as_host = async |host: &str| node.send("GET", "/api/demo/things", &[("host", host)], "").await;
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:1",
        "[::1]:8080",
        "artel.test",
        "artel.test:99",
        "other.test.",
    ] {
        assert_eq!(as_host(host).await.status, 200, "{host}");
    }
    for host in ["evil.test", "localhost.evil.test", "10.0.0.1", "127.0.0.1.evil.test:8080"] {
        let answer = as_host(host).await;
        assert_eq!(answer.status, 421, "{host}");
        assert!(answer.problem().contains("is not a name of this server; add it to http.hosts"));
    }
}

#[tokio::test]
async fn pages_of_configured_origins_may_call() {
    let node = start(&[("http.cors_origins", "https://console.test")]).await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,authorization"),
        ];
        node.send("OPTIONS", "/api/demo/things", &headers, "").await
    };
    assert_eq!(
        preflight("https://console.test").await.header("access-control-allow-origin"),
        "https://console.test"
    );
    assert_eq!(preflight("https://evil.test").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn answers_are_compressed_on_request() {
    let node = start(&[]).await;
    let headers = [("accept-encoding", "gzip")];
    let answer = node.send("GET", "/api/demo/things?limit=100", &headers, "").await;
    assert_eq!((answer.header("content-encoding"), answer.body.starts_with(&[0x1f, 0x8b])), ("gzip", true));
    assert_eq!(node.get("/api/demo/things?limit=100").await.header("content-encoding"), "");
}

#[tokio::test]
async fn readiness_names_each_dependency() {
    let node = start(&[]).await;
    assert_eq!(node.get("/readyz").await.json()["status"], "ready");
    let works = Arc::new(AtomicBool::new(false));
    let seen = works.clone();
    let check: Arc<dyn Check> = Arc::new(move || {
        let works = seen.load(Ordering::Relaxed);
        async move { if works { Ok(()) } else { Err("no answer from db".to_owned()) } }
    });
    node.readiness.register("bus", Arc::new(|| async { Ok(()) }));
    node.readiness.register("db", check.clone());
    let answer = node.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let ready = serde_json::json!({"status": "ready", "since": "1970-01-01T00:00:00.000000Z"});
    let failed = serde_json::json!({"status": "failed", "since": "1970-01-01T00:00:00.000000Z", "reason": "no answer from db"});
    assert_eq!(
        answer.json(),
        serde_json::json!({"status": "failed", "checks": {"bus": ready, "db": failed}})
    );
    works.store(true, Ordering::Relaxed);
    assert_eq!(node.get("/readyz").await.status, 503, "the finding of the last second stands");
    node.readiness.register("db", check);
    assert_eq!(node.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn what_a_node_goes_on_without_is_named_and_leaves_it_ready() {
    let node = start(&[]).await;
    node.readiness.register("bus", Arc::new(|| async { Ok(()) }));
    node.readiness.register_dispensable("cache", Arc::new(|| async { Err("redis is away".to_owned()) }));
    let answer = node.get("/readyz").await;
    let report = answer.json();
    assert_eq!((answer.status, &report["status"]), (200, &serde_json::json!("ready")), "{report}");
    let found = &report["checks"]["cache"];
    assert_eq!((&found["status"], &found["reason"]), (&"degraded".into(), &"redis is away".into()));
    node.readiness.register("db", Arc::new(|| async { Err("gone".to_owned()) }));
    assert_eq!(node.get("/readyz").await.status, 503, "it covers nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_hangs_is_not_ready() {
    let readiness = artel_frame::edge::Readiness::new(Arc::new(artel_message::Time::default));
    readiness.register("bus", Arc::new(std::future::pending));
    let report = readiness.report().await;
    assert_eq!(report.checks["bus"].reason.as_deref(), Some("no answer within 2 s"));
}

/// The value of a metric, checking the format of every line on the way.
fn metric(answer: &Answer, name: &str) -> Option<f64> {
    let text = answer.text();
    let mut value = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, number) = line.rsplit_once(' ').unwrap();
        let number: f64 = number.parse().unwrap_or_else(|_| panic!("{line}"));
        if series == name {
            value = Some(number);
        }
    }
    value
}

#[tokio::test]
async fn metrics_tell_of_requests_and_of_the_process() {
    let node = start(&[]).await;
    for _ in 0..3 {
        node.get("/api/demo/things?limit=2").await;
    }
    node.get("/nowhere/at/all").await;
    let answer = node.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(answer.text().contains("# TYPE artel_http_requests_total counter\n"));
    let open = node.send("GET", "/metrics", &[("accept", "application/openmetrics-text")], "").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# TYPE artel_http_requests counter\n"));
    let route = "route=\"/api/demo/things\"";
    let count = |name: &str| metric(&answer, name);
    assert_eq!(
        count(&format!("artel_http_requests_total{{method=\"GET\",{route},status=\"200\"}}")),
        Some(3.0)
    );
    assert_eq!(count("artel_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}"), Some(1.0));
    assert_eq!(
        count(&format!("artel_http_request_duration_seconds_count{{method=\"GET\",{route}}}")),
        Some(3.0)
    );
    assert_eq!(count("artel_http_requests_in_flight"), Some(1.0));
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(count(name).is_some_and(|value| value > 0.0), "{name}");
    }
}

#[tokio::test]
async fn a_stop_lets_running_requests_end() {
    let node = start(&[]).await;
    let stop = async {
        node.gate.entered.notified().await;
        node.stop.cancel();
        node.gate.open.notify_one();
    };
    let (answer, ()) = tokio::join!(node.get("/api/demo/wait"), stop);
    assert_eq!((answer.status, answer.text()), (200, "waited".into()));
    assert_eq!(node.stop().await, 0);
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let node = start(&[("node.stop_within", "50ms")]).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = b"GET /api/demo/wait HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head).await.unwrap();
    node.gate.entered.notified().await;
    assert_eq!(node.stop().await, 1);
}

/// Reads until the server closes; the test's own limit is far above any of the server's.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let node = start(&[("http.head_timeout", "50ms")]).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: local").await.unwrap();
    let text = read_to_end(&mut stream).await;
    assert!(!text.contains("200 OK"), "{text}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_their_turn() {
    let node = start(&[("http.connections", "1")]).await;
    let mut first = TcpStream::connect(node.address).await.unwrap();
    first
        .write_all(b"GET /api/demo/wait HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    node.gate.entered.notified().await;
    let second = async {
        let mut second = TcpStream::connect(node.address).await.unwrap();
        second
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        read_to_end(&mut second).await
    };
    let mut second = std::pin::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(100), second.as_mut()).await;
    assert!(early.is_err(), "the second is served beside the first");
    node.gate.open.notify_one();
    assert!(read_to_end(&mut first).await.contains("waited"));
    assert!(second.await.contains("200 OK"));
}
