//! A small HTTP client for the command line and for tests: HTTP/1.1, with TLS where the URL says https, connections kept, bodies in memory or as
//! server-sent events.

mod events;
#[cfg(not(feature = "https"))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(feature = "https")]
mod tls;

pub use events::{Event, Events};

use crate::config::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// Answers are read up to this size.
const MAX_ANSWER: usize = 256 << 20;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    #[error("'{url}' is not the URL of a node; write it as http://HOST:PORT or https://HOST")]
    Url { url: String },
    #[error("the certificates in '{file}' can't be used: {reason}; name a file of certificates in PEM")]
    CaFile { file: String, reason: String },
    #[error("TLS can't be used: {reason}")]
    Tls { reason: String },
    #[error(
        "the certificate of {url} is not trusted ({reason}); name the file of the authority that signed it with --ca-file"
    )]
    Certificate { url: String, reason: String },
    #[error(
        "no connection to {url} ({reason}); is a node running? start one with ./run, or name another with --url"
    )]
    Connect { url: String, reason: String },
    #[error("the connection to {url} broke off ({reason}); try again")]
    Broken { url: String, reason: String },
    #[error("no answer from {url} within {} s; try again", .after.as_secs())]
    Timeout { url: String, after: Duration },
    #[error("the answer of {url} is not what was expected: {reason}; is it an Artel node of this version?")]
    Answer { url: String, reason: String },
}

/// A client of one node.
#[derive(Clone)]
pub struct Client {
    url: String,
    token: Option<Secret>,
    timeout: Duration,
    pool: Pool<tls::Connector, Full<Bytes>>,
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The header as text; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The sentence of a problem document, or what else there is to say.
    pub fn problem(&self) -> String {
        let document = self.json::<serde_json::Value>().ok();
        let detail = document.as_ref().and_then(|json| json.get("detail")).and_then(|detail| detail.as_str());
        match detail {
            Some(detail) => detail.to_owned(),
            None => format!("status {}: {}", self.status, self.text().chars().take(200).collect::<String>()),
        }
    }
}

/// A request on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
    timeout: Option<Duration>,
}

impl Outgoing {
    /// `path` with its query, such as `/api/bridge/messages?limit=1`.
    pub fn new(method: Method, path: impl Into<String>) -> Outgoing {
        Outgoing { method, path: path.into(), headers: Vec::new(), body: Bytes::new(), timeout: None }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Outgoing {
        self.headers.push((HeaderName::from_static(name), value.into()));
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Outgoing {
        self.headers.push((CONTENT_TYPE, content_type.to_owned()));
        self.body = body.into();
        self
    }

    /// In place of the client's time-out.
    pub fn timeout(mut self, timeout: Duration) -> Outgoing {
        self.timeout = Some(timeout);
        self
    }
}

impl Client {
    /// A client of the node at `url`, such as `http://127.0.0.1:8080`. With https the authorities of the system are trusted.
    pub fn new(url: &str) -> Result<Client, ClientError> {
        Client::trusting(url, None)
    }

    /// The same; where `ca_file` is given, the authorities whose certificates it holds are trusted in place of the system's.
    pub fn trusting(url: &str, ca_file: Option<&Path>) -> Result<Client, ClientError> {
        let url = url.trim_end_matches('/').to_owned();
        let uri: Uri = url.parse().map_err(|_| ClientError::Url { url: url.clone() })?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some() && uri.query().is_none() => {}
            _ => return Err(ClientError::Url { url }),
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let connector = tls::connector(connector, uri.scheme_str() == Some("https"), ca_file)?;
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Ok(Client { url, token: None, timeout: Duration::from_secs(60), pool })
    }

    /// Sends this token with each request.
    pub fn with_token(mut self, token: Option<Secret>) -> Client {
        self.token = token;
        self
    }

    pub fn with_timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Outgoing::new(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Outgoing::new(Method::DELETE, path)).await
    }

    /// Sends JSON.
    pub async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| ClientError::Answer { url: self.url.clone(), reason: error.to_string() })?;
        self.send(Outgoing::new(method, path).body("application/json", body)).await
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, ClientError> {
        let after = outgoing.timeout.unwrap_or(self.timeout);
        let answer = async {
            let (parts, body) = self.begin(outgoing).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.broken(error.as_ref()))?.to_bytes();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        let timeout = || ClientError::Timeout { url: self.url.clone(), after };
        tokio::time::timeout(after, answer).await.unwrap_or_else(|_| Err(timeout()))
    }

    /// Opens a stream of events, for as long as both sides like.
    pub async fn events(&self, outgoing: Outgoing) -> Result<Opened, ClientError> {
        let after = outgoing.timeout.unwrap_or(self.timeout);
        let timeout = || ClientError::Timeout { url: self.url.clone(), after };
        let begin = tokio::time::timeout(after, self.begin(outgoing));
        let response = begin.await.unwrap_or_else(|_| Err(timeout()))?;
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::OK {
            return Ok(Opened::Events(Events::new(body, self.url.clone())));
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.broken(error.as_ref()))?.to_bytes();
        Ok(Opened::Refused(Answer { status: parts.status.as_u16(), headers: parts.headers, body }))
    }

    async fn begin(&self, outgoing: Outgoing) -> Result<hyper::Response<hyper::body::Incoming>, ClientError> {
        let mut request =
            Request::builder().method(outgoing.method).uri(format!("{}{}", self.url, outgoing.path));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| ClientError::Url { url: self.url.clone() })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(outgoing.body))
            .map_err(|error| ClientError::Answer { url: self.url.clone(), reason: error.to_string() })?;
        self.pool.request(request).await.map_err(|error| {
            let reason = innermost(&error);
            if let Some(reason) = tls::untrusted(&error) {
                ClientError::Certificate { url: self.url.clone(), reason }
            } else if error.is_connect() {
                ClientError::Connect { url: self.url.clone(), reason }
            } else {
                ClientError::Broken { url: self.url.clone(), reason }
            }
        })
    }

    fn broken(&self, error: &(dyn Error + 'static)) -> ClientError {
        ClientError::Broken { url: self.url.clone(), reason: innermost(error) }
    }
}

/// What became of opening a stream.
pub enum Opened {
    Events(Events),
    /// The node answered something else than a stream.
    Refused(Answer),
}

/// The text of the error that began it all.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Encodes one segment of a path.
pub fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Encodes a query; pairs without a value are left out. Empty, or with its question mark.
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    let text = text.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_nodes_are_taken() {
        for url in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1/"] {
            assert!(Client::new(url).is_ok(), "{url}");
        }
        for (url, said) in
            [("", "not the URL"), ("localhost:8080", "not the URL"), ("ftp://a", "not the URL")]
        {
            let error = Client::new(url).err().expect("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(segment("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(query(&[("a", Some("1 2")), ("b", None), ("c", Some("&"))]), "?a=1+2&c=%26");
        assert_eq!(query(&[("a", None)]), "");
    }
}
