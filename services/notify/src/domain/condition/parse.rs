//! From text to a tree, with the place of what is wrong.

use super::{BadCondition, Comparison, DEPTH, Expression, MOST, Place, Term};
use serde_json::{Number, Value};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(Number),
    /// `( ) [ ] ,` and comparisons.
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "="];

fn bad<T>(at: usize, reason: impl Into<String>) -> Result<T, BadCondition> {
    Err(BadCondition { at, reason: reason.into() })
}

pub(super) fn parse(text: &str) -> Result<Expression, BadCondition> {
    if text.chars().count() > MOST {
        return bad(MOST, format!("it is longer than {MOST} characters"));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0 };
    let root = parser.or(DEPTH)?;
    match parser.peek() {
        Token::End => Ok(root),
        other => bad(parser.at(), format!("expected 'and', 'or' or the end, found {}", shown(other))),
    }
}

/// Each with the character that it begins at, from 1.
fn tokens(text: &str) -> Result<Vec<(Token, usize)>, BadCondition> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let c = chars[at];
        let start = at;
        let token = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c == '"' || c == '\'' {
            Token::Text(quoted(&chars, &mut at)?)
        } else if c.is_ascii_digit() || (c == '-' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) {
            number(&chars, &mut at)?
        } else if c.is_alphabetic() || c == '_' {
            Token::Word(word(&chars, &mut at))
        } else {
            let rest: String = chars[at..chars.len().min(at + 2)].iter().collect();
            match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(&"=") => return bad(at + 1, "one '=' compares nothing; write '=='"),
                Some(sign) => {
                    at += sign.len();
                    Token::Sign(sign)
                }
                None => return bad(at + 1, format!("'{c}' means nothing here")),
            }
        };
        tokens.push((token, start + 1));
    }
    tokens.push((Token::End, chars.len() + 1));
    Ok(tokens)
}

fn quoted(chars: &[char], at: &mut usize) -> Result<String, BadCondition> {
    let (mark, start) = (chars[*at], *at + 1);
    let mut text = String::new();
    *at += 1;
    while let Some(c) = chars.get(*at) {
        *at += 1;
        match c {
            '\\' => {
                let escaped = chars.get(*at).copied();
                *at += 1;
                match escaped {
                    Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                    Some('n') => text.push('\n'),
                    _ => return bad(*at - 1, "unknown escape; there are \\\\, \\\", \\' and \\n"),
                }
            }
            c if *c == mark => return Ok(text),
            c => text.push(*c),
        }
    }
    bad(start, "the text is not closed")
}

fn number(chars: &[char], at: &mut usize) -> Result<Token, BadCondition> {
    let start = *at;
    while chars.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
        *at += 1;
    }
    let text: String = chars[start..*at].iter().collect();
    match serde_json::from_str(&text) {
        Ok(number) => Ok(Token::Number(number)),
        Err(_) => bad(start + 1, format!("'{text}' is no number")),
    }
}

