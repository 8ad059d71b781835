//! A host that fails is left alone for a while.

use super::server::Server;
use super::{SECOND, clock, open, settings};
use artel_flow::Call;
use artel_frame::outbound::OutboundError;
use artel_message::{Code, Fault};

#[tokio::test]
async fn a_failing_host_is_left_alone_then_tried() {
    let (server, other) = (Server::start().await, Server::start().await);
    let clock = clock();
    let out = open(settings(), &clock);
    let call = || out.send(Call::get(server.url("/")));
    server.always(500);
    for _ in 0..10 {
        assert_eq!(call().await.unwrap().status, 500);
    }
    let error = call().await.unwrap_err();
    assert!(matches!(&error, OutboundError::Open { after, .. } if *after == SECOND * 2), "{error}");
    let fault = Fault::from(error);
    assert_eq!(fault.code, Code::Unavailable);
    assert_eq!(fault.detail.unwrap()["retry_after_ms"], 2000);
    assert_eq!(server.seen().len(), 10);
    assert_eq!(out.send(Call::get(other.url("/"))).await.unwrap().status, 200, "others are called");
    // A trial that fails, then two that succeed.
    clock.advance(SECOND * 2);
    assert_eq!(call().await.unwrap().status, 500);
    assert!(call().await.is_err());
    clock.advance(SECOND * 4);
    server.always(200);
    for _ in 0..20 {
        assert_eq!(call().await.unwrap().status, 200);
    }
}

/// A trial whose caller goes away is no answer: the next call is the trial.
#[tokio::test]
async fn a_trial_given_up_leaves_the_way_free() {
    let server = Server::start().await;
    let clock = clock();
    let out = open(settings(), &clock);
    server.always(500);
    for _ in 0..10 {
        out.send(Call::get(server.url("/"))).await.unwrap();
    }
    clock.advance(SECOND * 2);
    server.always(200);
    server.hold();
    let trial = tokio::spawn({
        let (out, url) = (out.clone(), server.url("/"));
        async move { out.send(Call::get(url)).await }
    });
    super::until("the trial is there", || server.seen().len() == 11).await;
    assert!(out.send(Call::post(server.url("/"))).await.is_err(), "one trial at a time");
    trial.abort();
    assert!(trial.await.unwrap_err().is_cancelled());
    server.release();
    assert_eq!(out.send(Call::post(server.url("/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn refusals_of_the_other_side_are_no_failures_of_it() {
    let server = Server::start().await;
    let out = open(settings(), &clock());
    for status in [404, 429, 501] {
        server.always(status);
        for _ in 0..20 {
            assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().status, status);
        }
    }
}
