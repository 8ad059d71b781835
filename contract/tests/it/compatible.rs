//! Whether what was valid under an old schema is still understood under a new one. Messages are stored and replayed, and
//! consumers are deployed before producers, so a new schema may say more but never ask for more.

use serde_json::{Map, Value};

/// What the change from `old` to `new` breaks, of a snapshot with `kind`, `topic`, `message`, `reply`.
pub fn breaks_in_message(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["kind", "topic"] {
        if old[key] != new[key] {
            found.push(format!("{key} was {}, is {}", old[key], new[key]));
        }
    }
    for part in ["message", "reply"] {
        match (old.get(part), new.get(part)) {
            (Some(old), Some(new)) => found.extend(breaks(part, old, new)),
            (Some(_), None) => found.push(format!("{part} is gone")),
            (None, _) => {}
        }
    }
    found
}

fn breaks(at: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, open: Vec::new() };
    comparison.schema(at, old, new)
}

/// Two whole documents: references point into them.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of references that are being compared: a recursive type ends here.
    open: Vec<(&'a str, &'a str)>,
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    target.and_then(|path| root.pointer(path)).unwrap_or(schema)
}

/// The alternatives of a schema: `oneOf`, `anyOf`, each value of `enum`, each of several types; else itself.
fn variants(schema: &Value) -> Vec<Value> {
    for key in ["oneOf", "anyOf"] {
        if let Some(list) = schema.get(key).and_then(Value::as_array) {
            return list.clone();
        }
    }
    let with = |key: &str, value: &Value| {
        let mut one = schema.as_object().cloned().unwrap_or_default();
        one.remove("enum");
        one.insert(key.to_owned(), value.clone());
        Value::Object(one)
    };
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return list.iter().map(|value| with("const", value)).collect();
    }
    match schema.get("type").and_then(Value::as_array) {
        Some(types) => types.iter().map(|one| with("type", one)).collect(),
        None => vec![schema.clone()],
    }
}

/// How a person calls a variant.
fn label(variant: &Value) -> String {
    let constant = |schema: &Value| schema.get("const").map(ToString::to_string);
    let fields = variant.get("properties").and_then(Value::as_object);
    let tag = fields.and_then(|fields| fields.values().find_map(constant));
    let first_field = || fields.and_then(|fields| fields.keys().next().cloned());
    let kind = || variant.get("type").or_else(|| variant.get("$ref")).map(ToString::to_string);
    constant(variant).or(tag).or_else(first_field).or_else(kind).unwrap_or_else(|| variant.to_string())
}

/// Keywords that say nothing about what is valid.
fn is_remark(keyword: &str) -> bool {
    matches!(keyword, "title" | "description" | "default" | "examples" | "$schema" | "$defs" | "deprecated")
}

fn accepts_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(accepts) => *accepts,
        _ => schema.as_object().is_none_or(|fields| fields.keys().all(|key| is_remark(key))),
    }
}

impl<'a> Comparison<'a> {
    fn schema(&mut self, at: &str, old: &'a Value, new: &'a Value) -> Vec<String> {
        if let (Some(a), Some(b)) = (reference(old), reference(new)) {
            if self.open.contains(&(a, b)) {
                return Vec::new();
            }
            self.open.push((a, b));
            let found = self.schema(at, resolve(self.old, old), resolve(self.new, new));
            self.open.pop();
            return found;
        }
        let (old, new) = (resolve(self.old, old), resolve(self.new, new));
        if accepts_anything(new) {
            return Vec::new();
        }
        if accepts_anything(old) {
            return vec![format!("{at}: took any value, now only some")];
        }
        let (before, after) = (variants(old), variants(new));
        if before.len() == 1 && after.len() == 1 {
            return self.single(at, old, new);
        }
        let unknown = |variant: &Value| !after.iter().any(|candidate| self.accepts(variant, candidate));
        before
            .iter()
            .filter(|variant| unknown(variant))
            .map(|variant| format!("{at}: the variant {} is gone or changed", label(variant)))
            .collect()
    }

    /// Whether the variant `new` takes what `old` allowed.
    fn accepts(&self, old: &Value, new: &Value) -> bool {
        let root = |root: &Value, schema: &Value| {
            let mut whole = schema.clone();
            if let (Some(whole), Some(defs)) = (whole.as_object_mut(), root.get("$defs")) {
                whole.insert("$defs".to_owned(), defs.clone());
            }
            whole
        };
        let (old, new) = (root(self.old, old), root(self.new, new));
        // A recursive type comes back here with each round of its definitions; its names bound the depth.
        self.open.len() > 8 || {
            let mut inner = Comparison { old: &old, new: &new, open: vec![("", ""); self.open.len() + 1] };
            inner.schema("", &old, &new).is_empty()
        }
    }

