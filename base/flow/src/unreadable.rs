//! Why a body can't be read, in words without what stands in it: reasons go to logs, spans and headers, where no body belongs, and
//! one mistake of a producer is one cause.

use serde_json::error::{Category, Error};

/// Serde quotes the value that it met, ours does not.
pub(crate) fn reason(error: &Error) -> String {
    let text = error.to_string();
    let (words, place) = match text.rfind(" at line ") {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let words = match error.classify() {
        Category::Data => without_value(words),
        _ => words.to_owned(),
    };
    format!("{words}{place}")
}

fn without_value(words: &str) -> String {
    // What serde says of the value comes before what was expected, which is the type's own text.
    for kind in ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field"] {
        if words.starts_with(kind) {
            let told = words.rfind(", expected ").or_else(|| words.rfind(", there are no "));
            return format!("{kind}{}", told.map_or("", |at| &words[at..]));
        }
    }
    // These name a field of the type.
    if ["missing field `", "duplicate field `"].iter().any(|kind| words.starts_with(kind)) {
        return words.to_owned();
    }
    unquoted(words)
}

/// A type's own words: what is quoted may be the value.
fn unquoted(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut within = None;
    for c in words.chars() {
        match within {
            Some(quote) if c == quote => within = None,
            Some(_) => {}
            None if matches!(c, '"' | '`' | '\'') => {
                within = Some(c);
                out.push('…');
            }
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Colour {
        Red,
        Blue { shade: u8 },
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Order {
        count: u64,
        colour: Option<Colour>,
        due: Option<artel_message::Time>,
        id: Option<uuid::Uuid>,
    }

    fn of(text: &str) -> String {
        reason(&serde_json::from_str::<Order>(text).expect_err("can't be read"))
    }

    #[test]
    fn nothing_of_a_body_is_in_its_reason() {
        let bodies = [
            r#"{"count": "+49 170 secret"}"#,
            r#"{"count": "a \" secret, expected secret b"}"#,
            r#"{"count": 1, "colour": "secret"}"#,
            r#"{"count": 1, "colour": "secret`, expected `x"}"#,
            r#"{"count": 1, "colour": {"blue": {"secret": 1}}}"#,
            r#"{"count": 1, "colour": {"blue": {"shade": "secret"}}}"#,
            r#"{"count": 1, "due": "secret"}"#,
            r#"{"count": 1, "id": "secret"}"#,
            r#"{"count": 1} secret"#,
            r#"{"count": secret}"#,
        ];
        for body in bodies {
            assert!(!of(body).contains("secret"), "{body}: {}", of(body));
        }
    }

    #[test]
    fn what_is_wrong_and_where_is_said() {
        assert_eq!(of(r#"{"count": "many"}"#), "invalid type, expected u64 at line 1 column 16");
        assert_eq!(of("{}"), "missing field `count` at line 1 column 2");
        assert!(of(r#"{"count": 1, "colour": "green"}"#).starts_with("unknown variant, expected "));
        assert!(of("{").starts_with("EOF while parsing"));
        assert_eq!(of(r#"{"count": "anna"}"#), of(r#"{"count": "otto"}"#));
    }
}
