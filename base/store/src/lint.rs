//! [`lint_sql`]: what can be told from a text alone about whether both engines take it alike.

use crate::sql::{Token, Tokens};

/// Words that only one engine knows, or that mean something else on each, with what to write.
const WORDS: &[(&str, &str)] = &[
    ("ILIKE", "only PostgreSQL has ILIKE; write lower(a) LIKE lower(b)"),
    ("GLOB", "only SQLite has GLOB; write LIKE"),
    ("IFNULL", "only SQLite has ifnull; write coalesce"),
    ("AUTOINCREMENT", "ids are made by the program or counted in a table, not by the engine"),
    ("IDENTITY", "ids are made by the program or counted in a table, not by the engine"),
    ("SERIAL", "ids are made by the program or counted in a table, not by the engine"),
    ("BIGSERIAL", "ids are made by the program or counted in a table, not by the engine"),
    ("ROWID", "only SQLite has rowid; name a key of your own"),
    ("BLOB", "only SQLite has the type BLOB; write BYTEA"),
    ("INTEGER", "INTEGER has 32 bits on PostgreSQL; write BIGINT"),
    ("INT", "INT has 32 bits on PostgreSQL; write BIGINT"),
    ("REAL", "REAL has 32 bits on PostgreSQL; write DOUBLE PRECISION"),
    ("JSON", "write JSONB"),
    ("TIMESTAMP", "times are BIGINT, microseconds since 1970"),
    ("TIMESTAMPTZ", "times are BIGINT, microseconds since 1970"),
    ("DATETIME", "times are BIGINT, microseconds since 1970"),
    ("CURRENT_TIMESTAMP", "take the time as a parameter, from the injected clock"),
    ("NOW", "take the time as a parameter, from the injected clock"),
    ("UNIXEPOCH", "take the time as a parameter, from the injected clock"),
    ("STRFTIME", "only SQLite has strftime"),
    ("JULIANDAY", "only SQLite has julianday"),
    ("GROUP_CONCAT", "only SQLite has group_concat; write string_agg"),
    ("JSON_EACH", "it differs between the engines; keep what is searched in a table of its own"),
    ("JSON_EXTRACT", "only SQLite has json_extract; write ->>"),
    ("ANY", "only PostgreSQL has ANY(array); write IN (VALUES {rows}) with all_rows or exec_rows"),
    ("RANDOM", "randomness is injected; take it as a parameter"),
    ("PRAGMA", "only SQLite has pragmas"),
    ("LOCKED", "only PostgreSQL locks rows; write the two texts as a Sql"),
];

/// Two words in a row.
const PAIRS: &[(&str, &str, &str)] = &[
    ("INSERT", "OR", "only SQLite has INSERT OR …; write ON CONFLICT"),
    ("REPLACE", "INTO", "only SQLite has REPLACE; write ON CONFLICT … DO UPDATE"),
    ("DISTINCT", "ON", "only PostgreSQL has DISTINCT ON; use a window function"),
    ("FOR", "UPDATE", "only PostgreSQL locks rows; write the two texts as a Sql"),
    ("FOR", "SHARE", "only PostgreSQL locks rows; write the two texts as a Sql"),
    ("ALTER", "COLUMN", "SQLite can't alter a column; add a new one"),
];

/// Why a text may not do the same on SQLite and on PostgreSQL; empty when nothing is seen. It reads words and signs, not
/// grammar: what it passes still has to be prepared on both ([`crate::Db::prepare_all`]). Not for the texts of a
/// [`crate::Sql`].
pub fn lint_sql(text: &str) -> Vec<&'static str> {
    let tokens: Vec<(Token, String)> =
        Tokens::new(text).map(|(token, range)| (token, text[range].to_ascii_uppercase())).collect();
    let mut found = Vec::new();
    for (at, (token, word)) in tokens.iter().enumerate() {
        let before =
            |n: usize| at.checked_sub(n).and_then(|at| tokens.get(at)).map_or("", |(_, word)| word.as_str());
        match token {
            Token::Word => {
                found.extend(WORDS.iter().filter(|(bad, _)| bad == word).map(|(_, why)| *why));
                let pair = |(first, second, _): &&(&str, &str, &str)| second == word && *first == before(1);
                found.extend(PAIRS.iter().filter(pair).map(|(_, _, why)| *why));
                let cast = before(2) == "CAST" || (before(2) == "COALESCE" && before(4) == "CAST");
                if matches!(word.as_str(), "SUM" | "AVG") && !cast {
                    found.push("its result is NUMERIC on PostgreSQL; write CAST(sum(x) AS BIGINT)");
                }
            }
            Token::Sign if word == "*" && matches!(before(1), "SELECT" | "RETURNING" | "." | "DISTINCT") => {
                found.push("name the columns instead of *");
            }
            Token::Sign if word == "?" => found.push("parameters are $1, $2, …"),
            Token::Sign if word == ":" && before(1) == ":" => {
                found.push("only PostgreSQL has ::; write CAST(x AS type)")
            }
            _ => {}
        }
    }
    if !numbered_without_gap(&tokens) {
        found.push("the parameters have a gap; PostgreSQL can't tell the type of one that is not used");
    }
    found
}

fn numbered_without_gap(tokens: &[(Token, String)]) -> bool {
    let numbers =
        tokens.iter().filter_map(|(token, _)| if let Token::Parameter(n) = token { Some(*n) } else { None });
    let used: std::collections::BTreeSet<usize> = numbers.collect();
    used.iter().copied().eq(1..=used.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_texts_pass() {
        for text in [
            "SELECT count(*), CAST(sum(n) AS BIGINT), CAST(coalesce(sum(n), 0) AS BIGINT), a -> 'x' ->> 'y' FROM t WHERE (a, b) < ($1, $2) AND a IS NOT DISTINCT FROM $1",
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING a, b * 2",
            "SELECT 'now() ? ILIKE ::' -- SELECT *",
            "CREATE TABLE t (a BIGINT PRIMARY KEY, b BYTEA, c UUID, d DOUBLE PRECISION, e JSONB)",
        ] {
            assert_eq!(lint_sql(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_differs_is_told() {
        for text in [
            "SELECT * FROM t",
            "SELECT t.* FROM t",
            "SELECT a FROM t WHERE b = ?",
            "SELECT a::text FROM t",
            "SELECT sum(a) FROM t",
            "SELECT a FROM t WHERE a = $2",
            "INSERT OR IGNORE INTO t (a) VALUES ($1)",
            "SELECT DISTINCT ON (a) a FROM t",
            "SELECT a FROM t FOR UPDATE SKIP LOCKED",
            "CREATE TABLE t (a BLOB)",
        ] {
            assert!(!lint_sql(text).is_empty(), "{text}");
        }
    }
}
