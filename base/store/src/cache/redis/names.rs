//! Settings, and how keys are called in Redis.

use crate::CacheError;
use redis::Client;
use std::time::Duration;

/// Bounds of the cache in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// What the keys of this installation begin with, so that several share a server: up to 64 letters, digits and `-_.`
    pub prefix: String,
    /// How long a call may take before the caller goes on without the cache.
    pub timeout: Duration,
    /// How long making a connection may take, with TLS and logging in.
    pub connect_timeout: Duration,
    /// Bytes of the largest value.
    pub max_value: u64,
}

impl Default for RedisSettings {
    fn default() -> RedisSettings {
        RedisSettings {
            prefix: "artel".to_owned(),
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(2),
            max_value: 8 << 20,
        }
    }
}

impl RedisSettings {
    pub(super) fn checked(self) -> Result<RedisSettings, CacheError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(fits) {
            let reason = format!("the prefix '{}' is none; use 1 to 64 letters, digits and -_.", self.prefix);
            return Err(CacheError::Url { url: "redis:…".to_owned(), reason });
        }
        Ok(self)
    }
}

/// The names of keys: `PREFIX:GENERATION:KEY`, and `PREFIX:generation` with the generation.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Names {
        Names { prefix: prefix.to_owned() }
    }

    pub(super) fn generation(&self) -> String {
        format!("{}:generation", self.prefix)
    }

    pub(super) fn key(&self, generation: &str, key: &str) -> String {
        // What follows a colon says which process of Redis it was made on.
        let token = generation.split(':').next().unwrap_or_default();
        format!("{}:{token}:{key}", self.prefix)
    }
}

pub(super) fn client(url: &str) -> Result<Client, CacheError> {
    // The rest of the URL may hold a password, and so may the parser's words.
    let refuse = |reason: &str| {
        let scheme = url.split_once(':').map_or("redis", |(scheme, _)| scheme);
        CacheError::Url { url: format!("{scheme}:…"), reason: reason.to_owned() }
    };
    if url.contains(['?', '#']) {
        return Err(refuse("nothing may follow the database; ? and # in a password are written %3F and %23"));
    }
    if url.starts_with("rediss:") && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another part of the program may be first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Client::open(url).map_err(|_| {
        refuse("not a URL of Redis; write redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss: with TLS")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in
            ["redis://u:secret@:x", "redis://u:secret@host/notanumber", "redis://u:secret@h:1?a=b", "redis:"]
        {
            let sentence = client(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(sentence.contains("writ") && !sentence.contains("secret"), "{url}: {sentence:?}");
        }
        for url in ["redis://host", "redis://:secret@[::1]:7000/3", "rediss://u:p@host:1"] {
            assert!(client(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn prefixes_are_words() {
        for prefix in ["", "a:b", "ä", "a*", &"x".repeat(65)] {
            assert!(
                RedisSettings { prefix: prefix.to_owned(), ..RedisSettings::default() }.checked().is_err()
            );
        }
    }
}
