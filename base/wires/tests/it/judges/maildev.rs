//! Mails through maildev, read back over its REST interface.

use crate::foreign::maildev::Maildev;
use crate::mail::{letter, written};
use crate::smtp::{code, settings, with_content};
use artel_wires::smtp::{Client, Login, Secret, Settings};

fn at(maildev: &Maildev) -> Settings {
    settings(([127, 0, 0, 1], maildev.smtp).into())
}

#[tokio::test]
async fn a_whole_letter_is_read_as_it_was_written() {
    let test = "judges::maildev::a_whole_letter_is_read_as_it_was_written";
    let Some(maildev) = Maildev::start(test, &[]).await else { return };
    let letter = letter();
    let mail = with_content("anna@example.org", &written(&letter));
    assert_eq!(code(&Client::new(at(&maildev)).unwrap().send(&mail).await), 250);
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
    let source = maildev.source(id).await;
    assert!(source.ends_with(&written(&letter)), "{}", String::from_utf8_lossy(&source));
}

#[tokio::test]
async fn many_mails_go_over_a_kept_connection_with_a_login() {
    let test = "judges::maildev::many_mails_go_over_a_kept_connection_with_a_login";
    let arguments = ["--incoming-user", "shop", "--incoming-pass", "open sesame"];
    let Some(maildev) = Maildev::start(test, &arguments).await else { return };
    let login = |secret: &str| Some(Login { user: "shop".into(), secret: Secret::new(secret) });
    let client = Client::new(Settings { login: login("open sesame"), ..at(&maildev) }).unwrap();
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
    let wrong = Client::new(Settings { login: login("closed"), ..at(&maildev) }).unwrap();
    let mail = with_content("anna@example.org", b"Subject: a\r\n\r\nb\r\n");
    assert_eq!(code(&wrong.send(&mail).await), 535);
}
