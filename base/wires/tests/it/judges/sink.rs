//! Mails to Postfix's smtp-sink, which also refuses and hangs up as it is told.

use super::{Server, given, port, until};
use crate::mail::{letter, written};
use crate::smtp::{code, settings, stage, with_content};
use artel_wires::Stage;
use artel_wires::smtp::Client;
use std::path::Path;
use std::process::Command;
use tokio::net::TcpStream;

const SINK: &str = "debian/usr/sbin/smtp-sink";

async fn sink(test: &str, arguments: &[&str]) -> Option<(Server, Client)> {
    let program = given(test, SINK)?;
    let libraries = program.parent()?.parent()?.join("lib/postfix");
    let port = port();
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", libraries);
    if is_superuser() {
        command.args(["-u", "nobody"]);
    }
    let server = Server::start(command.args(arguments).args([&format!("127.0.0.1:{port}"), "100"]));
    until("smtp-sink to listen", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    Some((server, Client::new(settings(([127, 0, 0, 1], port).into())).unwrap()))
}

fn is_superuser() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

#[tokio::test]
async fn what_it_writes_down_is_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    let template = folder.path().join("mail.").display().to_string();
    let test = "judges::sink::what_it_writes_down_is_what_was_sent";
    for more in [vec![], vec!["-p", "-8"], vec!["-e"]] {
        let arguments = [&["-d", &template][..], &more].concat();
        let Some((_server, client)) = sink(test, &arguments).await else { return };
        let dots = "Subject: a\r\n\r\n.\r\n..b\r\n\r\n \r\n.".to_owned();
        for content in [written(&letter()), dots.into_bytes()] {
            assert_eq!(code(&client.send(&with_content("anna@example.org", &content)).await), 250);
            let dumped = until("the dump", async || dump(folder.path())).await;
            let text = String::from_utf8(content).unwrap().replace("\r\n", "\n");
            let (envelope, rest) = dumped.split_once("Received:").unwrap();
            assert!(envelope.contains("X-Rcpt-Args: <anna@example.org>"), "{envelope}");
            // Its own header has folds, and a blank line of its own behind the mail.
            let mail = rest
                .split('\n')
                .skip_while(|line| !line.starts_with('\t'))
                .skip_while(|line| line.starts_with('\t'));
            assert_eq!(mail.collect::<Vec<_>>().join("\n").trim_end(), text.trim_end());
        }
    }
}

/// The only file, and its text; it is taken away.
fn dump(folder: &Path) -> Option<String> {
    let file = std::fs::read_dir(folder).unwrap().next()?.unwrap().path();
    let text = std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))?;
    std::fs::remove_file(file).unwrap();
    Some(text)
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}

#[tokio::test]
async fn its_refusals_are_told() {
    let test = "judges::sink::its_refusals_are_told";
    for (arguments, wanted) in [
        (["-r", "RCPT"], 450),
        (["-f", "RCPT"], 500),
        (["-f", "MAIL"], 500),
        (["-r", "DATA"], 450),
        (["-r", "."], 450),
        (["-f", "."], 500),
        (["-Q", "MAIL"], 421),
        (["-Q", "."], 421),
    ] {
        let Some((_server, client)) = sink(test, &arguments).await else { return };
        for _ in 0..3 {
            let handed = client.send(&with_content("anna@example.org", &written(&letter()))).await;
            assert_eq!(code(&handed), wanted, "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn where_it_hangs_up_is_known() {
    let test = "judges::sink::where_it_hangs_up_is_known";
    for (command, wanted) in [
        ("CONNECT", Stage::Before),
        ("EHLO,HELO", Stage::Before),
        ("MAIL", Stage::Before),
        ("RCPT", Stage::Before),
        ("DATA", Stage::Before),
        (".", Stage::After),
    ] {
        let Some((_server, client)) = sink(test, &["-q", command]).await else { return };
        let handed = client.send(&with_content("anna@example.org", &written(&letter()))).await;
        assert_eq!(stage(&handed), wanted, "{command}");
    }
}
