//! `cargo xtask backends`: real Kafka, PostgreSQL and Redis for tests and for trying things out, started from what Maven
//! and the system's packages give, without containers. A set of servers is an *instance*: a folder with their data and a
//! file that says which processes they are, so that a later call finds, shows and stops exactly these.

mod foreign;
mod install;
mod instance;
mod kafka;
mod ports;
mod postgres;
mod process;
mod redis;
mod wire;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Subcommand, ValueEnum};
use instance::{Instance, Server};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
#[command(after_help = "\
examples:
  cargo xtask backends up                             everything, and the variables that tests read
  export $(cargo xtask backends up kafka postgres)    these two, into the environment of this shell
  cargo xtask backends up kafka --brokers 3 --instance crashes
  cargo xtask backends signal kafka-2 kill --instance crashes
  cargo xtask backends status --all
  cargo xtask backends down --wipe --all")]
pub struct Args {
    #[command(subcommand)]
    command: Action,
    /// Where data and logs lie; by default .cache/backends of this workspace
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// A set of servers of its own, beside the others
    #[arg(long, global = true, value_name = "NAME", default_value = "default", value_parser = instance::parse_name)]
    instance: String,
}

#[derive(Subcommand)]
enum Action {
    /// Start what does not run yet, and print ARTEL_TEST_… lines; what is missing is installed first
    Up(Up),
    /// Stop the servers of an instance
    Down {
        /// Remove the data as well
        #[arg(long)]
        wipe: bool,
        /// Every instance below the folder
        #[arg(long)]
        all: bool,
        /// Kill what has not ended by itself after this many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 20)]
        within: u64,
    },
    /// Show each server with its process, port, version and time since its start
    Status {
        /// Every instance below the folder
        #[arg(long)]
        all: bool,
    },
    /// Send a signal to one server, for tests of crashes; `up` starts again what was killed
    Signal {
        /// As `status` names it, such as kafka-2
        server: String,
        #[arg(value_enum)]
        signal: Sent,
    },
    /// Install the servers and what the `kafka` feature needs to compile (as root on Debian), fetch Kafka by Maven, and
    /// programs of others that judge our clients in tests
    Install,
}

#[derive(clap::Args)]
struct Up {
    /// Which servers; without a name all of them
    #[arg(value_enum)]
    which: Vec<Kind>,
    /// Kafka brokers: one, or three with replication 3 and min.insync.replicas 2; without a word as before, at first one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=3))]
    brokers: Option<u8>,
    /// A setting for each broker, such as log.retention.check.interval.ms=500; may be repeated
    #[arg(long = "kafka-set", value_name = "KEY=VALUE", value_parser = kafka::parse_setting)]
    kafka_settings: Vec<String>,
    /// PostgreSQL with fsync, as is right for figures and crashes; without a word as before, at first this
    #[arg(long, conflicts_with = "fast")]
    durable: bool,
    /// PostgreSQL without fsync, for functional tests
    #[arg(long)]
    fast: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Kafka,
    Postgres,
    Redis,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kafka => "kafka",
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Sent {
    /// End at once, without a chance to clean up
    Kill,
    /// Ask to end
    Term,
    /// Freeze: connections stay open and nothing answers
    Stop,
    /// Go on after `stop`
    Cont,
}

pub fn run(root: &Path, args: Args) -> Result<()> {
    let dir = match args.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => root.join(".cache/backends"),
    };
    match args.command {
        Action::Up(up) => {
            let lines = start(root, &dir, &args.instance, up)?;
            print!("{lines}");
            Ok(())
        }
        Action::Down { wipe, all, within } => each(&dir, &args.instance, all, |name| {
            stop(Instance::open(&dir, name)?, wipe, Duration::from_secs(within))
        }),
        Action::Status { all } => each(&dir, &args.instance, all, |name| {
            print!("{}", Instance::look(&dir, name)?.describe());
            Ok(())
        }),
        Action::Signal { server, signal } => send(Instance::look(&dir, &args.instance)?, &server, signal),
        Action::Install => install::everything(root),
    }
}

