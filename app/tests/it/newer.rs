//! What a newer program leaves in the databases when it starts: its migrations, applied as it would apply them. Who comes from behind
//! runs on them as long as they say that this works.

use crate::process::Process;
use crate::system::{System, artel, consumed, get, post, program, stderr, stdout};
use artel_store::{Migrations, Store, StoreSettings};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Each component with the folder of its migrations, the databases that it is in, and what the next release adds.
const NEXT: [(&str, &str, &[&str], &str); 3] = [
    (
        "flow",
        "base/flow/migrations",
        &["bridge", "keyed"],
        "ALTER TABLE flow_outbox ADD COLUMN later TEXT;
         ALTER TABLE flow_offset ADD COLUMN later BIGINT;
         CREATE TABLE flow_later (id UUID PRIMARY KEY);
         CREATE INDEX flow_sent_later ON flow_sent (topic);",
    ),
    ("nodes", "base/flow/migrations/nodes", &["nodes"], "ALTER TABLE node ADD COLUMN later TEXT;"),
    (
        "bridge",
        "products/bridge/migrations",
        &["bridge"],
        "ALTER TABLE bridge_message ADD COLUMN later TEXT;",
    ),
];

/// What was added to the databases behind the program of these tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// A release that works with it.
    Next,
    /// That one, and one more that does not.
    Breaking,
}

/// Applies the migrations of those releases to these databases; how many.
pub async fn applied(store: &Store, databases: &[&str], added: Added) -> usize {
    let mut applied = 0;
    for (component, folder, homes, text) in NEXT {
        let set = wider(component, folder, text, added);
        for database in databases.iter().filter(|database| homes.contains(database)) {
            applied += store.db(database).await.unwrap().migrate(&[set]).await.unwrap().len();
        }
    }
    applied
}

/// The component's files and those behind them.
fn wider(component: &'static str, folder: &str, text: &str, added: Added) -> Migrations {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (leak(name), leak(std::fs::read_to_string(path).unwrap()))
    };
    let mut files: Vec<_> = paths.iter().map(read).collect();
    let known = files.len();
    let next = format!("-- works from {known:04}\n{text}");
    files.push((leak(format!("{:04}_next.sql", known + 1)), leak(next)));
    if added == Added::Breaking {
        let breaking = format!("CREATE TABLE {component}_breaking (n BIGINT PRIMARY KEY);");
        files.push((leak(format!("{:04}_breaking.sql", known + 2)), leak(breaking)));
    }
    Migrations { component, files: files.leak() }
}

/// A program's texts live as long as its process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

async fn send(process: &Process, n: u64) {
    let message = json!({ "topic": "greetings", "key": "ann", "value": n });
    assert_eq!(post(process, "/api/bridge/messages", &message).await.status, 202);
    consumed(process, n).await;
}

async fn add(process: &Process, added: Added) {
    let url = format!("sqlite:{}", process.data_dir().join("db").display());
    let store = Store::open(&url, StoreSettings::default()).await.unwrap();
    assert_eq!(applied(&store, &["bridge"], added).await, 2);
    store.close().await;
}

#[tokio::test]
async fn a_program_runs_on_what_the_next_release_added_and_on_nothing_that_does_not_work_with_it() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let to = |name: &str| place.path().join(name).display().to_string();
    let mut process = Process::start().await;
    let run = |process: &Process, args: &[&str]| artel(process, args).output().unwrap();
    send(&process, 1).await;
    process.stop().await;

    add(&process, Added::Next).await;
    let standing = run(&process, &["migrate", "status"]);
    process.begin();
    send(&process, 2).await;
    let running = run(&process, &["migrate", "status"]);
    for status in [&standing, &running] {
        assert!(status.status.success(), "{}", stderr(status));
        assert_eq!(stdout(status).matches("of a newer program, works with this one").count(), 2);
    }
    assert_eq!(stdout(&run(&process, &["migrate", "plan"])), "nothing is pending\n");
    let taken = run(&process, &["backup", first.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", stderr(&taken));
    process.stop().await;
    let restored = program().arg("restore").arg(&first).args(["--to", &to("restored")]).output().unwrap();
    assert!(restored.status.success(), "{}", stderr(&restored));
    let mut again = Process::with(Some(&place.path().join("restored")), &[]).await;
    send(&again, 3).await;
    assert_eq!(get(&again, "/readyz").await["status"], "ready");
    again.stop().await;

    add(&process, Added::Breaking).await;
    let refused = run(&process, &["migrate", "status"]);
    assert!(!refused.status.success() && stdout(&refused).contains("does not work with this one"));
    process.begin_unready();
    assert_eq!(process.ended().await.code(), Some(2));
    let log = process.log();
    let said = log.lines().last().unwrap();
    assert!(
        said.contains("the database 'bridge' is newer than this program") && said.contains("_breaking.sql"),
        "{said}"
    );
    let taken = run(&process, &["backup", second.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", stderr(&taken));
    let refused = program().arg("restore").arg(&second).args(["--to", &to("refused")]).output().unwrap();
    let said = stderr(&refused);
    assert!(!refused.status.success() && said.contains("the backup is of a newer program"), "{said}");
    assert!(said.contains("_breaking.sql") && !place.path().join("refused/db/bridge.db").exists(), "{said}");
}
