//! The account that sends mail, with all that can be set of it: against a server of others, and one under TLS that wants a login.

use crate::foreign::dkim::{python, verdicts};
use crate::foreign::maildev::Maildev;
use crate::{catalogue, get, reaches, send, to};
use artel_frame::Sandbox;
use artel_wires::mail::Dkim;
use artel_wires::simulators::smtp::{Early, Gate, Moment, Settings, Simulator, Tls};
use artel_wires::simulators::{Board, Refusal, Wanted, all_good};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder with files that settings name.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    async fn start(&self, settings: &str) -> Sandbox {
        let file = self.put("artel.toml", settings);
        let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(file);
        node.start().await.expect("the node starts")
    }
}

fn ed25519() -> String {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()
}

const RSA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../base/wires/tests/it/mail/rsa.pem");

#[tokio::test]
async fn a_mail_with_files_and_a_link_is_read_by_others_as_it_was_meant_and_its_signatures_hold() {
    let test = "mail::a_mail_with_files_and_a_link_is_read_by_others_as_it_was_meant_and_its_signatures_hold";
    let Some(python) = python(test) else { return };
    let Some(maildev) = Maildev::start(test, &[]).await else { return };
    let files = Files::new();
    let elliptic = ed25519();
    let settings = format!(
        "[notify]\npublic_url = \"https://parcels.example.com\"\nunsubscribe_secret_file = '{}'\n\
         [[notify.email.accounts]]\nname = \"post\"\n[notify.email.accounts.smtp]\nhost = \"127.0.0.1\"\nport = {}\n\
         security = \"none\"\nfrom = \"parcels@example.com\"\nfrom_name = \"Посылки\"\n\
         dkim = [{{ domain = \"example.com\", selector = \"r\", key_file = '{RSA}' }}, \
         {{ domain = \"example.com\", selector = \"e\", key_file = '{}' }}]\n",
        files.put("links", "a secret that is long enough for links"),
        maildev.smtp,
        files.put("ed25519.pem", &elliptic),
    );
    let node = files.start(&settings).await;
    let all_bytes: Vec<u8> = (0..40_000u32).map(|n| (n % 251) as u8).collect();
    let mut body = to(json!({ "email": "anna@example.org", "language": "ru" }), &["email"]);
    body["content"]["attachments"] = json!([
        { "name": "Накладная № 17.pdf", "media_type": "application/pdf", "base64": STANDARD.encode(&all_bytes) },
        { "name": "parcels.csv", "media_type": "text/csv", "base64": STANDARD.encode("a;b\r\n.\r\n") },
    ]);
    let id = send(&node, &body).await;
    reaches(&node, &id, "sent").await;

    let mails = maildev.mails(1).await;
    let seen = &mails[0];
    let found = |name: &str| {
        let all = seen["attachments"].as_array().unwrap();
        all.iter().find(|one| one["fileName"] == name).unwrap_or_else(|| panic!("{name} in {all:?}")).clone()
    };
    let mail = seen["id"].as_str().unwrap();
    for (name, kind, bytes) in [
        ("Накладная № 17.pdf", "application/pdf", &all_bytes[..]),
        ("parcels.csv", "text/csv", b"a;b\r\n.\r\n"),
    ] {
        let file = found(name);
        assert_eq!((&file["contentType"], &file["length"]), (&json!(kind), &json!(bytes.len())), "{name}");
        let path = format!("/email/{mail}/attachment/{}", file["generatedFileName"].as_str().unwrap());
        if name.is_ascii() {
            assert_eq!(maildev.body(&path).await.unwrap(), bytes);
        }
    }
    let headers = &seen["headers"];
    assert_eq!(headers["list-unsubscribe-post"], "List-Unsubscribe=One-Click");
    let link = headers["list-unsubscribe"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
    assert!(seen["text"].as_str().unwrap().contains(&link), "{}", seen["text"]);
    assert!(seen["html"].as_str().unwrap().contains("Отписаться"), "{}", seen["html"]);
    let path = link.strip_prefix("https://parcels.example.com").unwrap();
    assert_eq!(node.client().get(path).await.unwrap().status, 200);

    let source = maildev.source(mail).await;
    let rsa = fs::read_to_string(RSA).unwrap();
    let keys = [("r", rsa.as_str()), ("e", elliptic.as_str())];
    let keys = keys.map(|(selector, key)| Dkim::new("example.com", selector, key).unwrap());
    assert_eq!(verdicts(&python, &source, &keys), ["good", "good"]);
    // The signature covers the link and the click, as RFC 8058 asks for.
    let text = String::from_utf8(source).unwrap();
    for (from, to) in
        [("/unsubscribe/", "/unsubscribed/"), ("List-Unsubscribe=One-Click", "List-Unsubscribe=No-Click")]
    {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let verdicts = verdicts(&python, changed.as_bytes(), &keys);
        assert!(verdicts.iter().all(|verdict| verdict != "good"), "{from}: {verdicts:?}");
    }
    node.stop().await;
}

/// An authority, and a certificate of it for `localhost`, all in PEM: (authority, certificate, key).
fn certificates() -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap().pem();
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &Issuer::new(authority, key)).unwrap();
    (root, leaf.pem(), own.serialize_pem())
}