/// Starts what is asked for and does not run; gives the environment lines of all that runs then.
fn start(root: &Path, dir: &Path, name: &str, up: Up) -> Result<String> {
    let mut kinds = up.which.clone();
    if kinds.is_empty() {
        kinds = vec![Kind::Kafka, Kind::Postgres, Kind::Redis];
    }
    kinds.sort_unstable();
    kinds.dedup();
    let mut instance = Instance::open(dir, name)?;
    instance.forget_the_dead()?;
    for kind in kinds {
        match kind {
            Kind::Kafka => kafka::up(&mut instance, root, up.brokers, &up.kafka_settings)?,
            Kind::Postgres => postgres::up(&mut instance, (up.fast || up.durable).then_some(up.fast))?,
            Kind::Redis => redis::up(&mut instance)?,
        }
    }
    let mut lines = instance.environment();
    if instance.runs(Kind::Kafka) {
        lines.push_str(&format!("ARTEL_TEST_KAFKA_LIBS={}\n", install::kafka_libs(root).display()));
    }
    Ok(lines)
}

fn each(dir: &Path, name: &str, all: bool, mut act: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let names = if all { instance::names(dir)? } else { vec![name.to_owned()] };
    if names.is_empty() {
        progress("no instance is known");
    }
    for name in names {
        act(&name)?;
    }
    Ok(())
}

/// Asks every server to end, all at the same time; who is still there after `within` is killed.
fn stop(mut instance: Instance, wipe: bool, within: Duration) -> Result<()> {
    instance.forget_the_dead()?;
    let servers = instance.servers().to_vec();
    for server in &servers {
        // A frozen process can't end.
        server.process.signal(Signal::CONT);
        server.process.signal(match server.kind {
            Kind::Postgres => postgres::STOP,
            Kind::Kafka | Kind::Redis => Signal::TERM,
        });
    }
    let deadline = Instant::now() + within;
    for server in &servers {
        if end(server, deadline) {
            progress(&format!("{}: stopped", server.name));
        } else {
            progress(&format!("{}: did not end within {} s; killed", server.name, within.as_secs()));
        }
    }
    instance.forget_the_dead()?;
    ensure!(
        instance.servers().is_empty(),
        "{} can't be stopped; see `cargo xtask backends status`",
        servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    if wipe { instance.wipe() } else { Ok(()) }
}

/// True when it ended by itself.
fn end(server: &Server, deadline: Instant) -> bool {
    if process::wait(deadline, || !server.process.is_alive()) {
        return true;
    }
    server.process.signal(Signal::KILL);
    process::wait(Instant::now() + Duration::from_secs(5), || !server.process.is_alive());
    false
}

fn send(instance: Instance, name: &str, signal: Sent) -> Result<()> {
    let Some(server) = instance.servers().iter().find(|server| server.name == name) else {
        let known: Vec<_> = instance.servers().iter().map(|server| server.name.as_str()).collect();
        bail!("no server '{name}' in this instance; there is: {}", known.join(", "));
    };
    let (signal, ends) = match signal {
        Sent::Kill => (Signal::KILL, true),
        Sent::Term => (Signal::TERM, true),
        Sent::Stop => (Signal::STOP, false),
        Sent::Cont => (Signal::CONT, false),
    };
    ensure!(server.process.signal(signal), "{name} does not run any more");
    if ends {
        let gone = process::wait(Instant::now() + Duration::from_secs(20), || !server.process.is_alive());
        ensure!(gone, "{name} has not ended within 20 s");
    }
    Ok(())
}

/// What happens goes to stderr: stdout is for the environment lines alone.
fn progress(line: &str) {
    eprintln!("backends: {line}");
}

/// The first line of what a program prints about its version, or an error that names the program.
fn version_of(program: &Path, argument: &str) -> Result<String> {
    let name = program.display();
    let output = std::process::Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("start {name} {argument}"))?;
    ensure!(output.status.success(), "{name} {argument} failed with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
