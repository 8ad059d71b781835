//! What scenarios need of a system, however it is run: one process, several nodes, several processes.

use crate::until::until;
use artel_frame::client::{Answer, Client, Outgoing};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub trait System {
    /// Where it answers; the same after a restart.
    fn url(&self) -> String;
    /// A client with the operator's token.
    fn client(&self) -> Client;
    /// Where the operator's token is left.
    fn data_dir(&self) -> PathBuf;
    /// Stops in order and starts again.
    async fn restart(&mut self);
    /// Ends without a warning and starts again.
    async fn crash(&mut self);
    /// What else holds of a system that is run this way; looked at after each scenario.
    async fn holds(&self) {}
}

/// The command line, pointed at the system.
pub fn artel(system: &impl System, args: &[&str]) -> Command {
    let mut command = program();
    command.args(args).args(["--url", &system.url()]).arg("--data-dir").arg(system.data_dir());
    command
}

/// The program without anything of this environment that could steer it.
pub fn program() -> Command {
    without_steering(Command::new(env!("CARGO_BIN_EXE_artel")))
}

pub fn without_steering(mut command: Command) -> Command {
    let steering = std::env::vars_os().map(|(name, _)| name);
    for name in steering.filter(|name| name.to_string_lossy().starts_with("ARTEL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Says that the test of this thread can't run, and why.
pub fn skipped(missing: &str) {
    println!("skipped: {}: {missing}", std::thread::current().name().unwrap_or("a test"));
}

/// A variable of the environment that says where servers or tools are; without it the test can't run.
#[cfg(feature = "grown")]
pub fn given(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        skipped(&format!("{variable} is not set"));
    }
    value
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The examples of the project.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

pub async fn get(system: &impl System, path: &str) -> Value {
    let answer = system.client().get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json().unwrap()
}

pub async fn post(system: &impl System, path: &str, body: &Value) -> Answer {
    system.client().send_json("POST".parse().unwrap(), path, body).await.unwrap()
}

pub async fn post_with_key(system: &impl System, path: &str, key: &str, body: &Value) -> Answer {
    let request = Outgoing::new("POST".parse().unwrap(), path).header("idempotency-key", key);
    let body = serde_json::to_vec(body).unwrap();
    system.client().send(request.body("application/json", body)).await.unwrap()
}

pub async fn stats(system: &impl System) -> Value {
    get(system, "/api/bridge/stats").await
}

/// Waits until this many messages are consumed, and returns the totals.
pub async fn consumed(system: &impl System, count: u64) -> Value {
    until(&format!("{count} messages consumed"), async || {
        let now = stats(system).await;
        (now["consumed"].as_u64() >= Some(count)).then_some(now)
    })
    .await
}

/// Every tracked message of a topic.
pub async fn messages(system: &impl System, topic: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(system, &format!("/api/bridge/messages?topic={topic}&limit=500{cursor}")).await;
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}
