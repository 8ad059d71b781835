//! Programs of others, run by tests: of this crate, and of whoever sends through it. They lie in the folder that ARTEL_TEST_FOREIGN
//! names (`cargo xtask backends install` fetches them into .cache/foreign).

pub mod dkim;
pub mod maildev;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(120);

/// Where a program of others is, or a reason said aloud.
pub fn given(test: &str, program: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ARTEL_TEST_FOREIGN") {
        let path = PathBuf::from(folder).join(program);
        assert!(path.exists(), "{} is not there; `cargo xtask backends install` fetches it", path.display());
        return Some(path);
    }
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "ARTEL_TEST_FOREIGN is not set; `cargo xtask backends install` fetches into .cache/foreign what it names"
    );
    println!("skipped: {test}: ARTEL_TEST_FOREIGN is not set (others' programs, from ./test tools)");
    None
}

/// A server of others; it ends with the test.
pub struct Server(Child);

impl Server {
    pub fn start(command: &mut Command) -> Server {
        Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody has now.
pub fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Looks until there is something to see; fails with `what` when it takes too long.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    loop {
        looks.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for: {what}");
    }
}
