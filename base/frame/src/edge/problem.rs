//! Refusals as problem documents (RFC 9457), and the one mapping from fault codes to HTTP statuses.

use artel_message::{Code, Fault};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The content type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// What a caller should wait who is given nothing better.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The status of a code; room on a disk is the one fault with a status of its own.
pub fn status_of(fault: &Fault) -> StatusCode {
    if fault.is_storage_full() {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    status_of_code(fault.code)
}

pub(crate) fn status_of_code(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal on its way out: a fault, and a status where HTTP has a finer one than the fault's code.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub fault: Fault,
    pub status: StatusCode,
}

impl Problem {
    /// A fault under a status of its own, such as 413.
    pub fn with_status(status: StatusCode, fault: Fault) -> Problem {
        Problem { fault, status }
    }

    /// What the caller is told. Reasons of internal faults stay in the log, which has them under the request's id.
    pub fn document(&self, request: Option<&str>) -> ProblemDocument {
        let internal = self.fault.code == Code::Internal;
        let detail = if internal {
            "a mistake of ours; the log has its cause under the id of this request".to_owned()
        } else {
            self.fault.reason.clone()
        };
        let data = self.fault.detail.as_deref().filter(|_| !internal);
        let field = data.and_then(|data| data.get("field")).and_then(Value::as_str).map(str::to_owned);
        let only_field =
            field.is_some() && data.and_then(Value::as_object).is_some_and(|data| data.len() == 1);
        ProblemDocument {
            kind: format!("urn:artel:fault:{}", self.fault.code),
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            detail,
            instance: request.map(|id| format!("urn:artel:request:{id}")),
            code: self.fault.code,
            field,
            data: data.filter(|_| !only_field).cloned(),
        }
    }

    /// The answer as a whole, naming the request.
    pub(crate) fn render(self, request: Option<&str>) -> Response {
        let document = self.document(request);
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"artel\""));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let asked =
                document.data.as_ref().and_then(|data| data.get("retry_after")).and_then(Value::as_u64);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(asked.unwrap_or(RETRY_AFTER_SECONDS)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl<F: Into<Fault>> From<F> for Problem {
    fn from(fault: F) -> Problem {
        let fault = fault.into();
        Problem { status: status_of(&fault), fault }
    }
}

impl IntoResponse for Problem {
    /// The edge renders it again with the request's id.
    fn into_response(self) -> Response {
        self.render(None)
    }
}

/// A problem document: RFC 9457 with `code`, the `field` at fault, and `data` for programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemDocument {
    /// `urn:artel:fault:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    pub status: u16,
    /// One sentence that says what is wrong and what to do.
    pub detail: String,
    /// The request that met it: `urn:artel:request:` and its id, under which the log has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub code: Code,
    /// The field of the request at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What a program may need, such as `retry_after` in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl ProblemDocument {
    /// The fault it was made of, for clients.
    pub fn into_fault(self) -> Fault {
        let detail = self.data.or_else(|| self.field.map(|field| serde_json::json!({ "field": field })));
        Fault { code: self.code, reason: self.detail, detail: detail.map(Box::new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status() {
        for (fault, status) in [
            (Fault::invalid("x"), 400),
            (Fault::unauthenticated("x"), 401),
            (Fault::forbidden("x"), 403),
            (Fault::not_found("x"), 404),
            (Fault::conflict("x"), 409),
            (Fault::exhausted("x"), 429),
            (Fault::storage_full("x"), 507),
            (Fault::unavailable("x"), 503),
            (Fault::timeout("x"), 504),
            (Fault::internal("x"), 500),
        ] {
            assert_eq!(status_of(&fault).as_u16(), status);
            let response = Problem::from(fault.clone()).into_response();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), matches!(status, 429 | 503));
            assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401);
            let document = Problem::from(fault.clone()).document(None);
            assert_eq!(document.clone().into_fault() == fault, status != 500, "{document:?}");
        }
    }

    #[test]
    fn the_field_stands_beside_the_reason_and_internals_stay_inside() {
        let document = Problem::from(Fault::field("topic", "is empty")).document(Some("r1"));
        assert_eq!(
            serde_json::to_value(document).unwrap(),
            serde_json::json!({
                "type": "urn:artel:fault:invalid", "title": "Bad Request", "status": 400, "detail": "topic: is empty",
                "instance": "urn:artel:request:r1", "code": "invalid", "field": "topic",
            })
        );
        let internal = Fault::internal("no such table: message").with(serde_json::json!({ "sql": "SELECT" }));
        let text = serde_json::to_string(&Problem::from(internal).document(None)).unwrap();
        assert!(!text.contains("table") && !text.contains("SELECT"), "{text}");
    }
}
