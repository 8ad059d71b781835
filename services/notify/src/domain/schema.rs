//! What a message's JSON Schema says of a place in it: whether it is there, what may stand there. It reads as much of JSON Schema as the
//! schemas of our contract have, and takes what it does not understand for "anything".

use super::path::{Path, Step};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A message's schema.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    root: &'a Value,
}

/// A place that the schema has.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    schema: Schema<'a>,
    /// The alternatives, without references; none = anything.
    any_of: Vec<&'a Value>,
    /// It, or something above it, may be absent.
    pub optional: bool,
}

/// A place that the schema has not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{path}' is not there{}", match (nearest, known.is_empty()) {
    (Some(near), _) => format!("; did you mean '{near}'?"),
    (None, false) => format!("; there are: {}", known.join(", ")),
    (None, true) => String::new(),
})]
pub struct NoPlace {
    /// As far as it was followed, with the step that is not there.
    pub path: String,
    pub nearest: Option<String>,
    pub known: Vec<String>,
}

/// References that are followed in a row, and alternatives within alternatives.
const DEPTH: usize = 16;
/// Values of one example: a schema that refers to itself in several places allows any number.
const MOST_VALUES: usize = 10_000;

impl<'a> Schema<'a> {
    pub fn new(root: &'a Value) -> Schema<'a> {
        Schema { root }
    }

    /// The message as a whole.
    pub fn whole(self) -> Place<'a> {
        Place { schema: self, any_of: self.alternatives(self.root), optional: false }
    }

    /// What the schema says of a path.
    pub fn place(self, path: &Path) -> Result<Place<'a>, NoPlace> {
        let mut place = self.whole();
        let mut followed = String::new();
        for step in path.steps() {
            place = match step {
                Step::Field(name) => {
                    let next = place.field(name).ok_or_else(|| place.missing(&followed, name))?;
                    if !followed.is_empty() {
                        followed.push('.');
                    }
                    followed.push_str(name);
                    next
                }
                Step::Index(index) => {
                    let next = place.item().ok_or_else(|| NoPlace {
                        path: format!("{followed}[{index}]"),
                        nearest: None,
                        known: Vec::new(),
                    })?;
                    followed.push_str(&format!("[{index}]"));
                    next
                }
            };
        }
        Ok(place)
    }

    /// What is wrong with a message at a path: how far it was followed, and the reason. What the schema has not is anything.
    pub fn misfit(self, message: &Value, path: &Path) -> Option<(String, String)> {
        let (mut place, mut value, mut followed) = (self.whole(), message, String::new());
        for step in path.steps() {
            let below;
            (place, below) = match step {
                Step::Field(name) => {
                    let point = if followed.is_empty() { "" } else { "." };
                    followed.push_str(&format!("{point}{name}"));
                    (place.field(name)?, value.get(name))
                }
                Step::Index(index) => {
                    followed.push_str(&format!("[{index}]"));
                    (place.item()?, value.get(index))
                }
            };
            value = match below.filter(|below| !below.is_null()) {
                Some(below) => below,
                None if place.optional || place.is_open() => return None,
                None => return Some((followed, "is missing".to_owned())),
            };
            if let Some(reason) = place.refuses(value) {
                return Some((followed, reason));
            }
        }
        None
    }

    /// A schema without references and alternatives; empty = anything.
    fn alternatives(self, schema: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        if !self.collect(schema, DEPTH, &mut found) {
            found.clear();
        }
        found
    }

    /// False where one of the alternatives is anything.
    fn collect(self, schema: &'a Value, depth: usize, found: &mut Vec<&'a Value>) -> bool {
        let Some(left) = depth.checked_sub(1) else { return false };
        let Some(fields) = schema.as_object() else { return false };
        if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.is_some_and(|target| self.collect(target, left, found));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(list) = fields.get(key).and_then(Value::as_array) {
                return list.iter().all(|one| self.collect(one, left, found));
            }
        }
        // Of several that hold together the first that says something; schemars writes one.
        if let Some(list) = fields.get("allOf").and_then(Value::as_array) {
            return list.iter().any(|one| self.collect(one, left, found));
        }
        let says = ["type", "properties", "enum", "const", "items", "additionalProperties"];
        if !says.iter().any(|key| fields.contains_key(*key)) {
            return false;
        }
        found.push(schema);
        true
    }
}

fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

impl<'a> Place<'a> {
    /// Whether anything may stand there.
    pub fn is_open(&self) -> bool {
        self.any_of.is_empty()
    }

    fn place(&self, schema: &'a Value, optional: bool) -> Place<'a> {
        Place { schema: self.schema, any_of: self.schema.alternatives(schema), optional }
    }

    /// A field of it; `None` where no alternative has it.
    pub fn field(&self, name: &str) -> Option<Place<'a>> {
        if self.is_open() {
            return Some(Place { schema: self.schema, any_of: Vec::new(), optional: true });
        }
        let mut found: Option<Place<'a>> = None;
        let mut everywhere = true;
        for schema in &self.any_of {
            let Some((place, required)) = self.field_of(schema, name) else {
                everywhere = false;
                continue;
            };
            everywhere &= required;
            found = Some(match found {
                None => place,
                Some(one) if one.is_open() || place.is_open() => Place { any_of: Vec::new(), ..place },
                Some(mut one) => {
                    one.any_of.extend(place.any_of);
                    one
                }
            });
        }
        found.map(|place| Place { optional: self.optional || !everywhere || place.takes_null(), ..place })
    }

    fn field_of(&self, schema: &'a Value, name: &str) -> Option<(Place<'a>, bool)> {
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|one| one == name));
        if let Some(field) = properties(schema).and_then(|all| all.get(name)) {
            return Some((self.place(field, false), required));
        }
        // A map: fields are its keys. Of a type with fields of its own others are mistakes, whatever the standard allows.
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(values) => Some((self.place(values, true), false)),
            None if properties(schema).is_none() && kinds(schema).contains(&"object") => {
                Some((Place { schema: self.schema, any_of: Vec::new(), optional: true }, false))
            }
            None => None,
        }
    }

    /// An element of a list.
    pub fn item(&self) -> Option<Place<'a>> {
        if self.is_open() {
            return Some(Place { schema: self.schema, any_of: Vec::new(), optional: true });
        }
        let list = self.any_of.iter().find(|schema| kinds(schema).contains(&"array"))?;
        Some(match list.get("items") {
            Some(items) => self.place(items, true),
            None => Place { schema: self.schema, any_of: Vec::new(), optional: true },
        })
    }

    fn missing(&self, followed: &str, name: &str) -> NoPlace {
        let join =
            |name: &str| if followed.is_empty() { name.to_owned() } else { format!("{followed}.{name}") };
        let known: Vec<String> = self.fields().into_iter().map(|field| join(&field)).collect();
        let path = join(name);
        let nearest = nearest(&path, known.iter().map(String::as_str)).map(str::to_owned);
        NoPlace { path, nearest, known }
    }

    /// The names of its fields, in order.
    pub fn fields(&self) -> Vec<String> {
        let names: BTreeSet<&String> =
            self.any_of.iter().filter_map(|schema| properties(schema)).flat_map(Map::keys).collect();
        names.into_iter().cloned().collect()
    }

    /// The only values that may stand there; `None` where there are others too.
    pub fn values(&self) -> Option<Vec<&'a Value>> {
        if self.is_open() {
            return None;
        }
        let mut values = Vec::new();
        for schema in &self.any_of {
            match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
                (Some(one), _) => values.push(one),
                (None, Some(list)) => values.extend(list),
                (None, None) if kinds(schema) == ["null"] => values.push(&Value::Null),
                (None, None) => return None,
            }
        }
        Some(values)
    }

    /// Whether a value of this JSON type (`string`, `number`, `boolean`, `null`, `object`, `array`) may stand there.
    pub fn takes(&self, kind: &str) -> bool {
        let fits =
            |schema: &&Value| {
                if let Some(values) = schema.get("const").map(|one| vec![one]).or_else(|| {
                    schema.get("enum").and_then(Value::as_array).map(|list| list.iter().collect())
                }) {
                    return values.iter().any(|value| kind_of(value) == kind);
                }
                let kinds = kinds(schema);
                kinds.is_empty() || kinds.contains(&kind) || (kind == "number" && kinds.contains(&"integer"))
            };
        self.is_open() || (kind == "null" && self.optional) || self.any_of.iter().any(fits)
    }

    /// Why a value can't stand there, without the value: what it may be is said.
    fn refuses(&self, value: &Value) -> Option<String> {
        if self.is_open() {
            return None;
        }
        let kind = kind_of(value);
        let fraction = value.as_f64().is_some_and(|number| number.fract() != 0.0);
        let any = |schema: &&Value| kinds(schema).is_empty() || kinds(schema).contains(&"number");
        if !self.takes(kind) || (fraction && !self.any_of.iter().any(any)) {
            let known: BTreeSet<&str> = self.any_of.iter().flat_map(|schema| kinds(schema)).collect();
            let known: Vec<&str> = known.into_iter().filter(|kind| *kind != "null").collect();
            let article = if kind.starts_with(['a', 'o']) { "an" } else { "a" };
            return Some(format!("is {article} {kind}; the schema says {}", known.join(" or ")));
        }
        let values = self.values()?;
        let shown = || values.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        (!values.contains(&value)).then(|| format!("is none of {}", shown()))
    }

    fn takes_null(&self) -> bool {
        !self.is_open() && self.any_of.iter().any(|schema| kinds(schema).contains(&"null"))
    }

    /// A value that fits, with every field or only those that are always there. Texts are `name` of the field.
    pub fn example(&self, full: bool) -> Value {
        let mut left = MOST_VALUES;
        self.example_of("text", full, DEPTH, &mut left)
    }

    fn example_of(&self, name: &str, full: bool, depth: usize, values: &mut usize) -> Value {
        let fits = |schema: &&&Value| kinds(schema) != ["null"];
        let Some(left) = depth.checked_sub(1).filter(|_| *values > 0) else { return Value::Null };
        *values -= 1;
        let Some(schema) = self.any_of.iter().find(fits) else { return Value::from(name) };
        if let Some(value) = schema.get("const").or_else(|| schema.get("enum").and_then(|list| list.get(0))) {
            return value.clone();
        }
        match kinds(schema).into_iter().find(|kind| *kind != "null").unwrap_or("object") {
            "string" => match schema.get("format").and_then(Value::as_str) {
                Some("date-time") => Value::from("2026-01-31T09:30:00.000000Z"),
                Some("uuid") => Value::from("01890a5d-ac96-774b-bcce-b302099a8057"),
                _ => Value::from(name),
            },
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
            "boolean" => Value::from(true),
            "array" => match self.item() {
                Some(item) if full => Value::from(vec![item.example_of(name, full, left, values)]),
                _ => Value::Array(Vec::new()),
            },
            _ => {
                let names = self.fields();
                let fields = names.iter().filter_map(|name| Some((name, self.field(name)?)));
                fields
                    .filter(|(_, place)| full || !place.optional)
                    .map(|(name, place)| (name.clone(), place.example_of(name, full, left, values)))
                    .collect::<Map<String, Value>>()
                    .into()
            }
        }
    }
}

