//! `cargo xtask new service NAME`: writes the files of a service and the few lines that make it known elsewhere. All is
//! worked out before anything is written.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// (path below the service's folder, template)
const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("../templates/service/manifest.toml")),
    ("README.md", include_str!("../templates/service/README.md")),
    ("migrations/0001_init.sql", include_str!("../templates/service/init.sql")),
    ("src/lib.rs", include_str!("../templates/service/lib.rs")),
    ("src/domain.rs", include_str!("../templates/service/domain.rs")),
    ("src/handlers.rs", include_str!("../templates/service/handlers.rs")),
    ("src/store.rs", include_str!("../templates/service/store.rs")),
    ("src/http.rs", include_str!("../templates/service/http.rs")),
    ("src/config.rs", include_str!("../templates/service/config.rs")),
    ("tests/it/main.rs", include_str!("../templates/service/tests.rs")),
];
const CONTRACT: &str = include_str!("../templates/service/contract.rs");
const CATALOGUE: &str = "        Described::command::<@name@::AddNote>(),
        Described::query::<@name@::FindNote>(),
        Described::event::<@name@::NoteAdded>(),";
const SECTION: &str = include_str!("../templates/service/section.toml");

/// Names that other things of the workspace have.
const TAKEN: [&str; 16] = [
    "message",
    "bus",
    "store",
    "flow",
    "frame",
    "contract",
    "app",
    "bench",
    "xtask",
    "node",
    "db",
    "cache",
    "http",
    "telemetry",
    "auth",
    "admin",
];

/// A file and the whole text that it gets.
type Change = (String, String);

/// Writes the service `name` below `services/`, or below `products/`, into the workspace in `root`.
pub fn service(root: &Path, name: &str, product: bool) -> Result<()> {
    let changes = changes(root, name, if product { "products" } else { "services" })?;
    let mut sources = Vec::new();
    for (path, text) in &changes {
        let full = root.join(path);
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("make the folder of {path}"))?;
        }
        std::fs::write(&full, text).with_context(|| format!("write {path}"))?;
        println!("{path}");
        if path.ends_with(".rs") {
            sources.push(full);
        }
    }
    // Names differ in length, and so does where lines break.
    let formatted =
        Command::new("rustfmt").args(["--edition", "2024"]).args(sources).current_dir(root).status();
    ensure!(formatted.context("start rustfmt")?.success(), "rustfmt refused what was written; see above");
    println!("next: ARTEL_TEST_BLESS=1 cargo test --release -p artel-contract -p artel-{name}");
    Ok(())
}

fn changes(root: &Path, name: &str, layer: &str) -> Result<Vec<Change>> {
    check_name(name)?;
    let folder = format!("{layer}/{name}");
    ensure!(!root.join(&folder).exists(), "{folder} is there already; take another name");
    let contract = format!("contract/src/{name}.rs");
    ensure!(!root.join(&contract).exists(), "{contract} is there already; take another name");

    let fill = |template: &str| template.replace("@name@", name);
    let mut changes: Vec<Change> =
        FILES.iter().map(|(path, template)| (format!("{folder}/{path}"), fill(template))).collect();
    changes.push((contract, fill(CONTRACT)));
    let mut edit = |path: &str, change: &dyn Fn(&str) -> Result<String>| -> Result<()> {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("read {path}"))?;
        changes.push((path.to_owned(), change(&text).with_context(|| format!("change {path}"))?));
        Ok(())
    };
    edit("Cargo.toml", &|text| {
        let text =
            insert(text, &[&format!("    \"{layer}/"), "    \"contract\""], &format!("    \"{folder}\","))?;
        insert(&text, &["artel-"], &format!("artel-{name} = {{ path = \"{folder}\" }}"))
    })?;
    edit("contract/src/lib.rs", &|text| {
        let text = insert(text, &["pub mod "], &format!("pub mod {name};"))?;
        insert(&text, &["        Described::"], &fill(CATALOGUE))
    })?;
    edit("app/Cargo.toml", &|text| {
        insert(text, &["artel-"], &format!("artel-{name} = {{ workspace = true }}"))
    })?;
    edit("app/src/services.rs", &|text| add_to_table(text, &format!("artel_{name}::service()")))?;
    edit("config/artel.toml", &|text| Ok(format!("{text}{}", fill(SECTION))))?;
    Ok(changes)
}

/// The name is part of message names, topics, a crate, a Rust module and a section of the configuration.
fn check_name(name: &str) -> Result<()> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    ensure!(
        begins && rest,
        "'{name}' is no name of a service; use lowercase letters and digits, such as notify"
    );
    ensure!(name.len() <= 30, "'{name}' is too long; 30 characters are the most");
    const WORDS: [&str; 20] = [
        "as", "async", "await", "box", "crate", "dyn", "else", "enum", "fn", "for", "if", "impl", "in",
        "loop", "match", "mod", "move", "super", "type", "use",
    ];
    ensure!(
        !TAKEN.contains(&name) && !WORDS.contains(&name),
        "'{name}' is taken by the workspace or by Rust"
    );
    Ok(())
}

