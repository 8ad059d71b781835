//! Extractors whose refusals are problem documents: JSON bodies, the query, the path.

use super::problem::Problem;
use artel_flow::http::{Input, Op, Place};
use artel_message::Fault;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON body of at most the configured size. As an answer: JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// The query of the URL as a struct; fields it does not know are refused where the type says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<T>(pub T);

/// The values in the path: one, or a struct with their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                Problem::from(Fault::internal(format!("an answer is not JSON: {error}"))).into_response()
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(wrong_type("application/json"));
        }
        let body = Bytes::from_request(request, state).await.map_err(too_large)?;
        parse_json(&body).map(Json).map_err(Problem::from)
    }
}

/// Reads JSON; a mistake names the field, or the line and column.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let reason = sentence(&inner.to_string());
        // Serde names no field where the text is no JSON at all, or where the value as a whole is wrong.
        if inner.is_syntax() || inner.is_eof() {
            Fault::invalid(format!("not JSON: {reason}"))
        } else if path == "." {
            Fault::invalid(format!("the body does not fit: {reason}"))
        } else {
            Fault::field(&path, reason)
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Fault::invalid(format!("not JSON: {}", sentence(&error.to_string()))))?;
    Ok(value)
}

/// Serde's message without its capital.
fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// 415, saying what is taken.
pub fn wrong_type(expected: &str) -> Problem {
    let fault =
        Fault::invalid(format!("content-type: not {expected}; send the header content-type: {expected}"))
            .with(serde_json::json!({ "field": "content-type" }));
    Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, fault)
}

/// A body that ended before its end: the sender left, or paused for too long.
pub fn broke_off(error: axum::Error, what_to_do: &str) -> Problem {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if inner.is::<tower_http::timeout::TimeoutError>() {
            let reason = format!("the body paused for longer than http.body_pause; {what_to_do}");
            return Problem::with_status(StatusCode::REQUEST_TIMEOUT, Fault::timeout(reason));
        }
        source = inner.source();
    }
    Problem::from(Fault::invalid(format!(
        "the body broke off: {}; {what_to_do}",
        sentence(&error.to_string())
    )))
}

fn too_large(rejection: BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => Problem::with_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            Fault::invalid("the body is larger than this server takes (http.body_limit); send less at once"),
        ),
        other => {
            Problem::from(Fault::invalid(format!("the body broke off: {}", sentence(&other.body_text()))))
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes());
        let deserializer = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer).map(Query).map_err(|error| {
            let path = error.path().to_string();
            let reason = sentence(&error.into_inner().to_string());
            Problem::from(if path == "." {
                Fault::invalid(format!("the query does not fit: {reason}"))
            } else {
                Fault::field(&path, reason)
            })
        })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(Problem::from(Fault::invalid(
                format!("the path {} does not fit: {}", parts.uri.path(), sentence(&error.body_text())),
            ))),
            Err(other) => Err(Problem::from(Fault::internal(other.body_text()))),
        }
    }
}

impl<T: JsonSchema> Input for Json<T> {
    fn describe(op: Op) -> Op {
        op.body::<T>()
    }
}
impl<T: JsonSchema> Input for Query<T> {
    fn describe(op: Op) -> Op {
        op.parameters::<T>(Place::Query)
    }
}
impl<T: JsonSchema> Input for Path<T> {
    fn describe(op: Op) -> Op {
        op.parameters::<T>(Place::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct In {
        topic: String,
        list: Option<Vec<u8>>,
    }

    #[test]
    fn mistakes_in_json_name_their_place() {
        for (body, reason) in [
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            ("{\n \"topic\": x}", "not JSON: expected value at line 2 column 11"),
            ("{\"topic\": \"a\"} {}", "not JSON: trailing characters at line 1 column 16"),
            ("[]", "invalid length 0, expected struct In"),
            ("{\"topic\": 1}", "topic: invalid type: integer `1`, expected a string at line 1 column 11"),
            ("{\"topic\": \"a\", \"list\": [1, 300]}", "list[1]: invalid value: integer `300`, expected u8"),
            (
                "{\"topik\": \"a\"}",
                "topik: unknown field `topik`, expected `topic` or `list` at line 1 column 8",
            ),
            ("{}", "the body does not fit: missing field `topic` at line 1 column 2"),
        ] {
            let fault = parse_json::<In>(body.as_bytes()).unwrap_err();
            assert!(
                fault.reason.to_lowercase().contains(&reason.to_lowercase()),
                "{} / {reason}",
                fault.reason
            );
        }
        assert_eq!(parse_json::<In>(b"{\"topic\":\"a\"} "), Ok(In { topic: "a".into(), list: None }));
    }
}
