//! Programs that answer over HTTP, each a process of its own that ends with the run.

use crate::cpu::resident;
use anyhow::{Context, Result, ensure};
use artel_frame::config::Secret;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::{NamedTempFile, TempDir};

/// An account that sends nothing, behind what the caller's own file says.
const ACCOUNT: &str = "[[notify.sms.accounts]]\nname = \"nobody\"\nnone = {}\n";

pub(super) struct Program {
    pub url: String,
    /// The node's own, for who asks it.
    pub token: Option<Secret>,
    child: Child,
    _place: Place,
}

/// What is gone when it ends.
enum Place {
    Folder { _folder: TempDir },
    File { _file: NamedTempFile },
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// `artel run` on a folder of its own, with these settings; the program beside this one, unless another is named.
    pub fn node(program: Option<&Path>, config: Option<&Path>) -> Result<Program> {
        let folder = TempDir::new()?;
        let own = config.map(fs::read_to_string).transpose().context("--config")?.unwrap_or_default();
        let file = folder.path().join("artel.toml");
        fs::write(&file, format!("{own}\n{ACCOUNT}"))?;
        let program = program.map_or_else(beside, |program| Ok(program.to_owned()))?;
        ensure!(program.exists(), "{} is not there; build it, or name it with --artel", program.display());
        let data = folder.path().join("data");
        let mut command = Command::new(program);
        command.args(["run", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data).arg("--config").arg(&file);
        // A line of its log for each request, as it is by default, but not between our own.
        let log = folder.path().join("log");
        command.stderr(fs::File::create(&log)?);
        let (url, child) = begin(&mut command)
            .with_context(|| format!("it said: {}", fs::read_to_string(&log).unwrap_or_default()))?;
        let token = fs::read_to_string(data.join("operator-token")).ok();
        let token = token.map(|token| Secret::new(token.trim()));
        Ok(Program { url, token, child, _place: Place::Folder { _folder: folder } })
    }

    /// The plain route with this answer.
    pub fn twin(answer: &[u8]) -> Result<Program> {
        let mut file = NamedTempFile::new()?;
        let text = String::from_utf8_lossy(answer).replace("\"source\":\"database\"", "\"source\":\"cache\"");
        file.write_all(text.as_bytes())?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("status-server").arg(file.path());
        let (url, child) = begin(&mut command)?;
        Ok(Program { url, token: None, child, _place: Place::File { _file: file } })
    }

    /// Memory in use, in bytes.
    pub fn resident(&self) -> Result<u64> {
        resident(&self.child.id().to_string()).context("the system does not tell how much memory there is")
    }
}

fn beside() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("artel"))
}

/// Starts it and waits until it says where it is ready.
fn begin(command: &mut Command) -> Result<(String, Child)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("it does not start")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines().map_while(Result::ok);
    let found = lines.by_ref().find_map(|line| {
        let at = line.split_once("is ready at ")?.1;
        Some(at.split_whitespace().next()?.trim_end_matches([',', '/']).to_owned())
    });
    let Some(url) = found else {
        let _ = child.kill();
        anyhow::bail!("it ended before it was ready: {}", child.wait()?);
    };
    // What else it says is read away, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((url, child))
}
