//! Who sends (RFC 8292): a token for each push service, signed with a key that browsers were told when they subscribed.

use crate::jwt::{self, base64url};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Not the private half of a P-256 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("vapid key: {0}")]
pub struct BadKey(&'static str);

/// The sender's key.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    secret: SecretKey,
    public: String,
}

impl VapidKey {
    /// The private key, 32 bytes in base64url, as `web-push generate-vapid-keys` and others write it.
    pub fn parse(text: &str) -> Result<VapidKey, BadKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
        let bytes = bytes.map_err(|_| BadKey("not base64url"))?;
        if bytes.len() != 32 {
            return Err(BadKey("not 32 bytes; give the private one"));
        }
        let secret = SecretKey::from_slice(&bytes).map_err(|_| BadKey("not a key of P-256"))?;
        let public = secret.public_key().to_sec1_point(false);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &bytes,
            public.as_bytes(),
            &SystemRandom::new(),
        );
        let pair = pair.map_err(|_| BadKey("not a key of P-256"))?;
        Ok(VapidKey { pair, public: base64url(public.as_bytes()), secret })
    }

    /// A new one.
    pub fn generate() -> Result<VapidKey, BadKey> {
        let mut bytes = [0; 32];
        let random = SystemRandom::new();
        // All but one in 2^32 are keys.
        for _ in 0..8 {
            random.fill(&mut bytes).map_err(|_| BadKey("the machine gives no random numbers"))?;
            if let Ok(key) = VapidKey::parse(&base64url(bytes)) {
                return Ok(key);
            }
        }
        Err(BadKey("the machine gives no random numbers"))
    }

    /// What a page gives as `applicationServerKey`: the point in base64url.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// For whoever keeps it; [`VapidKey::parse`] reads it.
    pub fn private(&self) -> String {
        base64url(self.secret.to_bytes())
    }
}

/// Without the private half.
impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VapidKey({})", self.public)
    }
}

/// Signs, and keeps what it signed for each push service.
pub(super) struct Vapid {
    key: VapidKey,
    contact: String,
    life: Duration,
    held: Mutex<HashMap<String, Held>>,
}

struct Held {
    header: HeaderValue,
    /// Used until then; seconds since 1970. It is good for longer.
    until: u64,
}

/// There are a handful of push services; more are somebody's invention.
const MOST_HELD: usize = 256;

impl Vapid {
    pub(super) fn new(key: VapidKey, contact: String, life: Duration) -> Vapid {
        Vapid { key, contact, life, held: Mutex::default() }
    }

    /// `now` in seconds since 1970.
    pub(super) fn authorization(
        &self,
        origin: &str,
        now: u64,
    ) -> Result<HeaderValue, ring::error::Unspecified> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let life = self.life.as_secs();
        // A clock that was set back leaves tokens that end too late: those are refused as well.
        if let Some(own) = held.get(origin)
            && (now..=now.saturating_add(life)).contains(&own.until)
            && own.until != now
        {
            return Ok(own.header.clone());
        }
        if held.len() >= MOST_HELD {
            held.retain(|_, own| own.until > now);
            let soonest = held.iter().min_by_key(|(_, own)| own.until).map(|(origin, _)| origin.clone());
            if let Some(soonest) = soonest.filter(|_| held.len() >= MOST_HELD) {
                held.remove(&soonest);
            }
        }
        let header = self.sign(origin, now.saturating_add(life))?;
        // A tenth of its life is left over for clocks that differ, and for the way.
        let until = now.saturating_add(life - life / 10);
        held.insert(origin.to_owned(), Held { header: header.clone(), until });
        Ok(header)
    }

    fn sign(&self, origin: &str, exp: u64) -> Result<HeaderValue, ring::error::Unspecified> {
        #[derive(Serialize)]
        struct Header {
            typ: &'static str,
            alg: &'static str,
        }
        #[derive(Serialize)]
        struct Claims<'a> {
            aud: &'a str,
            exp: u64,
            sub: &'a str,
        }
        let claims = Claims { aud: origin, exp, sub: &self.contact };
        let token = jwt::compact(&Header { typ: "JWT", alg: "ES256" }, &claims, |text| {
            self.key.pair.sign(&SystemRandom::new(), text).map(|signature| signature.as_ref().to_vec())
        })?;
        let header = HeaderValue::try_from(format!("vapid t={token}, k={}", self.key.public));
        let mut header = header.map_err(|_| ring::error::Unspecified)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vapid() -> Vapid {
        Vapid::new(VapidKey::generate().unwrap(), "mailto:a@b.example".into(), Duration::from_secs(1_000))
    }

    #[test]
    fn a_token_is_kept_for_its_origin_until_shortly_before_it_ends() {
        let vapid = vapid();
        let first = vapid.authorization("https://a", 10_000).unwrap();
        assert_eq!(first, vapid.authorization("https://a", 10_899).unwrap());
        let second = vapid.authorization("https://a", 10_900).unwrap();
        assert!(first != second && second != vapid.authorization("https://b", 10_900).unwrap());
        assert_ne!(second, vapid.authorization("https://a", 5_000).unwrap(), "the clock was set back");
    }

    #[test]
    fn few_are_kept() {
        let vapid = vapid();
        for i in 0..MOST_HELD + 10 {
            vapid.authorization(&format!("https://{i}"), 10_000 + i as u64).unwrap();
        }
        let held = vapid.held.lock().unwrap();
        assert!(
            held.len() == MOST_HELD && !held.contains_key("https://9") && held.contains_key("https://10")
        );
    }

    #[test]
    fn keys_are_written_and_read() {
        let key = VapidKey::generate().unwrap();
        let again = VapidKey::parse(&format!(" {}=\n", key.private())).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(!format!("{key:?}").contains(&key.private()));
        for bad in ["?", "AAAA", key.public(), &base64url([0; 32]), &base64url([255; 32])] {
            assert!(VapidKey::parse(bad).is_err(), "{bad}");
        }
    }
}
