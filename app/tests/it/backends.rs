//! Real servers of a test's own, to be killed and started again, by `cargo xtask backends`.

use crate::nodes::Servers;
use crate::system::{given, stderr};
use crate::until::until;
use artel_store::conformance::database_on;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A set of servers; it ends with the test.
pub struct Backends {
    instance: String,
    /// What `up` starts again.
    which: Vec<String>,
}

impl Backends {
    /// Starts these servers with these options of `up`; `None`, said on the standard output, where servers are not asked for.
    pub fn start(name: &str, which: &[&str], options: &[&str]) -> Option<Backends> {
        given("ARTEL_TEST_KAFKA")?;
        let instance = format!("{name}-{}", std::process::id());
        let backends = Backends { instance, which: which.iter().map(ToString::to_string).collect() };
        backends.run(&[&["up"], which, options].concat());
        Some(backends)
    }

    /// SIGKILL to a server, by its name in `status`.
    pub fn kill(&self, server: &str) {
        self.run(&["signal", server, "kill"]);
    }

    /// Starts what was killed. What a killed server left behind may need a moment to go.
    pub async fn up(&self) {
        let again = || self.call(&self.again()).status.success().then_some(());
        until("the servers to be up again", async || again()).await;
    }

    /// Where a server keeps what it knows.
    pub fn folder(&self, server: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/backends").join(&self.instance).join(server)
    }

    /// The value of a variable that `up` prints.
    pub fn given(&self, name: &str) -> String {
        let lines = self.run(&self.again());
        let value = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{name} in {lines}")).to_owned()
    }

    /// Where all of them are, with a new database.
    pub async fn servers(&self) -> Servers {
        let database = database_on(&self.given("ARTEL_TEST_POSTGRES")).await;
        Servers { kafka: self.given("ARTEL_TEST_KAFKA"), redis: self.given("ARTEL_TEST_REDIS"), database }
    }

    fn again(&self) -> Vec<&str> {
        [&["up"][..], &self.which.iter().map(String::as_str).collect::<Vec<_>>()].concat()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn call(&self, arguments: &[&str]) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Command::new("cargo")
            .args(["xtask", "backends"])
            .args(arguments)
            .args(["--instance", &self.instance])
            .current_dir(root)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.run(&["down", "--wipe"]);
    }
}
