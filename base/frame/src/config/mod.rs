//! Configuration: defaults, a file, environment variables and arguments laid over each other, read into types, with every
//! problem reported at once and the source of every value known. `config/artel.toml` is the defaults and the manual.

mod adapters;
mod check;
mod effective;
mod environment;
mod problem;
mod read;
mod secret;
mod sections;
mod tree;
mod values;

pub use adapters::{BusAdapter, CacheAdapter, Compiled, DbAdapter};
pub use problem::{Problem, Source};
pub use read::Refusal;
pub use secret::{REDACTED, Secret, Url, is_secret};
pub use sections::{
    Auth, Bus, Cache, Compression, Db, Flow, HostRate, Http, Kafka, KafkaMechanism, KafkaSecurity, LogFormat,
    Node, Outbound, Peers, Scope, Telemetry, Token,
};
pub use values::{InvalidValue, Period, Size};

use problem::nearest;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tree::{Kind, keys};

/// The commented defaults, as compiled in.
pub const DEFAULTS: &str = include_str!("../../../../config/artel.toml");

/// Where settings come from, weakest first: defaults, file, environment variables, arguments.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    defaults: Vec<(String, String)>,
    file: Option<PathBuf>,
    variables: Vec<(String, String)>,
    arguments: Vec<(String, String, Argument)>,
    compiled: Compiled,
}

#[derive(Debug, Clone)]
enum Argument {
    Text(String),
    /// A text that becomes what its key holds.
    Typed(String),
    List(Vec<String>),
}

impl Sources {
    /// The compiled-in defaults alone.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// The defaults, the file of `--config` or else of `ARTEL_CONFIG`, and this process's variables.
    pub fn of_process(config: Option<PathBuf>) -> Sources {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        let file = config.or_else(|| std::env::var_os("ARTEL_CONFIG").map(PathBuf::from));
        Sources::new().file(file).variables(variables)
    }

    /// Adds the defaults of further sections: TOML, with the name that problems show.
    pub fn defaults(mut self, name: &str, toml: &str) -> Sources {
        self.defaults.push((name.to_owned(), toml.to_owned()));
        self
    }

    /// Reads this file, if there is one to read.
    pub fn file(mut self, path: Option<impl Into<PathBuf>>) -> Sources {
        self.file = path.map(Into::into);
        self
    }

    /// Takes these environment variables; those that do not begin with `ARTEL_` are passed over.
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Sources {
        self.variables.extend(variables.into_iter().filter(|(name, _)| name.starts_with("ARTEL_")));
        self.variables.sort();
        self
    }

    /// Sets one key from the command line: `argument` is what problems show, such as `--listen`.
    pub fn set(mut self, argument: &str, path: &str, value: impl Into<String>) -> Sources {
        self.arguments.push((argument.to_owned(), path.to_owned(), Argument::Text(value.into())));
        self
    }

    /// Sets one key by a text that is read as the type that the key has: a number, a truth value, a list as `a,b` or in TOML.
    /// A key without a default takes what the text is in TOML, otherwise the text itself.
    pub fn setting(mut self, source: &str, path: &str, text: impl Into<String>) -> Sources {
        self.arguments.push((source.to_owned(), path.to_owned(), Argument::Typed(text.into())));
        self
    }

    /// Sets one list from the command line.
    pub fn set_list(mut self, argument: &str, path: &str, values: Vec<String>) -> Sources {
        self.arguments.push((argument.to_owned(), path.to_owned(), Argument::List(values)));
        self
    }

    /// Says which heavy adapters the binary has.
    pub fn compiled(mut self, compiled: Compiled) -> Sources {
        self.compiled = compiled;
        self
    }
}

/// Every setting, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: Node,
    pub bus: Bus,
    pub kafka: Kafka,
    pub db: Db,
    pub cache: Cache,
    pub http: Http,
    pub outbound: Outbound,
    pub peers: Peers,
    pub flow: Flow,
    pub telemetry: Telemetry,
    pub auth: Auth,
    compiled: Compiled,
    tree: tree::Node,
    defaults: tree::Node,
}

impl Config {
    /// Reads, lays over each other and checks; or says everything that is wrong.
    pub fn load(sources: Sources) -> Result<Config, Vec<Problem>> {
        Config::load_with(sources, |_| Vec::new())
    }

