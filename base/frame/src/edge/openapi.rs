//! The OpenAPI 3.1 document out of the routes' descriptions.

use super::problem::{PROBLEM_JSON, ProblemDocument, status_of_code};
use artel_flow::http::{Answer, Parameter, Place, RouteDoc};
use artel_message::Code;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const REFERENCE: &str = "#/components/schemas/";
/// What any request may meet, whatever its route.
const ALWAYS: [Code; 3] = [Code::Unavailable, Code::Timeout, Code::Internal];

/// What the document says of itself.
#[derive(Debug, Clone)]
pub struct Info {
    pub title: String,
    pub version: String,
    /// Markdown.
    pub description: String,
}

/// Makes the document; `closed` = every route needs a token. Schemas of one name and another content get a name of their own.
pub fn document(info: &Info, docs: &[RouteDoc], closed: bool) -> Value {
    let mut schemas = Map::new();
    problem_schema(&mut schemas);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for doc in docs {
        let tag = tag_of(&doc.path);
        tags.insert(tag.clone(), json!({ "name": tag }));
        let operation = operation(doc, &tag, closed, &mut schemas);
        paths.entry(doc.path.clone()).or_default().insert(doc.method.to_ascii_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": { "title": info.title, "version": info.version, "description": info.description },
        "tags": tags.into_values().collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "a token with the scope that the route names" }
            },
        },
    })
}

/// `/api/bridge/messages` belongs to `bridge`.
fn tag_of(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some("api"), Some(service)) => service.to_owned(),
        (Some(first), _) => first.to_owned(),
        _ => "root".to_owned(),
    }
}

fn problem_schema(schemas: &mut Map<String, Value>) {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    generator.subschema_for::<ProblemDocument>();
    schemas.extend(generator.take_definitions(true));
}

fn refusal_name(code: Code) -> String {
    code.as_str().to_owned()
}

fn refusals() -> Map<String, Value> {
    const TEXTS: [(Code, &str); 9] = [
        (Code::Invalid, "the request can never succeed as it stands"),
        (Code::Unauthenticated, "a token is missing or not known"),
        (Code::Forbidden, "the token may not do this"),
        (Code::NotFound, "what is asked for does not exist"),
        (Code::Conflict, "it contradicts the present state, or an earlier request with the same key"),
        (Code::Exhausted, "a bound is reached; try again after the time in retry-after"),
        (Code::Unavailable, "what is needed cannot be reached now; try again after the time in retry-after"),
        (Code::Timeout, "it took longer than its limit"),
        (Code::Internal, "a mistake of the server"),
    ];
    let response = |(code, text): (Code, &str)| (refusal_name(code), problem_response(text));
    TEXTS.into_iter().map(response).collect()
}

fn problem_response(text: &str) -> Value {
    json!({
        "description": text,
        "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn operation(doc: &RouteDoc, tag: &str, closed: bool, schemas: &mut Map<String, Value>) -> Value {
    let inputs = adopt(&doc.inputs, "Input", schemas);
    let outputs = adopt(&doc.outputs, "Output", schemas);
    let mut operation = Map::new();
    operation.insert("operationId".into(), operation_id(doc).into());
    operation.insert("summary".into(), doc.summary.clone().into());
    if let Some(description) = &doc.description {
        operation.insert("description".into(), description.clone().into());
    }
    operation.insert("tags".into(), json!([tag]));
    let parameters: Vec<Value> = doc.parameters.iter().map(|p| parameter(p, &inputs)).collect();
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = &doc.body {
        let content = json!({ &body.content_type: { "schema": renamed(&body.schema, &inputs) } });
        let mut body = json!({ "required": true, "content": content, "description": body.description });
        remove_null(&mut body, "description");
        operation.insert("requestBody".into(), body);
    }
    operation.insert("responses".into(), responses(doc, &outputs).into());
    if let Some(scope) = doc.scope {
        // Without configured tokens anyone on the machine may produce and read: the empty requirement says "or nothing".
        let security = if closed || scope == "operate" {
            json!([{ "token": [] }])
        } else {
            json!([{ "token": [] }, {}])
        };
        operation.insert("security".into(), security);
        operation.insert("x-scope".into(), scope.into());
    }
    operation.into()
}

fn operation_id(doc: &RouteDoc) -> String {
    let name = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let path: String = doc.path.trim_start_matches("/api/").chars().map(name).collect();
    let words: Vec<&str> = path.split('_').filter(|word| !word.is_empty()).collect();
    format!("{}_{}", doc.method.to_ascii_lowercase(), words.join("_"))
}

fn parameter(parameter: &Parameter, names: &BTreeMap<String, String>) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut value = json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": renamed(&parameter.schema, names),
    });
    remove_null(&mut value, "description");
    value
}

