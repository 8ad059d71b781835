//! Rules about Cargo.toml files: which crate may depend on which, and what every crate takes over from the workspace.

use super::Report;
use super::tree::{File, Tree};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A crate of the workspace.
struct Member<'a> {
    /// Its folder, such as `base/message`.
    folder: String,
    /// The package's name, such as `artel-message`.
    name: String,
    manifest: &'a File,
    toml: Table,
}

pub fn check(tree: &Tree, report: &mut Report) {
    let Some(root) = tree.file("Cargo.toml") else {
        return report.problem("Cargo.toml", 1, "the workspace's manifest is missing");
    };
    let members = members(tree, root, report);
    let folders: BTreeMap<&str, &str> =
        members.iter().map(|member| (member.name.as_str(), member.folder.as_str())).collect();
    for member in &members {
        inherited(member, tree, report);
        arrows(member, &folders, report);
    }
}

fn parse(file: &File, report: &mut Report) -> Option<Table> {
    match file.text.parse::<Table>() {
        Ok(table) => Some(table),
        Err(e) => {
            report.problem(&file.path, 1, format!("not TOML: {}", e.message()));
            None
        }
    }
}

fn members<'a>(tree: &'a Tree, root: &File, report: &mut Report) -> Vec<Member<'a>> {
    let Some(table) = parse(root, report) else { return Vec::new() };
    let listed: Vec<String> = at(&table, &["workspace", "members"])
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let mut members = Vec::new();
    for file in tree.files.iter().filter(|f| f.name() == "Cargo.toml" && f.path != "Cargo.toml") {
        let folder = file.path.trim_end_matches("/Cargo.toml").to_owned();
        if !listed.contains(&folder) {
            report.problem(&file.path, 1, "not listed in `members` of the workspace's Cargo.toml");
        }
        let Some(toml) = parse(file, report) else { continue };
        let name = at(&toml, &["package", "name"]).and_then(Value::as_str).unwrap_or_default().to_owned();
        members.push(Member { folder, name, manifest: file, toml });
    }
    members
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

fn inherited(member: &Member<'_>, tree: &Tree, report: &mut Report) {
    let mut need = |holds: bool, reason: String| {
        if !holds {
            report.problem(&member.manifest.path, 1, reason);
        }
    };
    let is = |path: &[&str], wanted: bool| at(&member.toml, path) == Some(&Value::Boolean(wanted));
    let shared = |key: &str| is(&["package", key, "workspace"], true);
    need(is(&["lints", "workspace"], true), "add `[lints] workspace = true`".to_owned());
    need(
        shared("publish") || is(&["package", "publish"], false),
        "add `publish.workspace = true`".to_owned(),
    );
    for key in ["version", "edition", "rust-version", "license"] {
        need(shared(key), format!("add `{key}.workspace = true`"));
    }
    if tree.file(&format!("{}/src/lib.rs", member.folder)).is_some() {
        need(is(&["lib", "doctest"], false), "add `doctest = false` to `[lib]`".to_owned());
    }
    let wanted = name_of(&member.folder);
    need(member.name == wanted, format!("the package in {} is called {wanted}", member.folder));
}

/// `artel-<folder>`, within a product's folder `artel-<product>-<folder>`.
fn name_of(folder: &str) -> String {
    match folder.split_once('/') {
        None if folder == "app" => "artel".to_owned(),
        None if folder == "xtask" => "xtask".to_owned(),
        None => format!("artel-{folder}"),
        Some((_, inner)) => format!("artel-{}", inner.replace('/', "-")),
    }
}

fn arrows(member: &Member<'_>, folders: &BTreeMap<&str, &str>, report: &mut Report) {
    for (name, line) in dependencies(member) {
        let Some(target) = folders.get(name.as_str()) else { continue };
        if let Some(reason) = refusal(&member.folder, target) {
            let reason = format!("{} must not depend on {target}: {reason}", member.folder);
            report.problem(&member.manifest.path, line, reason);
        }
    }
}

/// (package, line) of every dependency: normal, dev, build, and those for one target only.
fn dependencies(member: &Member<'_>) -> Vec<(String, usize)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = member.toml.get("target").and_then(Value::as_table);
    let tables = std::iter::once(&member.toml)
        .chain(targets.into_iter().flat_map(|all| all.values().filter_map(Value::as_table)));
    let mut found = Vec::new();
    for table in tables {
        for (name, value) in KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()).flatten() {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(name);
            found.push((package.to_owned(), line_of(member.manifest, name)));
        }
    }
    found
}

fn line_of(file: &File, key: &str) -> usize {
    let begins = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '=', '.']));
    file.lines().find(|(_, line)| begins(line.trim_start())).map_or(1, |(at, _)| at)
}

/// Why the crate in folder `from` may not depend on the one in folder `to`; `None` when it may.
fn refusal(from: &str, to: &str) -> Option<&'static str> {
    if from == to {
        return None; // a dev-dependency on oneself switches features on for the tests
    }
    match to {
        "app" | "bench" | "xtask" => return Some("nothing depends on app, bench and xtask"),
        _ => {}
    }
    let (layer, inner) = from.split_once('/').unwrap_or((from, ""));
    let (target, target_inner) = to.split_once('/').unwrap_or((to, ""));
    match (layer, target) {
        ("app" | "bench", _) => None,
        ("base", "base") => base(inner, target_inner),
        ("contract", "base") if target_inner == "message" => None,
        ("contract", _) => Some("what services say to each other knows base/message only"),
        ("services" | "products", "base" | "contract") => None,
        ("products", "products") if product(inner) == product(target_inner) => None,
        ("services" | "products", _) => Some("services and products talk through the contract only"),
        ("xtask", _) => Some("xtask has to run when nothing else compiles"),
        _ => Some("the order is base, contract, services and products, app"),
    }
}

/// `tunec` of `tunec/catalogue`.
fn product(inner: &str) -> &str {
    inner.split('/').next().unwrap_or(inner)
}

/// Inside base: message-derive, message, then bus and store (which do not know each other), flow, frame.
fn base(from: &str, to: &str) -> Option<&'static str> {
    let allowed: &[&str] = match from {
        "message" => &["message-derive"],
        "bus" | "store" => &["message"],
        "flow" => &["message", "bus", "store"],
        "frame" => &["message", "bus", "store", "flow"],
        _ => &[],
    };
    (!allowed.contains(&to)).then_some("the order inside base is message, bus and store, flow, frame")
}
