//! Each rule on a small tree of its own: one that passes, one that does not.

use super::tree::Tree;
use super::{Finding, Report};

/// A manifest that keeps all rules, for the crate in `folder`, with further lines at the end.
fn manifest(name: &str, more: &str) -> String {
    let inherited = ["version", "edition", "rust-version", "license", "publish"]
        .map(|key| format!("{key}.workspace = true\n"))
        .concat();
    format!(
        "[package]\nname = \"{name}\"\n{inherited}[lib]\ndoctest = false\n[lints]\nworkspace = true\n{more}"
    )
}

/// What tidy says about a workspace with these files; the crates are listed as members.
fn report(files: &[(&str, &str)]) -> Report {
    let root = tempfile::tempdir().unwrap();
    let members: Vec<String> = files
        .iter()
        .filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"))
        .map(|folder| format!("{folder:?}"))
        .collect();
    let workspace = format!("[workspace]\nmembers = [{}]\n", members.join(", "));
    for (path, text) in files.iter().copied().chain([("Cargo.toml", workspace.as_str())]) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    super::check(&Tree::load(root.path()).unwrap())
}

fn show(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

fn passes(path: &str, text: &str) {
    assert_eq!(show(&report(&[(path, text)]).problems), Vec::<String>::new(), "{path}: {text}");
}

/// Exactly one problem, in this line, whose reason has this word.
fn fails(path: &str, text: &str, line: usize, word: &str) {
    let found = show(&report(&[(path, text)]).problems);
    assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    assert!(found[0].starts_with(&format!("{path}:{line}: ")) && found[0].contains(word), "{found:?}");
}

/// What tidy says when the crate in `from` has the dependency `line`, in a workspace with one crate of each layer.
fn with_dependency(from: &str, line: &str) -> Vec<String> {
    let crates = [
        ("base/message-derive", "artel-message-derive"),
        ("base/message", "artel-message"),
        ("base/bus", "artel-bus"),
        ("base/store", "artel-store"),
        ("base/flow", "artel-flow"),
        ("base/frame", "artel-frame"),
        ("contract", "artel-contract"),
        ("services/notify", "artel-notify"),
        ("services/users", "artel-users"),
        ("products/tunec/plays", "artel-tunec-plays"),
        ("products/tunec/tracks", "artel-tunec-tracks"),
        ("products/market", "artel-market"),
        ("app", "artel"),
        ("bench", "artel-bench"),
        ("xtask", "xtask"),
    ];
    assert!(crates.iter().any(|(folder, _)| *folder == from), "{from} is no crate of this test");
    let files: Vec<(String, String)> = crates
        .iter()
        .map(|(folder, name)| {
            let more = if *folder == from { line } else { "" };
            (format!("{folder}/Cargo.toml"), manifest(name, more))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    show(&report(&files).problems)
}

#[test]
fn arrows_that_follow_the_order_pass() {
    let allowed = [
        ("base/message", "artel-message-derive"),
        ("base/bus", "artel-message"),
        ("base/flow", "artel-store"),
        ("base/frame", "artel-flow"),
        ("contract", "artel-message"),
        ("services/notify", "artel-frame"),
        ("services/notify", "artel-contract"),
        ("products/tunec/plays", "artel-tunec-tracks"),
        ("app", "artel-notify"),
        ("bench", "artel-market"),
    ];
    for (from, to) in allowed {
        let found = with_dependency(from, &format!("[dependencies]\n{to} = {{ workspace = true }}\n"));
        assert_eq!(found, Vec::<String>::new(), "{from} -> {to}");
    }
}

#[test]
fn arrows_against_the_order_fail() {
    let refused = [
        ("base/message-derive", "artel-message"),
        ("base/message", "artel-bus"),
        ("base/bus", "artel-store"),
        ("base/store", "artel-bus"),
        ("base/flow", "artel-frame"),
        ("base/flow", "artel-contract"),
        ("contract", "artel-flow"),
        ("services/notify", "artel-users"),
        ("services/notify", "artel-market"),
        ("products/market", "artel-notify"),
        ("products/market", "artel-tunec-plays"),
        ("products/market", "artel"),
        ("bench", "artel"),
        ("app", "xtask"),
        ("app", "artel-bench"),
        ("xtask", "artel-contract"),
    ];
    for (from, to) in refused {
        let found = with_dependency(from, &format!("[dependencies]\n{to} = {{ workspace = true }}\n"));
        assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        assert!(found[0].contains("must not depend on"), "{found:?}");
    }
}

#[test]
fn every_kind_of_dependency_is_an_arrow() {
    let kinds = [
        "[dev-dependencies]\nartel-users.workspace = true\n",
        "[build-dependencies]\nartel-users = { path = \"../users\" }\n",
        "[target.'cfg(unix)'.dependencies]\nartel-users = { workspace = true }\n",
        "[dependencies]\nusers = { package = \"artel-users\", path = \"../users\" }\n",
    ];
    for kind in kinds {
        let found = with_dependency("services/notify", kind);
        assert!(
            found.len() == 1 && found[0].starts_with("services/notify/Cargo.toml:13: "),
            "{kind}: {found:?}"
        );
    }
}

#[test]
fn a_crate_may_switch_on_its_own_features_for_its_tests() {
    let line = "[dev-dependencies]\nartel-bus = { path = \".\", features = [\"conformance\"] }\n";
    assert_eq!(with_dependency("base/bus", line), Vec::<String>::new());
}

#[test]
fn manifests_take_over_what_the_workspace_says() {
    passes("services/notify/Cargo.toml", &manifest("artel-notify", ""));
    let path = "services/notify/Cargo.toml";
    let whole = manifest("artel-notify", "");
    fails(path, &whole.replace("[lints]\nworkspace = true\n", ""), 1, "lints");
    fails(path, &whole.replace("publish.workspace = true\n", ""), 1, "publish");
    passes(path, &whole.replace("publish.workspace = true\n", "publish = false\n"));
    fails(path, &whole.replace("edition.workspace = true\n", "edition = \"2024\"\n"), 1, "edition");
    fails(path, &whole.replace("artel-notify", "notify"), 1, "artel-notify");
    fails(path, "[package", 1, "not TOML");
}

#[test]
fn a_library_has_no_documentation_tests() {
    let with = manifest("artel-notify", "");
    let without = with.replace("doctest = false\n", "");
    let lib = ("services/notify/src/lib.rs", "");
    assert_eq!(show(&report(&[("services/notify/Cargo.toml", &with), lib]).problems), Vec::<String>::new());
    let found = show(&report(&[("services/notify/Cargo.toml", &without), lib]).problems);
    assert!(found.len() == 1 && found[0].contains("doctest"), "{found:?}");
}

#[test]
fn a_crate_that_is_no_member_is_found() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("app")).unwrap();
    std::fs::write(root.path().join("Cargo.toml"), "[workspace]\nmembers = []\n").unwrap();
    std::fs::write(root.path().join("app/Cargo.toml"), manifest("artel", "")).unwrap();
    let found = show(&super::check(&Tree::load(root.path()).unwrap()).problems);
    assert!(found.len() == 1 && found[0].starts_with("app/Cargo.toml:1: not listed"), "{found:?}");
}

#[test]
fn files_have_at_most_500_lines() {
    passes("app/src/long.rs", &"\n".repeat(500));
    fails("app/src/long.rs", &"\n".repeat(501), 501, "501 lines");
    fails("web/src/Page.tsx", &"\n".repeat(501), 501, "501 lines");
    fails("start", &format!("#!/bin/sh\n{}", "\n".repeat(500)), 501, "501 lines");
    passes("docs/long.md", &"\n".repeat(501));
    let notes = report(&[("app/src/long.rs", &"\n".repeat(401))]).notes;
    assert_eq!(show(&notes), ["app/src/long.rs:401: 401 lines; 400 is the aim"]);
}

#[test]
fn names_say_what_is_inside() {
    passes("base/bus/src/partition.rs", "");
    fails("base/bus/src/utils.rs", "", 1, "'utils'");
    fails("base/bus/src/common/mod.rs", "", 1, "'common'");
    fails("web/src/helpers.ts", "", 1, "'helpers'");
}

#[test]
fn a_crate_has_one_test_binary() {
    passes("base/bus/tests/it/main.rs", "");
    fails("base/bus/tests/second.rs", "", 1, "second test binary");
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    let folder = "services/notify/migrations";
    let (first, second) = (format!("{folder}/0001_init.sql"), format!("{folder}/0002_more.sql"));
    assert!(report(&[(&first, ""), (&second, "-- works from 0001\n")]).problems.is_empty());
    let silent = show(&report(&[(&first, ""), (&second, "-- works from 0003\n")]).problems);
    assert!(silent.len() == 1 && silent[0].contains("'-- works from 0001'"), "{silent:?}");
    fails(&second, "", 1, "0001_");
    fails(&format!("{folder}/001_init.sql"), "", 1, "0001_");
    let doubled = report(&[(&first, ""), (&format!("{folder}/0001_other.sql"), "")]);
    assert_eq!(doubled.problems.len(), 1);
    passes("base/store/tests/it/migrations/0007_gap.sql", "");
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    passes("README.md", "the folder ./data, ~/data, https://example.org/root/ and a/home/feed");
    fails("README.md", &["\nsee /ro", "ot/x"].concat(), 2, "home folder");
    fails("README.md", &["see /ho", "me/ann/x"].concat(), 1, "home folder");
    fails("README.md", &["https://index.", "crates.io"].concat(), 1, "registry");
    fails("run", &["curl pypi", ".org"].concat(), 1, "registry");
}

#[test]
fn no_file_names_the_checkout() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    std::fs::write(root.path().join("README.md"), format!("cd {}", root.path().display())).unwrap();
    let found = show(&super::check(&Tree::load(root.path()).unwrap()).problems);
    assert!(found.len() == 1 && found[0].contains("this checkout"), "{found:?}");
}

