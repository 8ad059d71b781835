//! The token of a request from node to node: what is asked, by whom, when, signed with HMAC-SHA256 under the secret that the
//! nodes share. It is good for one request, within half a minute of its making, by the clocks of both nodes.
//!
//! `authorization: Artel-Peer CLAIMS.SIGNATURE`, both in base64url; the claims are JSON. Who asks, with which key and in
//! which trace stands in the claims alone, so that nothing of a request is unsigned.

use crate::config::Secret;
use artel_flow::Asked;
use artel_message::{Code, Fault, Time};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The scheme of the header `authorization`.
pub(super) const SCHEME: &str = "Artel-Peer";
/// How far the moment of its making may lie from the receiver's clock, to either side.
pub(super) const VALID: Duration = Duration::from_secs(30);
/// Told apart from anything else that may be signed with the secret.
const PURPOSE: &[u8] = b"artel peer request 1\n";
/// Longer ones are no tokens of ours.
const MOST: usize = 16 << 10;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub method: String,
    pub path: String,
    /// The node that asks.
    pub node: Uuid,
    /// For whom: a service, an authenticated principal, or `public`.
    pub caller: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// SHA-256 of the body.
    pub body: String,
    /// When it was made.
    pub at: Time,
    pub nonce: Uuid,
}

impl Claims {
    pub fn asked(self) -> Asked {
        Asked::by(self.caller).key(self.key).trace(self.trace)
    }
}

/// Why a request is refused before anything of it is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "no token; only nodes of this system are served here, people and programs ask the listener of [http]"
    )]
    Missing,
    #[error("the token can't be read; is the other node of this program's version?")]
    Malformed,
    #[error("the token is signed with another secret; set the same peers.secret on every node")]
    Signature,
    #[error("the token was made for {made_for} and came with {came}")]
    OtherRequest { made_for: String, came: String },
    #[error(
        "the token was made at {made} by the caller's clock, and here it is {here}; more than {} s lie between them, so set \
         the clocks right",
        VALID.as_secs()
    )]
    Expired { made: Time, here: Time },
    #[error("the body is not the one that was signed")]
    Body,
    #[error("this token was used before; each is good for one request")]
    Replayed,
    #[error(
        "the body is larger than peers.body_limit ({limit} bytes); ask for less, or raise it on every node"
    )]
    TooLarge { limit: usize },
    #[error("the body did not arrive within {} s; try again", .0.as_secs())]
    Slow(Duration),
    #[error("the body broke off; try again")]
    BrokeOff,
    #[error("too many requests of other nodes at once (peers.concurrency); try again")]
    Busy,
    #[error("nothing is served at {0}")]
    NoRoute(String),
}

impl Refusal {
    pub fn code(&self) -> Code {
        match self {
            Refusal::Missing
            | Refusal::Malformed
            | Refusal::Signature
            | Refusal::OtherRequest { .. }
            | Refusal::Expired { .. }
            | Refusal::Body
            | Refusal::Replayed => Code::Unauthenticated,
            Refusal::TooLarge { .. } => Code::Invalid,
            Refusal::Slow(_) | Refusal::BrokeOff => Code::Timeout,
            Refusal::Busy => Code::Unavailable,
            Refusal::NoRoute(_) => Code::NotFound,
        }
    }

    pub fn fault(&self) -> Fault {
        Fault::new(self.code(), self.to_string())
    }

    /// For the metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Malformed => "malformed",
            Refusal::Signature => "signature",
            Refusal::OtherRequest { .. } => "other-request",
            Refusal::Expired { .. } => "expired",
            Refusal::Body => "body",
            Refusal::Replayed => "replayed",
            Refusal::TooLarge { .. } => "too-large",
            Refusal::Slow(_) => "slow",
            Refusal::BrokeOff => "broke-off",
            Refusal::Busy => "busy",
            Refusal::NoRoute(_) => "no-route",
        }
    }
}

