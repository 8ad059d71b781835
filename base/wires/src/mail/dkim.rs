//! Signatures of a domain (DKIM): RSA (RFC 6376) and Ed25519 (RFC 8463).

use super::canonical;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::sync::Arc;

/// Signed where they are there: RFC 6376, section 5.4.1, and those of lists (RFC 8058, section 4). From is named once more than
/// it is there, so that nobody can add another one.
const SIGNED: [&str; 18] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Auto-Submitted",
];

/// The key of a domain, which it publishes under `<selector>._domainkey.<domain>`. Clones share it.
#[derive(Clone)]
pub struct Dkim {
    domain: String,
    selector: String,
    key: Arc<Key>,
}

enum Key {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a key can't be used. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadKey {
    /// `domain`, `selector` or `key`.
    pub field: &'static str,
    pub reason: String,
}

impl Dkim {
    /// `key` is PEM: PKCS#8 with RSA or Ed25519, or PKCS#1 (`RSA PRIVATE KEY`). RSA has 2048 to 4096 bits.
    pub fn new(domain: &str, selector: &str, key: &str) -> Result<Dkim, BadKey> {
        for (field, text) in [("domain", domain), ("selector", selector)] {
            let label = |label: &str| {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                (1..=63).contains(&label.len()) && label.chars().all(fits)
            };
            if text.len() > 253 || !text.split('.').all(label) {
                return Err(BadKey { field, reason: "is no name of DNS".to_owned() });
            }
        }
        let key = Arc::new(parse(key).map_err(|reason| BadKey { field: "key", reason })?);
        Ok(Dkim { domain: domain.to_owned(), selector: selector.to_owned(), key })
    }

    /// The name and the value of the TXT record that others verify by (RFC 6376, section 3.6).
    pub fn record(&self) -> (String, String) {
        let name = format!("{}._domainkey.{}", self.selector, self.domain);
        let public = match &*self.key {
            Key::Rsa(pair) => STANDARD.encode(subject_public_key(pair.public_key().as_ref())),
            Key::Ed25519(pair) => STANDARD.encode(pair.public_key().as_ref()),
        };
        (name, format!("v=DKIM1; k={}; p={public}", self.key.name()))
    }

    /// The header for this mail, with its end. `None` if the key fails, which it does only without randomness.
    pub(super) fn sign(&self, content: &[u8], date: i64) -> Option<String> {
        let (headers, body) = canonical::split(content);
        let body = STANDARD.encode(digest(&SHA256, &canonical::body(body)));
        let (mut names, mut hashed) = (Vec::new(), Vec::new());
        for name in SIGNED {
            // Of several, from the last one up (RFC 6376, section 5.4.2).
            for header in headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case(name)) {
                names.push(name);
                canonical::header(header.name, header.value, &mut hashed);
                hashed.extend_from_slice(b"\r\n");
            }
        }
        names.push("From");
        let mut value = format!(
            " v=1; a={}-sha256; c=relaxed/relaxed; d={};\r\n\ts={}; t={date};\r\n\th=",
            self.key.name(),
            self.domain,
            self.selector
        );
        for (n, name) in names.iter().enumerate() {
            let fold = if n > 0 && n % 5 == 0 { ":\r\n\t" } else { ":" };
            value.push_str(if n == 0 { "" } else { fold });
            value.push_str(name);
        }
        value.push_str(&format!(";\r\n\tbh={body};\r\n\tb="));
        canonical::header("DKIM-Signature", value.as_bytes(), &mut hashed);
        let signature = STANDARD.encode(self.key.sign(&hashed)?);
        for (n, part) in signature.as_bytes().chunks(70).enumerate() {
            value.push_str(if n == 0 { "" } else { "\r\n\t" });
            value.push_str(&String::from_utf8_lossy(part));
        }
        Some(format!("DKIM-Signature:{value}\r\n"))
    }
}

impl Key {
    fn name(&self) -> &'static str {
        match self {
            Key::Rsa(_) => "rsa",
            Key::Ed25519(_) => "ed25519",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            // Of the hash, not of the text itself (RFC 8463, section 3).
            Key::Ed25519(pair) => Some(pair.sign(digest(&SHA256, message).as_ref()).as_ref().to_vec()),
        }
    }
}

fn parse(pem: &str) -> Result<Key, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    let rsa = |rejected: ring::error::KeyRejected| format!("is no RSA key of 2048 to 4096 bits: {rejected}");
    match key.map_err(|_| "is no PEM text with a private key".to_owned())? {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map(Key::Rsa).map_err(rsa),
        PrivateKeyDer::Pkcs8(key) => {
            let der = key.secret_pkcs8_der();
            // Not every program writes the public key beside the private one.
            match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                Ok(pair) => Ok(Key::Ed25519(pair)),
                Err(_) => RsaKeyPair::from_pkcs8(der).map(Key::Rsa).map_err(rsa),
            }
        }
        _ => Err("is neither RSA nor Ed25519".to_owned()),
    }
}

/// A SubjectPublicKeyInfo (RFC 5280, section 4.1) around the bare RSA key: the form that is published everywhere.
fn subject_public_key(key: &[u8]) -> Vec<u8> {
    // The identifier of RSA, with its parameters: NULL.
    const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let bits = der(3, &[&[0], key].concat());
    der(0x30, &[&RSA[..], &bits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let used = &length[length.iter().position(|byte| *byte > 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() > 127 {
        out.push(0x80 | used.len() as u8);
    }
    out.extend_from_slice(used);
    out.extend_from_slice(content);
    out
}

/// What is public of it.
impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dkim({}, {}, {})", self.domain, self.selector, self.key.name())
    }
}
