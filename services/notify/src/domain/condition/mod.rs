//! The condition of a rule: a small language over a message's JSON.
//!
//! `state in ["delayed", "lost"] and exists(eta) and not (receiver.language == "en")`
//!
//! Comparisons are `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`; values are texts in either quotation marks, numbers, `true`, `false`,
//! `null`, lists in brackets. What is not there is `null`. A path alone is true where `true` stands there. Numbers compare as
//! numbers, texts as texts (moments in one form compare as they should), anything else is neither less nor more. There
//! are no loops and no functions, so a condition is decided in the time that its length says.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use super::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

pub use check::Mistake;

/// Characters of a condition.
pub const MOST: usize = 2_000;
/// Brackets and `not` within each other.
pub const DEPTH: usize = 32;

/// A condition, kept as its author wrote it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    root: Expression,
}

/// What is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {reason}")]
pub struct BadCondition {
    /// From 1.
    pub at: usize,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Exists(Place),
    /// A path alone.
    True(Place),
    Always(bool),
    Compare(Term, Comparison, Term),
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Path(Place),
    Value(Value),
}

/// A path and where it stands.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    path: Path,
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    In,
    NotIn,
}

impl Condition {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a message meets it.
    pub fn is_met(&self, message: &Value) -> bool {
        self.root.is_met(message)
    }
}

impl Expression {
    fn is_met(&self, message: &Value) -> bool {
        match self {
            Expression::Or(all) => all.iter().any(|one| one.is_met(message)),
            Expression::And(all) => all.iter().all(|one| one.is_met(message)),
            Expression::Not(inner) => !inner.is_met(message),
            Expression::Exists(place) => place.path.find(message).is_some(),
            Expression::True(place) => place.path.find(message) == Some(&Value::Bool(true)),
            Expression::Always(value) => *value,
            Expression::Compare(left, comparison, right) => {
                comparison.holds(left.value(message), right.value(message))
            }
        }
    }
}

impl Term {
    fn value<'a>(&'a self, message: &'a Value) -> &'a Value {
        match self {
            Term::Path(place) => place.path.find(message).unwrap_or(&Value::Null),
            Term::Value(value) => value,
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let within = || right.as_array().is_some_and(|list| list.iter().any(|one| equal(left, one)));
        match self {
            Comparison::Equal => equal(left, right),
            Comparison::NotEqual => !equal(left, right),
            Comparison::Less => order(left, right) == Some(Ordering::Less),
            Comparison::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
            Comparison::More => order(left, right) == Some(Ordering::Greater),
            Comparison::MoreOrEqual => order(left, right).is_some_and(Ordering::is_ge),
            Comparison::In => within(),
            Comparison::NotIn => !within(),
        }
    }
}

/// 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}

/// Whole numbers compare exactly, others as doubles.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

impl FromStr for Condition {
    type Err = BadCondition;
    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        Ok(Condition { text: text.to_owned(), root: parse::parse(text)? })
    }
}
string_form!(Condition, BadCondition);
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.text)
    }
}