    /// The same with further checks, whose problems are said together with the others.
    pub fn load_with(
        sources: Sources,
        further: impl Fn(&Config) -> Vec<Problem>,
    ) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let defaults = defaults(&sources, &mut problems);
        let mut tree = defaults.clone();
        lay_over(&mut tree, &sources, &mut problems);
        let unreadable: Vec<String> = problems.iter().map(|problem| problem.source.clone()).collect();
        unknown_sections(&mut tree, &defaults, &mut problems);
        let config = read_all(tree, defaults, sources.compiled, &mut problems);
        if let Some(config) = &config {
            check::check(config, &config.tree, &mut problems);
            problems.extend(further(config));
        }
        // What was left of an unreadable line is no second problem.
        let mut index = 0;
        problems.retain(|problem| {
            index += 1;
            index <= unreadable.len() || !unreadable.contains(&problem.source)
        });
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// A service's own section as its own type, which denies unknown fields.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Vec<Problem>> {
        self.section_with(name, |json| serde_path_to_error::deserialize(json))
    }

    /// The same by a function, where the type is known to it alone: it is called with the section as JSON, again after each
    /// refusal with the refused value mended.
    pub fn section_with<T>(
        &self,
        name: &str,
        parse: impl Fn(serde_json::Value) -> Result<T, Refusal>,
    ) -> Result<T, Vec<Problem>> {
        let mut problems = Vec::new();
        let value = read::section_with(&mut self.tree.clone(), &self.defaults, name, &mut problems, parse);
        value.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// A problem that a service found in a section of its own, with the source of the value.
    pub fn problem(&self, path: &str, reason: impl Into<String>) -> Problem {
        Problem::new(path, self.tree.source_of(&keys(path)), reason)
    }

    /// The configuration in effect as TOML, each value with its source, secrets redacted.
    pub fn effective(&self) -> String {
        effective::print(&self.tree)
    }

    /// The paths of secrets that both have, with another value each. The values are not shown.
    pub fn other_secrets(&self, other: &Config) -> Vec<String> {
        effective::other_secrets(&self.tree, &other.tree)
    }
}

fn defaults(sources: &Sources, problems: &mut Vec<Problem>) -> tree::Node {
    let (mut tree, mistakes) = tree::Node::parse("default", DEFAULTS);
    problems.extend(mistakes);
    for (name, toml) in &sources.defaults {
        let (further, mistakes) = tree::Node::parse(name, toml);
        problems.extend(mistakes);
        tree.merge(further);
    }
    tree
}

fn lay_over(tree: &mut tree::Node, sources: &Sources, problems: &mut Vec<Problem>) {
    if let Some(path) = &sources.file {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(text) => {
                let (file, mistakes) = tree::Node::parse(&name, &text);
                problems.extend(mistakes);
                tree.merge(file);
            }
            Err(reason) => problems.push(Problem::new("", name, reason)),
        }
    }
    environment::apply(tree, &sources.variables, problems);
    for (argument, path, value) in &sources.arguments {
        let source = Source::Argument(Arc::from(&**argument));
        let node = match value {
            Argument::Text(text) => tree::Node::text(text, source),
            Argument::Typed(text) => match typed(text, tree.get(&keys(path)), &source) {
                Ok(node) => node,
                Err(reason) => {
                    problems.push(Problem::new(path, source, reason));
                    continue;
                }
            },
            Argument::List(list) => {
                let list = list.iter().map(|text| tree::Node::text(text, source.clone()));
                tree::Node { kind: Kind::List(list.enumerate().collect()), source }
            }
        };
        tree.set(&keys(path), node);
    }
}

fn typed(text: &str, now: Option<&tree::Node>, source: &Source) -> Result<tree::Node, String> {
    match now {
        Some(_) => environment::value_of(text, now, source),
        None => {
            Ok(tree::Node::parse_value(text, source)
                .unwrap_or_else(|_| tree::Node::text(text, source.clone())))
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "no such file; check --config and ARTEL_CONFIG, or leave them out for the defaults".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    })
}

/// Sections that have no defaults, and values where a section should be.
fn unknown_sections(tree: &mut tree::Node, defaults: &tree::Node, problems: &mut Vec<Problem>) {
    let (Kind::Table(sections), Kind::Table(known)) = (&mut tree.kind, &defaults.kind) else { return };
    sections.retain(|name, node| {
        let reason = match (&node.kind, known.contains_key(name)) {
            (Kind::Table(_), true) => return true,
            (_, true) => "not a section; write [section] on a line of its own and its keys below".to_owned(),
            (Kind::Table(_), false) => match nearest(name, known.keys().map(|name| &**name)) {
                Some(near) => format!("no such section; did you mean [{near}]?"),
                None => {
                    let known: Vec<&str> = known.keys().map(|name| &**name).collect();
                    format!("no such section; known are {}", known.join(", "))
                }
            },
            (_, false) => "stands outside any section; write it below its [section]".to_owned(),
        };
        problems.push(Problem::new(name, &node.source, reason));
        false
    });
    for (name, node) in known {
        sections.entry(name.clone()).or_insert_with(|| node.clone());
    }
}

fn read_all(
    mut tree: tree::Node,
    defaults: tree::Node,
    compiled: Compiled,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let node = read::section(&mut tree, &defaults, "node", problems);
    let bus = read::section(&mut tree, &defaults, "bus", problems);
    let kafka = read::section(&mut tree, &defaults, "kafka", problems);
    let db = read::section(&mut tree, &defaults, "db", problems);
    let cache = read::section(&mut tree, &defaults, "cache", problems);
    let http = read::section(&mut tree, &defaults, "http", problems);
    let outbound = read::section(&mut tree, &defaults, "outbound", problems);
    let peers = read::section(&mut tree, &defaults, "peers", problems);
    let flow = read::section(&mut tree, &defaults, "flow", problems);
    let telemetry = read::section(&mut tree, &defaults, "telemetry", problems);
    let auth = read::section(&mut tree, &defaults, "auth", problems);
    Some(Config {
        node: node?,
        bus: bus?,
        kafka: kafka?,
        db: db?,
        cache: cache?,
        http: http?,
        outbound: outbound?,
        peers: peers?,
        flow: flow?,
        telemetry: telemetry?,
        auth: auth?,
        compiled,
        tree,
        defaults,
    })
}