/// A name or a path with its points and indices.
fn word(chars: &[char], at: &mut usize) -> String {
    let start = *at;
    while let Some(c) = chars.get(*at) {
        let inside = c.is_alphanumeric() || "_-.".contains(*c);
        let index = *c == '[' && chars.get(*at + 1).is_some_and(char::is_ascii_digit)
            || *c == ']' && chars[start..*at].contains(&'[');
        if !inside && !index {
            break;
        }
        *at += 1;
    }
    chars[start..*at].iter().collect()
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("'{word}'"),
        Token::Text(text) => format!("the text \"{}\"", text.chars().take(30).collect::<String>()),
        Token::Number(number) => format!("the number {number}"),
        Token::Sign(sign) => format!("'{sign}'"),
        Token::End => "the end".to_owned(),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(1, |(_, at)| *at)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found == word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn wanted(&mut self, sign: &str) -> Result<(), BadCondition> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => bad(self.at(), format!("expected '{sign}', found {}", shown(self.peek()))),
        }
    }

    fn or(&mut self, depth: usize) -> Result<Expression, BadCondition> {
        let mut all = vec![self.and(depth)?];
        while self.take_word("or") {
            all.push(self.and(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::Or(all) })
    }

    fn and(&mut self, depth: usize) -> Result<Expression, BadCondition> {
        let mut all = vec![self.not(depth)?];
        while self.take_word("and") {
            all.push(self.not(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn not(&mut self, depth: usize) -> Result<Expression, BadCondition> {
        let Some(left) = depth.checked_sub(1) else {
            return bad(self.at(), format!("nested deeper than {DEPTH}"));
        };
        if self.take_word("not") {
            return Ok(Expression::Not(Box::new(self.not(left)?)));
        }
        if self.take_sign("(") {
            let inner = self.or(left)?;
            self.wanted(")")?;
            return Ok(inner);
        }
        if self.is_word("exists") {
            self.next += 1;
            self.wanted("(")?;
            let place = self.path()?;
            self.wanted(")")?;
            return Ok(Expression::Exists(place));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, BadCondition> {
        let at = self.at();
        let left = self.term()?;
        let Some(comparison) = self.operator()? else {
            return match left {
                Term::Path(place) => Ok(Expression::True(place)),
                Term::Value(Value::Bool(value)) => Ok(Expression::Always(value)),
                Term::Value(_) => bad(at, "a value alone is no condition; compare it with something"),
            };
        };
        let right_at = self.at();
        let right = self.term()?;
        if matches!((&left, &right), (Term::Value(_), Term::Value(_))) {
            return bad(at, "two values are compared; one side has to be a path");
        }
        let list = matches!(comparison, Comparison::In | Comparison::NotIn);
        if list && matches!(&right, Term::Value(value) if !value.is_array()) {
            return bad(right_at, "behind 'in' stands a list in brackets, or a path to one");
        }
        Ok(Expression::Compare(left, comparison, right))
    }

    fn operator(&mut self) -> Result<Option<Comparison>, BadCondition> {
        let found = match self.peek() {
            Token::Sign("==") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::More,
            Token::Sign(">=") => Comparison::MoreOrEqual,
            Token::Word(word) if word == "in" => Comparison::In,
            Token::Word(word) if word == "not" => {
                self.next += 1;
                return match self.take_word("in") {
                    true => Ok(Some(Comparison::NotIn)),
                    false => {
                        bad(self.at(), format!("expected 'in' behind 'not', found {}", shown(self.peek())))
                    }
                };
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(found))
    }

    fn term(&mut self) -> Result<Term, BadCondition> {
        if let Token::Word(word) = self.peek()
            && !["true", "false", "null"].contains(&word.as_str())
        {
            return Ok(Term::Path(self.path()?));
        }
        if self.take_sign("[") {
            return Ok(Term::Value(self.list()?));
        }
        Ok(Term::Value(self.value()?))
    }

    fn list(&mut self) -> Result<Value, BadCondition> {
        let mut items = Vec::new();
        while !self.take_sign("]") {
            if !items.is_empty() {
                self.wanted(",")?;
            }
            items.push(self.value()?);
        }
        Ok(Value::Array(items))
    }

    fn value(&mut self) -> Result<Value, BadCondition> {
        let value = match self.peek() {
            Token::Text(text) => Value::from(text.as_str()),
            Token::Number(number) => Value::Number(number.clone()),
            Token::Word(word) if word == "true" => Value::Bool(true),
            Token::Word(word) if word == "false" => Value::Bool(false),
            Token::Word(word) if word == "null" => Value::Null,
            other => return bad(self.at(), format!("expected a value or a path, found {}", shown(other))),
        };
        self.next += 1;
        Ok(value)
    }

    fn path(&mut self) -> Result<Place, BadCondition> {
        let at = self.at();
        let Token::Word(word) = self.peek() else {
            return bad(at, format!("expected a path, found {}", shown(self.peek())));
        };
        if ["and", "or", "not", "in", "exists", "true", "false", "null"].contains(&word.as_str()) {
            return bad(at, format!("expected a path, found '{word}'"));
        }
        match word.parse() {
            Ok(path) => {
                self.next += 1;
                Ok(Place { path, at })
            }
            Err(error) => bad(at, error.to_string()),
        }
    }
}
