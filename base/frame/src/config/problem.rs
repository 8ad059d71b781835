//! What is wrong with a setting: where it stands, which key, and what to do.

use std::fmt;
use std::sync::Arc;

/// The place a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A line of a file, counted from 1.
    Line { file: Arc<str>, line: usize },
    /// An environment variable.
    Variable(Arc<str>),
    /// An argument of the command line.
    Argument(Arc<str>),
    /// Nowhere: the key is missing.
    Missing,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Line { file, line } => write!(f, "{file}:{line}"),
            Source::Variable(name) | Source::Argument(name) => f.write_str(name),
            Source::Missing => f.write_str("no source"),
        }
    }
}

/// One thing wrong with the configuration. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `http.listen`; empty for a file as a whole.
    pub path: String,
    /// Where it stands, such as `artel.toml:12`, `ARTEL_HTTP_LISTEN` or `--listen`.
    pub source: String,
    /// One lowercase sentence that says what to do.
    pub reason: String,
}

impl Problem {
    pub fn new(path: impl Into<String>, source: impl fmt::Display, reason: impl Into<String>) -> Problem {
        Problem { path: path.into(), source: source.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "{}: {}", self.source, self.reason)
        } else {
            write!(f, "{}: {}: {}", self.source, self.path, self.reason)
        }
    }
}

impl std::error::Error for Problem {}

/// The candidate that a mistyped `word` most likely meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().min(word.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
