//! A light reading of Rust source: what is code, what is a string, and which lines belong to tests. It knows comments,
//! strings, raw strings and character literals, and counts braces; it does not parse.

use std::ops::Range;

/// One source file, taken apart.
#[derive(Debug)]
pub struct Source {
    /// Per line: its code; comments are left out, and strings are emptied (`""`).
    pub code: Vec<String>,
    /// (line from 1 where it begins, content as written) of every string literal.
    pub strings: Vec<(usize, String)>,
    /// Per line: whether it stands in an item that only test builds have.
    pub test: Vec<bool>,
    /// Per line: whether it stands in an item that is allowed to panic by an attribute that clippy knows, too.
    pub may_panic: Vec<bool>,
    /// Names of modules that are declared for test builds only and stand in files of their own.
    pub test_modules: Vec<String>,
}

impl Source {
    pub fn read(text: &str) -> Source {
        let (code, strings) = split(text);
        let lines = vec![false; code.len()];
        let (test, may_panic) = (lines.clone(), lines);
        let mut source = Source { code, strings, test, may_panic, test_modules: Vec::new() };
        source.mark_tests();
        source.mark_panics();
        source
    }

    fn mark_panics(&mut self) {
        for at in 0..self.code.len() {
            let attribute = self.code[at].trim_start().strip_prefix("#[allow(clippy::");
            if attribute
                .is_some_and(|lint| lint.starts_with("expect_used") || lint.starts_with("unwrap_used"))
            {
                let item = self.item(at);
                self.may_panic[item].fill(true);
            }
        }
    }

    fn mark_tests(&mut self) {
        for at in 0..self.code.len() {
            if self.test[at] || !is_test_attribute(&self.code[at]) {
                continue;
            }
            let item = self.item(at);
            let text = self.code[item.clone()].join(" ");
            if let Some(name) = text.split_once("mod ").and_then(|(_, rest)| rest.trim().strip_suffix(';')) {
                self.test_modules.push(name.trim().to_owned());
            }
            self.test[item].fill(true);
        }
    }

    /// The lines of the item that begins at line `start` (from 0) with an attribute: up to its closing brace, or to the
    /// semicolon of an item without braces.
    fn item(&self, start: usize) -> Range<usize> {
        let (mut depth, mut brackets) = (0usize, 0usize);
        for (at, line) in self.code.iter().enumerate().skip(start) {
            for c in line.chars() {
                match c {
                    '(' | '[' => brackets += 1,
                    ')' | ']' => brackets = brackets.saturating_sub(1),
                    '{' => depth += 1,
                    '}' if depth <= 1 => return start..at + 1,
                    '}' => depth -= 1,
                    ';' if depth == 0 && brackets == 0 => return start..at + 1,
                    _ => {}
                }
            }
        }
        start..self.code.len()
    }
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[cfg(any(test, …))]`, `#[test]`, `#[tokio::test…]`.
fn is_test_attribute(code: &str) -> bool {
    let Some(attribute) = code.trim_start().strip_prefix("#[") else { return false };
    if attribute.starts_with("test]") || attribute.starts_with("tokio::test") {
        return true;
    }
    let Some(condition) = attribute.strip_prefix("cfg(") else { return false };
    let words: Vec<&str> = condition.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    words.contains(&"test") && !condition.contains("not(test)")
}

/// What the reader stands in.
enum Place {
    Code,
    LineComment,
    /// Nested this deep.
    BlockComment(usize),
    /// Ends with a quote and this many `#`; `None`: an ordinary string with escapes.
    Text(Option<usize>),
}

fn split(text: &str) -> (Vec<String>, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings) = (vec![String::new()], Vec::new());
    let mut place = Place::Code;
    let mut at = 0;
    while at < chars.len() {
        let (c, next) = (chars[at], chars.get(at + 1).copied());
        let mut step = 1;
        if c == '\n' {
            code.push(String::new());
            if matches!(place, Place::LineComment) {
                place = Place::Code;
            }
        }
        let line = code.len();
        match place {
            Place::Code => match (c, next) {
                ('/', Some('/')) => place = Place::LineComment,
                ('/', Some('*')) => (place, step) = (Place::BlockComment(1), 2),
                ('"', _) => {
                    place = Place::Text(None);
                    strings.push((line, String::new()));
                }
                ('r', Some('"' | '#')) if raw_hashes(&chars, at).is_some() => {
                    let hashes = raw_hashes(&chars, at).unwrap_or(0);
                    (place, step) = (Place::Text(Some(hashes)), hashes + 2);
                    strings.push((line, String::new()));
                }
                ('\'', _) => step = char_length(&chars[at..]),
                ('\n', _) => {}
                _ => code[line - 1].push(c),
            },
            Place::LineComment => {}
            Place::BlockComment(depth) => match (c, next) {
                ('/', Some('*')) => (place, step) = (Place::BlockComment(depth + 1), 2),
                ('*', Some('/')) => {
                    step = 2;
                    place = if depth == 1 { Place::Code } else { Place::BlockComment(depth - 1) };
                }
                _ => {}
            },
            Place::Text(hashes) => {
                if ends_text(&chars[at..], hashes) {
                    code[line - 1].push_str("\"\"");
                    (place, step) = (Place::Code, 1 + hashes.unwrap_or(0));
                } else if let Some((_, content)) = strings.last_mut() {
                    content.push(c);
                    if hashes.is_none() && c == '\\' && next.is_some_and(|n| n != '\n') {
                        content.extend(next);
                        step = 2;
                    }
                }
            }
        }
        at += step;
    }
    (code, strings)
}

