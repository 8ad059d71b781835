//! What `[peers]` refuses.

use super::SECRET;
use artel_frame::config::{Config, Problem, Sources};

fn problems(settings: &[(&str, &str)]) -> Vec<String> {
    let sources = settings.iter().fold(Sources::new(), |all, (key, value)| all.set("test", key, *value));
    let loaded = Config::load(sources);
    loaded
        .err()
        .unwrap_or_default()
        .iter()
        .map(|problem: &Problem| format!("{} {}", problem.path, problem))
        .collect()
}

#[test]
fn a_listener_needs_a_secret_an_address_of_its_own_and_a_way_to_it() {
    let (loopback, all) = (("peers.listen", "127.0.0.1:8081"), ("peers.listen", "0.0.0.0:8081"));
    let secret = ("peers.secret", SECRET);
    let url = ("peers.url", "http://artel-1:8081");
    for good in [&[][..], &[secret], &[loopback, secret], &[all, secret, url]] {
        assert_eq!(problems(good), Vec::<String>::new());
    }
    for (settings, path, said) in [
        (&[loopback][..], "peers.listen", "set it to at least 32 characters"),
        (&[all, url], "peers.listen", "set it to at least 32 characters"),
        (&[loopback, ("peers.secret", "short")], "peers.secret", "at least 32 characters"),
        (&[("peers.listen", "127.0.0.1:8080"), secret], "peers.listen", "a listener of their own"),
        (&[("peers.listen", "0.0.0.0:8080"), secret, url], "peers.listen", "a listener of their own"),
        (&[all, secret], "peers.listen", "set peers.url"),
        (&[secret, url], "peers.url", "set peers.listen"),
        (&[all, secret, ("peers.url", "artel-1:8081")], "peers.url", "http://HOST:PORT"),
        (&[all, secret, ("peers.url", "https://artel-1")], "peers.url", "http://HOST:PORT"),
        (&[("peers.listen", "8081"), secret], "peers.listen", "127.0.0.1:8080"),
        (&[("peers.concurrency", "0")], "peers.concurrency", ""),
    ] {
        let found = problems(settings);
        let named = found.iter().any(|text| text.starts_with(path) && text.contains(said));
        assert!(named && found.iter().all(|text| !text.contains(SECRET)), "{settings:?}: {found:?}");
    }
}
