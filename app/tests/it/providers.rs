//! `artel simulate providers` as a process of its own, and what arrived there.

use crate::system::program;
use artel_frame::client::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// They end with the test, however it ends.
pub struct Providers {
    child: Child,
    /// What a node needs to have accounts with them: a file of settings.
    pub config: String,
    /// What arrived, over HTTP.
    pub board: Client,
    _folder: TempDir,
}

/// A message that arrived.
#[derive(Debug, Clone, Deserialize)]
pub struct Arrived {
    /// In the order of arrival.
    pub n: u64,
    pub provider: String,
    pub to: String,
    /// The id of a mail.
    pub key: String,
    pub text: String,
    /// The provider has said that it has it, or would have if anybody had listened.
    pub taken: bool,
}

/// As many as the list gives at a time.
const PAGE: usize = 1_000;

impl Providers {
    pub fn start() -> Providers {
        Providers::begin(&[])
    }

    /// That report to a node which will be there.
    pub fn for_node(url: &str) -> Providers {
        Providers::begin(&["--node", url])
    }

    fn begin(more: &[&str]) -> Providers {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command.args(["simulate", "providers", "--port", "0"]).args(more).arg("--folder").arg(folder.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut page = String::new();
        let config = lines.map_while(Result::ok).find_map(|line| {
            page = line.strip_prefix("what arrives: ").map_or(page.clone(), str::to_owned);
            line.strip_prefix("a node that sends to them: artel run --config ").map(str::to_owned)
        });
        let config = config.expect("it says what settings to use");
        let board = Client::new(page.trim_end_matches('/')).unwrap();
        Providers { child, config, board, _folder: folder }
    }

    /// How many were taken, over all of them.
    pub async fn taken(&self) -> u64 {
        let counts: Value = self.board.get("/api/counts").await.unwrap().json().unwrap();
        let taken: BTreeMap<String, u64> = serde_json::from_value(counts["taken"].clone()).unwrap();
        taken.values().sum()
    }

    /// Says how they behave from now on.
    pub async fn behave(&self, plan: &Value) {
        let answer = self.board.send_json("PUT".parse().unwrap(), "/api/faults", plan).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// All that arrived, the oldest first.
    pub async fn arrived(&self) -> Vec<Arrived> {
        let (mut all, mut before) = (Vec::new(), u64::MAX);
        loop {
            let path = format!("/api/arrivals?limit={PAGE}&before={before}");
            let page: Vec<Arrived> = self.board.get(&path).await.unwrap().json().unwrap();
            let Some(oldest) = page.last() else { break };
            before = oldest.n;
            all.extend(page);
        }
        all.reverse();
        // They keep a bounded list: what was forgotten could not be accounted for.
        assert!(all.first().is_none_or(|first| first.n == 1), "the first arrivals are forgotten");
        all
    }

    /// Ends in order; whether it says that all was well.
    pub fn stop(mut self) -> bool {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
