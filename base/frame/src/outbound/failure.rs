//! Why a call has no answer, and what that means to who made it.

use artel_message::{Code, Fault};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OutboundError {
    #[error("url: {reason}")]
    Url { reason: String },
    #[error("{reason}")]
    Request { reason: String },
    #[error("'{host}' is not an address of the public internet; only those may be called here")]
    Forbidden { host: String },
    #[error("the rate of calls to {host} is used up; try again in {} ms", .after.as_millis())]
    Rate { host: String, after: Duration },
    #[error("{host} asked to be left alone; try again in {} ms", .after.as_millis())]
    AskedToWait { host: String, after: Duration },
    #[error("too many calls to {host} failed lately; try again in {} ms", .after.as_millis())]
    Open { host: String, after: Duration },
    #[error("no connection to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("the connection to {host} broke off: {reason}")]
    Broken { host: String, reason: String },
    #[error("no whole answer from {host} within {} ms", .after.as_millis())]
    Timeout { host: String, after: Duration },
    #[error("the answer of {host} is larger than {bound} bytes")]
    TooBig { host: String, bound: usize },
    #[error("{reason}")]
    Recording { reason: String },
}

impl OutboundError {
    fn code(&self) -> Code {
        use OutboundError::*;
        match self {
            Url { .. } | Request { .. } => Code::Invalid,
            Forbidden { .. } => Code::Forbidden,
            Rate { .. } | TooBig { .. } => Code::Exhausted,
            AskedToWait { .. } | Open { .. } | Connect { .. } | Broken { .. } => Code::Unavailable,
            Timeout { .. } => Code::Timeout,
            Recording { .. } => Code::Internal,
        }
    }

    /// A short name for metrics.
    pub(super) fn name(&self) -> &'static str {
        use OutboundError::*;
        match self {
            Url { .. } | Request { .. } => "invalid",
            Forbidden { .. } => "forbidden",
            Rate { .. } => "rate",
            AskedToWait { .. } => "asked_to_wait",
            Open { .. } => "circuit_open",
            Connect { .. } => "connect",
            Broken { .. } => "broken",
            Timeout { .. } => "timeout",
            TooBig { .. } => "too_big",
            Recording { .. } => "recording",
        }
    }

    /// Whether the host is to blame: such a failure counts against it.
    pub(super) fn is_the_hosts(&self) -> bool {
        use OutboundError::*;
        matches!(self, Connect { .. } | Broken { .. } | Timeout { .. })
    }

    fn host(&self) -> Option<&str> {
        use OutboundError::*;
        match self {
            Url { .. } | Request { .. } | Recording { .. } => None,
            Forbidden { host }
            | Rate { host, .. }
            | AskedToWait { host, .. }
            | Open { host, .. }
            | Connect { host, .. }
            | Broken { host, .. }
            | Timeout { host, .. }
            | TooBig { host, .. } => Some(host),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        use OutboundError::*;
        match self {
            Rate { after, .. } | AskedToWait { after, .. } | Open { after, .. } => Some(*after),
            _ => None,
        }
    }
}

impl From<OutboundError> for Fault {
    fn from(error: OutboundError) -> Fault {
        let mut detail = serde_json::Map::from_iter([("kind".to_owned(), error.name().into())]);
        if let Some(host) = error.host() {
            detail.insert("host".to_owned(), host.into());
        }
        if let Some(after) = error.retry_after() {
            let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            detail.insert("retry_after_ms".to_owned(), after.into());
        }
        Fault::new(error.code(), error.to_string()).with(detail.into())
    }
}
