//! URLs that users give lead to no private place.

use super::server::Server;
use super::{clock, open, settings};
use artel_flow::Call;
use artel_frame::outbound::OutboundSettings;
use artel_message::{Code, Fault};

#[tokio::test]
async fn a_users_url_does_not_lead_to_this_machine() {
    let server = Server::start().await;
    let port = server.port();
    let out = open(settings(), &clock());
    // A connection that is kept for the service's own calls is not used either.
    out.send(Call::get(format!("http://localhost:{port}/own"))).await.unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "127.1",
    ] {
        let url = format!("http://{host}:{port}/");
        let fault = Fault::from(out.send(Call::get(url).from_user()).await.unwrap_err());
        assert_eq!(fault.code, Code::Forbidden, "{host}: {fault}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_setting_holds_for_every_call() {
    let server = Server::start().await;
    let out = open(OutboundSettings { public_only: true, ..settings() }, &clock());
    let fault = Fault::from(out.send(Call::get(server.url("/"))).await.unwrap_err());
    assert_eq!(fault.code, Code::Forbidden, "{fault}");
}

/// Where a redirect leads to is not looked at, so it can't lead anywhere.
#[tokio::test]
async fn redirects_are_answers() {
    let server = Server::start().await;
    server.answer(302, &[("location", "http://169.254.169.254/")], "");
    let out = open(settings(), &clock());
    assert_eq!(out.send(Call::get(server.url("/"))).await.unwrap().status, 302);
}
