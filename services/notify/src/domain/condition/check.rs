//! Whether a condition can be met at all by messages of a schema.

use super::{Comparison, Condition, Expression, Place, Term};
use crate::domain::schema::{self, Schema, kind_of};
use serde_json::Value;

/// Why a condition can't mean what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {field}: {reason}")]
pub struct Mistake {
    /// From 1.
    pub at: usize,
    /// The path in the message.
    pub field: String,
    pub reason: String,
}

impl Condition {
    /// Everything in it that can never hold, or always does, for messages of this schema.
    pub fn check(&self, schema: Schema<'_>) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        check(&self.root, schema, &mut mistakes);
        mistakes
    }
}

fn mistake(place: &Place, reason: String) -> Mistake {
    Mistake { at: place.at, field: place.path.to_string(), reason }
}

fn check(expression: &Expression, schema: Schema<'_>, mistakes: &mut Vec<Mistake>) {
    match expression {
        Expression::Or(all) => all.iter().for_each(|one| check(one, schema, mistakes)),
        Expression::And(all) => {
            all.iter().for_each(|one| check(one, schema, mistakes));
            contradictions(all, mistakes);
        }
        Expression::Not(inner) => check(inner, schema, mistakes),
        Expression::Exists(place) => {
            let _ = find(place, schema, mistakes);
        }
        Expression::True(place) => {
            if find(place, schema, mistakes).is_some_and(|found| !found.takes("boolean")) {
                mistakes.push(mistake(place, "is never true or false; compare it with something".to_owned()));
            }
        }
        Expression::Always(_) => {}
        Expression::Compare(left, comparison, right) => compare(left, *comparison, right, schema, mistakes),
    }
}

fn find<'a>(place: &Place, schema: Schema<'a>, mistakes: &mut Vec<Mistake>) -> Option<schema::Place<'a>> {
    match schema.place(&place.path) {
        Ok(found) => Some(found),
        Err(error) => {
            mistakes.push(mistake(place, error.to_string()));
            None
        }
    }
}

fn compare(
    left: &Term,
    comparison: Comparison,
    right: &Term,
    schema: Schema<'_>,
    mistakes: &mut Vec<Mistake>,
) {
    for term in [left, right] {
        if let Term::Path(place) = term {
            let found = find(place, schema, mistakes);
            let ordered = matches!(
                comparison,
                Comparison::Less | Comparison::LessOrEqual | Comparison::More | Comparison::MoreOrEqual
            );
            if ordered && found.is_some_and(|found| !found.takes("number") && !found.takes("string")) {
                mistakes
                    .push(mistake(place, "is neither a number nor a text, so it has no order".to_owned()));
            }
        }
    }
    let (place, value) = match (left, right) {
        (Term::Path(place), Term::Value(value)) | (Term::Value(value), Term::Path(place)) => (place, value),
        _ => return,
    };
    let Ok(found) = schema.place(&place.path) else { return };
    match (comparison, value) {
        (Comparison::In | Comparison::NotIn, Value::Array(list)) if matches!(left, Term::Path(_)) => {
            if list.is_empty() {
                mistakes.push(mistake(place, "is compared with an empty list".to_owned()));
            }
            list.iter().for_each(|value| fits(place, &found, value, mistakes));
        }
        // A value in a list that stands in the message.
        (Comparison::In | Comparison::NotIn, value) => match found.item() {
            Some(item) => fits(place, &item, value, mistakes),
            None => mistakes.push(mistake(place, "is no list".to_owned())),
        },
        (_, value) => fits(place, &found, value, mistakes),
    }
}

/// Whether a value can stand there at all.
fn fits(place: &Place, found: &schema::Place<'_>, value: &Value, mistakes: &mut Vec<Mistake>) {
    let kind = kind_of(value);
    if !found.takes(kind) {
        mistakes.push(mistake(place, format!("is never {}, such as {value}", article(kind))));
        return;
    }
    let Some(values) = found.values().filter(|_| !value.is_null()) else { return };
    if values.contains(&value) {
        return;
    }
    let known: Vec<&str> = values.iter().filter_map(|known| known.as_str()).collect();
    let near = value.as_str().and_then(|wrong| schema::nearest(wrong, known.iter().copied()));
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("it is one of {}", known.join(", ")),
    };
    mistakes.push(mistake(place, format!("is never {value}; {hint}")));
}

fn article(kind: &str) -> &'static str {
    match kind {
        "number" => "a number",
        "boolean" => "true or false",
        "null" => "null",
        "array" => "a list",
        "object" => "an object",
        _ => "a text",
    }
}

/// Two different values of one path at once.
fn contradictions(all: &[Expression], mistakes: &mut Vec<Mistake>) {
    let equals: Vec<(&Place, &Value)> = all
        .iter()
        .filter_map(|one| match one {
            Expression::Compare(Term::Path(place), Comparison::Equal, Term::Value(value)) => {
                Some((place, value))
            }
            _ => None,
        })
        .collect();
    for (at, (place, value)) in equals.iter().enumerate() {
        if let Some((_, other)) =
            equals[..at].iter().find(|(earlier, other)| earlier.path == place.path && other != value)
        {
            mistakes.push(mistake(place, format!("can't be {other} and {value} at once")));
        }
    }
}
