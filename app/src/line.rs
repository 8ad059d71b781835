//! Messages as lines of text.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message as the node shows it; values stay as they were sent.
#[derive(Debug, Deserialize)]
pub struct Shown {
    pub partition: u32,
    pub offset: i64,
    pub time: String,
    pub key: Option<String>,
    pub value: Box<RawValue>,
}

impl Shown {
    /// `2026-01-31T09:30:00.000000Z 0/12 key {"a":1}`
    pub fn line(&self) -> String {
        let key = match &self.key {
            Some(key) => printable(key),
            None => "-".to_owned(),
        };
        format!("{} {}/{} {key} {}", self.time, self.partition, self.offset, compact(self.value.get()))
    }
}

/// A key could hold what moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// JSON on one line: white space between its parts goes, everything else stays, digit for digit.
pub fn compact(json: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_only_between_the_parts() {
        let json = "{ \"a b\\\" c\" : [ 9007199254740993 ,\n 1.10 ],\t\"d\\\\\": \" x \" }";
        assert_eq!(compact(json), "{\"a b\\\" c\":[9007199254740993,1.10],\"d\\\\\":\" x \"}");
    }

    #[test]
    fn a_message_is_a_line() {
        let json = "{\"partition\":1,\"offset\":12,\"time\":\"T\",\"key\":\"k\\n\",\"value\":{ \"a\": 1 },\"more\":0}";
        let shown: Shown = serde_json::from_str(json).unwrap();
        assert_eq!(shown.line(), "T 1/12 k\u{fffd} {\"a\":1}");
    }
}
