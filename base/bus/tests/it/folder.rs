//! The folder on the real disk: one process at a time, names, leftovers, settings.

use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const HOLD: &str = "ARTEL_TEST_HOLD_FOLDER";

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, retention_ms: None, retention_bytes: None }
}

fn refused(folder: &std::path::Path) -> BusError {
    Segments::open(folder, SegmentsConfig::default()).err().expect("the folder is taken")
}

#[tokio::test]
async fn a_second_log_on_the_folder_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Segments::open(folder.path(), SegmentsConfig::default()).expect("opens");
    let error = refused(folder.path());
    let sentence = error.to_string();
    assert!(matches!(error, BusError::Unavailable(_)));
    assert!(
        sentence.contains(folder.path().to_str().unwrap()) && sentence.contains("another process"),
        "{sentence}"
    );
    bus.close().await;
    Segments::open(folder.path(), SegmentsConfig::default()).expect("free after close").close().await;
}

/// Not a test of its own: the second process of the one below.
#[tokio::test]
async fn hold_the_folder_when_told() {
    let Ok(folder) = std::env::var(HOLD) else { return };
    let bus = Segments::open(&folder, SegmentsConfig::default()).expect("opens");
    bus.make(spec("held", 1)).await.expect("made");
    let record = Record { key: None, value: Some(b"kept"), headers: &[], time: Time::from_millis(1) };
    bus.append("held", 0, &[record]).await.expect("stored");
    println!("\nholding");
    std::io::stdout().flush().unwrap();
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}

#[tokio::test]
async fn another_process_has_the_folder_until_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["folder::hold_the_folder_when_told", "--exact", "--nocapture"])
        .env(HOLD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"), "the child holds the folder");
    assert!(refused(folder.path()).to_string().contains("in use by another process"));
    child.kill().unwrap();
    child.wait().unwrap();
    let bus = Segments::open(folder.path(), SegmentsConfig::default()).expect("free once it is dead");
    let fetched = bus.read("held", 0, 0, Fetch { max_records: 9, max_bytes: 99 }).await.expect("readable");
    assert_eq!(fetched.records[0].value.as_deref(), Some(&b"kept"[..]));
    bus.close().await;
}

#[tokio::test]
async fn dropping_it_without_closing_frees_the_folder_and_keeps_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Segments::open(folder.path(), SegmentsConfig::default()).expect("opens");
    bus.make(spec("t", 1)).await.expect("made");
    let record = Record { key: None, value: Some(b"v"), headers: &[], time: Time::from_millis(1) };
    bus.append("t", 0, &[record]).await.expect("stored");
    drop(bus);
    // The writer ends in its own time.
    let again = loop {
        match Segments::open(folder.path(), SegmentsConfig::default()) {
            Ok(bus) => break bus,
            Err(BusError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(again.bounds("t", 0).await.expect("known").end, 1);
    again.close().await;
}

#[tokio::test]
async fn folder_names_of_topics_do_not_collide() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Segments::open(folder.path(), SegmentsConfig::default()).expect("opens");
    let bus = open();
    let names = ["a", "a-1", "a-1-0", "lock", "topics", "groups", "...", "-1"];
    for name in names {
        bus.make(spec(name, 2)).await.expect("made");
        let record =
            Record { key: None, value: Some(name.as_bytes()), headers: &[], time: Time::from_millis(1) };
        bus.append(name, 1, &[record]).await.expect("stored");
    }
    bus.delete("a-1").await.expect("deleted");
    bus.close().await;
    let bus = open();
    let mut left: Vec<&str> = names.into_iter().filter(|n| *n != "a-1").collect();
    left.sort_unstable();
    let listed = bus.list().await.expect("listed");
    assert_eq!(listed.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), left);
    for name in left {
        let fetched = bus.read(name, 1, 0, Fetch { max_records: 9, max_bytes: 99 }).await.expect("readable");
        assert_eq!(fetched.records[0].value.as_deref(), Some(name.as_bytes()));
    }
    bus.close().await;
}

#[tokio::test]
async fn a_folder_with_another_programs_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let stray = folder.path().join("t-0");
    std::fs::create_dir(&stray).unwrap();
    for name in ["00000000000000000000.index", "dump.tar", "recovery-point"] {
        std::fs::write(stray.join(name), b"").unwrap();
    }
    let bus = Segments::open(folder.path(), SegmentsConfig::default()).expect("opens");
    let refused = bus.make(spec("t", 1)).await.expect_err("the folder is not ours").to_string();
    assert!(refused.contains("'dump.tar'") && refused.contains("move the folder away"), "{refused}");
    assert_eq!(std::fs::read_dir(&stray).unwrap().count(), 3, "all is as it was");
    std::fs::remove_file(stray.join("dump.tar")).unwrap();
    bus.make(spec("t", 1)).await.expect("what an interrupted make left goes away");
    bus.close().await;
}

#[tokio::test]
async fn records_of_an_unknown_topic_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let stray = folder.path().join("t-0");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("00000000000000000000.log"), b"somebody's").unwrap();
    let bus = Segments::open(folder.path(), SegmentsConfig::default()).expect("opens");
    let refused = bus.make(spec("t", 1)).await.expect_err("the folder is not empty").to_string();
    assert!(refused.contains("t-0") && refused.contains("move the folder away"), "{refused}");
    assert!(stray.join("00000000000000000000.log").exists());
    bus.close().await;
}

#[tokio::test]
async fn bounds_are_settings_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        SegmentsConfig { max_topics: 2, max_partitions: 3, max_headers: 1, ..SegmentsConfig::default() };
    let bus = Segments::open(folder.path(), config).expect("opens");
    bus.make(spec("a", 3)).await.expect("made");
    for wrong in [0, 4] {
        let refused = bus.make(spec("b", wrong)).await.expect_err("refused").to_string();
        assert!(refused.contains("max_partitions"), "{refused}");
    }
    bus.make(spec("b", 1)).await.expect("made");
    let refused = bus.make(spec("c", 1)).await.expect_err("refused").to_string();
    assert!(refused.contains("max_topics"), "{refused}");
    let headers: [(&str, Option<&[u8]>); 2] = [("a", None), ("b", None)];
    let wide = Record { key: None, value: None, headers: &headers, time: Time::from_millis(1) };
    let old = Record { headers: &[], time: Time::from_millis(-1), ..wide };
    for (record, part) in [(wide, "max_headers"), (old, "1970")] {
        let refused = bus.append("a", 0, &[record]).await.expect_err("refused").to_string();
        assert!(refused.contains(part), "{refused}");
    }
    bus.close().await;
    let (ok, longest) = (SegmentsConfig::default, std::time::Duration::MAX);
    let wrongs = [
        (SegmentsConfig { segment_bytes: 1, ..ok() }, "segment_bytes"),
        (SegmentsConfig { retention_interval: longest, ..ok() }, "retention_interval"),
        (SegmentsConfig { advise_interval: longest, ..ok() }, "advise_interval"),
    ];
    for (wrong, setting) in wrongs {
        let refused = Segments::open(folder.path(), wrong).err().expect("refused").to_string();
        assert!(refused.contains(setting), "{refused}");
    }
}
