//! Between the words of the contract and those of the decisions.

use crate::domain::address::{Address, BadAddress, Email, FcmToken, Kind, Phone, WebPushSubscription};
use crate::domain::quiet::{self, QuietHours};
use crate::domain::suppression::Reason;
use artel_contract::notify::is_language;
use artel_contract::notify::subscribers::{AddressKind, Contact, Profile, PushKeys};
use artel_contract::notify::suppression::SuppressionReason;
use artel_message::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub fn kind(wire: AddressKind) -> Kind {
    match wire {
        AddressKind::Email => Kind::Email,
        AddressKind::Phone => Kind::Phone,
        AddressKind::Fcm => Kind::Fcm,
        AddressKind::WebPush => Kind::WebPush,
    }
}

pub fn wire_kind(kind: Kind) -> AddressKind {
    match kind {
        Kind::Email => AddressKind::Email,
        Kind::Phone => AddressKind::Phone,
        Kind::Fcm => AddressKind::Fcm,
        Kind::WebPush => AddressKind::WebPush,
    }
}

/// The name of a kind in the store.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Email => "email",
        Kind::Phone => "phone",
        Kind::Fcm => "fcm",
        Kind::WebPush => "web_push",
    }
}

pub fn kind_of(name: &str) -> Option<Kind> {
    [Kind::Email, Kind::Phone, Kind::Fcm, Kind::WebPush].into_iter().find(|kind| kind_name(*kind) == name)
}

pub fn reason(wire: SuppressionReason) -> Reason {
    match wire {
        SuppressionReason::HardBounce => Reason::HardBounce,
        SuppressionReason::SoftBounces => Reason::SoftBounces,
        SuppressionReason::Complaint => Reason::Complaint,
        SuppressionReason::Unsubscribed => Reason::Unsubscribed,
        SuppressionReason::StopListed => Reason::StopListed,
        SuppressionReason::BadNumber => Reason::BadNumber,
        SuppressionReason::NotMobile => Reason::NotMobile,
        SuppressionReason::TokenGone => Reason::TokenGone,
        SuppressionReason::TokenMalformed => Reason::TokenMalformed,
        SuppressionReason::TokenForeign => Reason::TokenForeign,
        SuppressionReason::ByHand => Reason::ByHand,
    }
}

pub fn wire_reason(reason: Reason) -> SuppressionReason {
    match reason {
        Reason::HardBounce => SuppressionReason::HardBounce,
        Reason::SoftBounces => SuppressionReason::SoftBounces,
        Reason::Complaint => SuppressionReason::Complaint,
        Reason::Unsubscribed => SuppressionReason::Unsubscribed,
        Reason::StopListed => SuppressionReason::StopListed,
        Reason::BadNumber => SuppressionReason::BadNumber,
        Reason::NotMobile => SuppressionReason::NotMobile,
        Reason::TokenGone => SuppressionReason::TokenGone,
        Reason::TokenMalformed => SuppressionReason::TokenMalformed,
        Reason::TokenForeign => SuppressionReason::TokenForeign,
        Reason::ByHand => SuppressionReason::ByHand,
    }
}

/// What has the same form on both sides; `field` is where it stands. The fault names the place below it.
pub fn same<T: DeserializeOwned>(field: &str, wire: &impl Serialize) -> Result<T, Fault> {
    let value = serde_json::to_value(wire).map_err(|error| Fault::field(field, error))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let at = match (field, below.as_str()) {
            (field, ".") => field.to_owned(),
            ("", below) => below.to_owned(),
            (field, below) if below.starts_with('[') => format!("{field}{below}"),
            (field, below) => format!("{field}.{below}"),
        };
        Fault::field(&at, error.into_inner())
    })
}

/// The address of a contact; the fault names the field below `at`.
pub fn address(contact: &Contact, at: &str) -> Result<Address, Fault> {
    let text = contact.address.as_str();
    let parsed = match (contact.kind, &contact.keys) {
        (AddressKind::Email, _) => text.parse().map(Address::Email),
        (AddressKind::Phone, _) => text.parse().map(Address::Phone),
        (AddressKind::Fcm, _) => text.parse().map(Address::Fcm),
        (AddressKind::WebPush, Some(keys)) => {
            WebPushSubscription::new(text, &keys.p256dh, &keys.auth).map(Address::WebPush)
        }
        (AddressKind::WebPush, None) => {
            return Err(Fault::field(&format!("{at}.keys"), "a push subscription needs its keys"));
        }
    };
    parsed.map_err(|bad| {
        let field = match bad.field {
            "p256dh" | "auth" => format!("{at}.keys.{}", bad.field),
            _ => format!("{at}.address"),
        };
        Fault::field(&field, bad.reason)
    })
}

pub fn contact(address: &Address, verified: bool) -> Contact {
    let keys = match address {
        Address::WebPush(subscription) => Some(PushKeys {
            p256dh: URL_SAFE_NO_PAD.encode(subscription.p256dh()),
            auth: URL_SAFE_NO_PAD.encode(subscription.auth()),
        }),
        _ => None,
    };
    let text = match address {
        Address::Email(email) => email.to_string(),
        Address::Phone(phone) => phone.as_str().to_owned(),
        Address::Fcm(token) => token.as_str().to_owned(),
        Address::WebPush(subscription) => subscription.endpoint().to_owned(),
    };
    Contact { kind: wire_kind(address.kind()), address: text, keys, verified }
}

