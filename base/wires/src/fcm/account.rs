//! A service account, as Google's console gives it to be downloaded.

use crate::http::checked_url;
use crate::jwt;
use http::Uri;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service account: {field}: {reason}")]
pub struct BadAccount {
    pub field: &'static str,
    pub reason: String,
}

/// Who sends, and the key that proves it.
pub struct ServiceAccount {
    project: String,
    email: String,
    key_id: String,
    token_uri: Uri,
    token_audience: String,
    key: RsaKeyPair,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    token_uri: String,
}

const MOST_TEXT: usize = 64 << 10;
/// RFC 7523, section 3: how long an assertion may be used; Google takes an hour at most.
const ASSERTION_SECONDS: u64 = 3_600;
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

impl ServiceAccount {
    /// Reads the JSON text of a key file. Errors name the field and never quote it.
    pub fn parse(json: &str) -> Result<ServiceAccount, BadAccount> {
        let wrong = |field, reason: &str| Err(BadAccount { field, reason: reason.to_owned() });
        if json.len() > MOST_TEXT {
            return wrong("file", "longer than 64 KiB; is it the key file?");
        }
        let given: Given = match serde_json::from_str(json) {
            Ok(given) => given,
            Err(error) => {
                // The error's own text may quote the key.
                let (line, column) = (error.line(), error.column());
                let reason = format!("not the JSON of a key file (line {line}, column {column})");
                return wrong("file", &reason);
            }
        };
        if given.kind != "service_account" {
            return wrong("type", "not 'service_account'; download a key of a service account");
        }
        let is_name = |text: &str, more: &[u8]| {
            (1..=256).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || more.contains(&b))
        };
        if !is_name(&given.project_id, b".:") {
            return wrong("project_id", "missing, or not a project's id");
        }
        if !is_name(&given.private_key_id, b"_") {
            return wrong("private_key_id", "missing, or not a key's id");
        }
        if !given.client_email.contains('@') || !is_name(&given.client_email, b".@_+") {
            return wrong("client_email", "missing, or not a service account's address");
        }
        let token_uri = checked_url("token_uri", &given.token_uri)
            .map_err(|bad| BadAccount { field: "token_uri", reason: bad.reason })?;
        Ok(ServiceAccount {
            key: key(&given.private_key)?,
            project: given.project_id,
            email: given.client_email,
            key_id: given.private_key_id,
            token_audience: given.token_uri,
            token_uri,
        })
    }

    pub fn project(&self) -> &str {
        &self.project
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn token_uri(&self) -> &Uri {
        &self.token_uri
    }

    /// What a token is asked for with (RFC 7523, section 2.1). `now` in seconds since 1970.
    pub(super) fn assertion(&self, now: u64) -> Result<String, ring::error::Unspecified> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'static str,
            typ: &'static str,
            kid: &'a str,
        }
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            scope: &'static str,
            aud: &'a str,
            iat: u64,
            exp: u64,
        }
        let header = Header { alg: "RS256", typ: "JWT", kid: &self.key_id };
        let exp = now.saturating_add(ASSERTION_SECONDS);
        let claims = Claims { iss: &self.email, scope: SCOPE, aud: &self.token_audience, iat: now, exp };
        jwt::compact(&header, &claims, |text| {
            let mut signature = vec![0; self.key.public().modulus_len()];
            self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)?;
            Ok(signature)
        })
    }
}

fn key(pem: &str) -> Result<RsaKeyPair, BadAccount> {
    let wrong = |reason: String| BadAccount { field: "private_key", reason };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| wrong("not PEM of the kind PRIVATE KEY".to_owned()))?;
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
        .map_err(|rejected| wrong(format!("not an RSA key of 2048 bits or more ({rejected})")))
}

/// Without the key.
impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("project", &self.project)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}
