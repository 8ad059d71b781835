//! PostgreSQL. It refuses to run as root: then it gets the user `postgres`, and a folder which that user can reach.

use super::instance::{Instance, Server};
use super::process::{self, Process};
use super::{Kind, install, progress, version_of};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What it calls a fast shutdown: connections are cut, nothing is lost.
pub const STOP: Signal = Signal::INT;
const USER: &str = "postgres";

pub fn url(port: u16) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/postgres")
}

/// `fast` is None when neither was asked for: as it was, at first with fsync.
pub fn up(instance: &mut Instance, fast: Option<bool>) -> Result<()> {
    let was = instance.state().fast.unwrap_or(false);
    let described = |fast| if fast { "without fsync" } else { "with fsync" };
    if instance.runs(Kind::Postgres) {
        if fast.is_some_and(|fast| fast != was) {
            bail!(
                "postgres runs {} in this instance; stop it by `down`, or take another --instance",
                described(was)
            );
        }
        progress(&format!("postgres: already up, {}", described(was)));
        return Ok(());
    }
    let fast = fast.unwrap_or(was);
    instance.change(|state| state.fast = Some(fast))?;
    let programs = install::postgres()?;
    let version = version_of(&programs.join("postgres"), "--version")?;
    let version = version.split_whitespace().nth(2).unwrap_or("?").to_owned();
    let folder = folder(instance)?;
    let port = instance.port("postgres")?;
    if !folder.join("PG_VERSION").exists() {
        init(&programs, &folder)?;
    }
    progress(&format!("postgres {version}: starting on port {port}, {}", described(fast)));
    start(&programs, &folder, port, fast)?;
    let process = postmaster(&folder)?;
    instance.add(Server::new(Kind::Postgres, "postgres", process, port, version))
}

fn init(programs: &Path, folder: &Path) -> Result<()> {
    progress(&format!("postgres: making a database cluster in {}", folder.display()));
    let mut command = as_user(&programs.join("initdb"));
    command.arg("-D").arg(folder).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    // Its parent's working folder may be closed to that user.
    let output = command.current_dir("/").stdin(Stdio::null()).output().context("start initdb")?;
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "initdb failed: {told}");
    Ok(())
}

fn start(programs: &Path, folder: &Path, port: u16, fast: bool) -> Result<()> {
    let log = folder.join("log");
    let mut options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 \
         -c shared_buffers=64MB -c wal_level=logical -c max_prepared_transactions=0"
    );
    if fast {
        options.push_str(" -c fsync=off -c synchronous_commit=off -c full_page_writes=off");
    }
    let mut command = as_user(&programs.join("pg_ctl"));
    command.arg("-D").arg(folder).arg("-l").arg(&log).args(["-w", "-t", "30", "-o", &options, "start"]);
    // The server must not hold this program's output open.
    let status =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(status.context("start pg_ctl")?.success(), "postgres did not start; see {}", log.display());
    Ok(())
}

fn postmaster(folder: &Path) -> Result<Process> {
    let path = folder.join("postmaster.pid");
    let read = || -> Option<Process> {
        let text = fs::read_to_string(&path).ok()?;
        Process::with_pid(text.lines().next()?.trim().parse().ok()?)
    };
    let mut found = None;
    process::wait(Instant::now() + Duration::from_secs(5), || {
        found = read();
        found.is_some()
    });
    found.with_context(|| format!("{} names no running process", path.display()))
}

/// Makes the folder for the cluster: in the instance's, or among temporary files when its user can't get there.
fn folder(instance: &mut Instance) -> Result<PathBuf> {
    if let Some(folder) = instance.state().postgres.clone().filter(|folder| folder.exists()) {
        return Ok(folder);
    }
    let own = instance.folder("")?.join("postgres");
    if !is_root() {
        fs::create_dir_all(&own).with_context(|| format!("make the folder {}", own.display()))?;
        restrict(&own)?;
        return Ok(own);
    }
    let parent = own.parent().unwrap_or(Path::new("/"));
    let reaches = as_user(Path::new("test")).arg("-x").arg(parent).current_dir("/").status();
    let folder = if reaches.context("start runuser")?.success() {
        own
    } else {
        let name = format!("artel-backends-{}-{}", std::process::id(), super::ports::start());
        let folder = std::env::temp_dir().join(name);
        progress(&format!(
            "postgres: its user can't reach {}; it gets {}",
            parent.display(),
            folder.display()
        ));
        folder
    };
    fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    restrict(&folder)?;
    let owned = Command::new("chown").arg(format!("{USER}:")).arg(&folder).status().context("start chown")?;
    ensure!(owned.success(), "can't give {} to the user {USER}", folder.display());
    instance.change(|state| state.postgres = Some(folder.clone()))?;
    Ok(folder)
}

fn restrict(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("restrict {}", folder.display()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--"]).arg(program);
    command
}
