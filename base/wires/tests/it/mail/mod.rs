//! Mails as they are written: read back by a parser, and what can't be written.

use artel_wires::mail::{Attachment, BadLetter, Bounds, Dkim, Letter, Mailbox, Picture, Unsubscribe};
use artel_wires::smtp::LONGEST_LINE;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { name: name.into(), address: address.into() }
}

/// With everything in it.
pub fn letter() -> Letter {
    Letter {
        from: mailbox("Магазин «Сова»", "shop@shop.example"),
        to: mailbox("Анна, \"Аня\" К.", "anna@example.org"),
        reply_to: Some(mailbox("", "help@shop.example")),
        subject: "Посылка № 17 в пути: Москва → Владивосток, прибудет послезавтра после обеда".into(),
        text: Some("Здравствуйте!\n\nПосылка в пути.\n. \n-- \nМагазин".into()),
        html: Some("<p>Посылка <b>в пути</b>: <img src=\"cid:map@shop.example\"></p>\n".into()),
        pictures: vec![Picture {
            id: "map@shop.example".into(),
            kind: "image/png".into(),
            bytes: all_bytes(3),
        }],
        attachments: vec![Attachment {
            name: "Накладная № 17.pdf".into(),
            kind: "application/pdf".into(),
            bytes: all_bytes(20).into(),
        }],
        message_id: "parcel-1@shop.example".into(),
        date: 1_790_000_000,
        unsubscribe: Some(Unsubscribe {
            url: "https://shop.example/u/1".into(),
            address: Some("leave@shop.example".into()),
        }),
        headers: vec![
            ("X-Shop".into(), "да, это мы".into()),
            ("Auto-Submitted".into(), "auto-generated".into()),
        ],
    }
}

fn all_bytes(times: usize) -> Vec<u8> {
    (0..=255u8).cycle().take(256 * times).collect()
}

pub fn rsa() -> String {
    include_str!("rsa.pem").to_owned()
}

pub fn written(letter: &Letter) -> Vec<u8> {
    letter.write(&Bounds::default(), &[]).unwrap()
}

fn field(letter: Letter) -> String {
    let BadLetter { field, .. } = letter.write(&Bounds::default(), &[]).unwrap_err();
    field
}

#[test]
fn a_letter_is_read_back_as_it_was_written() {
    let letter = letter();
    let content = written(&letter);
    let read = MessageParser::default().parse(&content).unwrap();
    assert_eq!(read.subject(), Some(letter.subject.as_str()));
    assert_eq!(read.message_id(), Some("parcel-1@shop.example"));
    assert_eq!(read.date().unwrap().to_timestamp(), letter.date);
    let from = read.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Магазин «Сова»"), Some("shop@shop.example")));
    assert_eq!(read.to().unwrap().first().unwrap().name(), Some("Анна, \"Аня\" К."));
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(lines(&read.body_text(0).unwrap()), lines(letter.text.as_ref().unwrap()));
    assert_eq!(lines(&read.body_html(0).unwrap()), lines(letter.html.as_ref().unwrap()));
    let attached: Vec<_> = read.attachments().filter(|part| part.attachment_name().is_some()).collect();
    assert_eq!(attached[0].attachment_name(), Some("Накладная № 17.pdf"));
    assert_eq!(attached[0].contents(), letter.attachments[0].bytes);
    let picture = read.parts.iter().find(|part| part.content_id() == Some("map@shop.example")).unwrap();
    assert_eq!(picture.contents(), letter.pictures[0].bytes);
}

#[test]
fn parts_are_nested_only_where_there_are_several() {
    let kinds = |letter: &Letter| {
        let content = written(letter);
        let read = MessageParser::default().parse(&content).unwrap();
        let kind =
            |part: &mail_parser::MessagePart<'_>| part.content_type().unwrap().subtype().unwrap().to_owned();
        read.parts.iter().map(kind).collect::<Vec<_>>().join(" ")
    };
    let all = letter();
    assert_eq!(kinds(&all), "mixed alternative plain related html png pdf");
    let bare = Letter { pictures: vec![], attachments: vec![], ..all.clone() };
    assert_eq!(kinds(&bare), "alternative plain html");
    assert_eq!(kinds(&Letter { html: None, ..bare.clone() }), "plain");
    assert_eq!(kinds(&Letter { text: None, ..bare.clone() }), "html");
    assert_eq!(kinds(&Letter { html: None, attachments: all.attachments, ..bare }), "mixed plain pdf");
}

