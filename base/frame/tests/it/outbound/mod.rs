//! Calls to the outside, against a real server of the test's own.

mod circuit;
mod guard;
mod recording;
mod repeats;
mod server;

use artel_flow::{Call, Clock};
use artel_frame::outbound::{HttpOutbound, OutboundParts, OutboundSettings, RetrySettings};
use artel_frame::telemetry::Metrics;
use artel_message::{Code, Fault, Time};
use server::Server;
use std::sync::Arc;
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
/// Long enough for a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// No pauses but those that are asked for, and one attempt unless a test is about more.
pub fn settings() -> OutboundSettings {
    let retry = RetrySettings { attempts: 1, ..RetrySettings::default() };
    OutboundSettings { retry, ..OutboundSettings::default() }
}

pub fn parts(settings: OutboundSettings, clock: &Clock) -> OutboundParts {
    OutboundParts { random: Arc::new(|| 0.0), ..OutboundParts::new(settings, clock.clone()) }
}

pub fn open(settings: OutboundSettings, clock: &Clock) -> HttpOutbound {
    parts(settings, clock).open().unwrap()
}

/// A clock that stands.
pub fn clock() -> Clock {
    Clock::manual(Time::from_micros(1_700_000_000_000_000))
}

/// Moves the clock on in small steps until `work` is done; tells how far that was.
pub async fn while_time_passes<T>(
    clock: &Clock,
    step: Duration,
    work: impl Future<Output = T>,
) -> (T, Duration) {
    let mut work = std::pin::pin!(work);
    let begin = clock.now();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, clock.now().since(begin)),
            _ = ticks.tick() => {
                assert!(tokio::time::Instant::now() < end, "not done within {PATIENCE:?}");
                clock.advance(step);
            }
        }
    }
}

pub async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let end = tokio::time::Instant::now() + PATIENCE;
    while !look() {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        ticks.tick().await;
    }
}

#[tokio::test]
async fn a_call_goes_out_whole_and_its_answer_comes_back() {
    let server = Server::start().await;
    server.answer(201, &[("x-more", "1")], "made");
    let out = open(settings(), &clock());
    let call =
        Call::post(server.url("/things?a=1")).json(&serde_json::json!({"a": 1})).key("k-1").bearer("t");
    let reply = out.send(call).await.unwrap();
    assert_eq!(
        (reply.status, &reply.body[..], &reply.headers["x-more"]),
        (201, &b"made"[..], &"1".parse().unwrap())
    );
    let seen = server.seen();
    assert_eq!((seen[0].line.as_str(), seen[0].body.as_str()), ("POST /things?a=1", "{\"a\":1}"));
    assert_eq!(seen[0].header("idempotency-key"), "k-1");
    assert_eq!(seen[0].header("authorization"), "Bearer t");
    assert_eq!(seen[0].header("content-type"), "application/json");
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_refused() {
    let server = Server::start().await;
    server.answer(200, &[], &"x".repeat(1001));
    server.answer(200, &[], &"x".repeat(1000));
    let out = open(OutboundSettings { response_bytes: 1000, ..settings() }, &clock());
    let fault = Fault::from(out.send(Call::get(server.url("/"))).await.unwrap_err());
    assert_eq!(fault.code, Code::Exhausted, "{fault}");
    assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let server = Server::start().await;
    server.hold();
    let out = open(settings(), &clock());
    let call = Call::get(server.url("/")).within(Duration::from_millis(50));
    let fault = Fault::from(out.send(call).await.unwrap_err());
    assert_eq!(fault.code, Code::Timeout, "{fault}");
    server.release();
}

#[tokio::test]
async fn what_can_not_be_called_is_invalid() {
    let out = open(settings(), &clock());
    for url in ["", "/path", "ftp://h/", "http://", "http://user:secret@h/", "http:// h/", "h:80"] {
        let fault = Fault::from(out.send(Call::get(url)).await.unwrap_err());
        assert_eq!(fault.code, Code::Invalid, "{url}: {fault}");
        assert!(!fault.reason.contains("secret"), "{fault}");
    }
    let broken = Call::get("http://localhost/").header("x", "secret\n");
    let fault = Fault::from(out.send(broken).await.unwrap_err());
    assert!(fault.code == Code::Invalid && !fault.reason.contains("secret"), "{fault}");
    let fault = Fault::from(out.send(Call::get("https://localhost:1/")).await.unwrap_err());
    let expected = if cfg!(feature = "https") { Code::Unavailable } else { Code::Invalid };
    assert_eq!(fault.code, expected, "{fault}");
}

#[tokio::test]
async fn equal_reads_at_the_same_time_are_one_request() {
    let server = Server::start().await;
    server.hold();
    let out = open(settings(), &clock());
    let ask = |token: &'static str| {
        let (out, call) = (out.clone(), Call::get(server.url("/a")).bearer(token));
        tokio::spawn(async move { out.send(call).await.map(|reply| reply.status) })
    };
    let asked: Vec<_> = ["one", "one", "one", "two"].into_iter().map(ask).collect();
    until("both kinds are there", || server.seen().len() == 2).await;
    server.release();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok(200));
    }
    assert_eq!(server.seen().len(), 2, "one for each token");
    out.send(Call::get(server.url("/a")).bearer("one")).await.unwrap();
    assert_eq!(server.seen().len(), 3, "an answer is not kept");
}

/// Also when the one who asked first has no more patience.
#[tokio::test]
async fn who_joined_a_read_gets_it_without_the_first() {
    let server = Server::start().await;
    server.hold();
    let out = open(settings(), &clock());
    let ask = || {
        let (out, call) = (out.clone(), Call::get(server.url("/a")));
        tokio::spawn(async move { out.send(call).await.map(|reply| reply.status) })
    };
    let first = ask();
    until("it is there", || server.seen().len() == 1).await;
    let second = ask();
    // Boarded before the first leaves: a task that was begun is polled before this one is again.
    tokio::task::yield_now().await;
    first.abort();
    server.release();
    assert_eq!(second.await.unwrap(), Ok(200));
}

#[tokio::test]
async fn metrics_name_hosts_and_outcomes() {
    let server = Server::start().await;
    server.answer(404, &[], "");
    let (out, metrics) = (open(settings(), &clock()), Metrics::new());
    out.register(&metrics);
    out.send(Call::get(server.url("/"))).await.unwrap();
    out.send(Call::get(server.url("/"))).await.unwrap();
    let _ = out.send(Call::get(server.url("/")).from_user()).await;
    let text = metrics.encode(artel_frame::telemetry::Exposition::OpenMetrics).unwrap();
    let host = server.host();
    for line in [
        format!("artel_outbound_requests_total{{host=\"{host}\",outcome=\"4xx\"}} 1"),
        format!("artel_outbound_requests_total{{host=\"{host}\",outcome=\"2xx\"}} 1"),
        format!("artel_outbound_seconds_count{{host=\"{host}\"}} 2"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
