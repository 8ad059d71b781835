//! The OpenAPI document and its page.

use crate::node::start;
use serde_json::Value;

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi() {
    let node = start(&[]).await;
    let document = node.get("/api/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], "1.2.3");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{what} has no summary");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what} has no id of its own");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{what} has no answer");
            assert!(responses.contains_key("500") && responses.contains_key("503"), "{what}");
            assert!(
                responses.values().all(|r| r.get("$ref").is_some() || r["description"].is_string()),
                "{what}"
            );
            let parameters =
                operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
            for name in path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                let described = |p: &&Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
                assert_eq!(parameters.iter().filter(described).count(), 1, "{what} does not describe {name}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_handler_takes_is_read_from_its_signature() {
    let node = start(&[]).await;
    let document = node.get("/api/openapi.json").await.json();
    let create = &document["paths"]["/api/demo/things"]["post"];
    let body = &create["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/NewThing");
    assert_eq!(
        document["components"]["schemas"]["NewThing"]["properties"]["name"]["description"],
        "What it is called."
    );
    assert_eq!(create["x-scope"], "produce");
    assert_eq!(create["parameters"][0]["name"], "Idempotency-Key");
    let statuses: Vec<&String> = create["responses"].as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["201", "400", "401", "403", "409", "413", "415", "500", "503", "504"]);
    let limit = &document["paths"]["/api/demo/things"]["get"]["parameters"][0];
    assert_eq!(
        (&limit["name"], &limit["in"], &limit["required"]),
        (&"limit".into(), &"query".into(), &false.into())
    );
    assert_eq!(limit["description"], "How many at most.");
    let id = &document["paths"]["/api/demo/things/{id}"]["get"]["parameters"][0];
    assert_eq!((&id["name"], &id["schema"]["format"]), (&"id".into(), &"uuid".into()));
    assert_eq!(
        document["paths"]["/api/demo/switch"]["put"]["security"],
        serde_json::json!([{ "token": [] }])
    );
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let node = start(&[]).await;
    let page = node.get("/api/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self'"), "{policy}");
    let html = page.text();
    assert!(!html.contains("://") && !html.contains("<script>"), "{html}");
    let sources = html.split(['"']).filter(|part| part.starts_with("/api/docs/"));
    let mut count = 0;
    for source in sources {
        let file = node.get(source).await;
        assert_eq!(file.status, 200, "{source}");
        assert!(file.body.len() > 100 && file.header("content-type").starts_with("text/"), "{source}");
        count += 1;
    }
    assert_eq!(count, 4);
    assert_eq!(node.get("/api/docs/none.js").await.status, 404);
}