/// A server that wants this user; whoever else logs in is refused.
async fn server(tls: Tls, user: &'static str) -> (Simulator, Board) {
    let board = Board::new(64 << 20, Arc::new(|| 0));
    let gate: Gate = Arc::new(move |moment| match moment {
        Moment::Login(login) if login != user => {
            let text = "credentials invalid".to_owned();
            Some(Early::Refuse(Refusal::Smtp { code: 535, enhanced: "5.7.8".to_owned(), text }))
        }
        _ => None,
    });
    let settings = Settings { tls, gate: Some(gate), ..Settings::on("127.0.0.1:0".parse().unwrap()) };
    (Simulator::start(settings, board.clone(), all_good()).await.unwrap(), board)
}

/// The settings of an account there.
fn account(name: &str, server: &Simulator, more: &str) -> String {
    format!(
        "[[notify.email.accounts]]\nname = \"{name}\"\n[notify.email.accounts.smtp]\nhost = \"localhost\"\nport = {}\n\
         from = \"parcels@example.com\"\n{more}\n",
        server.address().port()
    )
}

#[tokio::test]
async fn mails_go_under_tls_that_an_authority_of_ours_vouches_for_with_a_login() {
    let (root, certificate, key) = certificates();
    let files = Files::new();
    let (roots, secret) = (files.put("ca.pem", &root), files.put("secret", "open sesame\n"));
    for security in ["starttls", "tls"] {
        let (certificate, key) = (certificate.clone(), key.clone());
        let tls = match security {
            "tls" => Tls::Implicit { certificate, key },
            _ => Tls::StartTls { certificate, key },
        };
        let (server, board) = server(tls, "parcels").await;
        let trusted = format!(
            "security = \"{security}\"\nuser = \"parcels\"\nsecret_file = '{secret}'\nroots_file = '{roots}'"
        );
        let node = files.start(&account("post", &server, &trusted)).await;
        let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
        reaches(&node, &id, "sent").await;
        let arrived = board.list(&Wanted::default());
        assert_eq!((arrived.len(), arrived[0].account.as_str()), (1, "parcels"), "{security}");
        node.stop().await;

        // Without the authority the server is nobody: nothing is said to it, not even who we are.
        let unknown = format!("security = \"{security}\"\nuser = \"parcels\"\nsecret_file = '{secret}'");
        let settings = format!("[notify.retry]\ntries = 1\n{}", account("post", &server, &unknown));
        let node = files.start(&settings).await;
        let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
        let failed = reaches(&node, &id, "failed").await;
        assert!(failed["legs"][0]["reason"].as_str().unwrap().starts_with("no connection"), "{failed}");
        assert_eq!(board.list(&Wanted::default()).len(), 1);
        node.stop().await;
    }
}

