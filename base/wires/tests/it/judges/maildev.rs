//! Mails through maildev, read back over its REST interface.

use super::{Server, given, port, until};
use crate::mail::{letter, written};
use crate::smtp::{code, settings, with_content};
use artel_wires::smtp::{Client, Login, Secret, Settings};
use serde_json::Value;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAILDEV: &str = "node_modules/maildev/bin/maildev";

struct Maildev {
    _server: Server,
    smtp: u16,
    web: u16,
}

impl Maildev {
    async fn start(test: &str, more: &[&str]) -> Option<Maildev> {
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
    async fn body(&self, path: &str) -> Option<Vec<u8>> {
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
    async fn mails(&self, count: usize) -> Vec<Value> {
        until("the mails", async || {
            let Value::Array(mails) = self.get("/email").await? else { return None };
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    fn settings(&self) -> Settings {
        settings(([127, 0, 0, 1], self.smtp).into())
    }
}

#[tokio::test]
async fn a_whole_letter_is_read_as_it_was_written() {
    let test = "maildev::a_whole_letter_is_read_as_it_was_written";
    let Some(maildev) = Maildev::start(test, &[]).await else { return };
    let letter = letter();
    let mail = with_content("anna@example.org", &written(&letter));
    assert_eq!(code(&Client::new(maildev.settings()).unwrap().send(&mail).await), 250);
    let mails = maildev.mails(1).await;
    let seen = &mails[0];
    assert_eq!(seen["subject"], letter.subject);
    assert_eq!(seen["text"].as_str().unwrap().trim_end(), letter.text.clone().unwrap().trim_end());
    assert_eq!(seen["html"].as_str().unwrap().trim_end(), letter.html.clone().unwrap().trim_end());
    assert_eq!(seen["from"][0]["name"], letter.from.name);
    assert_eq!(seen["to"][0]["name"], letter.to.name);
    assert_eq!(seen["envelope"]["to"][0]["address"], "anna@example.org");
    let headers = &seen["headers"];
    assert_eq!(headers["message-id"], "<parcel-1@shop.example>");
    assert_eq!(headers["list-unsubscribe-post"], "List-Unsubscribe=One-Click");
    let unsubscribe = headers["list-unsubscribe"].as_str().unwrap();
    assert_eq!(unsubscribe, "<https://shop.example/u/1>, <mailto:leave@shop.example>");
    assert_eq!(headers["x-shop"], "да, это мы");
    let attachments = seen["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 2);
    for attached in &letter.attachments {
        let found = attachments.iter().find(|one| one["fileName"] == attached.name.as_str()).unwrap();
        assert_eq!(found["contentType"], attached.kind.as_str());
        assert_eq!(found["length"], attached.bytes.len());
    }
    let picture = attachments.iter().find(|one| one["contentId"] == "map@shop.example").unwrap();
    assert_eq!(picture["contentType"], "image/png");
    let id = seen["id"].as_str().unwrap();
    let name = picture["generatedFileName"].as_str().unwrap();
    let bytes = maildev.body(&format!("/email/{id}/attachment/{name}")).await.unwrap();
    assert_eq!(bytes, letter.pictures[0].bytes);
}

#[tokio::test]
async fn many_mails_go_over_a_kept_connection_with_a_login() {
    let test = "maildev::many_mails_go_over_a_kept_connection_with_a_login";
    let arguments = ["--incoming-user", "shop", "--incoming-pass", "open sesame"];
    let Some(maildev) = Maildev::start(test, &arguments).await else { return };
    let login = |secret: &str| Some(Login { user: "shop".into(), secret: Secret::new(secret) });
    let client = Client::new(Settings { login: login("open sesame"), ..maildev.settings() }).unwrap();
    for n in 0..20 {
        let lines = format!("Message-ID: <{n}@shop.example>\r\nSubject: {n}\r\n\r\n.\r\n..{n}\r\n");
        assert_eq!(code(&client.send(&with_content("anna@example.org", lines.as_bytes())).await), 250);
    }
    let mails = maildev.mails(20).await;
    let mut texts: Vec<_> =
        mails.iter().map(|mail| mail["text"].as_str().unwrap().trim_end().to_owned()).collect();
    texts.sort();
    let mut wanted: Vec<_> = (0..20).map(|n| format!(".\n..{n}")).collect();
    wanted.sort();
    assert_eq!(texts, wanted);
    let wrong = Client::new(Settings { login: login("closed"), ..maildev.settings() }).unwrap();
    let mail = with_content("anna@example.org", b"Subject: a\r\n\r\nb\r\n");
    assert_eq!(code(&wrong.send(&mail).await), 535);
}