#[test]
fn a_repeat_is_the_same_mail() {
    let key = Dkim::new("shop.example", "s1", &rsa()).unwrap();
    let write = |letter: &Letter| letter.write(&Bounds::default(), std::slice::from_ref(&key)).unwrap();
    assert_eq!(write(&letter()), write(&letter()));
    let other = Letter { message_id: "parcel-2@shop.example".into(), ..letter() };
    assert_ne!(write(&letter()), write(&other));
}

#[test]
fn nothing_begins_another_header() {
    let evil = "a\r\nBcc: all@example.org";
    let headers = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let boxed = |name: &str, address: &str| mailbox(name, address);
    let attach = |name: &str, kind: &str| {
        vec![Attachment { name: name.into(), kind: kind.into(), bytes: vec![1].into() }]
    };
    let picture = |id: &str, kind: &str| vec![Picture { id: id.into(), kind: kind.into(), bytes: vec![1] }];
    let leave = |url: &str, address: Option<&str>| {
        Some(Unsubscribe { url: url.into(), address: address.map(str::to_owned) })
    };
    let all = letter;
    for (wanted, letter) in [
        ("from.name", Letter { from: boxed(evil, "a@b"), ..all() }),
        ("from.address", Letter { from: boxed("", "a@b>\r\nBcc: <c@d"), ..all() }),
        ("to.name", Letter { to: boxed("a\nb", "a@b"), ..all() }),
        ("to.address", Letter { to: boxed("", "nobody"), ..all() }),
        ("reply_to.name", Letter { reply_to: Some(boxed("a\rb", "a@b")), ..all() }),
        ("subject", Letter { subject: evil.into(), ..all() }),
        ("subject", Letter { subject: "a\0b".into(), ..all() }),
        ("message_id", Letter { message_id: "a@b>\r\nBcc: <c@d".into(), ..all() }),
        ("message_id", Letter { message_id: "no-domain".into(), ..all() }),
        ("headers.X-Shop", Letter { headers: headers("X-Shop", evil), ..all() }),
        ("headers.X-Shop", Letter { headers: headers("X-Shop", "a\n b"), ..all() }),
        ("headers.X-Shop", Letter { headers: headers("X-Shop", " "), ..all() }),
        ("headers[0]", Letter { headers: headers("X-Shop: a\r\nBcc", "a@b"), ..all() }),
        ("headers[0]", Letter { headers: headers("Посылка", "a"), ..all() }),
        ("headers.BCC", Letter { headers: headers("BCC", "a@b"), ..all() }),
        ("headers.Content-Type", Letter { headers: headers("Content-Type", "text/html"), ..all() }),
        ("attachments[0].name", Letter { attachments: attach(evil, "a/b"), ..all() }),
        ("attachments[0].name", Letter { attachments: attach("../a", "a/b"), ..all() }),
        ("attachments[0].kind", Letter { attachments: attach("a", "a/b\r\nX: c"), ..all() }),
        ("attachments[0].kind", Letter { attachments: attach("a", "multipart/mixed"), ..all() }),
        ("attachments[0].kind", Letter { attachments: attach("a", "Message/rfc822"), ..all() }),
        ("pictures[0].id", Letter { pictures: picture("a>\r\nX: <b", "image/png"), ..all() }),
        ("pictures[0].kind", Letter { pictures: picture("a", "png"), ..all() }),
        ("unsubscribe.url", Letter { unsubscribe: leave("http://shop.example", None), ..all() }),
        ("unsubscribe.url", Letter { unsubscribe: leave("https://a>\r\nX: <b", None), ..all() }),
        ("unsubscribe.address", Letter { unsubscribe: leave("https://a", Some("a@b?cc=c")), ..all() }),
        ("text", Letter { text: None, html: None, pictures: vec![], ..all() }),
        ("html", Letter { html: Some("\0".into()), ..all() }),
        ("pictures", Letter { html: None, ..all() }),
        ("date", Letter { date: -1, ..all() }),
    ] {
        assert_eq!(field(letter), wanted);
    }
}

