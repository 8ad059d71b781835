//! Programs of others that judge our clients in tests: packages by name from npm, PyPI, Maven and Debian, into `.cache/foreign`, where
//! `node_modules`, `python/bin`, `java` and `debian` hold them. Tests are given that folder as `ARTEL_TEST_FOREIGN`.

use super::{install, process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each with its version.
const NPM: &[&str] = &["maildev@2.2.1", "smpp@0.5.1"];
/// Each with its version. `dkimpy` verifies Ed25519 with `pynacl`, `pyjwt` and `http_ece` need `cryptography`, `google-auth` asks
/// for tokens with `requests`.
const PIP: &[&str] = &[
    "dkimpy==1.1.8",
    "pynacl==1.6.2",
    "cryptography==50.0.2",
    "google-auth==2.62.2",
    "http_ece==1.2.1",
    "pyjwt==2.15.1",
    "requests==2.34.2",
    "twilio==9.13.0",
];
/// Unpacked and not installed: installing one would start a server on this machine.
const DEBIAN: &[&str] = &["postfix"];
/// What Maven fetches, with what that needs.
const POM: &str = "base/wires/tests/java/pom.xml";

/// Fetches what is not there as the lists say; each list anew when it changed.
pub fn fetch(root: &Path) -> Result<()> {
    let folder = root.join(".cache/foreign");
    fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let _alone = super::instance::lock(&root.join(".cache"), "foreign")?;
    once(&folder.join("node_modules"), NPM, |place| by_npm(&folder, place))?;
    once(&folder.join("python"), PIP, by_pip)?;
    let pom = fs::read_to_string(root.join(POM)).with_context(|| format!("read {POM}"))?;
    once(&folder.join("java"), &[&pom], |place| by_maven(&root.join(POM), place))?;
    if process::find("apt-get").is_some() {
        once(&folder.join("debian"), DEBIAN, by_debian)?;
    }
    Ok(())
}

/// A file in `place` says for which list it was made, and is written last: what was broken off is made anew.
fn once(place: &Path, list: &[&str], make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (stamp, wanted) = (place.join(".list"), list.join("\n"));
    if list.is_empty() || fs::read_to_string(&stamp).is_ok_and(|known| known == wanted) {
        return Ok(());
    }
    progress(&format!("fetching {} into {}", list.join(", "), place.display()));
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("remove {}", place.display()))?;
    }
    make(place)?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}

fn by_npm(folder: &Path, _: &Path) -> Result<()> {
    let npm = install::program("npm", "npm", "node")?;
    let options = ["install", "--silent", "--no-save", "--no-package-lock", "--ignore-scripts"];
    let mut command = Command::new(npm);
    finish(command.args(options).args(["--no-audit", "--no-fund", "--prefix"]).arg(folder).args(NPM))
}

fn by_pip(place: &Path) -> Result<()> {
    let python = install::program("python3", "python3-venv", "python")?;
    if finish(Command::new(&python).args(["-m", "venv"]).arg(place)).is_err() {
        // Debian keeps the module apart from its Python.
        install::apt(&["python3-venv"])?;
        finish(Command::new(&python).args(["-m", "venv", "--clear"]).arg(place))?;
    }
    let options = ["install", "--quiet", "--disable-pip-version-check"];
    finish(Command::new(place.join("bin/pip")).args(options).args(PIP))
}

fn by_maven(pom: &Path, place: &Path) -> Result<()> {
    let maven = install::program("mvn", "maven", "maven")?;
    let mut command = Command::new(maven);
    command.args(["-B", "-q", "-ntp", "-Dstyle.color=never", "-f"]).arg(pom).arg(install::COPY);
    command.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", place.display()));
    finish(&mut command)
}

fn by_debian(place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("make the folder {}", place.display()))?;
    let options = ["-o", "DPkg::Lock::Timeout=600", "-qq"];
    // Only the superuser can bring the lists up to date; without it they may be good enough.
    if rustix::process::geteuid().is_root() {
        finish(Command::new("apt-get").args(options).arg("update"))?;
    }
    let mut download = Command::new("apt-get");
    download.args(options).args(["-o", "APT::Sandbox::User=", "download"]).args(DEBIAN).current_dir(place);
    finish(&mut download)?;
    let files = fs::read_dir(place)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let packages: Vec<_> =
        files.iter().filter(|file| file.extension().is_some_and(|end| end == "deb")).collect();
    ensure!(packages.len() == DEBIAN.len(), "apt-get has not downloaded each of {}", DEBIAN.join(", "));
    packages.into_iter().try_for_each(|file| finish(Command::new("dpkg-deb").arg("-x").arg(file).arg(place)))
}

/// Says what the program said if it failed.
fn finish(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    bail!("{name} failed with {}: {}{}", output.status, said.trim(), errors.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_fetched_once_and_again_when_it_changed_or_was_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let mut made = 0;
        let mut fetch = |list: &[&str], fails: bool| {
            let result = once(&place, list, |place| {
                made += 1;
                fs::create_dir(place)?;
                ensure!(!fails, "broken off");
                Ok(())
            });
            (result.is_ok(), made)
        };
        assert_eq!(fetch(&[], false), (true, 0));
        assert_eq!(fetch(&["a@1"], false), (true, 1));
        assert_eq!(fetch(&["a@1"], false), (true, 1));
        assert_eq!(fetch(&["a@1", "b@1"], true), (false, 2));
        assert_eq!(fetch(&["a@1", "b@1"], false), (true, 3));
        assert_eq!(fetch(&["a@1", "b@1"], false), (true, 3));
    }
}
