//! Redis, in memory alone: a cache has nothing to keep.

use super::instance::{Instance, Server};
use super::{Kind, install, process, progress, version_of};
use anyhow::{Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

pub fn up(instance: &mut Instance) -> Result<()> {
    if instance.runs(Kind::Redis) {
        progress("redis: already up");
        return Ok(());
    }
    let program = install::program("redis-server", "redis-server", "redis")?;
    let version = version_of(&program, "--version")?;
    let version =
        version.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned();
    let folder = instance.folder("redis")?;
    let port = instance.port("redis")?;
    let log = folder.join("log");
    progress(&format!("redis {version}: starting on port {port}"));
    let mut command = Command::new(program);
    command.current_dir(&folder).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--port", &port.to_string()]);
    let process = process::spawn(&mut command, &log)?;
    instance.add(Server::new(Kind::Redis, "redis", process.clone(), port, version))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let ready = process::wait(deadline, || answers(port) || !process.is_alive());
    ensure!(ready && process.is_alive(), "redis does not answer; see {}", log.display());
    Ok(())
}

fn answers(port: u16) -> bool {
    let ping = || -> std::io::Result<bool> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ping().unwrap_or(false)
}
