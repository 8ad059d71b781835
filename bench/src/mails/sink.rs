//! The other side: smtp-sink, or our simulator in a process of its own.

use super::{Load, TEXT};
use anyhow::{Context, Result, bail, ensure};
use artel_wires::simulators::smtp::{Settings, Simulator};
use artel_wires::simulators::{Board, all_good};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Bytes of arrivals that our simulator remembers: nobody looks at them.
const REMEMBERED: usize = 1 << 20;
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// Postfix's programs.
pub(super) struct Tools {
    folder: PathBuf,
}

/// A server that ends with this.
pub(super) struct Sink {
    pub port: u16,
    child: Child,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tools {
    pub fn in_folder(foreign: &Path) -> Result<Tools> {
        let folder = foreign.join("debian/usr");
        let program = folder.join("sbin/smtp-source");
        ensure!(
            program.exists(),
            "{} is not there; `cargo xtask backends install` fetches it",
            program.display()
        );
        Ok(Tools { folder })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join("sbin").join(name));
        command.env("LD_LIBRARY_PATH", self.folder.join("lib/postfix"));
        command
    }

    /// How long smtp-source takes for as many mails.
    pub fn source(&self, sink: &Sink, load: &Load) -> Result<Duration> {
        let begun = Instant::now();
        let status = self
            .command("smtp-source")
            .args(["-d", "-s", &load.connections.to_string(), "-m", &load.mails.to_string()])
            .args(["-l", &TEXT.to_string(), "-f", "parcels@example.com", "-t", "anna@example.org"])
            .arg(format!("127.0.0.1:{}", sink.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("smtp-source does not start")?;
        ensure!(status.success(), "smtp-source: {status}");
        Ok(begun.elapsed())
    }
}

impl Sink {
    pub async fn start(tools: Option<&Tools>) -> Result<Sink> {
        match tools {
            Some(tools) => Sink::postfix(tools).await,
            None => Sink::own(),
        }
    }

    async fn postfix(tools: &Tools) -> Result<Sink> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = tools.command("smtp-sink");
        // It wants to be nobody where it could be everybody.
        let id = Command::new("id").arg("-u").output().context("id -u")?;
        if id.stdout.trim_ascii() == b"0" {
            command.args(["-u", "nobody"]);
        }
        command.args([&format!("127.0.0.1:{port}"), "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
        let sink = Sink { port, child: command.spawn().context("smtp-sink does not start")? };
        let until = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            ensure!(Instant::now() < until, "smtp-sink does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(sink)
    }

    fn own() -> Result<Sink> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("mail-server").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().map(BufReader::new).and_then(|out| out.lines().next());
        let Some(Ok(line)) = said else { bail!("our simulator says nothing") };
        let port = line.parse().with_context(|| format!("our simulator says {line}"))?;
        Ok(Sink { port, child })
    }
}

pub(super) async fn serve() -> Result<()> {
    let board = Board::new(REMEMBERED, Arc::new(|| 0));
    let server = Simulator::start(Settings::on((Ipv4Addr::LOCALHOST, 0).into()), board, all_good()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.address().port())?;
    out.flush()?;
    std::future::pending().await
}
