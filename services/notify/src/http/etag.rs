//! ETags: a change names what it was made to, so that nobody's change is lost to somebody else's (RFC 9110, section 13.1).

use crate::recipients::subscribers::CHANGED;
use artel_flow::http::{Input, Op};
use artel_frame::edge::{Json, Problem};
use artel_message::{Code, Fault};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a change is made to: `If-Match` has the ETag of what was read, `If-None-Match: *` says that there is nothing yet. `None` = to
/// whatever is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected(pub Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for Expected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = |name: HeaderName| {
            parts.headers.get(name).map(|value| value.to_str().unwrap_or("").trim().to_owned())
        };
        match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
            (None, None) => Ok(Expected(None)),
            (None, Some(none)) if none == "*" => Ok(Expected(Some(0))),
            (None, Some(_)) => Err(Fault::field("if-none-match", "only * is understood here").into()),
            (Some(_), Some(_)) => Err(Fault::field("if-match", "can't stand beside if-none-match").into()),
            (Some(given), None) => {
                let rev = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let rev = rev.and_then(|rev| rev.parse().ok()).filter(|rev| *rev > 0);
                let wrong = || Fault::field("if-match", "is no ETag of ours; send the one that was read");
                Ok(Expected(Some(rev.ok_or_else(wrong)?)))
            }
        }
    }
}

impl Input for Expected {
    fn describe(op: Op) -> Op {
        op.header(
            "If-Match",
            "the ETag of what the change is made to; refused with 412 where it has another one",
        )
        .header("If-None-Match", "*: only where there is none yet")
        .refuses(&[Code::Conflict])
    }
}

/// The header of an answer.
pub fn etag(rev: u64) -> [(HeaderName, HeaderValue); 1] {
    let text = format!("\"{rev}\"");
    [(header::ETAG, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")))]
}

/// What was saved, with its ETag: 201 where it was made.
pub fn answer<T: Serialize>(created: bool, rev: u64, saved: T) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    (status, etag(rev), Json(saved)).into_response()
}

/// A change to something older is 412, as a precondition that was named.
pub fn refused(fault: Fault) -> Problem {
    let kind = fault.detail.as_ref().and_then(|detail| detail.get("kind")).and_then(|kind| kind.as_str());
    match kind == Some(CHANGED) {
        true => Problem::with_status(StatusCode::PRECONDITION_FAILED, fault),
        false => Problem::from(fault),
    }
}
