use super::*;
use base64::Engine as _;
use proptest::prelude::*;

fn email(text: &str) -> Result<String, String> {
    text.parse::<Email>().map(|email| email.to_string()).map_err(|error| error.to_string())
}

#[test]
fn mailboxes_are_taken_as_people_write_them() {
    for (given, kept) in [
        ("ivan@example.com", "ivan@example.com"),
        ("Ivan.Petrov+shop@Example.COM", "Ivan.Petrov+shop@example.com"),
        ("o'neil_1@sub.example.co.uk", "o'neil_1@sub.example.co.uk"),
        ("иван@пример.рф", "иван@xn--e1afmkfd.xn--p1ai"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@xn--e1afmkfd.xn--p1ai", "a@xn--e1afmkfd.xn--p1ai"),
    ] {
        assert_eq!(email(given).as_deref(), Ok(kept), "{given}");
    }
}

#[test]
fn what_is_no_mailbox_is_refused_with_its_reason() {
    let long = format!("{}@example.com", "a".repeat(65));
    let whole =
        format!("{}@{}.com", "a".repeat(64), ["b".repeat(63), "c".repeat(63), "d".repeat(60)].join("."));
    for (given, reason) in [
        ("", "is empty"),
        ("ivan", "has no '@'"),
        ("@example.com", "has nothing before"),
        ("ivan@", "has nothing behind"),
        ("ivan@localhost", "without a point"),
        ("ivan@example..com", "no domain name"),
        ("ivan@-example.com", "hyphen at the edge"),
        ("ivan@exa_mple.com", "no domain name"),
        ("ivan@example.com.", "no domain name"),
        ("ivan@1.2.3.4", "number as its top domain"),
        ("ivan@[1.2.3.4]", "an address in place"),
        (".ivan@example.com", "two in a row"),
        ("i..van@example.com", "two in a row"),
        ("\"ivan p\"@example.com", "holds a space"),
        ("\"ivan\"@example.com", "quotation marks"),
        ("Ivan <ivan@example.com>", "holds a space"),
        ("<ivan@example.com>", "more than one"),
        ("a@example.com,b@example.com", "more than one"),
        ("a(b)@example.com", "holds '('"),
        ("a@b@example.com", "holds '@'"),
        ("ivan@example.com\r\nBcc: all@example.com", "control character U+000D"),
        ("ivan\0@example.com", "control character U+0000"),
        ("ivan@example.com\u{2028}", "control character U+2028"),
        (&long, "more than 64 bytes"),
        (&whole, "longer than 254"),
    ] {
        let error = email(given).unwrap_err();
        assert!(error.starts_with("email: ") && error.contains(reason), "{given}: {error}");
        assert!(given.len() < 5 || !error.contains(given), "{error}");
    }
}

#[test]
fn numbers_are_brought_to_one_form_and_never_guessed() {
    for (given, kept) in [
        ("+79161234567", "+79161234567"),
        ("+7 (916) 123-45-67", "+79161234567"),
        (" +49.30.901820 ", "+4930901820"),
    ] {
        assert_eq!(given.parse::<Phone>().map(String::from).as_deref(), Ok(kept));
    }
    for (given, reason) in [
        ("89161234567", "does not begin with '+'"),
        ("", "does not begin with '+'"),
        ("+7916123", ""),
        ("+123456", "6 digits"),
        ("+1234567890123456", "16 digits"),
        ("+0916123456", "begins with 0"),
        ("+7916abc4567", "holds 'a'"),
        ("+7916\r\n123456", "holds U+000D"),
        ("+７９１６１２３４５６７", "holds '７'"),
    ] {
        match given.parse::<Phone>() {
            Ok(_) => assert!(reason.is_empty(), "{given}"),
            Err(error) => {
                assert!(
                    error.field == "phone" && !reason.is_empty() && error.reason.contains(reason),
                    "{error}"
                );
            }
        }
    }
}

const P256DH: &str =
    "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM";
const AUTH: &str = "tBHItJI5svbpez7KI4CCXg";
const ENDPOINT: &str = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABl";

#[test]
fn subscriptions_are_read_as_browsers_write_them() {
    let json = serde_json::json!({
        "endpoint": ENDPOINT, "expirationTime": null, "keys": { "p256dh": P256DH, "auth": AUTH },
    });
    let subscription: WebPushSubscription = serde_json::from_value(json).unwrap();
    assert_eq!(subscription.host(), "updates.push.services.mozilla.com");
    assert_eq!(subscription.p256dh()[0], 4);
    let again = serde_json::to_value(&subscription).unwrap();
    assert_eq!((&again["keys"]["p256dh"], &again["keys"]["auth"]), (&P256DH.into(), &AUTH.into()));
    let padded = WebPushSubscription::new(ENDPOINT, P256DH, &format!("{AUTH}=="));
    assert_eq!(padded, Ok(subscription));
}

#[test]
fn what_is_no_subscription_names_the_field() {
    let new = |endpoint: &str, p256dh: &str, auth: &str| {
        WebPushSubscription::new(endpoint, p256dh, auth).unwrap_err().to_string()
    };
    let compressed = P256DH.replacen('B', "A", 1);
    for (error, expected) in [
        (new("http://push.example.com/x", P256DH, AUTH), "endpoint: does not begin with https://"),
        (new("https:///x", P256DH, AUTH), "endpoint: has no host"),
        (new("https://a@push.example.com/x", P256DH, AUTH), "endpoint: has a user"),
        (new("https://push.example.com:99999/x", P256DH, AUTH), "endpoint: has a port"),
        (new("https://push.example.com/\r\nX: y", P256DH, AUTH), "endpoint: holds a character"),
        (new(&format!("{ENDPOINT}{}", "x".repeat(2048)), P256DH, AUTH), "endpoint: is longer"),
        (new(ENDPOINT, &P256DH[..84], AUTH), "p256dh: is 63 bytes"),
        (new(ENDPOINT, &compressed, AUTH), "p256dh: is no uncompressed"),
        (new(ENDPOINT, "ключ", AUTH), "p256dh: is not base64url"),
        (new(ENDPOINT, P256DH, "abcd"), "auth: is 3 bytes"),
        (new(ENDPOINT, P256DH, "ab+de"), "auth: is not base64url"),
    ] {
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn tokens_are_of_some_length_and_without_line_ends() {
    let good = format!("dGVzdA:APA91b{}", "x".repeat(130));
    assert!(good.parse::<FcmToken>().is_ok());
    for bad in ["", "short", &"x".repeat(4097), &format!("{good}\n"), &format!("{good} ")] {
        assert_eq!(bad.parse::<FcmToken>().unwrap_err().field, "token");
    }
}

#[test]
fn logs_show_too_little_to_write_to() {
    let token = "A".repeat(140);
    for (address, masked) in [
        (Address::Email("ivan.petrov@example.com".parse().unwrap()), "i***@example.com"),
        (Address::Phone("+79161234567".parse().unwrap()), "+7***67"),
        (Address::Fcm(token.parse().unwrap()), "fcm:AAAAAA***"),
        (
            Address::WebPush(WebPushSubscription::new(ENDPOINT, P256DH, AUTH).unwrap()),
            "https://updates.push.services.mozilla.com/***",
        ),
    ] {
        assert_eq!(address.masked(), masked);
        assert!(format!("{address:?}").contains(masked), "{address:?}");
        let stored = serde_json::to_string(&address).unwrap();
        assert_eq!(serde_json::from_str::<Address>(&stored).unwrap(), address);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}", at in "[a-z.@+\\-]{0,20}") {
        let _ = (text.parse::<Email>(), text.parse::<Phone>(), text.parse::<FcmToken>(), at.parse::<Email>());
        let _ = WebPushSubscription::new(&format!("https://{text}"), &text, &text);
    }

    #[test]
    fn what_is_taken_can_stand_in_a_header_and_is_taken_again(text in "[a-zа-я.@+\\-\r\n <>,A-Z0-9]{3,40}") {
        if let Ok(email) = text.parse::<Email>() {
            let kept = email.to_string();
            prop_assert!(!kept.contains(['\r', '\n', ' ', '<', '>', ',']));
            prop_assert!(kept.len() <= 254 && email.domain().is_ascii());
            prop_assert_eq!(kept.parse::<Email>(), Ok(email));
        }
    }

    #[test]
    fn keys_survive_their_text(point in prop::collection::vec(any::<u8>(), 64), auth in any::<[u8; 16]>()) {
        let mut p256dh = vec![4u8];
        p256dh.extend(point);
        let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let own = WebPushSubscription::new(ENDPOINT, &b64(&p256dh), &b64(&auth)).unwrap();
        prop_assert_eq!((&own.p256dh()[..], own.auth()), (&p256dh[..], &auth));
    }
}