fn remove_null(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut()
        && object.get(key).is_some_and(Value::is_null)
    {
        object.remove(key);
    }
}

fn responses(doc: &RouteDoc, names: &BTreeMap<String, String>) -> Map<String, Value> {
    let mut responses = Map::new();
    for Answer { status, description, content } in &doc.answers {
        let response =
            responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        if let Some((content_type, schema)) = content {
            response["content"][content_type.as_str()] = json!({ "schema": renamed(schema, names) });
        }
    }
    for code in doc.refusals.iter().chain(&ALWAYS) {
        let status = status_of_code(*code).as_u16().to_string();
        let response = json!({ "$ref": format!("#/components/responses/{}", refusal_name(*code)) });
        responses.entry(status).or_insert(response);
    }
    if doc.refusals.contains(&Code::Exhausted) {
        responses
            .insert("507".into(), problem_response("the disk is full; free some room, then send it again"));
    }
    if doc.body.is_some() && doc.streams {
        responses.insert("408".into(), problem_response("the body paused for too long"));
    }
    if doc.body.is_some() {
        responses.insert("413".into(), problem_response("the body is too large"));
        responses.insert("415".into(), problem_response("the body has another content type"));
    }
    responses
}

/// Takes the schemas of a route over and returns the names they got.
fn adopt(own: &Map<String, Value>, kind: &str, all: &mut Map<String, Value>) -> BTreeMap<String, String> {
    let mut names: BTreeMap<String, String> = own.keys().map(|name| (name.clone(), name.clone())).collect();
    // Renaming one changes those that refer to it: go on until every name fits.
    loop {
        let clash = own.iter().find(|(name, schema)| {
            all.get(&names[*name]).is_some_and(|known| *known != renamed(schema, &names))
        });
        let Some((name, _)) = clash else { break };
        let next = next_name(name, &names[name], kind);
        names.insert(name.clone(), next);
    }
    for (name, schema) in own {
        all.insert(names[name].clone(), renamed(schema, &names));
    }
    names
}

/// `Message`, `MessageInput`, `MessageInput2`, `MessageInput3`, …
fn next_name(name: &str, now: &str, kind: &str) -> String {
    let first = format!("{name}{kind}");
    match now.strip_prefix(&first) {
        Some(number) => format!("{first}{}", number.parse::<u32>().unwrap_or(1) + 1),
        None => first,
    }
}

/// The schema with its references under their new names.
fn renamed(schema: &Value, names: &BTreeMap<String, String>) -> Value {
    match schema {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| {
                let target =
                    value.as_str().filter(|_| key == "$ref").and_then(|text| text.strip_prefix(REFERENCE));
                let value = match target.and_then(|name| names.get(name)) {
                    Some(name) => Value::from(format!("{REFERENCE}{name}")),
                    None => renamed(value, names),
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(list) => list.iter().map(|value| renamed(value, names)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_one_name_are_kept_apart() {
        let own = |kind: &str| {
            let a = json!({ "type": kind });
            let b = json!({ "items": { "$ref": "#/components/schemas/A" } });
            Map::from_iter([("A".to_owned(), a), ("B".to_owned(), b)])
        };
        let mut all = Map::new();
        let same = BTreeMap::from([("A".to_owned(), "A".to_owned()), ("B".to_owned(), "B".to_owned())]);
        assert_eq!(adopt(&own("string"), "Input", &mut all), same);
        assert_eq!(adopt(&own("string"), "Output", &mut all), same);
        let names = adopt(&own("integer"), "Output", &mut all);
        assert_eq!((&*names["A"], &*names["B"]), ("AOutput", "BOutput"));
        assert_eq!(all["BOutput"]["items"]["$ref"], "#/components/schemas/AOutput");
        let names = adopt(&own("boolean"), "Output", &mut all);
        assert_eq!((&*names["A"], &*names["B"]), ("AOutput2", "BOutput2"));
    }

    #[test]
    fn operations_have_readable_ids() {
        assert_eq!(tag_of("/api/bridge/messages/{id}"), "bridge");
        assert_eq!(tag_of("/livez"), "livez");
    }
}