#[test]
fn code_asks_for_a_folder_for_its_files() {
    let text = ["fn a() { open(\"/t", "mp/x\") }"].concat();
    fails("app/src/a.rs", &text, 1, "tempfile");
    passes("app/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}"));
    passes("scripts/a.sh", &text);
}

#[test]
fn sql_stands_in_the_store() {
    let text = "const A: &str = \"SELECT id FROM a\";";
    for path in ["services/a/src/store.rs", "services/a/src/store/find.rs", "base/store/src/a.rs"] {
        passes(path, text);
    }
    passes("base/flow/src/a.rs", text);
    passes("services/a/tests/it/main.rs", text);
    passes(
        "services/a/src/http.rs",
        "fn a() { f(\"DELETE /api/a\", \"UPDATE\", \"SELECTED x\", \"WITH A\") }",
    );
    for sql in ["INSERT INTO a", "UPDATE a SET", "DELETE FROM a", "WITH x AS (", "\\n  SELECT 1"] {
        fails("services/a/src/handlers.rs", &format!("f(\n\"{sql}\")"), 2, "store.rs");
    }
}

#[test]
fn code_outside_of_tests_does_not_panic() {
    for call in ["x.unwrap()", "x.expect(\"y\")"] {
        fails("services/a/src/lib.rs", &format!("fn a() {{ {call}; }}"), 1, "typed error");
        passes("services/a/src/lib.rs", &format!("#[cfg(test)]\nmod tests {{\n  fn a() {{ {call}; }}\n}}"));
        passes("services/a/src/tests/b.rs", &format!("fn a() {{ {call}; }}"));
        passes("base/bus/src/a.rs", &format!("#[allow(clippy::expect_used)]\nfn a() {{ {call}; }}"));
        passes("base/bus/src/conformance/order.rs", &format!("fn a() {{ {call}; }}"));
        passes("services/a/tests/it/main.rs", &format!("fn a() {{ {call}; }}"));
        passes("app/src/main.rs", &format!("fn a() {{ {call}; }}"));
        passes("services/a/src/lib.rs", &format!("// {call}\nfn a() {{ parser.expect(Token::Comma); }}"));
    }
}

