//! Settings before they have types: a tree of tables, lists and values, in which every value knows where it comes from.

use super::problem::{Problem, Source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A node of the tree with its source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub source: Source,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Table(BTreeMap<String, Node>),
    /// By place; one that is taken away leaves the places of the others.
    List(BTreeMap<usize, Node>),
    Value(Value),
}

/// One step of a path: `tokens`, then `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// `auth.tokens[0].name`
pub(crate) fn show(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// The keys of a path without lists, such as `http.listen`.
pub(crate) fn keys(path: &str) -> Vec<Step> {
    path.split('.').map(|key| Step::Key(key.to_owned())).collect()
}

/// The element of a list.
pub(crate) fn element(list: &str, index: usize) -> Vec<Step> {
    let mut path = keys(list);
    path.push(Step::Index(index));
    path
}

impl Node {
    pub fn table() -> Node {
        Node { source: Source::Missing, kind: Kind::Table(BTreeMap::new()) }
    }

    /// Reads TOML. Of a text with mistakes everything readable is returned, with one problem per line.
    pub fn parse(file: &str, text: &str) -> (Node, Vec<Problem>) {
        let file: Arc<str> = Arc::from(file);
        let (table, errors) = DeTable::parse_recoverable(text);
        let lines = Lines::of(&file, text);
        let mut at: Vec<_> =
            errors.iter().map(|error| (error.span().map_or(0, |span| span.start), error)).collect();
        at.sort_by_key(|(position, _)| *position);
        let mut problems: Vec<Problem> = at
            .into_iter()
            .map(|(position, error)| {
                Problem::new(
                    "",
                    lines.source(position),
                    format!("not TOML: {}", error.message().to_lowercase()),
                )
            })
            .collect();
        problems.dedup_by(|later, earlier| later.source == earlier.source);
        (from_table(table.get_ref(), lines.source(0), &lines), problems)
    }

    /// A value as one writes it behind the equals sign, such as `["a", "b"]`.
    pub fn parse_value(text: &str, source: &Source) -> Result<Node, String> {
        let value = DeValue::parse(text).map_err(|error| error.message().to_lowercase())?;
        let lines = Lines { source: Some(source.clone()), file: Arc::from(""), starts: Vec::new() };
        Ok(from_value(value.get_ref(), source.clone(), &lines))
    }

    pub fn text(text: &str, source: Source) -> Node {
        Node { source, kind: Kind::Value(Value::String(text.to_owned())) }
    }

    pub fn get(&self, path: &[Step]) -> Option<&Node> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        let next = match (&self.kind, step) {
            (Kind::Table(table), Step::Key(key)) => table.get(key),
            (Kind::List(list), Step::Index(index)) => list.get(index),
            _ => None,
        };
        next.and_then(|node| node.get(rest))
    }

    /// The places of the elements of a list that are left.
    pub fn places(&self, path: &[Step]) -> Vec<usize> {
        match self.get(path).map(|node| &node.kind) {
            Some(Kind::List(list)) => list.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// The source of the value at `path`, or of the nearest table or list above it.
    pub fn source_of(&self, path: &[Step]) -> &Source {
        (0..=path.len())
            .rev()
            .find_map(|n| self.get(&path[..n]))
            .map_or(&Source::Missing, |node| &node.source)
    }

    /// Puts `node` at `path`; tables on the way are made, anything else on the way is replaced by one.
    pub fn set(&mut self, path: &[Step], node: Node) {
        let Some((step, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        match (&mut self.kind, step) {
            (Kind::List(list), Step::Index(index)) => {
                if let Some(slot) = list.get_mut(index) {
                    slot.set(rest, node);
                }
            }
            (Kind::Table(table), Step::Key(key)) => {
                table.entry(key.clone()).or_insert_with(Node::table).set(rest, node);
            }
            (_, Step::Key(key)) => {
                let mut child = Node::table();
                child.set(rest, node);
                self.kind = Kind::Table(BTreeMap::from([(key.clone(), child)]));
            }
            (_, Step::Index(_)) => {}
        }
    }

    /// Takes the node at `path` away.
    pub fn remove(&mut self, path: &[Step]) {
        let Some((last, above)) = path.split_last() else { return };
        let Some(parent) = self.get_mut(above) else { return };
        match (&mut parent.kind, last) {
            (Kind::Table(table), Step::Key(key)) => drop(table.remove(key)),
            (Kind::List(list), Step::Index(index)) => drop(list.remove(index)),
            _ => {}
        }
    }

    fn get_mut(&mut self, path: &[Step]) -> Option<&mut Node> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        let next = match (&mut self.kind, step) {
            (Kind::Table(table), Step::Key(key)) => table.get_mut(key),
            (Kind::List(list), Step::Index(index)) => list.get_mut(index),
            _ => None,
        };
        next.and_then(|node| node.get_mut(rest))
    }

    /// Lays `over` on top: tables are joined key by key, anything else replaces.
    pub fn merge(&mut self, over: Node) {
        match (&mut self.kind, over) {
            (Kind::Table(mine), Node { kind: Kind::Table(theirs), source }) => {
                self.source = source;
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(slot) => slot.merge(node),
                        None => drop(mine.insert(key, node)),
                    }
                }
            }
            (_, over) => *self = over,
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Table(table) => table.iter().map(|(key, node)| (key.clone(), node.to_json())).collect(),
            Kind::List(list) => list.values().map(Node::to_json).collect(),
            Kind::Value(value) => value.clone(),
        }
    }
}

/// Byte positions to lines of a file; or one source for all of it.
struct Lines {
    source: Option<Source>,
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn of(file: &Arc<str>, text: &str) -> Lines {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect();
        Lines { source: None, file: file.clone(), starts }
    }

    fn source(&self, position: usize) -> Source {
        self.source.clone().unwrap_or_else(|| Source::Line {
            file: self.file.clone(),
            line: 1 + self.starts.partition_point(|start| *start <= position),
        })
    }
}

fn from_table(table: &DeTable<'_>, source: Source, lines: &Lines) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let at = lines.source(key.span().start);
        (key.get_ref().to_string(), from_value(value.get_ref(), at, lines))
    });
    Node { source, kind: Kind::Table(entries.collect()) }
}

