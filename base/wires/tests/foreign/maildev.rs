//! maildev: it takes mails, and gives them back over its REST interface.

use super::{Server, given, port, until};
use serde_json::Value;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAILDEV: &str = "node_modules/maildev/bin/maildev";

pub struct Maildev {
    _server: Server,
    pub smtp: u16,
    web: u16,
}

impl Maildev {
    pub async fn start(test: &str, more: &[&str]) -> Option<Maildev> {
        let program = given(test, MAILDEV)?;
        let (smtp, web) = (port(), port());
        let mut command = Command::new("node");
        command.arg(program).args(["--ip", "127.0.0.1", "--web-ip", "127.0.0.1"]);
        command.args(["--smtp", &smtp.to_string(), "--web", &web.to_string()]).args(more);
        let maildev = Maildev { _server: Server::start(&mut command), smtp, web };
        until("maildev to answer", async || maildev.get("/email").await).await;
        until("maildev to listen", async || TcpStream::connect(("127.0.0.1", smtp)).await.ok()).await;
        Some(maildev)
    }

    /// The body of an answer with 200.
    pub async fn body(&self, path: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.web)).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: maildev\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        answer.starts_with(b"HTTP/1.1 200").then(|| answer[end + 4..].to_vec())
    }

    async fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.body(path).await?).ok()
    }

    /// All mails, once there are so many.
    pub async fn mails(&self, count: usize) -> Vec<Value> {
        until("the mails", async || {
            let Value::Array(mails) = self.get("/email").await? else { return None };
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    /// A mail as it came, by what maildev calls it.
    pub async fn source(&self, id: &str) -> Vec<u8> {
        self.body(&format!("/email/{id}/download")).await.unwrap()
    }
}