/// What a profile says beyond its addresses can be kept: language, zone, quiet hours.
pub fn check_profile(profile: &Profile) -> Result<(), Fault> {
    if let Some(language) = &profile.language
        && !is_language(language)
    {
        return Err(Fault::field("profile.language", "is no language tag; use one such as ru or en-GB"));
    }
    if let Some(zone) = &profile.zone {
        quiet::zone(zone).map_err(|error| without_field("profile.zone", &error.to_string()))?;
    }
    same::<QuietHours>("profile.quiet_hours", &profile.quiet_hours).map(drop)
}

/// The domain's errors name fields of their own.
fn without_field(field: &str, error: &str) -> Fault {
    Fault::field(field, error.split_once(": ").map_or(error, |(_, reason)| reason))
}

/// SHA-256 of an address, in hex: what it is found by, and all that is left of it on the suppression list.
pub fn hash(address: &Address) -> String {
    hash_of(address.kind(), &address.key())
}

fn hash_of(kind: Kind, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(kind_name(kind).as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}

/// The hash of an address as somebody wrote it, and what may be shown of it.
pub fn hash_of_text(kind: Kind, text: &str) -> Result<(String, String), Fault> {
    let bad = |reason: String| Fault::field("address", reason);
    let wrong = |error: BadAddress| bad(error.reason);
    let (key, masked) = match kind {
        Kind::Email => {
            let email: Email = text.parse().map_err(wrong)?;
            (email.key(), email.masked())
        }
        Kind::Phone => {
            let phone: Phone = text.parse().map_err(wrong)?;
            (phone.as_str().to_owned(), phone.masked())
        }
        Kind::Fcm => {
            let token: FcmToken = text.parse().map_err(wrong)?;
            (token.as_str().to_owned(), token.masked())
        }
        // By its endpoint alone: whoever looks for it has not the keys.
        Kind::WebPush => {
            let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
            let host = host.filter(|host| !host.is_empty());
            let host =
                host.ok_or_else(|| bad("is no endpoint: it begins with https:// and a host".to_owned()))?;
            (text.to_owned(), format!("https://{host}/***"))
        }
    };
    Ok((hash_of(kind, &key), masked))
}

/// The hashes that a text may have, whatever kind of address it is.
pub fn hashes(text: &str) -> Vec<String> {
    let kinds = [Kind::Email, Kind::Phone, Kind::Fcm, Kind::WebPush];
    kinds.into_iter().filter_map(|kind| hash_of_text(kind, text).ok()).map(|(hash, _)| hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn kinds_and_reasons_keep_their_names() {
        for of in [AddressKind::Email, AddressKind::Phone, AddressKind::Fcm, AddressKind::WebPush] {
            assert_eq!(wire_kind(kind(of)), of);
            assert_eq!(json!(of), kind_name(kind(of)));
            assert_eq!(kind_of(kind_name(kind(of))), Some(kind(of)));
        }
        for of in Reason::ALL {
            assert_eq!(reason(wire_reason(of)), of);
            assert_eq!(json!(wire_reason(of)), of.as_str());
        }
    }

    #[test]
    fn two_spellings_of_an_address_have_one_hash() {
        let hash = |kind, text: &str| hash_of_text(kind, text).map(|(hash, _)| hash);
        assert_eq!(hash(Kind::Phone, "+7 916 123-45-67"), hash(Kind::Phone, "+79161234567"));
        assert_eq!(hash(Kind::Email, "ivan@EXAMPLE.com"), hash(Kind::Email, "ivan@example.com"));
        assert!(hashes("ivan@example.com").contains(&hash(Kind::Email, "ivan@example.com").unwrap()));
        assert!(hash(Kind::Email, "nobody").unwrap_err().reason.starts_with("address: "));
    }

    #[test]
    fn a_wrong_address_is_named_by_its_place() {
        let contact = |value| serde_json::from_value::<Contact>(value).unwrap();
        let wrong = contact(json!({ "kind": "email", "address": "nobody" }));
        assert!(address(&wrong, "addresses[1]").unwrap_err().reason.starts_with("addresses[1].address: "));
        let keys = json!({ "p256dh": "AA", "auth": "AA" });
        let wrong = contact(json!({ "kind": "web_push", "address": "https://push.example/1", "keys": keys }));
        let fault = address(&wrong, "contact").unwrap_err();
        assert!(fault.reason.starts_with("contact.keys.p256dh: "), "{fault}");
    }

    proptest! {
        #[test]
        fn an_address_survives_the_contract(
            local in "[a-z]{1,8}", number in "[1-9][0-9]{9,12}", token in "[A-Za-z0-9_-]{40,60}",
            p256dh in prop::collection::vec(any::<u8>(), 64), auth in prop::collection::vec(any::<u8>(), 16),
        ) {
            let p256dh = URL_SAFE_NO_PAD.encode([vec![4], p256dh].concat());
            let push = WebPushSubscription::new("https://push.example/1", &p256dh, &URL_SAFE_NO_PAD.encode(auth));
            for own in [
                format!("{local}@example.com").parse().ok().map(Address::Email),
                format!("+{number}").parse().ok().map(Address::Phone),
                token.parse().ok().map(Address::Fcm),
                push.ok().map(Address::WebPush),
            ].into_iter().flatten() {
                let wire = contact(&own, true);
                prop_assert_eq!(address(&wire, "").unwrap(), own.clone());
                prop_assert_eq!(hash_of_text(own.kind(), &wire.address).unwrap(), (hash(&own), own.masked()));
            }
        }
    }
}
