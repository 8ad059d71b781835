//! The JSON Schema of every message of the contract is kept as a file in `schemas/`: a change shows in review, and one
//! that breaks what is already stored or deployed fails. `ARTEL_TEST_BLESS=1` writes compatible changes and new messages.

use crate::compatible;
use artel_message::Described;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const HOW: &str = "run: ARTEL_TEST_BLESS=1 cargo test --release -p artel-contract";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn document(message: &Described) -> Value {
    let mut document = json!({ "kind": message.kind.as_str(), "message": (message.schema)() });
    if let Some(topic) = message.topic {
        document["topic"] = topic.into();
    }
    if let Some(reply) = message.reply {
        document["reply"] = reply().into();
    }
    document
}

/// What is wrong with the snapshot of one message; with `bless` it is written where that breaks nothing.
fn check(folder: &Path, name: &str, new: &Value, bless: bool) -> Vec<String> {
    let path = folder.join(format!("{name}.json"));
    let problem = match std::fs::read_to_string(&path) {
        Ok(old) => {
            // As values: the order of keys depends on what other crates ask of serde_json.
            let old: Value = serde_json::from_str(&old).unwrap();
            if old == *new {
                return Vec::new();
            }
            let broken = compatible::breaks_in_message(&old, new);
            if !broken.is_empty() {
                return broken.into_iter().map(|reason| format!("{name}: {reason}")).collect();
            }
            format!("{name}: changed in a compatible way; {HOW}")
        }
        Err(_) => format!("{name}: has no snapshot yet; {HOW}"),
    };
    if !bless {
        return vec![problem];
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(path, format!("{new:#}\n")).unwrap();
    Vec::new()
}

/// Files that no message has any more.
fn left_over(folder: &Path, names: &BTreeSet<&str>) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| Some(file.strip_suffix(".json")?.to_owned()))
        .filter(|name| !names.contains(name.as_str()))
        .map(|name| {
            format!("{name}: is no message any more; delete its snapshot if nobody can hold one of them")
        })
        .collect()
}

#[test]
fn every_message_has_its_snapshot() {
    let messages = artel_contract::catalogue();
    let names: BTreeSet<&str> = messages.iter().map(|message| message.name).collect();
    assert_eq!(names.len(), messages.len(), "a name stands twice in the catalogue");
    let bless = std::env::var_os("ARTEL_TEST_BLESS").is_some();
    let mut problems = left_over(&folder(), &names);
    for message in &messages {
        problems.extend(check(&folder(), message.name, &document(message), bless));
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn a_snapshot_is_written_once_and_then_guards_its_message() {
    let name = format!("artel-schemas-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let message =
        |fields: Value| json!({ "kind": "event", "message": { "type": "object", "properties": fields } });
    let old = message(json!({ "a": { "type": "string" } }));
    let more = message(json!({ "a": { "type": "string" }, "b": { "type": "string" } }));
    let less = message(json!({ "b": { "type": "string" } }));

    assert!(check(&folder, "a.b", &old, false)[0].contains("no snapshot yet"));
    assert_eq!(check(&folder, "a.b", &old, true), Vec::<String>::new());
    assert_eq!(check(&folder, "a.b", &old, false), Vec::<String>::new());
    assert!(check(&folder, "a.b", &more, false)[0].contains("compatible way"));
    assert_eq!(check(&folder, "a.b", &more, true), Vec::<String>::new());
    assert!(check(&folder, "a.b", &less, true)[0].contains("field 'a' is gone"));
    assert_eq!(left_over(&folder, &BTreeSet::from(["a.b"])), Vec::<String>::new());
    assert!(left_over(&folder, &BTreeSet::new())[0].starts_with("a.b: is no message any more"));
    std::fs::remove_dir_all(folder).unwrap();
}