    fn single(&mut self, at: &str, old: &'a Value, new: &'a Value) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(constant) = new.get("const")
            && old.get("const") != Some(constant)
        {
            found.push(format!("{at}: is always {constant} now"));
        }
        let (before, after) = (kind(old), kind(new));
        if before != after && (before, after) != (Some("integer"), Some("number")) {
            found.push(format!("{at}: was {}, is {}", before.unwrap_or("?"), after.unwrap_or("?")));
            return found;
        }
        narrower(at, old, new, &mut found);
        self.object(at, old, new, &mut found);
        for key in ["items", "additionalProperties"] {
            if let (Some(old), Some(new)) = (old.get(key), new.get(key)) {
                found.extend(self.schema(&format!("{at}[]"), old, new));
            }
        }
        self.tuple(at, old, new, &mut found);
        found
    }

    fn object(&mut self, at: &str, old: &'a Value, new: &'a Value, found: &mut Vec<String>) {
        let (before, after) = (fields(old), fields(new));
        for (name, schema) in before.into_iter().flatten() {
            match after.and_then(|after| after.get(name)) {
                Some(now) => found.extend(self.schema(&format!("{at}.{name}"), schema, now)),
                None => found.push(format!("{at}: the field '{name}' is gone")),
            }
        }
        let needed_before = required(old);
        for name in required(new).into_iter().filter(|name| !needed_before.contains(name)) {
            found.push(format!("{at}: the field '{name}' is required now"));
        }
        let refuses = |schema: &Value| schema.get("additionalProperties") == Some(&Value::Bool(false));
        if refuses(new) && !refuses(old) {
            found.push(format!("{at}: unknown fields are refused now"));
        }
    }

    fn tuple(&mut self, at: &str, old: &'a Value, new: &'a Value, found: &mut Vec<String>) {
        let items = |schema: &'a Value| schema.get("prefixItems").and_then(Value::as_array);
        let (Some(old), Some(new)) = (items(old), items(new)) else { return };
        if old.len() != new.len() {
            found.push(format!("{at}: had {} elements, has {}", old.len(), new.len()));
        }
        for (i, (old, new)) in old.iter().zip(new).enumerate() {
            found.extend(self.schema(&format!("{at}[{i}]"), old, new));
        }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

fn kind(schema: &Value) -> Option<&str> {
    let of_constant = schema.get("const").map(|constant| match constant {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    });
    schema.get("type").and_then(Value::as_str).or(of_constant)
}

fn fields(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn required(schema: &Value) -> Vec<&str> {
    let list = schema.get("required").and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Bounds that got tighter, and keywords whose meaning can only be compared for equality.
fn narrower(at: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for (key, lower) in [("minimum", true), ("minLength", true), ("minItems", true), ("maximum", false)]
        .into_iter()
        .chain([("maxLength", false), ("maxItems", false)])
    {
        let number = |schema: &Value| schema.get(key).and_then(Value::as_f64);
        let tighter = match (number(old), number(new)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => (lower && new > old) || (!lower && new < old),
        };
        if tighter {
            found.push(format!("{at}: {key} is tighter now"));
        }
    }
    for key in ["format", "pattern", "allOf", "not", "uniqueItems", "multipleOf"] {
        if new.get(key).is_some_and(|now| old.get(key) != Some(now)) {
            found.push(format!("{at}: {key} is {} now", new[key]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(old: Value, new: Value) -> String {
        breaks("message", &old, &new).join("; ")
    }

    fn object(fields: Value, required: &[&str]) -> Value {
        json!({ "type": "object", "properties": fields, "required": required })
    }

    #[test]
    fn saying_more_is_compatible() {
        let old = object(json!({ "a": { "type": "string" } }), &["a"]);
        let new = object(json!({ "a": { "type": ["string", "null"] }, "b": { "type": "integer" } }), &[]);
        assert_eq!(check(old.clone(), new), "");
        assert_eq!(check(old.clone(), old.clone()), "");
        assert_eq!(check(old, json!({ "title": "Anything" })), "");
        assert_eq!(check(json!({ "type": "integer" }), json!({ "type": "number" })), "");
        assert_eq!(check(json!({ "type": "string", "maxLength": 5 }), json!({ "type": "string" })), "");
    }

    #[test]
    fn fields_do_not_go_and_are_not_asked_for_later() {
        let old = object(json!({ "a": { "type": "string" }, "b": { "type": "string" } }), &["a"]);
        let gone = object(json!({ "a": { "type": "string" } }), &["a"]);
        assert_eq!(check(old.clone(), gone), "message: the field 'b' is gone");
        let both = object(json!({ "a": { "type": "string" }, "b": { "type": "string" } }), &["a", "b"]);
        assert_eq!(check(old.clone(), both), "message: the field 'b' is required now");
        let mut closed = old.clone();
        closed["additionalProperties"] = false.into();
        assert_eq!(check(old, closed), "message: unknown fields are refused now");
    }

    #[test]
    fn types_and_bounds_do_not_get_narrower() {
        let of = |schema: Value| object(json!({ "a": schema }), &[]);
        let number = of(json!({ "type": "integer", "format": "int64" }));
        assert_eq!(
            check(number.clone(), of(json!({ "type": "string" }))),
            "message.a: was integer, is string"
        );
        let small = of(json!({ "type": "integer", "format": "int32" }));
        assert_eq!(check(number, small), "message.a: format is \"int32\" now");
        let list = |items: Value| of(json!({ "type": "array", "items": items }));
        let found = check(list(json!({ "type": "string" })), list(json!({ "type": "integer" })));
        assert_eq!(found, "message.a[]: was string, is integer");
        let found = check(of(json!({ "type": "string" })), of(json!({ "type": "string", "maxLength": 9 })));
        assert_eq!(found, "message.a: maxLength is tighter now");
        assert_eq!(
            check(of(json!(true)), of(json!({ "type": "string" }))),
            "message.a: took any value, now only some"
        );
        let nullable = of(json!({ "type": ["string", "null"] }));
        let found = check(nullable, of(json!({ "type": "string" })));
        assert_eq!(found, "message.a: the variant \"null\" is gone or changed");
        let pair = |a: &str| json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": a }] });
        assert_eq!(check(pair("string"), pair("integer")), "message[1]: was string, is integer");
    }

    #[test]
    fn variants_may_come_but_not_go() {
        let plain = json!({ "type": "string", "enum": ["a", "b"] });
        let described = json!({ "oneOf": [
            { "type": "string", "const": "a", "description": "the first" },
            { "type": "string", "enum": ["b", "c"] },
        ]});
        assert_eq!(check(plain.clone(), described.clone()), "");
        assert_eq!(check(plain.clone(), json!({ "type": "string" })), "");
        assert!(check(described, plain).contains("is gone or changed"));

        let tagged = |more: Value| {
            json!({ "oneOf": [
                object(json!({ "offset": { "type": "integer" } }), &["offset"]), more,
            ]})
        };
        let old = tagged(object(json!({ "time": { "type": "string" } }), &["time"]));
        let changed = tagged(object(json!({ "time": { "type": "integer" } }), &["time"]));
        assert_eq!(check(old.clone(), old.clone()), "");
        assert_eq!(check(old, changed), "message: the variant time is gone or changed");
    }

    #[test]
    fn references_are_followed_and_may_be_recursive() {
        let tree = |leaf: &str| {
            json!({
                "$ref": "#/$defs/Tree",
                "$defs": { "Tree": {
                    "type": "object",
                    "properties": {
                        "leaf": { "type": leaf },
                        "left": { "anyOf": [{ "$ref": "#/$defs/Tree" }, { "type": "null" }] },
                        "rest": { "type": "array", "items": { "$ref": "#/$defs/Tree" } },
                    },
                }},
            })
        };
        assert_eq!(check(tree("string"), tree("string")), "");
        let found = check(tree("string"), tree("integer"));
        assert!(found.contains("message.leaf: was string, is integer"), "{found}");
    }

    #[test]
    fn kind_topic_and_reply_are_part_of_a_message() {
        let old = json!({ "kind": "event", "topic": "a.b", "message": true, "reply": { "type": "null" } });
        let new = json!({ "kind": "command", "message": true, "reply": { "type": "string" } });
        let found = breaks_in_message(&old, &new);
        assert_eq!(found[..2], ["kind was \"event\", is \"command\"", "topic was \"a.b\", is null"]);
        assert_eq!(found[2..], ["reply: was null, is string"]);
        assert_eq!(breaks_in_message(&old, &old), Vec::<String>::new());
    }
}
