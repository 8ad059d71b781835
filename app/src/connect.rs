//! The way to a running node: its URL and the token to show.

use crate::cli::Target;
use crate::sources;
use anyhow::{Context, Result, bail};
use artel_frame::TOKEN_FILE;
use artel_frame::client::{Answer, Client};
use artel_frame::config::Secret;
use http::Uri;
use serde::de::DeserializeOwned;
use std::net::IpAddr;

/// A client of the node that the command line names. What goes on over a restart of the node asks for another after a
/// 401: a node makes itself a new token at each start.
pub fn client(target: &Target) -> Result<Client> {
    let client = Client::trusting(&target.url, target.ca_file.as_deref())?;
    Ok(client.with_token(token(target)?))
}

fn token(target: &Target) -> Result<Option<Secret>> {
    if let Some(token) = target.token.as_ref().filter(|token| !token.is_empty()) {
        return Ok(Some(Secret::new(token.trim())));
    }
    if let Some(file) = &target.token_file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("--token-file '{}' can't be read", file.display()))?;
        return Ok(Some(Secret::new(text.trim())));
    }
    // The token of this machine's node goes to no other machine.
    if !is_loopback(&target.url) {
        return Ok(None);
    }
    let folder = sources::data_dir(target.data_dir.as_deref());
    Ok(std::fs::read_to_string(folder.join(TOKEN_FILE)).ok().map(|text| Secret::new(text.trim())))
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or("").trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The answer's JSON, or the node's own sentence about what is wrong.
pub fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    check(answer)?;
    answer.json().context("the answer is not what was expected; is the node of this program's version?")
}

/// The node is busy, full or going away: the same request can succeed later.
pub fn is_for_now(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Fails unless the answer is a success.
pub fn check(answer: &Answer) -> Result<()> {
    if answer.is_success() {
        return Ok(());
    }
    let said = answer.problem();
    match answer.status {
        401 => bail!(
            "{said}; give the token by --token-file, ARTEL_TOKEN or --data-dir (the folder of the node's {TOKEN_FILE})"
        ),
        _ => bail!(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for url in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", ""] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
