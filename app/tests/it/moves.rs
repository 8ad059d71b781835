//! An embedded node that is moved to Kafka and PostgreSQL in the middle of its work.

use crate::errands::{LATER, Plan, catalogue, config, journal_of as journal, services};
use crate::nodes::{Servers, TOKEN};
use crate::process::Process;
use crate::scenarios::crashes::{agree, in_order, numbered, reached, sending};
use crate::system::{System, consumed, get, messages, post, post_with_key, program, stderr, stdout};
use crate::until::until;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Log, Record, Topics};
use artel_frame::Sandbox;
use artel_frame::backup::Progress;
use artel_frame::moving::Move;
use artel_message::Time;
use artel_store::{Lane, Store, StoreSettings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const LINES: u64 = 40_000;
const EARLY: u64 = 3_000;
const MESSAGES: &str = "/api/bridge/messages";

/// An embedded node, and what it is to be moved to.
struct Place {
    folder: TempDir,
    servers: Servers,
}

impl Place {
    /// `None` where there are no servers.
    async fn given() -> Option<Place> {
        let place = Place { folder: TempDir::new().unwrap(), servers: Servers::given().await? };
        std::fs::create_dir(place.data()).unwrap();
        std::fs::write(place.data().join("operator-token"), TOKEN).unwrap();
        let old = format!(
            "[auth]\noperator_token = \"{TOKEN}\"\n[bus]\nsegment_bytes = \"64KiB\"\nretention_bytes = \"1GiB\"\n"
        );
        std::fs::write(place.old(), old).unwrap();
        std::fs::write(place.new_settings(), place.servers.settings("artel", "")).unwrap();
        Some(place)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn old(&self) -> PathBuf {
        self.folder.path().join("old.toml")
    }

    fn new_settings(&self) -> PathBuf {
        self.folder.path().join("new.toml")
    }

    async fn start(&self) -> Process {
        Process::with(Some(&self.data()), &["--config", self.old().to_str().unwrap()]).await
    }

    fn moving(&self, more: &[&str]) -> Command {
        let mut command = program();
        command.arg("move").arg("--config").arg(self.old()).arg("--data-dir").arg(self.data());
        command.arg("--to").arg(self.new_settings()).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it says when it is refused.
    fn refused(&self, more: &[&str]) -> String {
        let output = self.moving(more).output().unwrap();
        assert!(!output.status.success(), "{}", stdout(&output));
        stderr(&output)
    }

    fn moved(&self, more: &[&str]) -> String {
        let output = self.moving(more).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// The log of the node, which stands.
    fn log(&self, clock: Time) -> Arc<Segments> {
        let config = SegmentsConfig { clock: Arc::new(move || clock), ..SegmentsConfig::default() };
        Segments::open(self.data().join("log"), config).unwrap()
    }

    /// As a move leaves it that is killed when the old folder is closed and the target not opened yet.
    async fn as_killed_before_the_end(&self) {
        let store = Store::open(&self.servers.database.url, StoreSettings::default()).await.unwrap();
        let mut write = store.db("nodes").await.unwrap().begin(Lane::Interactive).await.unwrap();
        assert_eq!(write.exec("UPDATE move SET done_at = NULL", ()).await.unwrap(), 1);
        write.commit().await.unwrap();
        store.close().await;
    }

    fn run(&self, settings: &Path) -> Output {
        let mut command = program();
        command.args(["run", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data());
        command.arg("--config").arg(settings).output().unwrap()
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}

/// Where the one message of our own lies, so that retention has been there and those of others begin behind it.
const SHARED: u32 = 2;

/// Messages without any header of ours.
async fn foreign(log: &Segments, topic: &str, from: usize, count: usize) {
    for n in from..from + count {
        let value = json!({ "n": n }).to_string();
        let record = Record { key: None, value: Some(value.as_bytes()), headers: &[], time: now() };
        log.append(topic, SHARED, &[record]).await.unwrap();
    }
}

/// The bridge says of a message where it lies: there it is.
async fn lies_where_it_is_said(system: &impl System, message: &Value) {
    let (topic, partition) = (message["topic"].as_str().unwrap(), &message["partition"]);
    let path = format!(
        "/api/admin/topics/{topic}/messages?partition={partition}&from={}&limit=1",
        message["offset"]
    );
    let found = get(system, &path).await;
    assert_eq!(found["items"][0]["offset"], message["offset"], "{message}");
    assert_eq!(found["items"][0]["value"], message["value"], "{message}");
}

/// What others wrote is tracked without its value: it is looked up where it lies. Each of the ten is there once.
async fn written_by_others(system: &impl System) {
    let mut found = Vec::new();
    for message in messages(system, "others").await {
        assert_eq!(message["status"], "consumed", "{message}");
        if message["value"].is_null() {
            let path = format!(
                "/api/admin/topics/others/messages?partition={SHARED}&from={}&limit=1",
                message["offset"]
            );
            found.push(get(system, &path).await["items"][0]["value"]["n"].as_u64());
        }
    }
    found.sort_unstable();
    assert!(found.iter().copied().eq((0..10).map(Some)), "{found:?}");
}

/// What was planned, topic by topic and table by table, is what was found to be the same.
fn copied_as_planned(plan: &str, said: &str) {
    fn cells(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }
    let line = |text: &str, name: &str, at: usize| -> Vec<String> {
        let found = text.lines().map(cells).find(|line| line.get(at) == Some(&name));
        found.unwrap().into_iter().map(str::to_owned).collect()
    };
    for topic in ["bridge.commands", "crashing", "early", "others"] {
        assert_eq!(line(plan, topic, 0)[2], line(said, topic, 0)[1], "{topic}");
    }
    for table in ["bridge_message", "flow_answered", "flow_offset", "flow_outbox", "flow_timer"] {
        assert_eq!(line(plan, table, 1)[2], line(said, table, 1)[2], "{table}");
    }
}

#[tokio::test]
async fn a_node_goes_on_elsewhere_in_the_middle_of_a_file() {
    let Some(place) = Place::given().await else { return };
    let mut system = place.start().await;
    let hello = json!({ "topic": "others", "key": "ann", "value": "hello" });
    let first: Value = post_with_key(&system, MESSAGES, "key 1", &hello).await.json().unwrap();
    let early = place.folder.path().join("early");
    numbered(&early, EARLY);
    let sent = sending(&system, "early", &early).wait_with_output().unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    consumed(&system, 1 + EARLY).await;
    assert!(system.stop().await.success());
    // Retention has been there, so that offsets don't begin at 0; and others have written what is known by its place alone.
    let log = place.log(Time::from_micros(now().micros() + 8 * 86_400_000_000));
    log.retain().await.unwrap();
    let mut begins = Vec::new();
    for partition in 0..4 {
        begins.push(log.bounds("early", partition).await.unwrap().begin);
    }
    assert!(begins.iter().all(|begin| *begin > 0), "{begins:?}");
    // Offsets are others in the new log, and so is the identity of what is known by its place.
    assert!(log.bounds("others", SHARED).await.unwrap().begin > 0);
    foreign(&log, "others", 0, 5).await;
    log.close().await;
    system.begin();
    for n in 0..20 {
        let late = json!({ "topic": "early", "key": format!("key {n}"), "value": { "n": EARLY + n } });
        assert_eq!(post(&system, MESSAGES, &late).await.status, 202);
    }
    consumed(&system, 1 + EARLY + 5 + 20).await;

    let file = place.folder.path().join("lines");
    numbered(&file, LINES);
    let mut producer = sending(&system, "crashing", &file);
    assert!(reached(&system, &mut producer, LINES / 3).await, "the producer was through too soon");
    system.kill();
    let log = place.log(now());
    foreign(&log, "others", 5, 5).await;
    log.close().await;
    let plan = place.moved(&["--dry-run"]);
    assert!(plan.contains("crashing") && plan.contains("bridge_message"), "{plan}");
    let said = place.moved(&[]);
    println!("{plan}\n{said}\nbegins {begins:?}");
    assert!(said.contains("read back and is the same") && said.contains("artel run --config"), "{said}");
    copied_as_planned(&plan, &said);
    let refused = place.run(&place.old());
    assert!(stderr(&refused).contains("was moved to kafka://"), "{}", stderr(&refused));
    let kept = "topic others keeps its messages for ever";
    assert!(said.contains(kept), "{said}");
    place.as_killed_before_the_end().await;
    for settings in [place.old(), place.new_settings()] {
        let refused = place.run(&settings);
        assert!(stderr(&refused).contains("moved to"), "neither starts: {}", stderr(&refused));
    }
    // Once more does the last step, and then says the same and does nothing.
    for _ in 0..2 {
        let again = place.moved(&[]);
        assert!(again.starts_with("moved ") && again.contains(kept), "{again}");
    }

    system.set_arguments(&["--config", place.new_settings().to_str().unwrap()]);
    system.begin();
    let sent = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(stdout(&sent).starts_with(&format!("accepted {LINES}, refused 0, ")), "{}", stdout(&sent));
    // One message of our own and ten of others beside the files.
    consumed(&system, LINES + 11 + EARLY + 20).await;
    let all = messages(&system, "crashing").await;
    in_order(&all);
    for message in all.iter().step_by(199) {
        lies_where_it_is_said(&system, message).await;
    }
    for message in messages(&system, "early").await {
        if message["value"]["n"].as_u64() >= Some(EARLY) {
            lies_where_it_is_said(&system, &message).await;
        } else {
            assert!(message["offset"].as_i64().unwrap() < 0, "retention had removed {message}");
        }
    }
    let mut seen: Vec<u64> = all.iter().map(|message| message["value"]["n"].as_u64().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..LINES), "every line is there once");
    assert!(all.iter().all(|message| message["status"] == "consumed"));
    written_by_others(&system).await;
    let again = post_with_key(&system, MESSAGES, "key 1", &hello).await;
    assert_eq!((again.status, again.json::<Value>().unwrap()["id"].clone()), (202, first["id"].clone()));
    let found = get(&system, &format!("{MESSAGES}/{}", first["id"].as_str().unwrap())).await;
    assert_eq!(found["status"], "consumed");
    assert_eq!(get(&system, "/readyz").await["status"], "ready");
    system.restart().await;
    for topic in ["early", "others"] {
        let one = json!({ "topic": topic, "key": "ann", "value": "new" });
        assert_eq!(post(&system, MESSAGES, &one).await.status, 202);
    }
    consumed(&system, LINES + 11 + EARLY + 22).await;
}

#[tokio::test]
async fn what_is_no_move_is_refused_and_an_interrupted_one_begins_anew() {
    let Some(place) = Place::given().await else { return };
    let mut system = place.start().await;
    let file = place.folder.path().join("lines");
    numbered(&file, LINES);
    let sent = sending(&system, "crashing", &file).wait_with_output().unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(place.refused(&[]).contains("stop it, and move then"));
    assert!(system.stop().await.success());
    let embedded = place.folder.path().join("embedded.toml");
    std::fs::write(&embedded, "[node]\nname = \"x\"\n").unwrap();
    for (to, says) in [(embedded.to_str().unwrap(), "a move goes to Kafka"), ("nowhere.toml", "nowhere.toml")]
    {
        let mut command = program();
        command.arg("move").arg("--data-dir").arg(place.data()).args(["--to", to]);
        let output = command.output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(says), "{}", stderr(&output));
    }
    // Killed as soon as it is written down.
    let mut moving = place.moving(&[]).spawn().unwrap();
    let store = Store::open(&place.servers.database.url, StoreSettings::default()).await.unwrap();
    let nodes = store.db("nodes").await.unwrap();
    until("the move to have begun", async || {
        let mut read = nodes.read().await.ok()?;
        read.opt::<(uuid::Uuid,)>("SELECT id FROM move WHERE empty", ()).await.ok()?
    })
    .await;
    moving.kill().unwrap();
    moving.wait().unwrap();
    let half = place.run(&place.new_settings());
    assert!(stderr(&half).contains("is being moved to this database"), "{}", stderr(&half));
    assert!(place.refused(&[]).contains("--again empties what it has copied"));
    // Elsewhere there may be topics of these names that are somebody's.
    let settings = std::fs::read_to_string(place.new_settings()).unwrap();
    std::fs::write(place.new_settings(), settings.replace("topic_prefix = \"", "topic_prefix = \"x."))
        .unwrap();
    assert!(place.refused(&["--again"]).contains("name the first place again"));
    std::fs::write(place.new_settings(), settings).unwrap();
    let said = place.moved(&["--again"]);
    assert!(said.contains("read back and is the same"), "{said}");
    system.set_arguments(&["--config", place.new_settings().to_str().unwrap()]);
    system.begin();
    consumed(&system, LINES).await;
    agree(&system, "crashing", LINES).await;
    assert!(system.stop().await.success());
    // Another node's move to the same place.
    let own = place.data();
    std::fs::rename(&own, place.folder.path().join("first")).unwrap();
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("operator-token"), TOKEN).unwrap();
    let mut second = place.start().await;
    let hello = json!({ "topic": "crashing", "value": 1 });
    assert_eq!(post(&second, MESSAGES, &hello).await.status, 202);
    assert!(second.stop().await.success());
    let said = place.refused(&[]);
    assert!(said.contains("the target is not empty") && said.contains("topic 'crashing' exists"), "{said}");
    store.close().await;
}

#[tokio::test]
async fn what_is_put_off_is_done_elsewhere_once() {
    let Some(place) = Place::given().await else { return };
    let options = Sandbox::of(services, catalogue).manual_clock(now());
    let mut old = options.clone().setting("errands.busy", "true").start().await.unwrap();
    for key in ["a", "b", "bad", "shy", "shy"] {
        old.ctx("errands").ask(Plan { key: key.to_owned() }).await.unwrap();
    }
    let heard = ["heard a", "heard b"];
    until("both to be heard and the other one dead", async || {
        let dead = old.client().get("/api/admin/dead-letters").await.ok()?.text();
        // Both of the shy one wait behind its key.
        let parked = old.client().get("/metrics").await.ok()?.text();
        let parked = parked.lines().any(|line| {
            line.starts_with("artel_flow_parked_messages") && line.contains("errands") && line.ends_with(" 2")
        });
        (journal(&old).await == heard && dead.contains("nobody does that") && parked).then_some(())
    })
    .await;
    // A lease of an effect that hangs goes with the node that had it.
    old.kill().await;
    // Retention has taken away what was parked, what is dead and what waits behind it: their places are others there.
    let log = until("the log to be free", async || {
        let later = Time::from_micros(now().micros() + 30 * 86_400_000_000);
        let config = SegmentsConfig { clock: Arc::new(move || later), ..SegmentsConfig::default() };
        Segments::open(old.folder().join("log"), config).ok()
    })
    .await;
    log.retain().await.unwrap();
    let mut emptied = 0;
    for topic in log.list().await.unwrap() {
        for partition in 0..topic.partitions {
            let bounds = log.bounds(&topic.name, partition).await.unwrap();
            emptied += usize::from(bounds.begin > 0 && bounds.begin == bounds.end);
        }
    }
    assert!(emptied > 0);
    log.close().await;
    let from = config(|sources| sources.set("test", "node.data_dir", old.folder().display().to_string()));
    let to = config(|sources| sources.file(Some(place.new_settings())));
    let moving = Move { from, to, services: services(), again: false };
    let moved = until("the folder to be free", async || match moving.run(&Progress::default()).await {
        Err(artel_frame::moving::MoveError::Runs(_)) => None,
        moved => Some(moved.unwrap()),
    })
    .await;
    println!("{moved:?}");
    let new = options.file(place.new_settings()).setting("errands.busy", "false").start().await.unwrap();
    new.advance(Duration::from_secs(60));
    let rang = ["heard a", "heard b", "heard shy", "heard shy", "rang a", "rang b", "rang bad"];
    until("the calls that hung to be made, and what was parked to be heard", async || {
        let lines = journal(&new).await;
        rang.iter().all(|line| lines.contains(&(*line).to_owned())).then_some(())
    })
    .await;
    let dead = new.client().get("/api/admin/dead-letters").await.unwrap().text();
    assert!(dead.contains("nobody does that"), "{dead}");
    new.advance(LATER + Duration::from_secs(1));
    let reminded = ["reminded a", "reminded b", "reminded bad"];
    until("the reminders", async || {
        let lines = journal(&new).await;
        reminded.iter().all(|line| lines.contains(&(*line).to_owned())).then_some(())
    })
    .await;
    new.ctx("errands").ask(Plan { key: "c".to_owned() }).await.unwrap();
    until("a new one to be heard", async || journal(&new).await.contains(&"rang c".to_owned()).then_some(()))
        .await;
    let lines = journal(&new).await;
    let old_ones: Vec<&String> = lines.iter().filter(|line| !line.ends_with(" c")).collect();
    assert_eq!(old_ones, [&rang[..], &reminded].concat(), "each of them once");
    assert!(new.node().runtime().troubles().is_empty(), "{:?}", new.node().runtime().troubles());
}
