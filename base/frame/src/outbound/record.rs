//! For tests of services that call others: the recorder keeps real answers in a file, the replayer gives them again. The
//! file is JSON that people can read and change; what is secret in it is masked before it is written.

use super::failure::OutboundError;
use super::transport::{Checked, Transport};
use artel_flow::Reply;
use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const MASK: &str = "***";
/// A header or a query's parameter with such a part in its name is masked.
const SECRETS: [&str; 9] =
    ["authorization", "cookie", "token", "secret", "password", "key", "signature", "credential", "session"];
/// Headers that differ from run to run and decide nothing.
const LEFT_OUT: [&str; 4] = ["date", "connection", "content-length", "transfer-encoding"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Exchange {
    request: Asked,
    response: Answered,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Asked {
    method: String,
    url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answered {
    status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    body: Body,
}

/// As readable as it can be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Json(serde_json::Value),
    Text(String),
    Base64(String),
}

impl Default for Body {
    fn default() -> Body {
        Body::Text(String::new())
    }
}

impl Body {
    fn is_empty(&self) -> bool {
        *self == Body::default()
    }

    fn read(bytes: &Bytes, secrets: &[String]) -> Body {
        let Ok(text) = std::str::from_utf8(bytes) else { return Body::Base64(STANDARD.encode(bytes)) };
        let text = masked(text, secrets);
        match serde_json::from_str::<serde_json::Value>(&text) {
            // Numbers and texts alone are more often no JSON.
            Ok(json) if json.is_object() || json.is_array() => Body::Json(json),
            _ => Body::Text(text),
        }
    }

    fn bytes(&self) -> Result<Bytes, OutboundError> {
        match self {
            Body::Json(json) => Ok(Bytes::from(json.to_string())),
            Body::Text(text) => Ok(Bytes::from(text.clone())),
            Body::Base64(text) => {
                STANDARD.decode(text).map(Bytes::from).map_err(|error| trouble(error.to_string()))
            }
        }
    }
}

impl Asked {
    fn read(checked: &Checked, secrets: &[String]) -> Asked {
        let call = &checked.call;
        let url = masked(&without_secrets(&call.url), secrets);
        Asked {
            method: call.method.to_string(),
            url,
            headers: readable(&call.headers, secrets),
            body: Body::read(&call.body, secrets),
        }
    }

    /// What decides which answer belongs to it.
    fn matches(&self, other: &Asked) -> bool {
        (&self.method, &self.url, &self.body) == (&other.method, &other.url, &other.body)
    }

    fn line(&self) -> String {
        let body = serde_json::to_string(&self.body).unwrap_or_default();
        let body = if self.body.is_empty() { String::new() } else { format!(" {body}") };
        format!("{} {}{}", self.method, self.url, body.chars().take(500).collect::<String>())
    }
}

fn trouble(reason: impl Into<String>) -> OutboundError {
    OutboundError::Recording { reason: reason.into() }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // A key of idempotency opens nothing, and tells requests apart.
    name != "idempotency-key" && SECRETS.iter().any(|part| name.contains(part))
}

fn masked(text: &str, secrets: &[String]) -> String {
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

/// The URL with its secret parameters masked.
fn without_secrets(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    format!("{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
}

fn readable(headers: &HeaderMap, secrets: &[String]) -> Vec<(String, String)> {
    let mut list: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = if is_secret(name.as_str()) {
                MASK.to_owned()
            } else {
                masked(&String::from_utf8_lossy(value.as_bytes()), secrets)
            };
            (name.to_string(), value)
        })
        .collect();
    list.sort();
    list
}

/// Sends on, and keeps what it sees. The file is written anew after each answer.
pub(super) struct Recorder {
    inner: Arc<dyn Transport>,
    file: PathBuf,
    secrets: Vec<String>,
    seen: Mutex<Vec<Exchange>>,
}

impl Recorder {
    pub(super) fn new(inner: Arc<dyn Transport>, file: &Path, secrets: Vec<String>) -> Recorder {
        Recorder { inner, file: file.to_owned(), secrets, seen: Mutex::new(Vec::new()) }
    }

    fn keep(&self, exchange: Exchange) -> Result<(), OutboundError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(exchange);
        let failed = |error: std::io::Error| trouble(format!("write {}: {error}", self.file.display()));
        let text = serde_json::to_string_pretty(&*seen).map_err(|error| trouble(error.to_string()))?;
        std::fs::write(&self.file, text + "\n").map_err(failed)
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn send(&self, call: &Checked) -> Result<Reply, OutboundError> {
        let reply = self.inner.send(call).await?;
        let response = Answered {
            status: reply.status,
            headers: readable(&reply.headers, &self.secrets),
            body: Body::read(&reply.body, &self.secrets),
        };
        self.keep(Exchange { request: Asked::read(call, &self.secrets), response })?;
        Ok(reply)
    }
}

/// Answers from a file, each exchange once, equal requests in the order of the file.
pub(super) struct Replayer {
    file: PathBuf,
    secrets: Vec<String>,
    left: Mutex<Vec<Exchange>>,
}

impl Replayer {
    pub(super) fn open(file: &Path, secrets: Vec<String>) -> Result<Replayer, OutboundError> {
        let failed = |reason: String| trouble(format!("the recording {}: {reason}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let left = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        Ok(Replayer { file: file.to_owned(), secrets, left: Mutex::new(left) })
    }

    fn unknown(&self, asked: &Asked, left: &[Exchange]) -> OutboundError {
        let line = asked.line();
        let alike = |exchange: &&Exchange| {
            // Ordered, and close enough for people: millionths of likeness.
            (strsim::normalized_levenshtein(&exchange.request.line(), &line) * 1e6) as u64
        };
        let nearest = left.iter().max_by_key(alike).map_or_else(
            || "; nothing in it is left".to_owned(),
            |nearest| format!("; the nearest that is left is: {}", nearest.request.line()),
        );
        trouble(format!("the recording {} has no answer to: {line}{nearest}", self.file.display()))
    }
}

#[async_trait]
impl Transport for Replayer {
    async fn send(&self, call: &Checked) -> Result<Reply, OutboundError> {
        let asked = Asked::read(call, &self.secrets);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = left.iter().position(|exchange| exchange.request.matches(&asked)) else {
            return Err(self.unknown(&asked, &left));
        };
        let response = left.remove(at).response;
        let mut headers = HeaderMap::new();
        for (name, value) in &response.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.append(name, value);
            }
        }
        Ok(Reply { status: response.status, headers, body: response.body.bytes()? })
    }
}