#[test]
fn a_module_declared_for_tests_only_is_test_code() {
    let files =
        [("base/a/src/b.rs", "#[cfg(test)]\nmod proof;"), ("base/a/src/b/proof.rs", "fn a() { x.unwrap() }")];
    assert!(report(&files).problems.is_empty());
    let files = [("base/a/src/b.rs", "mod proof;"), ("base/a/src/b/proof.rs", "fn a() { x.unwrap() }")];
    assert_eq!(report(&files).problems.len(), 1);
}

#[test]
fn the_domain_is_pure() {
    let path = "services/a/src/domain.rs";
    passes(path, "/// No async here.\nfn plan(now: Time) -> &'static str { \"tokio\" }");
    fails(path, "async fn plan() {}", 1, "'async'");
    fails(path, "use tokio::sync::Notify;", 1, "'tokio'");
    fails(path, "fn a() { x.await }", 1, "'await'");
    fails(path, "fn a() { SystemTime::now() }", 1, "'SystemTime'");
    passes("services/a/src/handlers.rs", "async fn plan() {}");
}

#[test]
fn statics_have_no_state() {
    let path = "base/a/src/lib.rs";
    passes(path, "static NAMES: [&str; 1] = [\"a\"];\nconst A: u8 = 1;\nfn f(x: &'static Mutex<u8>) {}");
    fails(path, "static mut A: u8 = 1;", 1, "static with state");
    fails(path, "pub(crate) static A: AtomicU64 = AtomicU64::new(0);", 1, "static with state");
    fails(path, "    static A: OnceLock<u8> = OnceLock::new();", 1, "static with state");
    fails(path, "thread_local! { }", 1, "static with state");
}

#[test]
fn nothing_is_left_unfinished() {
    passes("app/src/a.rs", "// a todo list\nfn a() { f(\"todo!\") }");
    fails("app/src/a.rs", &["fn a() { to", "do!() }"].concat(), 1, "left behind");
    fails("base/bus/tests/it/a.rs", &["#[test]\n#[ign", "ore]\nfn a() {}"].concat(), 2, "left behind");
}

#[test]
fn tests_do_not_sleep() {
    let text = "async fn a() { sleep(ms(5)).await }";
    passes("app/src/a.rs", text);
    passes("app/tests/it/a.rs", "fn it_does_not_sleep() {}");
    fails("app/tests/it/a.rs", text, 1, "sleeps");
    fails("app/src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{text}\n}}"), 3, "sleeps");
}

#[test]
fn data_and_build_folders_are_not_looked_at() {
    let secret = ["/ro", "ot/x"].concat();
    for folder in ["target", "node_modules", "data", ".cache"] {
        passes(&format!("{folder}/a.rs"), &secret);
    }
}
