//! Who sends: VAPID (RFC 8292), as a push service looks at it.

use super::super::jws::Token;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

pub(super) struct Sender {
    /// The public key, an uncompressed point.
    pub(super) key: Vec<u8>,
    /// `sub`, whom to write to; may be empty.
    pub(super) contact: String,
}

pub(super) fn check(headers: &HeaderMap, origin: &str, now: u64) -> Result<Sender, &'static str> {
    let header = headers.get(AUTHORIZATION).ok_or("no Authorization")?.to_str().map_err(|_| "no text")?;
    let (scheme, rest) = header.split_once(' ').ok_or("not vapid t=…, k=…")?;
    if !scheme.eq_ignore_ascii_case("vapid") {
        return Err("not vapid t=…, k=…");
    }
    let part = |name: &str| {
        let mut parts = rest.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(own, _)| *own == name).map(|(_, value)| value)
    };
    let token = part("t").and_then(Token::read).ok_or("the token can't be read")?;
    let key = part("k").and_then(|key| URL_SAFE_NO_PAD.decode(key).ok()).ok_or("the key can't be read")?;
    if token.header["alg"] != "ES256" {
        return Err("the token is not of ES256");
    }
    let own = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key);
    own.verify(token.signed, &token.signature).map_err(|_| "the signature is not of that key")?;
    if token.claims["aud"] != origin {
        return Err("the token is for another push service");
    }
    match token.claims["exp"].as_u64() {
        Some(ends) if ends <= now => Err("the token has ended"),
        Some(ends) if ends > now + 86_400 => Err("the token ends in more than a day"),
        Some(_) => {
            let contact = token.claims["sub"].as_str().unwrap_or_default().to_owned();
            Ok(Sender { key, contact })
        }
        None => Err("the token has no exp"),
    }
}
