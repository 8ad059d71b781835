//! Errors as FCM words them: `google.rpc.Status` with details.

use super::super::Refusal;
use super::super::serve::{Answer, json};
use super::with_retry;
use http::StatusCode;
use serde_json::{Value, json as value};

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

pub(super) fn error(code: u16, status: &str, message: &str) -> Answer {
    detailed(code, status, message, Vec::new())
}

fn detailed(code: u16, status: &str, message: &str, details: Vec<Value>) -> Answer {
    let mut error = value!({"code": code, "message": message, "status": status});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &value!({"error": error}))
}

fn own(code: &str) -> Vec<Value> {
    vec![value!({"@type": FCM_ERROR, "errorCode": code})]
}

pub(super) fn unauthenticated() -> Answer {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
                   authentication credential.";
    let detail = value!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_EXPIRED",
        "domain": "googleapis.com",
    });
    detailed(401, "UNAUTHENTICATED", message, vec![detail])
}

/// About the message: the token is none the worse for it.
pub(super) fn violation(field: &str, why: &str) -> Answer {
    let detail = value!({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": why}]});
    detailed(400, "INVALID_ARGUMENT", why, vec![detail])
}

pub(super) fn bad_token() -> Answer {
    let message = "The registration token is not a valid FCM registration token";
    detailed(400, "INVALID_ARGUMENT", message, own("INVALID_ARGUMENT"))
}

/// Of the server that gives tokens (RFC 6749, section 5.2).
pub(super) fn no_token(refusal: &Refusal) -> Answer {
    let (status, code, retry_after) = match refusal {
        Refusal::Http { status, code, retry_after } => (*status, code.as_str(), *retry_after),
        _ => (500, "internal_failure", None),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = value!({"error": code, "error_description": "refused as it was asked for"});
    with_retry(json(status, &body), retry_after)
}

/// By FCM's `ErrorCode`; `INVALID_ARGUMENT` comes in two shapes, and `message` behind it asks for the second one.
pub(super) fn refusal(refusal: &Refusal) -> Answer {
    let Refusal::Http { status, code, retry_after } = refusal else {
        return detailed(500, "INTERNAL", "Internal error encountered.", own("INTERNAL"));
    };
    let (grpc, message) = match code.as_str() {
        "INVALID_ARGUMENT" | "INVALID_ARGUMENT token" => return bad_token(),
        "INVALID_ARGUMENT message" => {
            return violation("message.data[0].value", "Invalid value (TYPE_STRING)");
        }
        "UNREGISTERED" => ("NOT_FOUND", "Requested entity was not found."),
        "SENDER_ID_MISMATCH" => ("PERMISSION_DENIED", "SenderId mismatch"),
        "THIRD_PARTY_AUTH_ERROR" => ("UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
        "QUOTA_EXCEEDED" => ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Messages sent'"),
        "UNAVAILABLE" => ("UNAVAILABLE", "The service is currently unavailable."),
        "INTERNAL" => ("INTERNAL", "Internal error encountered."),
        // An answer of Google's front end, which knows nothing of messages.
        "" => return with_retry(error(*status, grpc_of(*status), "The request failed."), *retry_after),
        _ => (grpc_of(*status), "The request failed."),
    };
    with_retry(detailed(*status, grpc, message, own(code)), *retry_after)
}

/// `google/rpc/code.proto`.
fn grpc_of(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}
