//! Processes that outlive this one, and that are known again by more than their number: numbers are given anew.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Its program and the moment of its start, as the system tells them.
    identity: String,
}

impl Process {
    /// The process that runs under this number now.
    pub fn with_pid(pid: u32) -> Option<Self> {
        identity(pid).map(|identity| Self { pid, identity })
    }

    pub fn is_alive(&self) -> bool {
        identity(self.pid).is_some_and(|now| now == self.identity)
    }

    /// False when it has ended, also when its number belongs to another program now: that one is left alone.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        self.is_alive() && kill_process(pid, signal).is_ok()
    }
}

/// Starts a server in a group of its own, so that Ctrl-C at the terminal does not reach it; it writes to `log`.
pub fn spawn(command: &mut Command, log: &Path) -> Result<Process> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = File::options().create(true).append(true).open(log);
    let out = out.with_context(|| format!("open {}", log.display()))?;
    let error = out.try_clone()?;
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    Process::with_pid(child.id()).with_context(|| format!("{program} ended at once; see {}", log.display()))
}

/// Looks every few milliseconds; false when `deadline` passed first.
pub fn wait(deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// None for a process that has ended, also while nobody has fetched its exit code.
fn identity(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") { from_proc(pid) } else { from_ps(pid) }
}

fn from_proc(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold some itself; then come the state and, 19 fields on, the start.
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1;
    let mut fields = tail.split(' ');
    let state = fields.next()?;
    let threads = fields.nth(16)?;
    let start = fields.nth(1)?;
    // Its first thread may have ended before others, which still hold its port.
    let ended = state == "X" || (state == "Z" && matches!(threads, "0" | "1"));
    (!ended).then(|| format!("{name} {start}"))
}

fn from_ps(pid: u32) -> Option<String> {
    let output =
        Command::new("ps").args(["-o", "stat=,lstart=,comm=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (state, rest) = text.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| rest.trim().to_owned())
}

/// Absolute path of a program on the search path.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
