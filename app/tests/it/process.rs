//! The real binary as one process with a data folder of its own.

use crate::address;
use crate::system::{System, program};
use crate::until::until;
#[cfg(feature = "grown")]
use crate::{keyed, system::without_steering};
use artel_frame::client::Client;
use artel_frame::config::Secret;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

/// What runs in a process.
#[derive(Clone, PartialEq, Eq)]
pub enum Program {
    /// The real binary.
    Artel,
    /// One that was built elsewhere, of another release.
    #[cfg(feature = "grown")]
    Built(PathBuf),
    /// The same node with one service more: see `keyed`.
    #[cfg(feature = "grown")]
    Keyed,
}

pub struct Process {
    /// Holds the log of the process, and the data folder where none was given.
    place: TempDir,
    data: PathBuf,
    listen: String,
    program: Program,
    arguments: Vec<String>,
    child: Option<Child>,
    /// From the start of the process to its line that it is ready.
    pub ready_after: Duration,
    /// The lines behind that one, as they come.
    said: watch::Sender<Vec<String>>,
}

impl Process {
    /// Starts it on a new folder.
    pub async fn start() -> Process {
        Process::with(None, &[]).await
    }

    /// Starts it on this data folder, with further arguments.
    pub async fn with(data: Option<&Path>, arguments: &[&str]) -> Process {
        let mut process = Process::prepared(data, arguments);
        process.begin();
        process
    }

    /// A program, on a new folder, with this file of settings.
    #[cfg(feature = "grown")]
    pub async fn of(program: Program, config: Option<&Path>) -> Process {
        let config = config.map(|config| config.to_str().unwrap());
        let arguments = config.map(|config| ["--config", config]);
        let mut process = Process::prepared(None, arguments.as_ref().map_or(&[], |both| both));
        process.set_program(program);
        process.begin();
        process
    }

    /// Another program from its next start on, with the same settings and folder.
    #[cfg(feature = "grown")]
    pub fn set_program(&mut self, program: Program) {
        self.program = program;
    }

    /// The same, not started.
    pub fn prepared(data: Option<&Path>, arguments: &[&str]) -> Process {
        let place = TempDir::new().unwrap();
        let data = data.map_or_else(|| place.path().join("data"), Path::to_owned);
        // It stays the same over restarts.
        let listen = address::free().to_string();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let program = Program::Artel;
        let (ready_after, said) = (Duration::ZERO, watch::Sender::default());
        Process { place, data, listen, program, arguments, child: None, ready_after, said }
    }

    /// What it is started with from its next start on.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// Starts the process and returns when it says that it is ready.
    pub fn begin(&mut self) {
        let began = Instant::now();
        let mut lines = self.spawn();
        let ready = format!("is ready at {}", self.url());
        let said = lines.by_ref().map_while(Result::ok).any(|line| line.contains(&ready));
        self.ready_after = began.elapsed();
        assert!(said, "no start:\n{}", self.log());
        // What else it says is read away, so that it never waits for us.
        let said = self.said.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| said.send_modify(|all| all.push(line)));
        });
    }

    /// Waits for a line that it says behind the one that it is ready, and gives it.
    pub async fn says(&self, part: &str) -> String {
        let found = |all: &[String]| all.iter().find(|line| line.contains(part)).cloned();
        until(&format!("a line with {part}"), async || found(&self.said.borrow())).await
    }

    /// Starts the process, which may wait for its servers, or end.
    pub fn begin_unready(&mut self) {
        let lines = self.spawn();
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// Starts the process; gives the lines that it says.
    fn spawn(&mut self) -> Lines<BufReader<ChildStdout>> {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut child = self.command().stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        lines
    }

    fn command(&self) -> Command {
        match &self.program {
            Program::Artel => self.run(program()),
            #[cfg(feature = "grown")]
            Program::Built(path) => self.run(without_steering(Command::new(path))),
            #[cfg(feature = "grown")]
            Program::Keyed => {
                let mut command = without_steering(Command::new(std::env::current_exe().unwrap()));
                command.args(["--exact", keyed::NODE, "--nocapture"]);
                command.env(keyed::LISTEN, &self.listen).env(keyed::DATA, &self.data);
                // Behind `--config`.
                command.envs(self.arguments.get(1).map(|config| (keyed::CONFIG, config)));
                // What the test lays out for itself goes away with the process that started it.
                command.env("TMPDIR", self.place.path());
                command
            }
        }
    }

    fn run(&self, mut program: Command) -> Command {
        program.args(["run", "--listen", &self.listen, "--data-dir"]).arg(&self.data).args(&self.arguments);
        program
    }

    fn log_path(&self) -> PathBuf {
        self.place.path().join("log")
    }

    /// What it logged, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Whether it has ended by itself.
    #[cfg(feature = "grown")]
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits for its end after a signal.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        until("the end of the process", async || child.try_wait().unwrap()).await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Memory in use, in bytes.
    pub fn resident(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever in use, in bytes.
    pub fn peak(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl System for Process {
    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn client(&self) -> Client {
        let token = std::fs::read_to_string(self.data.join("operator-token")).unwrap();
        Client::new(&self.url()).unwrap().with_token(Some(Secret::new(token.trim())))
    }

    fn data_dir(&self) -> PathBuf {
        self.data.clone()
    }

    async fn restart(&mut self) {
        let status = self.stop().await;
        assert!(status.success(), "{status}\n{}", self.log());
        self.begin();
    }

    async fn crash(&mut self) {
        self.kill();
        self.begin();
    }
}
