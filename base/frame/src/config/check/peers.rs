//! The rules of `[peers]`.

use super::{Check, Config, KIB, MIB, SECOND};
use crate::config::Peers;
use hyper::Uri;
use std::net::SocketAddr;

/// A secret that signs requests is never typed by hand, so it can be long.
const MIN_SECRET: usize = 32;

pub(super) fn check(config: &Config, check: &mut Check<'_>) {
    let peers = &config.peers;
    let long = peers.secret.as_ref().is_none_or(|secret| secret.expose().trim().len() >= MIN_SECRET);
    check.holds(
        "peers.secret",
        long,
        "too short; use at least 32 characters, such as those of openssl rand -hex 32",
    );
    if let Some(listen) = peers.listen {
        listener(peers, listen, config.http.listen, check);
    }
    if let Some(url) = &peers.url {
        check.holds(
            "peers.url",
            is_address(url.expose()),
            "not how a node is reached; write it as http://HOST:PORT",
        );
        check.holds("peers.url", peers.listen.is_some(), "nothing listens there; set peers.listen as well");
    }
    check.period("peers.timeout", peers.timeout, 10, 3600 * SECOND);
    check.range("peers.concurrency", peers.concurrency, 1..=100_000);
    check.size("peers.body_limit", peers.body_limit, KIB, 1024 * MIB);
}

fn listener(peers: &Peers, listen: SocketAddr, public: SocketAddr, check: &mut Check<'_>) {
    if peers.secret.is_none() {
        let reason = "other nodes prove by peers.secret who they are, on loopback as well; set it to at least 32 characters, \
                      the same on every node";
        check.fail("peers.listen", reason);
    }
    if same_place(listen, public) {
        let reason =
            format!("http.listen is {public}; nodes need a listener of their own, so take another port");
        check.fail("peers.listen", reason);
    }
    if listen.ip().is_unspecified() && peers.url.is_none() {
        let reason = format!(
            "{listen} does not say how other nodes reach this one; set peers.url, such as http://{}:{}",
            "HOST",
            listen.port()
        );
        check.fail("peers.listen", reason);
    }
}

/// Whether two listeners get in each other's way. Port 0 is any free one.
fn same_place(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn is_address(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    uri.scheme_str() == Some("http")
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none()
}