/// The JSON type of a value.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The known name that is most like a wrong one; `None` where none is.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|name| (strsim::jaro_winkler(wrong, name), name));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_contract::logistics::ShipmentMoved;
    use artel_message::Described;
    use serde_json::json;

    fn shipment() -> Value {
        (Described::event::<ShipmentMoved>().schema)().into()
    }

    fn place<'a>(schema: &'a Value, path: &str) -> Result<Place<'a>, String> {
        Schema::new(schema).place(&path.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_contract_s_own_schema_is_understood() {
        let schema = shipment();
        let state = place(&schema, "state").unwrap();
        assert_eq!(state.values().map(|values| values.len()), Some(7));
        assert!(!state.optional && state.takes("string") && !state.takes("number"));
        let email = place(&schema, "receiver.email").unwrap();
        assert!(email.optional && email.takes("null") && email.values().is_none());
        assert!(place(&schema, "parcels").unwrap().takes("number"));
        assert_eq!(
            place(&schema, "receiver.emial").unwrap_err(),
            "'receiver.emial' is not there; did you mean 'receiver.email'?"
        );
        let error = place(&schema, "weight").unwrap_err();
        assert!(error.starts_with("'weight' is not there; there are: eta, "), "{error}");
        assert!(place(&schema, "state.deep").unwrap_err().starts_with("'state.deep' is not there"));
        assert!(place(&schema, "state[0]").is_err());
    }

    #[test]
    fn examples_fit_the_type_that_the_schema_is_of() {
        let schema = shipment();
        for full in [true, false] {
            let example = Schema::new(&schema).whole().example(full);
            assert!(serde_json::from_value::<ShipmentMoved>(example.clone()).is_ok(), "{example}");
            assert_eq!(example.get("eta").is_some(), full);
        }
    }

    #[test]
    fn maps_and_lists_and_anything_are_open() {
        let schema = json!({
            "type": "object",
            "properties": {
                "map": { "type": "object", "additionalProperties": { "type": "integer" } },
                "free": { "type": "object" },
                "any": true,
                "list": { "type": "array", "items": { "$ref": "#/$defs/item" } },
                "either": { "anyOf": [{ "$ref": "#/$defs/item" }, { "type": "null" }] },
            },
            "required": ["list"],
            "$defs": { "item": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] } },
        });
        for good in ["map.x", "free.a.b", "any.a[3].b", "list[0].name", "either.name"] {
            assert!(place(&schema, good).is_ok(), "{good}");
        }
        assert!(place(&schema, "map.x").unwrap().takes("number"));
        assert!(!place(&schema, "map.x").unwrap().takes("string"));
        assert!(place(&schema, "either.name").unwrap().optional);
        assert!(place(&schema, "list[0].nam").is_err() && place(&schema, "map.x.y").is_err());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let schema = shipment();
        let message = json!({
            "shipment": "S-1", "state": "flown", "parcels": 1.5, "place": 7, "receiver": { "name": ["x"] }, "eta": null,
        });
        let misfit = |path: &str| Schema::new(&schema).misfit(&message, &path.parse().unwrap());
        for good in ["shipment", "eta", "receiver.email", "nothing", "shipment.deep"] {
            assert_eq!(misfit(good), None, "{good}");
        }
        for (path, at, reason) in [
            ("tracking_number", "tracking_number", "is missing"),
            ("place", "place", "is a number; the schema says string"),
            ("parcels", "parcels", "is a number; the schema says integer"),
            ("receiver.name", "receiver.name", "is an array; the schema says string"),
            ("state", "state", "is none of "),
        ] {
            let (found, said) = misfit(path).unwrap();
            assert!(found == at && said.starts_with(reason), "{path}: {found}: {said}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_in_many_places_ends() {
        let fields: Map<String, Value> = (0..10).map(|n| (format!("f{n}"), json!({ "$ref": "#" }))).collect();
        let tree = json!({ "type": "object", "properties": fields });
        let example = Schema::new(&tree).whole().example(true).to_string();
        assert!(example.len() < 2_000_000, "{}", example.len());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
        assert!(Schema::new(&schema).whole().is_open());
        let tree =
            json!({ "type": "object", "properties": { "next": { "$ref": "#" } }, "required": ["next"] });
        assert!(Schema::new(&tree).whole().example(true).is_object());
    }
}