#[tokio::test]
async fn an_account_whose_secret_is_wrong_is_out_of_use_and_the_next_one_sends() {
    let (root, certificate, key) = certificates();
    let files = Files::new();
    let roots = files.put("ca.pem", &root);
    let tls = |certificate: &str, key: &str| Tls::StartTls {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let (wrong, nothing) = server(tls(&certificate, &key), "somebody else").await;
    let (right, board) = server(tls(&certificate, &key), "parcels").await;
    let secret = files.put("secret", "open sesame");
    let login = format!("user = \"parcels\"\nsecret_file = '{secret}'\nroots_file = '{roots}'");
    let settings = account("main", &wrong, &login) + &account("spare", &right, &login);
    let node = files.start(&settings).await;
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    let sent = reaches(&node, &id, "sent").await;
    assert_eq!((&sent["legs"][0]["provider"], &sent["legs"][0]["attempts"]), (&json!("spare"), &json!(2)));
    let why = get(&node.client(), &format!("/api/notify/deliveries/{id}/why")).await;
    let first = &why["legs"][0]["attempts"][0];
    assert_eq!(first["account"], "main");
    let said = first["why"].as_str().unwrap();
    assert!(
        said.contains("535") && said.contains("wrong user or password") && said.contains("out of use"),
        "{said}"
    );
    // It is not asked again by the next one.
    let id = send(&node, &to(json!({ "email": "anna@example.com" }), &["email"])).await;
    let sent = reaches(&node, &id, "sent").await;
    assert_eq!((&sent["legs"][0]["provider"], &sent["legs"][0]["attempts"]), (&json!("spare"), &json!(1)));
    assert_eq!((nothing.list(&Wanted::default()).len(), board.list(&Wanted::default()).len()), (0, 2));
    node.stop().await;

    // Alone, its messages wait for somebody who puts it right; none is lost.
    let node = files.start(&account("main", &wrong, &login)).await;
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    let waits = reaches(&node, &id, "scheduled").await;
    assert!(waits["legs"][0]["reason"].as_str().unwrap().contains("wrong user or password"), "{waits}");
    node.stop().await;
}

#[tokio::test]
async fn settings_of_mail_that_can_t_be_ends_the_start_and_names_the_field() {
    let files = Files::new();
    let (empty, text, short) =
        (files.put("empty", "\n"), files.put("text", "no key"), files.put("short", "secret"));
    let elliptic = files.put("p256.pem", &KeyPair::generate().unwrap().serialize_pem());
    let good = files.put("good.pem", &ed25519());
    let smtp = |more: &str| {
        format!(
            "[[notify.email.accounts]]\nname = \"a\"\n[notify.email.accounts.smtp]\nhost = \"mx\"\nfrom = \"a@b.c\"\n{more}\n"
        )
    };
    let dkim = |domain: &str, selector: &str, file: &str| {
        smtp(&format!("dkim = [{{ domain = \"{domain}\", selector = \"{selector}\", key_file = '{file}' }}]"))
    };
    let at = |field: &str| format!("email.accounts[0]: smtp.{field}: ");
    for (settings, says) in [
        (dkim("b.c", "s", "/nowhere.pem"), at("dkim[0].key_file") + "/nowhere.pem: "),
        (dkim("b.c", "s", &empty), at("dkim[0].key_file") + &empty + " is empty"),
        (dkim("b.c", "s", &text), at("dkim[0].key_file") + &text + ": is no PEM text"),
        (dkim("b.c", "s", &elliptic), at("dkim[0].key_file") + &elliptic + ": "),
        (dkim("b c", "s", &good), at("dkim[0].domain")),
        (dkim("b.c", "s;", &good), at("dkim[0].selector")),
        (smtp("security = \"none\""), at("security")),
        (smtp("security = \"none\"\nplain_is_fine = true\nuser = \"u\"\nsecret_file = 'SHORT'"), at("user")),
        (smtp("roots_file = '/nowhere.pem'"), at("roots_file") + "/nowhere.pem: "),
        (smtp("roots_file = 'TEXT'"), at("roots_file") + "TEXT: "),
        (smtp("secret_file = 'SHORT'"), at("user")),
        (smtp("user = \"u\"\nsecret_file = 'EMPTY'"), at("secret_file") + "EMPTY is empty"),
        (smtp("port = 0"), at("port")),
        (smtp("connections = 0"), at("connections")),
        (smtp("reply_to = \"nobody\""), at("reply_to")),
        (smtp("return_path = \"nobody\""), at("return_path")),
        (smtp("").replace("\"mx\"", "\"m x\""), at("host")),
        (
            "[notify]\npublic_url = \"https://a.b\"\n".to_owned(),
            "notify.unsubscribe_secret_file: ".to_owned(),
        ),
        ("[notify]\nunsubscribe_secret_file = 'TEXT'\n".to_owned(), "notify.public_url: ".to_owned()),
        (
            "[notify]\npublic_url = \"https://a.b\"\nunsubscribe_secret_file = 'SHORT'\n".to_owned(),
            "notify.unsubscribe_secret_file: SHORT: line 1 has fewer than 32".to_owned(),
        ),
    ] {
        let named =
            |given: &str| given.replace("SHORT", &short).replace("EMPTY", &empty).replace("TEXT", &text);
        let (settings, says) = (named(&settings), named(&says));
        let file = files.put("artel.toml", &settings);
        let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(&file);
        let failure = node.start().await.map(drop).expect_err(&settings).to_string();
        assert!(failure.contains(&says), "{settings}\n{failure}\nsays not: {says}");
        assert!(!failure.contains("no key") && !failure.contains("PRIVATE"), "{failure}");
    }
}
