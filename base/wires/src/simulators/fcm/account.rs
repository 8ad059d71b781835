//! A service account of the simulator, with an RSA key of its own.

use super::super::derive::{Derived, Stream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_bigint::{NonZero, U1024, U2048};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

/// Who may send, and how to recognise him.
pub(super) struct Account {
    pub(super) project: String,
    pub(super) email: String,
    pub(super) key_id: String,
    /// `RSAPublicKey` (RFC 8017, appendix A.1.1).
    public: Vec<u8>,
    /// As in a key file.
    pem: String,
}

impl Account {
    /// Takes about a second of work.
    pub(super) fn generate(project: &str, from: &Derived) -> Option<Account> {
        let pkcs8 = rsa(&mut from.stream("fcm rsa"))?;
        let public = RsaKeyPair::from_pkcs8(&pkcs8).ok()?.public_key().as_ref().to_vec();
        let text = STANDARD.encode(&pkcs8);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|l| std::str::from_utf8(l).ok()).collect();
        let key_id = from.bytes("fcm key id", project.as_bytes());
        Some(Account {
            project: project.to_owned(),
            email: format!("firebase-adminsdk-artel@{project}.iam.gserviceaccount.com"),
            key_id: key_id[..20].iter().map(|byte| format!("{byte:02x}")).collect(),
            public,
            pem: format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")),
        })
    }

    /// As the console would give it to be downloaded.
    pub(super) fn file(&self, base: &str) -> Value {
        json!({
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": self.pem,
            "client_email": self.email,
            "client_id": "100000000000000000000",
            "auth_uri": format!("{base}/auth"),
            "token_uri": format!("{base}/token"),
            "auth_provider_x509_cert_url": format!("{base}/certs"),
            "universe_domain": "googleapis.com",
        })
    }

    pub(super) fn signed(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public).verify(text, signature).is_ok()
    }
}

const EXPONENT: u32 = 65_537;

/// A key of 2,048 bits as PKCS#8 (RFC 5208; RFC 8017, appendix A.1.2). `None` only where arithmetic fails that can't.
fn rsa(random: &mut Stream) -> Option<Vec<u8>> {
    let one = U1024::ONE;
    let (small, wide) = (U1024::from_u32(EXPONENT), U2048::from_u32(EXPONENT));
    let mut prime = || {
        let sieve = SmallFactorsSieveFactory::new(Flavor::Any, 1_024, SetBits::TwoMsb).ok()?;
        let inverts = |p: &U1024| {
            let modulus = NonZero::new(p.wrapping_sub(&one)).into_option();
            modulus.is_some_and(|modulus| bool::from(small.invert_mod(&modulus).is_some()))
        };
        sieve_and_find(random, sieve, |_, p: &U1024| is_prime(Flavor::Any, p) && inverts(p)).ok()?
    };
    let (a, b) = (prime()?, prime()?);
    let (p, q) = if a > b { (a, b) } else { (b, a) };
    let less = |x: &U1024| NonZero::new(x.wrapping_sub(&one)).into_option();
    let (p1, q1) = (less(&p)?, less(&q)?);
    let n: U2048 = p.concatenating_mul(&q);
    let phi: U2048 = p1.get().concatenating_mul(&q1.get());
    let d = wide.invert_mod(&NonZero::new(phi).into_option()?).into_option()?;
    let exponents = [small.invert_mod(&p1).into_option()?, small.invert_mod(&q1).into_option()?];
    let coefficient = q.invert_mod(&NonZero::new(p).into_option()?).into_option()?;
    let numbers = [
        integer(&[0]),
        integer(n.to_be_bytes().as_ref()),
        integer(&EXPONENT.to_be_bytes()),
        integer(d.to_be_bytes().as_ref()),
        integer(p.to_be_bytes().as_ref()),
        integer(q.to_be_bytes().as_ref()),
        integer(exponents[0].to_be_bytes().as_ref()),
        integer(exponents[1].to_be_bytes().as_ref()),
        integer(coefficient.to_be_bytes().as_ref()),
    ];
    // rsaEncryption, 1.2.840.113549.1.1.1, with NULL for its parameters.
    let algorithm = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let key = der(4, &der(0x30, &numbers.concat()));
    Some(der(0x30, &[integer(&[0]), der(0x30, &algorithm), key].concat()))
}

fn integer(big_endian: &[u8]) -> Vec<u8> {
    let begins = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len().saturating_sub(1));
    let mut number = big_endian[begins..].to_vec();
    if number.first().is_some_and(|byte| byte & 0x80 != 0) {
        number.insert(0, 0);
    }
    der(2, &number)
}

/// Tag, length, value (X.690, section 8.1).
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut whole = vec![tag];
    match significant {
        [short] if *short < 0x80 => whole.push(*short),
        long => {
            whole.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            whole.extend_from_slice(long);
        }
    }
    whole.extend_from_slice(value);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_key_which_signs() {
        let make = |seed| Account::generate("artel", &Derived::new(seed)).unwrap();
        let (first, again) = (make(1), make(1));
        assert_eq!((&first.pem, &first.key_id), (&again.pem, &again.key_id));
        let file = first.file("http://127.0.0.1:1").to_string();
        let account = crate::fcm::ServiceAccount::parse(&file).unwrap();
        assert_eq!((account.project(), account.email()), ("artel", first.email.as_str()));
        assert!(!format!("{account:?}").contains("PRIVATE"));
    }
}
