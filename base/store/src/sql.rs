//! The little that is read in a SQL text: its parameters, the place of its rows, where its statements begin.

use crate::{Engine, StoreError};
use std::fmt::Write as _;
use std::ops::Range;

/// The rare statement with two texts; everything else is one `&'static str` for both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl Sql {
    /// The text for that engine.
    pub fn pick(&self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

/// Where the rows of `exec_rows` stand in the text.
pub(crate) const ROWS: &str = "{rows}";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token {
    Parameter(usize),
    Rows,
    End,
    Word,
    /// Any other character that is no space.
    Sign,
}

/// The tokens of a text, outside of quotes and comments.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Self {
        Tokens { text, at: 0 }
    }

    fn skip_past(&mut self, from: usize, end: &str) {
        self.at = self.text[from..].find(end).map_or(self.text.len(), |n| from + n + end.len());
    }

    fn run(&self, from: usize, keep: impl Fn(u8) -> bool) -> usize {
        from + self.text.as_bytes()[from..].iter().take_while(|b| keep(**b)).count()
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            let start = self.at;
            match byte {
                // A doubled quote inside is two neighbouring strings to this reader: the same end.
                b'\'' => self.skip_past(start + 1, "'"),
                b'"' => self.skip_past(start + 1, "\""),
                b'-' if bytes.get(start + 1) == Some(&b'-') => self.skip_past(start, "\n"),
                b'/' if bytes.get(start + 1) == Some(&b'*') => self.skip_past(start + 2, "*/"),
                b';' => {
                    self.at += 1;
                    return Some((Token::End, start..self.at));
                }
                b'{' if self.text[start..].starts_with(ROWS) => {
                    self.at += ROWS.len();
                    return Some((Token::Rows, start..self.at));
                }
                b'$' => {
                    self.at = self.run(start + 1, |b| b.is_ascii_digit());
                    let token = self.text[start + 1..self.at].parse().map_or(Token::Sign, Token::Parameter);
                    return Some((token, start..self.at));
                }
                b if b.is_ascii_alphabetic() || b == b'_' => {
                    self.at = self.run(start, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$');
                    return Some((Token::Word, start..self.at));
                }
                b if b.is_ascii_graphic() => {
                    self.at += 1;
                    return Some((Token::Sign, start..self.at));
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

/// The highest `$n` of the text: how many parameters it takes.
pub(crate) fn parameters(text: &str) -> usize {
    Tokens::new(text).map(|(token, _)| if let Token::Parameter(n) = token { n } else { 0 }).max().unwrap_or(0)
}

/// Fails where the number of values is not the number of parameters: SQLite would take a missing one as null.
pub(crate) fn check_count(text: &str, given: usize) -> Result<(), StoreError> {
    let wanted = parameters(text);
    if wanted == given {
        return Ok(());
    }
    Err(StoreError::Statement {
        code: "parameters".to_owned(),
        message: format!("the text takes {wanted} and {given} are given: {}", opening(text)),
    })
}

/// The first words of a statement, to find it by.
pub(crate) fn opening(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(80).collect()
}

/// The first word of each statement, in capitals.
pub(crate) fn first_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut at_start = true;
    for (token, range) in Tokens::new(text) {
        match token {
            Token::End => at_start = true,
            Token::Word if at_start => {
                words.push(text[range].to_ascii_uppercase());
                at_start = false;
            }
            _ => {}
        }
    }
    words
}

/// A text with one `{rows}`, cut at its parameters.
pub(crate) struct Template<'a> {
    pieces: Vec<Piece<'a>>,
    /// How many parameters stand outside of the rows.
    pub fixed: usize,
}

enum Piece<'a> {
    Text(&'a str),
    Fixed(usize),
    Rows(Place<'a>),
}

/// Where the rows stand, with the text around them that a list takes the place of.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// `VALUES {rows}`
    Values(&'a str),
    /// `IN ({rows})`: what comes before the rows.
    In(&'a str),
    Bare,
}

/// What was read before a marker, to see where it stands.
#[derive(Default)]
struct Last {
    /// The two tokens before, in capitals, with where they begin.
    two: [(String, usize); 2],
    negated: bool,
}

impl Last {
    fn push(&mut self, word: &str, at: usize) {
        let [before, last] = &mut self.two;
        self.negated = before.0 == "NOT";
        *before = std::mem::replace(last, (word.to_ascii_uppercase(), at));
    }

    /// Where the rows stand that begin at `rows`, and where the text for it begins.
    fn place<'a>(&self, text: &'a str, rows: &Range<usize>) -> (Place<'a>, usize) {
        let [(before, from), (last, at)] = &self.two;
        let closed = text[rows.end..].trim_start().starts_with(')');
        match (before.as_str(), last.as_str()) {
            (_, "VALUES") => (Place::Values(&text[*at..rows.start]), *at),
            ("IN", "(") if closed && !self.negated => (Place::In(&text[*from..rows.start]), *from),
            _ => (Place::Bare, rows.start),
        }
    }
}

impl<'a> Template<'a> {
    pub fn parse(text: &'a str) -> Result<Template<'a>, StoreError> {
        let mut pieces = Vec::new();
        let (mut at, mut fixed, mut markers) = (0, 0, 0);
        let mut last = Last::default();
        for (token, range) in Tokens::new(text) {
            let (piece, start) = match token {
                Token::Parameter(n) => {
                    fixed = fixed.max(n);
                    (Piece::Fixed(n), range.start)
                }
                Token::Rows => {
                    markers += 1;
                    let (place, start) = last.place(text, &range);
                    (Piece::Rows(place), start)
                }
                Token::End | Token::Word | Token::Sign => {
                    last.push(&text[range.clone()], range.start);
                    continue;
                }
            };
            last.push("", range.start);
            pieces.push(Piece::Text(&text[at..start]));
            pieces.push(piece);
            at = range.end;
        }
        pieces.push(Piece::Text(&text[at..]));
        if markers != 1 {
            return Err(StoreError::Statement {
                code: "rows".to_owned(),
                message: format!(
                    "write {ROWS} exactly once, it stands here {markers} times: {}",
                    opening(text)
                ),
            });
        }
        Ok(Template { pieces, fixed })
    }

    /// The text with `rows` rows of `columns` values. The values of the rows come first, the fixed ones follow with their
    /// numbers moved up. On SQLite those of the rows have no names: SQLite looks up each named parameter in a list, which
    /// for some thousand names costs more than the statement itself.
    pub fn expand(&self, engine: Engine, rows: usize, columns: usize) -> String {
        let cells = rows * columns;
        let mut out = String::with_capacity(256 + cells * 4 + rows * 2);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Fixed(n) => {
                    let _ = write!(out, "${}", n + cells); // writing to a String can't fail
                }
                Piece::Rows(place) => {
                    out.push_str(place.text());
                    for row in 0..rows {
                        out.push_str(if row == 0 { "(" } else { ",(" });
                        for column in 0..columns {
                            out.push_str(if column == 0 { "" } else { "," });
                            match engine {
                                Engine::Sqlite => out.push('?'),
                                Engine::Postgres => {
                                    let _ = write!(out, "${}", row * columns + column + 1); // nor can this
                                }
                            }
                        }
                        out.push(')');
                    }
                }
            }
        }
        out
    }

    /// The text with one array for each column in place of the rows, whatever their number: PostgreSQL reads, plans and sends
    /// two parameters where it would have been thousands. `types` are those of the columns. The arrays come first, the fixed
    /// values follow.
    pub fn listed(&self, types: &[&str]) -> String {
        let mut out = String::with_capacity(512);
        for piece in &self.pieces {
            // Writing to a String can't fail.
            let _ = match piece {
                Piece::Text(text) => write!(out, "{text}"),
                Piece::Fixed(n) => write!(out, "${}", n + types.len()),
                Piece::Rows(Place::In(_)) if types.len() == 1 => write!(out, "= ANY ($1::{}[]", types[0]),
                Piece::Rows(place) => {
                    let arrays = (1..).zip(types).map(|(n, of)| format!("${n}::{of}[]"));
                    let names = (1..=types.len()).map(|n| format!("column{n}"));
                    let (arrays, names) = (arrays.collect::<Vec<_>>(), names.collect::<Vec<_>>());
                    let before = if let Place::In(text) = place { text } else { "" };
                    let (arrays, names) = (arrays.join(", "), names.join(", "));
                    write!(out, "{before}SELECT {names} FROM UNNEST({arrays}) AS listed ({names})")
                }
            };
        }
        out
    }
}

impl<'a> Place<'a> {
    fn text(self) -> &'a str {
        match self {
            Place::Values(text) | Place::In(text) => text,
            Place::Bare => "",
        }
    }
}

/// SQLite's bound on the parameters of one statement.
const PARAMETERS: usize = 32_766;

/// How many rows the statements of one `exec_rows` hold on SQLite: few sizes, so that their prepared forms are met again.
/// Beyond 64 rows nothing more is gained per row, while the prepared statement grows.
pub(crate) fn chunks(rows: usize, columns: usize, fixed: usize) -> Vec<usize> {
    let sizes = [256, 64, 16, 4, 1];
    let mut left = rows;
    let mut out = Vec::new();
    for size in sizes {
        if size > 1 && size * columns + fixed > PARAMETERS {
            continue;
        }
        while left >= size {
            out.push(size);
            left -= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_counted_outside_of_quotes_and_comments() {
        let text = "SELECT '$9''$8', \"$7\", $2 -- $6\n, a$5 /* $4 */ FROM t WHERE a = $1 OR b = $2";
        assert_eq!(parameters(text), 2);
        assert_eq!(parameters("SELECT 1"), 0);
        assert_eq!(parameters("SELECT 'open $1"), 0);
        assert_eq!(parameters("SELECT $"), 0);
    }

    #[test]
    fn rows_come_first_and_fixed_parameters_move_up() {
        let template =
            Template::parse("UPDATE t SET a = $1 FROM (VALUES {rows}) AS v WHERE b = $2 AND c = $1")
                .expect("parses");
        assert_eq!(template.fixed, 2);
        assert_eq!(
            template.expand(Engine::Sqlite, 2, 3),
            "UPDATE t SET a = $7 FROM (VALUES (?,?,?),(?,?,?)) AS v WHERE b = $8 AND c = $7"
        );
        assert_eq!(
            template.expand(Engine::Postgres, 2, 2),
            "UPDATE t SET a = $5 FROM (VALUES ($1,$2),($3,$4)) AS v WHERE b = $6 AND c = $5"
        );
    }

    #[test]
    fn lists_take_the_place_of_rows() {
        let listed = |text, types: &[&str]| Template::parse(text).expect("parses").listed(types);
        assert_eq!(
            listed("UPDATE t SET a = v.column2 FROM (VALUES {rows}) AS v WHERE b = $1", &["BIGINT", "TEXT"]),
            "UPDATE t SET a = v.column2 FROM (SELECT column1, column2 FROM \
             UNNEST($1::BIGINT[], $2::TEXT[]) AS listed (column1, column2)) AS v WHERE b = $3"
        );
        assert_eq!(
            listed("INSERT INTO t (a)\nvalues {rows} ON CONFLICT DO NOTHING", &["UUID"]),
            "INSERT INTO t (a)\nSELECT column1 FROM UNNEST($1::UUID[]) AS listed (column1) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            listed("DELETE FROM t WHERE a IN ( {rows} ) AND b = $1", &["BIGINT"]),
            "DELETE FROM t WHERE a = ANY ($1::BIGINT[] ) AND b = $2"
        );
        assert_eq!(
            listed("DELETE FROM t WHERE a NOT IN ({rows})", &["BIGINT"]),
            "DELETE FROM t WHERE a NOT IN (SELECT column1 FROM UNNEST($1::BIGINT[]) AS listed (column1))"
        );
        assert_eq!(
            listed("DELETE FROM t WHERE (a, b) IN ({rows})", &["BIGINT", "TEXT"]),
            "DELETE FROM t WHERE (a, b) IN (SELECT column1, column2 FROM \
             UNNEST($1::BIGINT[], $2::TEXT[]) AS listed (column1, column2))"
        );
    }

    #[test]
    fn the_marker_stands_exactly_once() {
        assert!(Template::parse("DELETE FROM t").is_err());
        assert!(Template::parse("SELECT {rows} {rows}").is_err());
        assert!(Template::parse("SELECT '{rows}', {rows}").is_ok());
    }

    #[test]
    fn statements_are_told_by_their_first_word() {
        let words =
            first_words("-- begin\ncreate table a (b TEXT DEFAULT ';'); INSERT INTO a VALUES (1);\n commit");
        assert_eq!(words, ["CREATE", "INSERT", "COMMIT"]);
    }

    proptest! {
        #[test]
        fn chunks_cover_all_rows_within_the_bound(
            rows in 0usize..3000, columns in 1usize..2000, fixed in 0usize..20,
        ) {
            let sizes = chunks(rows, columns, fixed);
            prop_assert_eq!(sizes.iter().sum::<usize>(), rows);
            prop_assert!(sizes.iter().all(|n| *n == 1 || n * columns + fixed <= PARAMETERS));
        }

        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC*") {
            parameters(&text);
            first_words(&text);
        }
    }
}