fn from_value(value: &DeValue<'_>, source: Source, lines: &Lines) -> Node {
    let kind = match value {
        DeValue::Table(table) => return from_table(table, source, lines),
        DeValue::Array(array) => {
            let elements = array
                .iter()
                .map(|element| from_value(element.get_ref(), lines.source(element.span().start), lines));
            Kind::List(elements.enumerate().collect())
        }
        DeValue::String(text) => Kind::Value(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Kind::Value(Value::from(*value)),
        // A number that does not fit stays the text it is, so that the key's own check names it.
        DeValue::Integer(number) => Kind::Value(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::from(number.as_str()), Value::from),
        ),
        DeValue::Float(number) => Kind::Value(
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from),
        ),
        DeValue::Datetime(moment) => Kind::Value(Value::from(moment.to_string())),
    };
    Node { source, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let (tree, problems) = Node::parse("a.toml", "[x]\nb = 1\n\n[[x.list]]\nc = [\n 1,\n 2]\n");
        assert_eq!(problems, []);
        let line = |path: &[Step]| tree.get(path).unwrap().source.to_string();
        assert_eq!(line(&keys("x.b")), "a.toml:2");
        let list = [keys("x.list"), vec![Step::Index(0)], keys("c"), vec![Step::Index(1)]].concat();
        assert_eq!(line(&list), "a.toml:7");
        assert_eq!(show(&list), "x.list[0].c[1]");
    }

    #[test]
    fn every_mistake_is_reported_and_the_rest_read() {
        let (tree, problems) = Node::parse("a.toml", "[x]\na = \nb = 2\nc = = 3\n");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!((&*problems[0].source, &*problems[1].source), ("a.toml:2", "a.toml:4"));
        assert_eq!(tree.get(&keys("x.b")).unwrap().kind, Kind::Value(2.into()));
    }

    #[test]
    fn later_values_replace_earlier_ones() {
        let (mut tree, _) = Node::parse("a.toml", "[x]\na = 1\nb = [1, 2]\n[y]\nc = 3");
        tree.merge(Node::parse("b.toml", "[x]\nb = [3]\n").0);
        assert_eq!(tree.to_json(), serde_json::json!({"x": {"a": 1, "b": [3]}, "y": {"c": 3}}));
        assert_eq!(tree.source_of(&keys("x.b")).to_string(), "b.toml:2");
        assert_eq!(tree.source_of(&keys("x.a.none")).to_string(), "a.toml:2");
    }
}
