//! Which metrics and labels an expression of PromQL names. Whether it is well-formed is promtool's to say.

use std::collections::BTreeSet;

/// Behind these stands a list of labels in brackets.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub metrics: BTreeSet<String>,
    pub labels: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// A character that stands for itself.
    Sign(char),
}

/// The names in `expression`.
pub fn names(expression: &str) -> Names {
    let tokens = tokens(expression);
    let mut names = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Sign('{') => at = block(&tokens, at, '}', &mut names.labels),
            Token::Sign('[') => at = block(&tokens, at, ']', &mut BTreeSet::new()),
            Token::Word(word) if LISTS.contains(&word.as_str()) => {
                if tokens.get(at + 1) == Some(&Token::Sign('(')) {
                    at = block(&tokens, at + 1, ')', &mut names.labels);
                }
            }
            Token::Word(word) => {
                // `rate(` calls; `sum by (a) (…)` and `sum (…)` do too.
                let next = tokens.get(at + 1);
                let is_list = |token: &Token| matches!(token, Token::Word(w) if LISTS.contains(&w.as_str()));
                let called = next == Some(&Token::Sign('('))
                    || next.is_some_and(|next| is_list(next) && is_aggregate(word));
                if !called && !WORDS.contains(&word.to_ascii_lowercase().as_str()) {
                    names.metrics.insert(word.clone());
                }
            }
            Token::Sign(_) => {}
        }
        at += 1;
    }
    names
}

fn is_aggregate(word: &str) -> bool {
    matches!(
        word,
        "sum"
            | "min"
            | "max"
            | "avg"
            | "count"
            | "group"
            | "stddev"
            | "stdvar"
            | "topk"
            | "bottomk"
            | "quantile"
            | "count_values"
    )
}

/// Collects the words of a block that begins at `from`; gives the place of its end.
fn block(tokens: &[Token], from: usize, end: char, words: &mut BTreeSet<String>) -> usize {
    let mut at = from + 1;
    while at < tokens.len() && tokens[at] != Token::Sign(end) {
        if let Token::Word(word) = &tokens[at] {
            words.insert(word.clone());
        }
        at += 1;
    }
    at
}

/// Words and signs; strings, numbers, times and comments fall away.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => {
                while let Some(inner) = chars.next() {
                    match inner {
                        '\\' if c != '`' => drop(chars.next()),
                        _ if inner == c => break,
                        _ => {}
                    }
                }
            }
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            // A variable of Grafana, or a number with its unit.
            '$' | '0'..='9' => {
                while chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).is_some() {}
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            _ if c.is_whitespace() => {}
            _ => tokens.push(Token::Sign(c)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> (Vec<String>, Vec<String>) {
        let names = names(expression);
        (names.metrics.into_iter().collect(), names.labels.into_iter().collect())
    }

    #[test]
    fn metrics_and_labels_are_told_from_everything_else() {
        let (metrics, labels) = of(
            r#"histogram_quantile(0.99, sum by (le, route) (rate(a_bucket{job="x} y", s=~"5.."}[$__rate_interval]))) > 1e3
               and on (node) sum(b_total offset 10m) by (z) or absent(up) # a comment
               unless bool time() - c:d / ignoring (q) group_left (w) e"#,
        );
        assert_eq!(metrics, ["a_bucket", "b_total", "c:d", "e", "up"]);
        assert_eq!(labels, ["job", "le", "node", "q", "route", "s", "w", "z"]);
    }

    #[test]
    fn a_metric_may_stand_before_a_list() {
        let (metrics, labels) = of("a and on (x) b unless on (y) c");
        assert_eq!(metrics, ["a", "b", "c"]);
        assert_eq!(labels, ["x", "y"]);
    }
}