/// The secret as a key, ready to sign.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl Signer {
    /// White space around it is an editor's.
    pub fn new(secret: &Secret) -> Signer {
        let digest = Sha256::digest(secret.expose().trim().as_bytes());
        // A digest is never too long, nor too short, for a key.
        let mut mac = Hmac::<Sha256>::new(&pad(&digest));
        mac.update(PURPOSE);
        Signer(mac)
    }

    /// The value of the header `authorization`.
    pub fn seal(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let text = BASE64.encode(serde_json::to_vec(claims)?);
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        Ok(format!("{SCHEME} {text}.{signature}"))
    }

    /// What a token says, once its signature, its time and its request are found right. The body is compared when it is
    /// there, and [`super::nonces`] knows whether it was used.
    pub fn open(
        &self,
        header: Option<&str>,
        method: &str,
        path: &str,
        here: Time,
    ) -> Result<Claims, Refusal> {
        let token = header.and_then(|header| header.strip_prefix(SCHEME)?.strip_prefix(' '));
        let token = token.filter(|token| token.len() <= MOST).ok_or(Refusal::Missing)?;
        let (text, signature) = token.split_once('.').ok_or(Refusal::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| Refusal::Malformed)?;
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| Refusal::Signature)?;
        let claims = BASE64.decode(text).ok().and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
        let claims = claims.ok_or(Refusal::Malformed)?;
        if claims.method != method || claims.path != path {
            let made_for = format!("{} {}", claims.method, claims.path);
            return Err(Refusal::OtherRequest { made_for, came: format!("{method} {path}") });
        }
        if here.since(claims.at) > VALID || claims.at.since(here) > VALID {
            return Err(Refusal::Expired { made: claims.at, here });
        }
        Ok(claims)
    }
}

/// HMAC takes a key of a block's length as it is, and fills a shorter one with zeroes.
fn pad(digest: &[u8]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    key[..digest.len()].copy_from_slice(digest);
    key
}

/// How a body stands in a token.
pub(super) fn body_hash(body: &[u8]) -> String {
    BASE64.encode(Sha256::digest(body))
}

pub(super) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Time = Time::from_micros(1_767_225_600_000_000);

    fn claims() -> Claims {
        Claims {
            method: "POST".to_owned(),
            path: "/peers/command/shop.sell".to_owned(),
            node: Uuid::from_u128(1),
            caller: "desk".to_owned(),
            key: Some("k".to_owned()),
            trace: None,
            body: body_hash(b"{}"),
            at: AT,
            nonce: Uuid::from_u128(2),
        }
    }

    fn open(signer: &Signer, token: &str, here: Time) -> Result<Claims, Refusal> {
        signer.open(Some(token), "POST", "/peers/command/shop.sell", here)
    }

    fn signer(secret: &str) -> Signer {
        Signer::new(&Secret::new(secret))
    }

    #[test]
    fn a_token_says_what_was_sealed_for_half_a_minute_both_ways() {
        let (signer, minute) = (signer("one secret"), VALID + Duration::from_micros(1));
        let token = signer.seal(&claims()).expect("json");
        for here in [AT, AT + VALID, AT - VALID] {
            assert_eq!(open(&signer, &token, here), Ok(claims()));
        }
        for here in [AT + minute, AT - minute] {
            let refusal = open(&signer, &token, here).expect_err("too far");
            assert_eq!(refusal, Refusal::Expired { made: AT, here });
            let text = refusal.to_string();
            assert!(text.contains(&AT.to_string()) && text.contains(&here.to_string()), "{text}");
        }
    }

    #[test]
    fn another_secret_another_request_and_any_changed_letter_are_refused() {
        let right = signer("one secret");
        let token = right.seal(&claims()).expect("json");
        assert_eq!(open(&signer("another secret"), &token, AT), Err(Refusal::Signature));
        assert_eq!(right.open(None, "POST", "/", AT), Err(Refusal::Missing));
        assert_eq!(right.open(Some("Bearer x"), "POST", "/", AT), Err(Refusal::Missing));
        let other = right.open(Some(&token), "POST", "/peers/command/shop.burn", AT);
        assert!(matches!(other, Err(Refusal::OtherRequest { .. })), "{other:?}");
        for at in SCHEME.len() + 1..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ascii");
            if changed != token {
                assert!(open(&right, &changed, AT).is_err(), "letter {at}");
            }
        }
    }
}
