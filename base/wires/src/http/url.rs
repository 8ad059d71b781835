//! URLs in settings.

use http::Uri;
use std::net::IpAddr;

/// A setting that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadSetting {
    pub field: &'static str,
    pub reason: String,
}

impl BadSetting {
    pub fn new(field: &'static str, reason: impl Into<String>) -> BadSetting {
        BadSetting { field, reason: reason.into() }
    }
}

const MOST_URL: usize = 2_048;

/// An absolute URL without a user in it: `https`, and plain `http` to this machine only.
pub fn checked_url(field: &'static str, text: &str) -> Result<Uri, BadSetting> {
    let wrong = |reason: &str| Err(BadSetting::new(field, reason));
    if text.len() > MOST_URL {
        return wrong("longer than 2048 characters");
    }
    let Ok(uri) = text.parse::<Uri>() else { return wrong("not a URL; write https://HOST/PATH") };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("not an absolute URL; write https://HOST/PATH");
    };
    if authority.as_str().contains('@') {
        return wrong("has a user in it");
    }
    match scheme {
        _ if authority.host().is_empty() => wrong("names no host; write https://HOST/PATH"),
        "https" => Ok(uri),
        "http" if is_loopback(authority.host()) => Ok(uri),
        "http" => wrong("not https; plain http is for this machine only"),
        _ => wrong("not https"),
    }
}

/// The address, where the host is one.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for good in [
            "https://fcm.googleapis.com",
            "https://h:8443/x?y=1",
            "http://127.0.0.1:80/",
            "http://[::1]:80",
            "http://localhost:1",
        ] {
            assert!(checked_url("base", good).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("http://fcm.googleapis.com", "not https"),
            ("http://localhost.example.com", "not https"),
            ("ftp://localhost", "not https"),
            ("/path", "absolute"),
            ("fcm.googleapis.com", "absolute"),
            ("https://user@host/", "user"),
            ("https://", "URL"),
            ("", "URL"),
        ] {
            let error = checked_url("base", bad).unwrap_err();
            assert!(error.field == "base" && error.reason.contains(reason), "{bad}: {error}");
        }
    }
}
