//! Rules about Rust code: where SQL may stand, what `domain.rs` may do, no state in statics, no panics outside of tests,
//! nothing unfinished, no waiting by the clock in tests.

use super::Report;
use super::rust::Source;
use super::tree::{File, Tree};
use std::collections::BTreeSet;

/// Layers whose code runs in the product.
const PRODUCT: [&str; 5] = ["base", "contract", "services", "products", "app"];
/// Layers whose failures are values: `app` may stop a start-up with a sentence instead.
const NO_PANIC: [&str; 4] = ["base", "contract", "services", "products"];
const CELLS: [&str; 9] =
    ["OnceLock", "LazyLock", "OnceCell", "LazyCell", "Lazy<", "Mutex", "RwLock", "Atomic", "RefCell"];

pub fn check(tree: &Tree, report: &mut Report) {
    let sources: Vec<(&File, Source)> = tree
        .files
        .iter()
        .filter(|file| file.extension() == "rs")
        .map(|file| (file, Source::read(&file.text)))
        .collect();
    let test_files = test_files(&sources);
    for (file, source) in &sources {
        let whole = test_files.iter().any(|test| is_in_module(&file.path, test));
        let is_test = |line: usize| whole || source.test[line - 1];
        for (at, code) in source.code.iter().enumerate() {
            let line = at + 1;
            unfinished(file, line, code, report);
            if is_test(line) {
                sleeps(file, line, code, report);
            } else {
                if !source.may_panic[at] {
                    panics(file, line, code, report);
                }
                statics(file, line, code, report);
            }
            domain(file, line, code, report);
        }
        for (line, text) in &source.strings {
            if !is_test(*line) {
                sql(file, *line, text, report);
            }
        }
    }
}

/// Paths without `.rs` of modules that only tests use: folders `tests` and `conformance`, and what is declared for test
/// builds only.
fn test_files(sources: &[(&File, Source)]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (file, source) in sources {
        let stem = file.path.trim_end_matches(".rs");
        if file.is_below("tests") || file.is_below("conformance") || file.name() == "conformance.rs" {
            modules.insert(stem.to_owned());
        }
        let folder = match file.name() {
            "lib.rs" | "main.rs" | "mod.rs" => stem.rsplit_once('/').map_or("", |(folder, _)| folder),
            _ => stem,
        };
        modules.extend(source.test_modules.iter().map(|name| format!("{folder}/{name}")));
    }
    modules
}

fn is_in_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn unfinished(file: &File, line: usize, code: &str, report: &mut Report) {
    for mark in ["todo!", "unimplemented!", "#[ignore"] {
        if code.contains(mark) {
            report.problem(&file.path, line, format!("{mark} is left behind; finish it or take it out"));
        }
    }
}

fn sleeps(file: &File, line: usize, code: &str, report: &mut Report) {
    let calls = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if code.match_indices("sleep(").any(|(at, _)| calls(at)) {
        let reason = "a test sleeps; wait for the thing itself, or advance the clock";
        report.problem(&file.path, line, reason);
    }
}

fn panics(file: &File, line: usize, code: &str, report: &mut Report) {
    if !NO_PANIC.contains(&file.layer()) || matches!(file.name(), "main.rs" | "build.rs") {
        return;
    }
    // Strings are empty here; a method of one's own with the name `expect` takes no string.
    for panic in [".unwrap()", ".expect(\"", ".expect(&", ".unwrap_err()", ".expect_err("] {
        if code.contains(panic) {
            report.problem(
                &file.path,
                line,
                format!("{panic} can panic; return a typed error, or allow it with its reason"),
            );
        }
    }
}

fn statics(file: &File, line: usize, code: &str, report: &mut Report) {
    let code = code.trim_start();
    let declared = ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|p| code.strip_prefix(p));
    let declared = declared.unwrap_or(code);
    let with_state = declared.strip_prefix("static ").is_some_and(|rest| {
        rest.starts_with("mut ")
            || CELLS.iter().any(|cell| rest.split('=').next().unwrap_or("").contains(cell))
    });
    if with_state || declared.starts_with("thread_local!") || declared.starts_with("lazy_static!") {
        report.problem(&file.path, line, "a static with state; put it into the node's context");
    }
}

/// Decisions are pure: `domain.rs`, or the files below `domain/`.
fn domain(file: &File, line: usize, code: &str, report: &mut Report) {
    if file.name() != "domain.rs" && !file.is_below("domain") {
        return;
    }
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for word in ["async", "await", "tokio", "SystemTime", "Instant"] {
        if words.contains(&word) {
            let reason = format!("'{word}' in the domain; decisions are plain functions of their arguments");
            report.problem(&file.path, line, reason);
        }
    }
}

fn sql(file: &File, line: usize, text: &str, report: &mut Report) {
    let allowed = file.name() == "store.rs"
        || file.is_below("store")
        || file.is_below("migrations")
        || file.path.starts_with("base/flow/");
    if !PRODUCT.contains(&file.layer()) || allowed || !is_sql(text) {
        return;
    }
    report.problem(&file.path, line, "SQL outside of store.rs; move the statement beside its function there");
}

/// Whether a text begins as a statement does; keywords are written in capitals.
fn is_sql(text: &str) -> bool {
    let mut words = text.trim_start().trim_start_matches("\\n").split_whitespace();
    match (words.next(), words.next()) {
        (Some("SELECT"), Some(_)) => true,
        (Some("INSERT"), Some("INTO" | "OR")) | (Some("DELETE"), Some("FROM")) => true,
        (Some("CREATE" | "ALTER" | "DROP"), Some("TABLE" | "INDEX" | "UNIQUE")) => true,
        (Some("UPDATE" | "WITH"), Some(name)) => name.starts_with(|c: char| c.is_lowercase()),
        _ => false,
    }
}
