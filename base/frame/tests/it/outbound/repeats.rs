//! What is sent again, and when; rates.

use super::server::Server;
use super::{SECOND, clock, open, parts, settings, while_time_passes};
use artel_flow::Call;
use artel_frame::outbound::{OutboundError, OutboundSettings, Rate, RetrySettings};
use artel_message::{Code, Fault};
use artel_store::{Cache, MemoryCache};
use std::sync::Arc;
use std::time::Duration;

fn repeating() -> OutboundSettings {
    OutboundSettings { retry: RetrySettings::default(), ..settings() }
}

#[tokio::test]
async fn only_what_is_harmless_is_sent_again() {
    let out = open(repeating(), &clock());
    for (call, times) in [
        (Call::get("/"), 2),
        (Call::new(axum::http::Method::PUT, "/"), 2),
        (Call::post("/"), 1),
        (Call::post("/").key("k"), 2),
    ] {
        let server = Server::start().await;
        server.answer(503, &[], "");
        let call = Call { url: server.url("/"), ..call };
        let name = format!("{} {:?}", call.method, call.key);
        let status = out.send(call).await.unwrap().status;
        assert_eq!((server.seen().len(), status), (times, if times == 2 { 200 } else { 503 }), "{name}");
        assert!(
            server
                .seen()
                .iter()
                .all(|seen| seen.header("idempotency-key") == server.seen()[0].header("idempotency-key"))
        );
    }
}

#[tokio::test]
async fn a_refusal_is_not_sent_again() {
    let out = open(repeating(), &clock());
    for status in [400, 404, 409, 501] {
        let server = Server::start().await;
        server.answer(status, &[], "");
        assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().status, status);
        assert_eq!(server.seen().len(), 1);
    }
}

/// Nothing was sent, so any method is harmless.
#[tokio::test]
async fn a_host_that_is_not_there_is_unavailable() {
    let server = Server::start().await;
    let url = server.url("/");
    drop(server);
    let out = open(repeating(), &clock());
    let fault = Fault::from(out.send(Call::post(url)).await.unwrap_err());
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert_eq!(fault.detail.unwrap()["kind"], "connect");
}

#[tokio::test]
async fn repeats_add_a_fifth_at_most() {
    let server = Server::start().await;
    server.always(503);
    let breaker = artel_frame::outbound::BreakerSettings { least_calls: u32::MAX, ..Default::default() };
    let out = open(OutboundSettings { breaker, ..repeating() }, &clock());
    for _ in 0..100 {
        assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().status, 503);
    }
    let sent = server.seen().len();
    assert!((115..=123).contains(&sent), "{sent} requests for 100 calls");
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let clock = clock();
    let out = open(repeating(), &clock);
    // The clock stands at Tue, 14 Nov 2023 22:13:20 GMT and moves by a few steps before the answer is read.
    for (after, least) in [("2", 2), ("Tue, 14 Nov 2023 22:14:20 GMT", 3)] {
        let server = Server::start().await;
        server.answer(503, &[("retry-after", after)], "");
        let out = OutboundSettings { longest_wait: SECOND * 120, timeout: SECOND * 600, ..repeating() };
        let out = open(out, &clock);
        let call = out.send(Call::get(server.url("/")));
        let (reply, passed) = while_time_passes(&clock, SECOND / 4, call).await;
        assert_eq!((reply.unwrap().status, server.seen().len()), (200, 2));
        assert!(passed >= SECOND * least, "{after}: after {passed:?}");
    }
    // Longer than a call waits: it is told so, and the host is left alone.
    let server = Server::start().await;
    server.answer(429, &[("retry-after", "60")], "");
    assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().status, 429);
    let error = out.send(Call::post(server.url("/"))).await.unwrap_err();
    assert!(matches!(&error, OutboundError::AskedToWait { after, .. } if *after == SECOND * 60), "{error}");
    assert_eq!(Fault::from(error).detail.unwrap()["retry_after_ms"], 60_000);
    assert_eq!(server.seen().len(), 1);
    clock.advance(SECOND * 60);
    assert_eq!(out.send(Call::post(server.url("/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_rate_spaces_calls_and_refuses_who_would_wait_too_long() {
    let server = Server::start().await;
    let clock = clock();
    let rates = [("127.0.0.1".to_owned(), Rate::per_second(2).burst(2))].into();
    let out = open(OutboundSettings { rates, longest_wait: SECOND, ..settings() }, &clock);
    let call = || out.send(Call::post(server.url("/")));
    call().await.unwrap();
    call().await.unwrap();
    let (reply, passed) = while_time_passes(&clock, SECOND / 10, call()).await;
    reply.unwrap();
    assert!(passed >= SECOND / 2, "{passed:?}");
    let waiting = tokio::spawn({
        let (out, url) = (out.clone(), server.url("/"));
        async move { futures::future::join_all((0..5).map(|_| out.send(Call::post(url.clone())))).await }
    });
    let (results, _) = while_time_passes(&clock, SECOND / 10, waiting).await;
    let refused = results.unwrap().into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(
        !refused.is_empty() && refused.iter().all(|e| matches!(e, OutboundError::Rate { .. })),
        "{refused:?}"
    );
    assert_eq!(Fault::from(refused[0].clone()).code, Code::Exhausted);
}

/// Two nodes with one cache keep the rate together; without an answer of the cache each keeps it for itself.
#[tokio::test]
async fn nodes_share_a_rate_through_the_cache() {
    let server = Server::start().await;
    let clock = clock();
    let time = clock.clone();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(1 << 20, Arc::new(move || time.now())));
    let settings = OutboundSettings {
        rate: Some(Rate { calls: 3, per: SECOND * 60, burst: 3 }),
        longest_wait: Duration::ZERO,
        ..settings()
    };
    let node = |cache: Option<Arc<dyn Cache>>| {
        artel_frame::outbound::OutboundParts { cache, ..parts(settings.clone(), &clock) }.open().unwrap()
    };
    let nodes = [node(Some(cache.clone())), node(Some(cache))];
    let mut made = 0;
    for n in 0..6 {
        made += usize::from(nodes[n % 2].send(Call::post(server.url("/"))).await.is_ok());
    }
    assert_eq!((made, server.seen().len()), (1, 1), "a window of 20 s has one place");
    let alone = node(None);
    for _ in 0..3 {
        alone.send(Call::post(server.url("/"))).await.unwrap();
    }
    assert!(alone.send(Call::post(server.url("/"))).await.is_err());
}
