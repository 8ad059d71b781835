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
            Some(key) => printable(&key.replace('\n', "\u{fffd}")),
            None => "-".to_owned(),
        };
        format!(
            "{} {}/{} {key} {}",
            self.time,
            self.partition,
            self.offset,
            printable(&compact(self.value.get()))
        )
    }
}

/// What others wrote could move a terminal's cursor, or turn the direction of what stands behind it.
pub fn printable(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
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
        let json = "{\"partition\":1,\"offset\":12,\"time\":\"T\",\"key\":\"k\\n\\u001b\",\"value\":{ \"a\": \"\u{9b}2J\u{202e}\" },\"more\":0}";
        let shown: Shown = serde_json::from_str(json).unwrap();
        assert_eq!(shown.line(), "T 1/12 k\u{fffd}\u{fffd} {\"a\":\"\u{fffd}2J\u{fffd}\"}");
    }
}