#[test]
fn everything_has_a_bound() {
    let tight = |change: fn(&mut Bounds)| {
        let mut bounds = Bounds::default();
        change(&mut bounds);
        letter().write(&bounds, &[]).map(|_| ()).map_err(|bad| bad.field)
    };
    assert_eq!(tight(|_| {}), Ok(()));
    assert_eq!(tight(|bounds| bounds.subject = 20), Err("subject".to_owned()));
    assert_eq!(tight(|bounds| bounds.body = 30), Err("text".to_owned()));
    assert_eq!(tight(|bounds| bounds.attached = 100), Err("attachments".to_owned()));
    assert_eq!(tight(|bounds| bounds.attachments = 1), Err("attachments".to_owned()));
    assert_eq!(tight(|bounds| bounds.headers = 1), Err("headers".to_owned()));
    assert_eq!(tight(|bounds| bounds.header = 10), Err("headers.X-Shop".to_owned()));
    let long = vec![("X-Shop".to_owned(), "x".repeat(1_500))];
    assert_eq!(field(Letter { headers: long, ..letter() }), "headers");
}

#[test]
fn keys_that_can_not_be_used_are_refused_and_none_is_shown() {
    let bad = |domain: &str, selector: &str, key: &str| Dkim::new(domain, selector, key).unwrap_err().field;
    assert_eq!(bad("shop example", "s", &rsa()), "domain");
    assert_eq!(bad("shop.example", "s;", &rsa()), "selector");
    let ecdsa = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
    for key in ["", "no key", public, &ecdsa] {
        assert_eq!(bad("shop.example", "s", key), "key");
    }
    let key = Dkim::new("shop.example", "s1", &rsa()).unwrap();
    assert_eq!(format!("{key:?}"), "Dkim(shop.example, s1, rsa)");
    let (name, value) = key.record();
    assert_eq!(name, "s1._domainkey.shop.example");
    assert!(value.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"), "{value}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever its texts are, a letter has only short lines of ASCII, and is read back with the same texts.
    #[test]
    fn any_texts_are_written_in_short_lines_and_read_back(
        subject in "[\\PC]{1,120}",
        name in "[\\PC]{0,60}",
        text in "([\\PC\t]{0,300}\n){0,6}[a-z .]{0,1500}",
        html in proptest::option::of("<p>[\\PC]{0,400}</p>"),
        (kind, attached) in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| ("application/octet-stream", bytes)),
            "[\\PC\t\r\n =.]{0,300}".prop_map(|text| ("text/csv", text.into_bytes())),
        ],
    ) {
        let attachments = vec![Attachment { name: "a.bin".into(), kind: kind.into(), bytes: attached.clone().into() }];
        let from = mailbox(&name, "shop@shop.example");
        let text_given = Some(text.clone());
        let letter = Letter { subject: subject.clone(), from, text: text_given, html, attachments, pictures: vec![], ..letter() };
        let content = written(&letter);
        prop_assert!(content.is_ascii());
        for line in content.split(|byte| *byte == b'\n') {
            prop_assert!(line.len() <= LONGEST_LINE + 1);
        }
        let read = MessageParser::default().parse(&content).unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(words(read.subject().unwrap_or_default()), words(&subject));
        let lines = |text: &str| text.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
        prop_assert_eq!(lines(&read.body_text(0).unwrap()), lines(&text));
        let part = read.parts.iter().find(|part| part.attachment_name() == Some("a.bin")).unwrap();
        prop_assert_eq!(part.contents(), attached.as_slice());
    }
}