/// Inserts `line` after the last line that begins with the first of `prefixes` that any line begins with.
fn insert(text: &str, prefixes: &[&str], line: &str) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    for prefix in prefixes {
        if let Some(at) = lines.iter().rposition(|known| known.starts_with(prefix)) {
            return Ok(with_line(&lines, at, line));
        }
    }
    bail!("no line begins with {:?}, to put {line:?} behind it", prefixes[0])
}

/// Puts `call` behind the last call of a service's constructor in a list.
fn add_to_table(text: &str, call: &str) -> Result<String> {
    const LAST: &str = "::service()";
    let at = text.rfind(LAST).with_context(|| format!("nothing calls {LAST}, to put {call} behind it"))?;
    let (before, after) = text.split_at(at + LAST.len());
    Ok(format!("{before}, {call}{after}"))
}

fn with_line(lines: &[&str], at: usize, line: &str) -> String {
    let mut lines = lines.to_vec();
    lines.insert(at + 1, line);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that are changed, as small as they can be.
    fn workspace() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let files = [
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\n    \"contract\",\n    \"products/bridge\",\n    \"app\",\n]\n\
                 [workspace.dependencies]\nartel-bridge = { path = \"products/bridge\" }\n\nanyhow = \"1\"\n",
            ),
            (
                "contract/src/lib.rs",
                "pub mod bridge;\n\npub fn catalogue() -> Vec<Described> {\n    vec![\n        \
                 Described::query::<bridge::GetStats>(),\n        Described::query::<bridge::GetTimer>(),\n    ]\n}\n",
            ),
            (
                "app/Cargo.toml",
                "[dependencies]\nanyhow = { workspace = true }\nartel-bridge = { workspace = true }\n",
            ),
            ("contract/src/bridge.rs", ""),
            ("app/src/services.rs", "pub fn all() -> Vec<Service> {\n    vec![artel_bridge::service()]\n}\n"),
            ("config/artel.toml", "[bridge]\nkeep = \"30d\"\n"),
        ];
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_service_is_written_and_made_known() {
        let root = workspace();
        service(root.path(), "notes", false).unwrap();
        let read = |path: &str| std::fs::read_to_string(root.path().join(path)).unwrap();
        for (path, _) in FILES {
            let text = read(&format!("services/notes/{path}"));
            assert!(!text.contains("@name@"), "{path}");
        }
        assert!(read("contract/src/notes.rs").contains("name = \"notes.add-note\""));
        let manifest = read("Cargo.toml");
        assert!(manifest.contains("    \"contract\",\n    \"services/notes\",\n"), "{manifest}");
        assert!(manifest.contains("artel-notes = { path = \"services/notes\" }\n\nanyhow"), "{manifest}");
        let contract = read("contract/src/lib.rs");
        assert!(contract.contains("pub mod bridge;\npub mod notes;\n"), "{contract}");
        let behind = "<bridge::GetTimer>(),\n        Described::command::<notes::AddNote>(),\n";
        assert!(contract.contains(behind), "{contract}");
        let services = read("app/src/services.rs");
        assert!(
            services.contains("    vec![artel_bridge::service(), artel_notes::service()]\n"),
            "{services}"
        );
        assert!(read("app/Cargo.toml").ends_with("artel-notes = { workspace = true }\n"));
        assert!(read("config/artel.toml").contains("[notes]\n"));
    }

    #[test]
    fn a_product_stands_with_the_products() {
        let root = workspace();
        service(root.path(), "shop", true).unwrap();
        assert!(root.path().join("products/shop/src/lib.rs").exists());
        let manifest = std::fs::read_to_string(root.path().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("    \"products/bridge\",\n    \"products/shop\",\n"), "{manifest}");
    }

    #[test]
    fn a_name_that_is_taken_or_no_name_writes_nothing() {
        let root = workspace();
        for name in ["", "Notes", "my-notes", "1st", "flow", "type", "a23456789012345678901234567890x"] {
            assert!(service(root.path(), name, false).is_err(), "{name}");
        }
        service(root.path(), "notes", false).unwrap();
        let error = service(root.path(), "notes", false).unwrap_err();
        assert!(error.to_string().contains("services/notes is there already"), "{error}");
        assert!(!root.path().join("services/flow").exists());
    }

    #[test]
    fn a_file_without_the_expected_line_is_named_and_nothing_is_written() {
        let root = workspace();
        std::fs::write(root.path().join("app/src/services.rs"), "nothing here\n").unwrap();
        let error = service(root.path(), "notes", false).unwrap_err();
        assert_eq!(error.to_string(), "change app/src/services.rs");
        assert!(!root.path().join("services").exists());
    }
}
