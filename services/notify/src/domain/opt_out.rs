//! Links by which whoever got a message turns off what it is about. A link names the delivery and its leg, and nothing of the person;
//! a signature proves that it is ours. It works for as long as the delivery is kept.

use artel_contract::notify::DeliveryId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use uuid::Uuid;

/// Before everything that is signed, so that no other signature under the same secret is one of these.
const SIGNED: &[u8] = b"artel notify opt out 1\0";
/// Characters of a secret, and how many there may be.
const SHORTEST: usize = 32;
const MOST: usize = 16;
const LONGEST_URL: usize = 300;
/// Bytes of a delivery's id and of a leg's index, in front of the signature.
const ID: usize = 16;
const NAMED: usize = ID + 1;

/// What a link is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub delivery: DeliveryId,
    pub leg: u32,
}

/// The first one signs; a link under any of them is good, so that links in old mails work on after a change.
#[derive(Clone)]
pub struct Keys(Vec<Hmac<Sha256>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// A secret to a line.
    pub fn parse(text: &str) -> Result<Keys, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !(1..=MOST).contains(&lines.len()) {
            return Err(format!("has {} secrets, one to a line; 1 to {MOST} are right", lines.len()));
        }
        let key = |(at, line): (usize, &&str)| {
            if line.chars().count() < SHORTEST {
                return Err(format!("line {} has fewer than {SHORTEST} characters", at + 1));
            }
            Hmac::new_from_slice(line.as_bytes()).map_err(|_| format!("line {} is no key", at + 1))
        };
        lines.iter().enumerate().map(key).collect::<Result<_, _>>().map(Keys)
    }

    fn token(&self, link: Link) -> Option<String> {
        let mut bytes = link.delivery.uuid().as_bytes().to_vec();
        bytes.push(u8::try_from(link.leg).ok()?);
        let signature = signed(self.0.first()?, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token is about; `None` where it is none of ours. The signature is compared in a time that says nothing of it.
    pub fn link(&self, token: &str) -> Option<Link> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (named, signature) = bytes.split_at_checked(NAMED)?;
        if !self.0.iter().any(|key| signed(key, named).verify_slice(signature).is_ok()) {
            return None;
        }
        let id = Uuid::from_slice(&named[..ID]).ok()?;
        Some(Link { delivery: DeliveryId::from_uuid(id), leg: u32::from(named[ID]) })
    }
}

fn signed(key: &Hmac<Sha256>, named: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(SIGNED);
    mac.update(named);
    mac
}

/// The address under which people reach this program, and the keys.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
    keys: Keys,
}

impl Links {
    /// `url`: https, without a query; a path is where a proxy leads to the root of this program.
    pub fn new(url: &str, keys: Keys) -> Result<Links, String> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"<>\"?#@\\".contains(&byte);
        let rest = url.strip_prefix("https://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || url.len() > LONGEST_URL || !url.bytes().all(fits) {
            return Err(format!(
                "is no https URL of at most {LONGEST_URL} characters, such as https://parcels.example.com"
            ));
        }
        Ok(Links { base: url.trim_end_matches('/').to_owned(), keys })
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn url(&self, link: Link) -> String {
        let token = self.keys.token(link).unwrap_or_default();
        format!("{}/api/notify/unsubscribe/{token}", self.base)
    }

    /// One that leads nowhere, for previews.
    pub fn sample(&self) -> String {
        format!("{}/api/notify/unsubscribe/preview", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = "an old secret that is long enough for it";
    const NEW: &str = "a new secret, which is long enough as well";

    fn keys(text: &str) -> Keys {
        Keys::parse(text).unwrap()
    }

    fn link(id: u128, leg: u32) -> Link {
        Link { delivery: DeliveryId::from_uuid(Uuid::from_u128(id)), leg }
    }

    #[test]
    fn links_work_on_after_a_change_of_the_secret_and_not_under_another_one() {
        let token = keys(OLD).token(link(7, 1)).unwrap();
        assert_eq!(keys(&format!("{NEW}\n{OLD}\n")).link(&token), Some(link(7, 1)));
        assert_eq!(keys(NEW).link(&token), None);
        assert_eq!(keys(OLD).token(link(7, 256)), None);
    }

    #[test]
    fn settings_that_can_t_be_used_say_why() {
        for (text, reason) in [("", "has 0 secrets"), ("short", "line 1 has fewer than 32")] {
            assert!(Keys::parse(text).unwrap_err().starts_with(reason), "{text}");
        }
        for bad in
            ["", "http://a.b", "https://", "https:///x", "https://a b", "https://a?b", "https://u@a", "a.b"]
        {
            assert!(Links::new(bad, keys(OLD)).is_err(), "{bad}");
        }
        let links = Links::new("https://parcels.example.com/post/", keys(OLD)).unwrap();
        let url = links.url(link(1, 0));
        let token = url.strip_prefix("https://parcels.example.com/post/api/notify/unsubscribe/").unwrap();
        assert_eq!(links.keys().link(token), Some(link(1, 0)));
        assert!(!format!("{links:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn a_token_is_read_back_and_none_that_was_changed(id: u128, leg in 0u32..256, at in 0usize..66, to in "[A-Za-z0-9_-]") {
            let keys = keys(OLD);
            let token = keys.token(link(id, leg)).unwrap();
            prop_assert_eq!(keys.link(&token), Some(link(id, leg)));
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(keys.link(&changed).is_some(), changed == token);
            prop_assert_eq!(keys.link(&token[..at]), None);
        }

        #[test]
        fn nothing_else_is_a_token(text in "\\PC{0,120}") {
            prop_assert_eq!(keys(OLD).link(&text), None);
        }
    }
}
