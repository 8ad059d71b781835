//! Signatures, verified by dkimpy.

use crate::foreign::dkim::{python, verdicts};
use crate::mail::{letter, rsa};
use artel_wires::mail::{Bounds, Dkim};

fn keys() -> Vec<Dkim> {
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    vec![
        Dkim::new("shop.example", "r2026", &rsa()).unwrap(),
        Dkim::new("shop.example", "e2026", &ed25519).unwrap(),
    ]
}

#[test]
fn both_kinds_of_signature_are_verified() {
    let Some(python) = python("judges::dkim::both_kinds_of_signature_are_verified") else { return };
    let keys = keys();
    let mail = letter().write(&Bounds::default(), &keys).unwrap();
    assert_eq!(verdicts(&python, &mail, &keys), ["good", "good"]);
    for (n, key) in keys.iter().enumerate() {
        let mail = letter().write(&Bounds::default(), std::slice::from_ref(key)).unwrap();
        assert_eq!(verdicts(&python, &mail, &keys), ["good"], "{n}");
    }
    // Another key is published than the one that signed.
    let other = self::keys();
    let mail = letter().write(&Bounds::default(), &keys[1..]).unwrap();
    assert_ne!(verdicts(&python, &mail, &other), ["good"]);
}

#[test]
fn a_change_of_what_is_signed_is_seen_and_one_of_blanks_is_not() {
    let Some(python) = python("judges::dkim::a_change_of_what_is_signed_is_seen_and_one_of_blanks_is_not")
    else {
        return;
    };
    let keys = keys();
    let mail = String::from_utf8(letter().write(&Bounds::default(), &keys).unwrap()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(mail.contains(from), "{from} in {mail}");
        verdicts(&python, mail.replacen(from, to, 1).as_bytes(), &keys)
    };
    for (from, to) in [
        ("https://shop.example/u", "https://other.example/u"),
        ("List-Unsubscribe=One-Click", "List-Unsubscribe=Two-Clicks"),
        ("<parcel-1@shop.example>", "<parcel-2@shop.example>"),
        ("--=_", "Another text\r\n--=_"),
        // One more From is none that was signed.
        ("\r\nSubject: ", "\r\nFrom: <other@other.example>\r\nSubject: "),
    ] {
        let verdicts = changed(from, to);
        assert!(verdicts.iter().all(|verdict| verdict != "good"), "{from}: {verdicts:?}");
    }
    assert_eq!(changed("Message-ID: <", "message-id:   <"), ["good", "good"]);
    assert_eq!(changed("\r\n\r\n--=_", "\r\n\r\n--=_"), ["good", "good"]);
    let longer = format!("{mail}\r\n\r\n");
    assert_eq!(verdicts(&python, longer.as_bytes(), &keys), ["good", "good"]);
}
