//! A Redis of a test's own, to be killed and frozen.

use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub struct Server {
    process: Child,
    options: Vec<String>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// None, and a line about it, on a machine without Redis.
    pub fn start(test: &str, options: &[&str]) -> Option<Server> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: redis::{test}: redis-server is not installed (./test tools)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let port = free_port();
        let process = spawn(port, folder.path(), &options);
        let server = Server { process, options, folder, port };
        server.await_ready();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection beside the cache, to look and to interfere.
    pub fn raw(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Where it was, with what it has saved.
    pub fn start_again(&mut self) {
        self.process = spawn(self.port, self.folder.path(), &self.options);
        self.await_ready();
    }

    /// Connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn await_ready(&self) {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            let answer = redis::Client::open(self.url()).unwrap().get_connection();
            let answer =
                answer.and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
            match answer {
                Ok(_) => return,
                // It is there and wants a password.
                Err(error) if error.code().is_some_and(|code| code != "LOADING") => return,
                Err(error) => assert!(Instant::now() < deadline, "redis does not start: {error}"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, folder: &std::path::Path, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(folder);
    command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Below the range of outgoing connections: a client that looks for the server there may meet itself.
fn free_port() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let start = u16::try_from(RandomState::new().hash_one(0) % 10_000).unwrap();
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..10_000).map(|step| 20_000 + (start + step) % 10_000).find(free).unwrap()
}
