//! A backup that is taken under load, and the node that is brought back from it.

use crate::errands::{self, LATER, Plan, journal_of};
use crate::process::Process;
use crate::scenarios::crashes::{in_order, numbered, reached, sending};
use crate::system::{System, artel, consumed, get, messages, program, stats, stderr, stdout};
use crate::until::until;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Log, Record, TopicSpec, Topics};
use artel_flow::Ctx;
use artel_frame::backup::{Progress, restore as bring_back};
use artel_frame::config::Sources;
use artel_frame::{Sandbox, Standing};
use artel_message::Time;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::task::JoinSet;

const LINES: u64 = 60_000;

fn backup(system: &impl System, folder: &Path) -> Output {
    artel(system, &["backup"]).arg(folder).output().unwrap()
}

fn restore(backup: &Path, to: &Path) -> Output {
    program().arg("restore").arg(backup).arg("--to").arg(to).output().unwrap()
}

fn numbers(messages: &[Value]) -> BTreeSet<u64> {
    messages.iter().map(|message| message["value"]["n"].as_u64().unwrap()).collect()
}

/// Waits until everything that was accepted has been through; the totals.
async fn quiet(system: &impl System) -> Value {
    until("everything to be produced and consumed", async || {
        let now = stats(system).await;
        let all = now["accepted"].as_u64();
        (now["produced"].as_u64() == all && now["consumed"].as_u64() == all).then_some(now)
    })
    .await
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_node_is_brought_back_as_it_was_at_one_moment_under_load() {
    let place = TempDir::new().unwrap();
    let (copy, data, file) =
        (place.path().join("copy"), place.path().join("data"), place.path().join("lines"));
    let mut system = Process::start().await;
    numbered(&file, LINES);
    let mut producer = sending(&system, "crashing", &file);
    assert!(reached(&system, &mut producer, 5_000).await, "the producer was through too soon");
    let before = stats(&system).await;
    let taken = backup(&system, &copy);
    assert!(taken.status.success(), "{}", stderr(&taken));
    let after = stats(&system).await;
    assert!(producer.try_wait().unwrap().is_none(), "the producer ended before the backup did");
    println!("before {before}\nafter {after}\n{}", stdout(&taken));
    assert!(reached(&system, &mut producer, after["accepted"].as_u64().unwrap() + 3_000).await);
    system.kill();
    producer.kill().unwrap();
    producer.wait().unwrap();

    let restored = restore(&copy, &data);
    assert!(restored.status.success(), "{}", stderr(&restored));
    let said = stdout(&restored);
    assert!(said.contains("the interval from ") && said.contains(data.to_str().unwrap()), "{said}");
    let mut system = Process::with(Some(&data), &[]).await;
    let totals = quiet(&system).await;
    println!("restored {totals}");
    let accepted = totals["accepted"].as_u64().unwrap();
    let between = before["accepted"].as_u64().unwrap()..=after["accepted"].as_u64().unwrap();
    assert!(between.contains(&accepted), "{accepted} of {between:?}");
    // What had gone out and was not confirmed at that moment goes out once more, and is known.
    assert_eq!(totals["failed"], 0);
    let all = messages(&system, "crashing").await;
    assert!(all.iter().all(|message| message["status"] == "consumed"));
    assert_eq!((all.len() as u64, numbers(&all).len() as u64), (accepted, accepted));
    in_order(&all);
    assert_eq!(get(&system, "/readyz").await["status"], "ready");

    // The same file once more: what is new gets numbers that nobody takes for repeats, before a restart and after one.
    let again = sending(&system, "crashing", &file).wait_with_output().unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    consumed(&system, accepted + LINES).await;
    system.restart().await;
    let totals = quiet(&system).await;
    assert_eq!(totals["accepted"].as_u64(), Some(accepted + LINES));
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_a_bad_one_is_brought_back_nowhere() {
    let place = TempDir::new().unwrap();
    let (copy, data) = (place.path().join("copy"), place.path().join("data"));
    let mut system = Process::start().await;
    let file = place.path().join("lines");
    numbered(&file, 500);
    let sent = sending(&system, "few", &file).wait_with_output().unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    consumed(&system, 500).await;
    quiet(&system).await;
    assert!(backup(&system, &copy).status.success());
    let first = files(&copy);
    let again = backup(&system, &copy);
    assert!(!again.status.success() && stderr(&again).contains("is not empty"), "{}", stderr(&again));
    assert_eq!(files(&copy), first);
    let inside = backup(&system, &system.data_dir().join("db/copy"));
    assert!(stderr(&inside).contains("lies in a folder that is copied"), "{}", stderr(&inside));

    // Without a node it copies the folder itself, and says the same.
    let own = system.data_dir();
    assert!(system.stop().await.success());
    let standing = place.path().join("standing");
    let taken = backup(&system, &standing);
    assert!(taken.status.success(), "{}", stderr(&taken));
    let names = |folder: &Path| -> Vec<PathBuf> {
        files(folder).iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&standing), names(&copy));

    for (what, said) in [
        (restore(&copy, &own), "is not empty"),
        (restore(&place.path().join("nowhere"), &data), "holds no finished backup"),
    ] {
        assert!(!what.status.success() && stderr(&what).contains(said), "{}", stderr(&what));
    }
    let segment = first.iter().find(|path| {
        path.extension().is_some_and(|end| end == "log") && path.metadata().unwrap().len() > 100
    });
    let segment = segment.unwrap();
    let whole = std::fs::read(segment).unwrap();
    let mut bad = whole.clone();
    bad[80] ^= 1;
    std::fs::write(segment, &bad).unwrap();
    let refused = restore(&copy, &data);
    assert!(stderr(&refused).contains("its checksum differs"), "{}", stderr(&refused));
    std::fs::write(segment, &whole[..whole.len() - 1]).unwrap();
    let refused = restore(&copy, &data);
    assert!(stderr(&refused).contains("bytes in place of"), "{}", stderr(&refused));
    assert!(!data.exists() || files(&data).is_empty(), "{:?}", files(&data));
    std::fs::write(segment, &whole).unwrap();
    let restored = restore(&copy, &data);
    assert!(restored.status.success(), "{}", stderr(&restored));
    let system = Process::with(Some(&data), &[]).await;
    assert_eq!(quiet(&system).await["accepted"], 500);
    assert!(!system.log().contains("rebuilt"), "{}", system.log());
}

/// Whether a folder has nothing in it, or is not there.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Looks all the time until it is told to stop: whether there was a log without the mark that keeps nodes away from it, once there
/// had been the mark.
fn watch_for_an_open_log(data: PathBuf, ended: Arc<AtomicBool>) -> std::thread::JoinHandle<bool> {
    std::thread::spawn(move || {
        let (mark, mut was_there) = (data.join("db/closed.json"), false);
        loop {
            let last = ended.load(Ordering::SeqCst);
            let is_there = mark.exists();
            was_there |= is_there;
            if was_there && !is_there && !is_empty(&data.join("log")) {
                return true;
            }
            if last {
                return false;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_fails_leaves_nothing_that_a_node_starts_on() {
    let place = TempDir::new().unwrap();
    let (copy, own) = (place.path().join("copy"), place.path().join("own"));
    let mut system = Process::with(Some(&own), &[]).await;
    assert!(system.stop().await.success());
    // Many files take a while to be removed.
    let log = Segments::open(own.join("log"), SegmentsConfig::default()).unwrap();
    let record = Record { key: None, value: Some(b"1"), headers: &[], time: Time::from_millis(1) };
    for n in 0..200 {
        let name = format!("many-{n:03}");
        let spec = TopicSpec { name, partitions: 4, retention_ms: None, retention_bytes: None };
        let topic = log.make(spec).await.unwrap();
        log.append(&topic.name, 0, &[record]).await.unwrap();
    }
    log.close().await;
    let taken = artel(&system, &["backup"]).arg(&copy).output().unwrap();
    assert!(taken.status.success(), "{}", stderr(&taken));
    // The last one that is copied.
    let last = files(&copy.join("log")).pop().unwrap();
    let mut bad = std::fs::read(&last).unwrap();
    bad.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&last, if bad.is_empty() { vec![1] } else { bad }).unwrap();

    let config = |data: &Path| {
        errands::config(|sources| sources.set("test", "node.data_dir", data.display().to_string()))
    };
    let data = place.path().join("data");
    let ended = Arc::new(AtomicBool::new(false));
    let watching = watch_for_an_open_log(data.clone(), ended.clone());
    let failed = bring_back(&copy, &config(&data), &[], &Progress::default()).await;
    ended.store(true, Ordering::SeqCst);
    println!("{}", failed.unwrap_err());
    assert!(
        !watching.join().unwrap(),
        "there was a log without its databases, and a node would have run it anew"
    );
    assert!(is_empty(&data));

    // Folders that lie elsewhere are emptied where they lie.
    let (linked, elsewhere) = (place.path().join("linked"), place.path().join("elsewhere"));
    for part in ["db", "log"] {
        std::fs::create_dir_all(elsewhere.join(part)).unwrap();
    }
    std::fs::create_dir(&linked).unwrap();
    let (own_log, own_db) = (place.path().join("l"), place.path().join("d"));
    let sources = |sources: Sources| {
        sources
            .set("test", "node.data_dir", linked.display().to_string())
            .set("test", "bus.url", format!("segments:{}", own_log.display()))
            .set("test", "db.url", format!("sqlite:{}", own_db.display()))
    };
    std::os::unix::fs::symlink(elsewhere.join("log"), &own_log).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("db"), &own_db).unwrap();
    let failed = bring_back(&copy, &errands::config(sources), &[], &Progress::default()).await;
    println!("{}", failed.unwrap_err());
    assert!(is_empty(&elsewhere.join("log")) && is_empty(&elsewhere.join("db")));
}

const CALLERS: u64 = 4;

/// Callers that plan one errand after another: how many they asked for, and how many were accepted.
#[derive(Clone, Default)]
struct Load {
    asked: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
}

impl Load {
    /// They end when what is given is dropped.
    fn begin(&self, ctx: &Ctx) -> JoinSet<()> {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (own, ctx) = (self.clone(), ctx.clone());
            callers.spawn(async move {
                for n in 0u64.. {
                    own.asked.fetch_add(1, Ordering::SeqCst);
                    ctx.ask(Plan { key: format!("{caller}-{n:06}") }).await.unwrap();
                    own.accepted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        callers
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// The keys of the lines that begin with this word; none is there twice.
fn keys(journal: &[String], word: &str) -> BTreeSet<String> {
    let all: Vec<&str> = journal.iter().filter_map(|line| line.strip_prefix(word)).collect();
    let each: BTreeSet<String> = all.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(each.len(), all.len(), "{word} is there twice for a key");
    each
}

#[tokio::test]
async fn what_was_put_off_is_done_once_by_the_node_that_is_brought_back() {
    let place = TempDir::new().unwrap();
    let copy = place.path().join("copy");
    let start = Time::from_system(SystemTime::now());
    let options = Sandbox::of(errands::services, errands::catalogue).manual_clock(start);
    let mut node = options.start().await.unwrap();
    let load = Load::default();
    let mut callers = load.begin(node.ctx("errands"));
    let rang = |lines: &[String]| lines.iter().filter(|line| line.starts_with("rang ")).count();
    until("calls to be made", async || (rang(&journal_of(&node).await) > 50).then_some(())).await;
    let before = load.accepted();
    let wanted = json!({ "folder": copy });
    let begun = node.client().send_json(http::Method::POST, "/api/admin/backup", &wanted).await.unwrap();
    assert_eq!(begun.status, 202, "{}", begun.text());
    let state = until("the backup", async || {
        let state: Value = node.client().get("/api/admin/backup").await.ok()?.json().ok()?;
        (state["state"] != "running").then_some(state)
    })
    .await;
    assert_eq!(state["state"], "done", "{state}");
    let after = load.asked();
    until("work behind the backup", async || (load.accepted() > after + 200).then_some(())).await;
    callers.shutdown().await;
    node.kill().await;

    // The folder is lost.
    let folder = node.folder().to_owned();
    let config =
        errands::config(|sources| sources.set("test", "node.data_dir", folder.display().to_string()));
    until("the folder to be free", async || match Standing::open(&config).await {
        Ok(standing) => {
            standing.close().await;
            Some(())
        }
        Err(failure) => {
            assert!(failure.is_in_use(), "{failure}");
            None
        }
    })
    .await;
    for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }
    let manifest = bring_back(&copy, &config, &errands::services(), &Progress::default()).await.unwrap();
    println!("{before} before, {after} after, {} records, {state}", manifest.records());
    node.begin().await.unwrap();
    until("everything to be heard and every call to be made", async || {
        let journal = journal_of(&node).await;
        let (heard, rang) = (keys(&journal, "heard "), keys(&journal, "rang "));
        (heard == rang && heard.len() as u64 >= before).then_some(())
    })
    .await;
    node.settle().await;
    let journal = journal_of(&node).await;
    let (heard, rang) = (keys(&journal, "heard "), keys(&journal, "rang "));
    assert_eq!(heard, rang);
    let planned = heard.len() as u64;
    assert!((before..=after).contains(&planned), "{planned} of {before} to {after}");
    // Each caller's errands up to some number, without a gap.
    for caller in 0..CALLERS {
        let prefix = format!("{caller}-");
        let own: Vec<&String> = heard.iter().filter(|key| key.starts_with(&prefix)).collect();
        let expected: Vec<String> = (0..own.len()).map(|n| format!("{caller}-{n:06}")).collect();
        assert!(own.iter().copied().eq(&expected), "{own:?}");
    }
    node.advance(LATER + Duration::from_secs(1));
    until("the reminders", async || {
        (keys(&journal_of(&node).await, "reminded ").len() == heard.len()).then_some(())
    })
    .await;
    assert_eq!(keys(&journal_of(&node).await, "reminded "), heard);
    node.ctx("errands").ask(Plan { key: "new".to_owned() }).await.unwrap();
    until("a new one", async || keys(&journal_of(&node).await, "rang ").contains("new").then_some(())).await;
    assert!(node.node().runtime().troubles().is_empty(), "{:?}", node.node().runtime().troubles());
}
