//! The port for calls to the outside over HTTP. What stands behind it keeps rates, breaks circuits and repeats; a service
//! says what to call and judges the answer. Never within a transaction: [`Ctx`](crate::Ctx) has it, `Tx` has not.

use artel_message::{Code, Fault};
use async_trait::async_trait;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Calls to the outside.
///
/// - An answer of any status is an answer; [`Reply::success`] makes a fault of those that are none.
/// - A call is sent again after a failure only when its method is idempotent or it has an idempotency key, within its
///   time and the host's budget.
/// - A fault says which host, and where it makes sense `retry_after_ms` in its detail: `invalid` (no such URL),
///   `forbidden` (an address that must not be called), `exhausted` (rate, size), `unavailable` (no connection, circuit
///   open), `timeout`.
#[async_trait]
pub trait Outbound: Send + Sync + 'static {
    async fn call(&self, call: Call) -> Result<Reply, Fault>;
}

/// A request to the outside.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// `http` or `https`.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Sent as `Idempotency-Key`; allows any method to be sent again.
    pub key: Option<String>,
    /// For the whole call with its repeats, in place of the general limit.
    pub within: Option<Duration>,
    /// The URL comes from a user: only public addresses, whatever the general setting.
    pub from_user: bool,
    /// What a builder was given and can't be sent.
    pub problem: Option<String>,
}

impl Call {
    pub fn new(method: Method, url: impl Into<String>) -> Call {
        Call {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            key: None,
            within: None,
            from_user: false,
            problem: None,
        }
    }

    pub fn get(url: impl Into<String>) -> Call {
        Call::new(Method::GET, url)
    }

    pub fn post(url: impl Into<String>) -> Call {
        Call::new(Method::POST, url)
    }

    /// In place of an earlier one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Call {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            // The value may be a secret.
            _ => self.problem = Some(format!("header '{name}' or its value can't be sent over HTTP")),
        }
        self
    }

    pub fn bearer(self, token: &str) -> Call {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Call {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    pub fn json(mut self, body: &impl Serialize) -> Call {
        match serde_json::to_vec(body) {
            Ok(json) => self.body("application/json", json),
            Err(error) => {
                self.problem = Some(format!("the body can't be written as JSON: {error}"));
                self
            }
        }
    }

    /// The same for each attempt of the same thing, such as [`EffectCall::key`](crate::EffectCall::key).
    pub fn key(mut self, key: impl ToString) -> Call {
        self.key = Some(key.to_string());
        self
    }

    pub fn within(mut self, limit: Duration) -> Call {
        self.within = Some(limit);
        self
    }

    /// Marks the URL as one that a user gave: addresses of this machine and of private networks are refused.
    pub fn from_user(mut self) -> Call {
        self.from_user = true;
        self
    }
}

/// An answer with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Itself when its status is 2xx, else a fault with what a caller can do. A refusal of *our* token is a mistake of
    /// ours, not of whoever called us.
    pub fn success(self) -> Result<Reply, Fault> {
        let code = match self.status {
            200..300 => return Ok(self),
            404 | 410 => Code::NotFound,
            408 | 504 => Code::Timeout,
            409 | 412 => Code::Conflict,
            429 => Code::Exhausted,
            401 | 403 | 407 => Code::Internal,
            400..500 => Code::Invalid,
            _ => Code::Unavailable,
        };
        let detail = serde_json::json!({ "status": self.status });
        Err(Fault::new(code, format!("the other side answered with status {}", self.status)).with(detail))
    }

    /// The body as JSON; another form is `unavailable`: the other side does not answer as agreed.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Fault::unavailable(format!("the other side's JSON is not as expected: {error}")))
    }
}

/// For a runtime that calls nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutbound;

#[async_trait]
impl Outbound for NoOutbound {
    async fn call(&self, _: Call) -> Result<Reply, Fault> {
        Err(Fault::unavailable("this node makes no calls to the outside"))
    }
}
