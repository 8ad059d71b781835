//! Nodes are replaced one by one while messages are under way, as an installation is upgraded, and an old node that is killed in the
//! middle comes back on databases that the new release has changed. Every line is accounted for, and the order of each key.
//!
//! The next release is the same program and what it would have added to the databases. With the path of an older program in
//! `ARTEL_TEST_OLD_PROGRAM` (`cargo xtask crash --old PROGRAM`) the old nodes are that one, and the new ones this.

use crate::cluster::shared_by;
use crate::driver::{once_each, under_way};
use crate::newer::{self, Added};
use crate::nodes::{Nodes, Servers};
use crate::process::Program;
use crate::scenarios::crashes::{agree_of, in_order, numbered_from, sending};
use crate::system::{System, messages, post, stderr};
use crate::until::until;
use artel_store::{Store, StoreSettings};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const OLD: &str = "ARTEL_TEST_OLD_PROGRAM";
const NAMES: [&str; 3] = ["node-1", "node-2", "node-3"];
const TOPIC: &str = "upgrading";
/// Lines that are sent for each step.
const PART: u64 = 4_000;
/// What happens in turn, each while a part of the lines is under way.
const STEPS: [Step; 4] = [Step::Replace(0), Step::Kill(1), Step::Replace(1), Step::Replace(2)];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node of the old release ends in order, and one of the new release starts in its place.
    Replace(usize),
    /// A node of the old release ends without a warning and starts again.
    Kill(usize),
}

/// An installation in the middle of its upgrade.
struct Upgrade {
    nodes: Nodes,
    /// The program of the release before, where it is another one.
    old: Option<PathBuf>,
    url: String,
}

impl Upgrade {
    async fn begin() -> Option<Upgrade> {
        let servers = Servers::given().await?;
        let old = std::env::var_os(OLD).map(PathBuf::from);
        let (url, program) =
            (servers.database.url.clone(), old.clone().map_or(Program::Keyed, Program::Built));
        let nodes = Nodes::running(servers, NAMES.len(), &program, "").await;
        shared_by(&nodes.client(), &NAMES).await;
        Some(Upgrade { nodes, old, url })
    }

    /// What the first node of the next release does to the databases; an older program than this one leaves that to this one.
    async fn migrate(&self) {
        if self.old.is_none() {
            let store = Store::open(&self.url, StoreSettings::default()).await.unwrap();
            let applied = newer::applied(&store, &["bridge", "keyed", "nodes"], Added::Next).await;
            store.close().await;
            println!("{applied} migrations of the next release applied");
        }
    }

    async fn happen(&mut self, step: Step) {
        match step {
            Step::Replace(node) => self.replace(node).await,
            Step::Kill(node) => {
                let process = &mut self.nodes.processes[node];
                process.kill();
                if self.old.is_none() {
                    process.begin();
                } else {
                    self.begin_old(node).await;
                }
            }
        }
        // As whoever upgrades waits: every partition flows, and each node has its share.
        shared_by(&self.nodes.client(), &NAMES).await;
    }

    async fn replace(&mut self, node: usize) {
        let process = &mut self.nodes.processes[node];
        let status = process.stop().await;
        assert!(status.success(), "{status}\n{}", process.log());
        process.set_program(Program::Keyed);
        process.begin();
    }

    /// A program from before migrations said what works with them does not start again once there is one that it does not know;
    /// then a node of the new release takes its place.
    async fn begin_old(&mut self, node: usize) {
        let process = &mut self.nodes.processes[node];
        process.begin_unready();
        let client = self.nodes.client_of(node);
        let ready = until("the old node to be ready or to be refused", async || {
            let ready = client.get("/readyz").await.is_ok_and(|answer| answer.status == 200);
            (ready || self.nodes.processes[node].has_ended()).then_some(ready)
        })
        .await;
        if ready {
            println!("the old node works again");
            return;
        }
        let process = &mut self.nodes.processes[node];
        let (status, log) = (process.ended().await, process.log());
        let said = log.lines().last().unwrap_or_default();
        assert!(said.contains("is newer than this program"), "{status}: {said}");
        println!("the old node is refused: {said}");
        process.set_program(Program::Keyed);
        process.begin();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_replaced_one_by_one_and_an_old_one_comes_back_in_the_middle() {
    let Some(mut upgrade) = Upgrade::begin().await else { return };
    let (folder, began) = (tempfile::tempdir().unwrap(), Instant::now());
    let (mut sent, mut idle) = (0, 0);
    for step in STEPS {
        let file = folder.path().join(format!("{sent}.ndjson"));
        numbered_from(&file, sent..sent + PART);
        let producer = sending(&upgrade.nodes, TOPIC, &file);
        let lines = under_way(&upgrade.nodes, sent + PART / 8).await;
        if sent == 0 {
            upgrade.migrate().await;
        }
        upgrade.happen(step).await;
        let output = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        if sent == 0 {
            // A node of the new release is there, which has the service that counts what stands in the topic.
            let followed = post(&upgrade.nodes, "/api/keyed/follow", &json!({ "topic": TOPIC })).await;
            assert_eq!(followed.status, 200, "{}", followed.text());
        }
        println!("{step:?} with {lines} lines under way");
        sent += PART;
        idle += usize::from(lines == 0);
    }
    crate::system::consumed(&upgrade.nodes, sent).await;
    agree_of(&upgrade.nodes, TOPIC, sent, sent).await;
    in_order(&messages(&upgrade.nodes, TOPIC).await);
    let counted = once_each(&upgrade.nodes, sent).await;
    println!(
        "{sent} lines accepted, produced and consumed once each, every key in order, {:.1} s; {counted}",
        began.elapsed().as_secs_f64()
    );
    assert!(idle <= 1, "{idle} of {} steps met nothing under way: they prove nothing", STEPS.len());
}
