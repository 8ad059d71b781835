//! Servers that are away when a node starts, or go away later: it waits, says for whom, and goes on by itself.

use crate::address::free;
use crate::nodes::Servers;
use crate::system::program;
use crate::until::until;
use artel_frame::client::Client;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use tokio::task::JoinSet;

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A way to a server that can be cut: with it go the connections through it.
fn way(from: SocketAddr, to: String) -> JoinSet<()> {
    let mut way = JoinSet::new();
    way.spawn(async move {
        let listener = tokio::net::TcpListener::bind(from).await.unwrap();
        let mut connections = JoinSet::new();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let to = to.clone();
            connections.spawn(async move {
                if let Ok(mut far) = tokio::net::TcpStream::connect(&to).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    way
}

/// Until `/readyz` answers so, with this in its report.
async fn ready(client: &Client, status: u16, says: &str) {
    until(&format!("/readyz with {status} and '{says}'"), async || {
        let answer = client.get("/readyz").await.ok()?;
        (answer.status == status && answer.text().contains(says)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_database_at_the_start_and_later() {
    let Some(servers) = Servers::given().await else { return };
    let (near, listen) = (free(), free());
    let url = servers.database.url.clone();
    let far = url.split('@').next_back().unwrap().split('/').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    let settings = servers.settings("waiting", "").replace(&far, &near.to_string());
    std::fs::write(&config, settings).unwrap();
    let child = program()
        .args(["run", "--listen", &listen.to_string(), "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let client = Client::new(&format!("http://{listen}")).unwrap();
    ready(&client, 503, "waiting for the database (db.url)").await;
    assert_eq!(client.get("/livez").await.unwrap().status, 200, "it lives");
    assert_eq!(client.get("/api/bridge/stats").await.unwrap().status, 503, "it serves nothing yet");
    let open = way(near, far.clone());
    ready(&client, 200, "").await;
    drop(open);
    ready(&client, 503, "database bridge").await;
    let _open = way(near, far);
    ready(&client, 200, "").await;
}
