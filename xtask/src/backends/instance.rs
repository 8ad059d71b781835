//! A set of servers: its folder, its ports, and the file that says which processes they are.

use super::process::Process;
use super::{Kind, ports, postgres, progress};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STATE: &str = "state.json";
const LOCKS: &str = ".locks";

pub struct Instance {
    name: String,
    dir: PathBuf,
    folder: PathBuf,
    state: State,
    /// Held while servers are started and stopped, so that two calls don't do the same.
    _lock: Option<File>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    servers: Vec<Server>,
    /// Kept over a restart, so that clients find a server again.
    ports: BTreeMap<String, u16>,
    pub brokers: Option<u8>,
    #[serde(default)]
    pub kafka_settings: Vec<String>,
    pub fast: Option<bool>,
    /// Where PostgreSQL's files had to go when its user can't reach the instance's folder.
    pub postgres: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    pub kind: Kind,
    pub name: String,
    pub process: Process,
    pub port: u16,
    pub version: String,
    /// Seconds since 1970.
    started: u64,
}

impl Server {
    pub fn new(kind: Kind, name: &str, process: Process, port: u16, version: String) -> Self {
        Self { kind, name: name.to_owned(), process, port, version, started: seconds_now() }
    }
}

impl Instance {
    /// Waits while another call works on the same instance.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        let lock = lock(dir, name)?;
        Ok(Self { _lock: Some(lock), ..Self::look(dir, name)? })
    }

    /// To look at only: waits for nobody.
    pub fn look(dir: &Path, name: &str) -> Result<Self> {
        let folder = dir.join(name);
        let state = match fs::read_to_string(folder.join(STATE)) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged", folder.join(STATE).display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", folder.join(STATE).display()));
            }
        };
        Ok(Self { name: name.to_owned(), dir: dir.to_owned(), folder, state, _lock: None })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        change(&mut self.state);
        self.save()
    }

    pub fn servers(&self) -> &[Server] {
        &self.state.servers
    }

    pub fn runs(&self, kind: Kind) -> bool {
        self.state.servers.iter().any(|server| server.kind == kind)
    }

    /// Put down as soon as it is started and before it answers: a call that is broken off leaves nothing behind unknown.
    pub fn add(&mut self, server: Server) -> Result<()> {
        self.change(|state| {
            state.servers.push(server);
            state.servers.sort_by(|a, b| a.name.cmp(&b.name));
        })
    }

    pub fn forget_the_dead(&mut self) -> Result<()> {
        let before = self.state.servers.len();
        self.state.servers.retain(|server| server.process.is_alive());
        if self.state.servers.len() == before { Ok(()) } else { self.save() }
    }

    /// A folder of this instance, made if it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
        Ok(folder)
    }

    pub fn known_port(&self, name: &str) -> Option<u16> {
        self.state.ports.get(name).copied()
    }

    /// The port of `name`: the one it had if that is free, else a new one that no instance of this folder has.
    pub fn port(&mut self, name: &str) -> Result<u16> {
        let _all = lock(&self.dir, ".ports")?;
        let mut taken = BTreeSet::new();
        for other in names(&self.dir)?.iter().filter(|other| **other != self.name) {
            let text = fs::read_to_string(self.dir.join(other).join(STATE)).unwrap_or_default();
            taken.extend(
                serde_json::from_str(&text).map_or(BTreeMap::new(), |s: State| s.ports).into_values(),
            );
        }
        let own = self.state.ports.get(name).copied();
        taken.extend(self.state.ports.values().filter(|port| Some(**port) != own));
        let port = ports::free(own.unwrap_or_else(ports::start), &taken)?;
        self.change(|state| {
            state.ports.insert(name.to_owned(), port);
        })?;
        Ok(port)
    }

    /// The variables that tests read, one a line.
    pub fn environment(&self) -> String {
        let mut lines = String::new();
        let all = |kind| self.state.servers.iter().filter(move |server| server.kind == kind);
        let kafka: Vec<_> = all(Kind::Kafka).map(|server| format!("127.0.0.1:{}", server.port)).collect();
        if !kafka.is_empty() {
            let _ = writeln!(lines, "ARTEL_TEST_KAFKA={}", kafka.join(","));
        }
        for server in all(Kind::Postgres) {
            let _ = writeln!(lines, "ARTEL_TEST_POSTGRES={}", postgres::url(server.port));
        }
        for server in all(Kind::Redis) {
            let _ = writeln!(lines, "ARTEL_TEST_REDIS=redis://127.0.0.1:{}", server.port);
        }
        lines
    }

    /// What `status` prints.
    pub fn describe(&self) -> String {
        let mut text = format!("{} in {}\n", self.name, self.folder.display());
        if self.state.servers.is_empty() {
            text.push_str("  nothing runs\n");
        }
        for server in &self.state.servers {
            let up = if server.process.is_alive() {
                format!("up {}", spoken(seconds_now().saturating_sub(server.started)))
            } else {
                "has ended".to_owned()
            };
            let Server { name, process, port, version, .. } = server;
            let _ = writeln!(text, "  {name:<9} {version:<8} port {port:<5} pid {:<8} {up}", process.pid);
        }
        text
    }

    /// Removes all data. Nothing may run any more.
    pub fn wipe(self) -> Result<()> {
        ensure!(self.state.servers.is_empty(), "stop the servers of '{}' first", self.name);
        for folder in self.state.postgres.iter().chain([&self.folder]) {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", folder.display()));
                }
                _ => progress(&format!("{}: removed", folder.display())),
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let path = self.folder("")?.join(STATE);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(&self.state)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("write {}", path.display()))
    }
}

/// The instances below a folder.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str()
            && entry.path().join(STATE).is_file()
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Names are folders, and parts of settings.
pub fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() <= 40 {
        Ok(text.to_owned())
    } else {
        Err("use up to 40 lowercase letters, digits and hyphens, such as crashes-2".to_owned())
    }
}

/// Waits for the lock `name` of this folder; it ends with the file.
pub fn lock(dir: &Path, name: &str) -> Result<File> {
    let folder = dir.join(LOCKS);
    fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let path = folder.join(name);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

pub fn spoken(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
