//! `artel simulate providers` as a process of its own, and what arrived there.

use crate::system::program;
use artel_frame::client::Client;
use rustix::process::{Pid, Signal, kill_process};
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

impl Providers {
    pub fn start() -> Providers {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command.args(["simulate", "providers", "--port", "0", "--folder"]).arg(folder.path());
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
