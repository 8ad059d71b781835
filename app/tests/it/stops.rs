//! Start, stop, and what the process takes.

use crate::process::Process;
use crate::system::{System, get, post, program, stderr};
use crate::until::until;
use rustix::process::Signal;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

/// More than this would not be small any more; the aim is below.
const MOST_MEMORY: u64 = 80 << 20;

#[tokio::test]
async fn an_idle_node_is_small_and_soon_ready() {
    let process = Process::start().await;
    let ready = get(&process, "/readyz").await;
    assert_eq!(ready["status"], "ready", "{ready}");
    println!("ready after {:?} on an empty folder", process.ready_after);
    match process.resident() {
        Some(resident) => {
            println!("{:.1} MiB resident when idle", resident as f64 / f64::from(1 << 20));
            assert!(resident <= MOST_MEMORY, "{resident} bytes resident");
        }
        None => {
            println!("skipped: an_idle_node_is_small_and_soon_ready: /proc has no memory of a process here")
        }
    }
}

#[tokio::test]
async fn sigterm_and_sigint_end_it_in_order() {
    let mut process = Process::start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let answer = post(&process, "/api/bridge/messages", &json!({ "topic": "t", "value": 1 })).await;
        assert_eq!(answer.status, 202);
        process.signal(signal);
        let status = process.ended().await;
        assert_eq!(status.code(), Some(0), "{}", process.log());
        assert!(process.log().contains("stopped"), "{}", process.log());
        assert!(!process.data_dir().join("operator-token").exists());
        process.begin();
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start().await;
    // A body that never ends holds the stop up.
    let mut stream = TcpStream::connect(process.url().trim_start_matches("http://")).unwrap();
    let head = "POST /api/bridge/messages:batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
                content-length: 100000\r\n\r\n{\"topic\"";
    stream.write_all(head.as_bytes()).unwrap();
    until("the request to run", async || {
        let metrics = process.client().get("/metrics").await.unwrap().text();
        metrics.contains("artel_http_requests_in_flight 2").then_some(())
    })
    .await;
    process.signal(Signal::TERM);
    until("the stop to begin", async || process.log().contains("a second signal").then_some(())).await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(1), "{}", process.log());
    process.begin();
    assert_eq!(get(&process, "/readyz").await["status"], "ready");
}

#[tokio::test]
async fn a_second_process_on_the_folder_is_refused() {
    let process = Process::start().await;
    let second = program()
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(process.data_dir())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let expected = format!(
        "artel: the data folder '{}' is in use by another process (pid {}); stop that one, or choose another folder with \
         --data-dir\n",
        process.data_dir().display(),
        process.id()
    );
    assert_eq!(stderr(&second), expected);
    assert_eq!(get(&process, "/readyz").await["status"], "ready");
}

#[tokio::test]
async fn the_operator_token_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let process = Process::start().await;
    let about = std::fs::metadata(process.data_dir().join("operator-token")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
}
