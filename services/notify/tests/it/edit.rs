//! Requests that change something.

use artel_frame::client::{Answer, Client, Outgoing};
use http::Method;
use serde_json::Value;

/// A change with headers of its own.
pub async fn change(client: &Client, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
    let request = Outgoing::new(Method::PUT, path).body("application/json", body.to_string());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
    client.send(request).await.expect("an answer")
}

pub async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    change(client, path, &[], body).await
}

/// The field that a refusal names.
pub fn field(answer: &Answer) -> String {
    let document: Value = answer.json().expect("a problem document");
    document["field"].as_str().or(document["data"]["field"].as_str()).unwrap_or("").to_owned()
}