/// How many `#` stand between the `r` at `at` and the quote; `None` where it begins no raw string.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let part_of_word = at > 0
        && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
        && !matches!(chars[at - 1], 'b' | 'c');
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (!part_of_word && chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Length of the character literal that begins here; 1 where it is a lifetime.
fn char_length(chars: &[char]) -> usize {
    match (chars.get(1), chars.get(2)) {
        (Some('\\'), _) => 3 + chars.iter().skip(3).take_while(|c| **c != '\'').count() + 1,
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

fn ends_text(chars: &[char], hashes: Option<usize>) -> bool {
    let wanted = hashes.unwrap_or(0);
    chars[0] == '"' && chars[1..].iter().take(wanted).filter(|c| **c == '#').count() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = Source::read("let a = \"x // y\"; // b.unwrap()\n/* c /* d */ e */ let f = 'q';\n");
        assert_eq!(source.code[0], "let a = \"\"; ");
        assert_eq!(source.code[1].trim(), "let f = ;");
        assert_eq!(source.strings, [(1, "x // y".to_owned())]);
    }

    #[test]
    fn raw_strings_and_escapes_end_where_rust_ends_them() {
        let source =
            Source::read("f(r#\"a\"b\"#, \"c\\\"d\", br\"e\\\", '\"', '\\'', b'\\\\');\ng::<'a>(\"h\");");
        let texts: Vec<&str> = source.strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a\"b", "c\\\"d", "e\\", "h"]);
        assert_eq!(source.strings[3].0, 2);
    }

    #[test]
    fn a_string_over_lines_keeps_the_line_count() {
        let source = Source::read("let a = \"SELECT\n  b\";\nlet c = 1;");
        assert_eq!(source.code, ["let a = ", "\"\";", "let c = 1;"]);
        assert_eq!(source.strings, [(1, "SELECT\n  b".to_owned())]);
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let source = Source::read(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { if x {} }\n}\nfn c() {}\n#[cfg(test)]\nmod far;\nfn d() {}",
        );
        assert_eq!(source.test, [false, true, true, true, true, false, true, true, false]);
        assert_eq!(source.test_modules, ["far"]);
    }

    #[test]
    fn an_attribute_allows_one_item_to_panic() {
        let source = Source::read("#[allow(clippy::expect_used)]\nfn a() {\n}\nfn b() {}");
        assert_eq!(source.may_panic, [true, true, true, false]);
    }

    #[test]
    fn code_left_out_of_tests_is_no_test() {
        let source = Source::read("#[cfg(not(test))]\nfn a() {}\n#[cfg(feature = \"test\")]\nfn b() {}");
        assert_eq!(source.test, [false; 4]);
    }
}
