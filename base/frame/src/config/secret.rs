//! Texts that must not be shown: secrets, and URLs that may hold a password.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use subtle::ConstantTimeEq;

/// What stands in place of a secret wherever one would be printed.
pub const REDACTED: &str = "***";

/// A secret text. Debug, Display and Serialize show [`REDACTED`]; comparing takes the same time for every text of a
/// length. A key that holds one is named so that [`is_secret`] knows it before its type is.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: only for the place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(REDACTED)
    }
}
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}
impl Eq for Secret {}

/// A URL that names an adapter, `scheme:rest`. Shown without the password in it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

impl Url {
    pub fn new(text: impl Into<String>) -> Url {
        Url(text.into())
    }

    /// What stands before the first colon, such as `sqlite`; empty when there is none.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// What stands behind the first colon.
    pub fn rest(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(_, rest)| rest)
    }

    /// The whole text with its password: only for the place that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Url {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Replaces the password of a URL's authority and the values of query parameters that [`is_secret`] names, also where the
/// slashes were forgotten. Text that is no URL is returned as it is.
pub(crate) fn without_password(text: &str) -> String {
    let slashes = if text.contains("://") { "://" } else { ":" };
    let Some((scheme, rest)) = text.split_once(slashes) else { return text.to_owned() };
    let (before_query, query) = rest.split_once('?').map_or((rest, None), |(b, q)| (b, Some(q)));
    // A password may hold a slash by mistake: everything up to the last at sign counts as the user's part.
    let shown = match before_query.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{REDACTED}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => before_query.to_owned(),
    };
    let query = query.map(|query| {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
            _ => part.to_owned(),
        });
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}{slashes}{shown}{}", query.unwrap_or_default())
}

/// Whether a key holds a secret by its name: its last part is or ends in `token`, `secret`, `password` or `key`. Settings
/// are redacted by this rule before their types are known, in messages and in the printed configuration.
pub fn is_secret(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    let word = key.rsplit(['_', '-']).next().unwrap_or(&key);
    matches!(word, "token" | "secret" | "password" | "key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_nothing() {
        let secret = Secret::new("hunter2");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(format!("{secret} {secret:?} {json}"), "*** *** \"***\"");
        assert_eq!(secret, Secret::new("hunter2"));
        assert_ne!(secret, Secret::new("hunter3"));
        assert_ne!(secret, Secret::new("hunter"));
    }

    #[test]
    fn urls_hide_passwords_only() {
        for (text, shown) in [
            ("sqlite:data", "sqlite:data"),
            ("postgres://artel@db/x", "postgres://artel@db/x"),
            (
                "postgres://artel:pa@ss/w@db:5432/x?sslmode=disable",
                "postgres://artel:***@db:5432/x?sslmode=disable",
            ),
            ("postgres:artel:pw@db", "postgres:artel:***@db"),
            ("mailto:a@b.example", "mailto:a@b.example"),
            ("redis://:pw@cache:6379", "redis://:***@cache:6379"),
            ("postgres://db/x?user=a&password=b", "postgres://db/x?user=a&password=***"),
        ] {
            assert_eq!(Url::new(text).to_string(), shown);
            assert_eq!(format!("{:?}", Url::new(text)), shown);
        }
    }

    #[test]
    fn secret_keys_are_known_by_name() {
        for key in
            ["auth.operator_token", "smtp.password", "auth.tokens[0].secret", "s3.access-key", "api_key"]
        {
            assert!(is_secret(key), "{key}");
        }
        for key in ["auth.tokens", "db.url", "bridge.key_field", "http.hosts", "monkey"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
