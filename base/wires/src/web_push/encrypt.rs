//! Encryption for a browser: RFC 8291, whose content coding is RFC 8188's aes128gcm with one record.

use super::Subscription;
use crate::push::BadPush;
use bytes::Bytes;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{self, HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes that fit: of the 4,096 that a push service has to take (RFC 8030, section 7.2), the header, the delimiter and the tag off.
pub const MOST_PLAIN: usize = 4_096 - HEADER - 1 - TAG;
/// Salt, record size, length of the key's id, and the key as that id (RFC 8188, section 2.1; RFC 8291, section 4).
const HEADER: usize = 16 + 4 + 1 + 65;
const TAG: usize = 16;
const RECORD_SIZE: u32 = 4_096;

/// How the length of a message is hidden from the push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    None,
    /// Up to the next multiple of so many bytes.
    Block(usize),
    /// Every message as long as the longest one: 4 KiB over the air for each.
    Full,
}

impl Default for Padding {
    fn default() -> Padding {
        Padding::Block(128)
    }
}

impl Padding {
    /// Bytes of padding for a message of `bytes`.
    fn of(self, bytes: usize, most: usize) -> usize {
        let most = most.max(bytes);
        let until = match self {
            Padding::None => bytes,
            Padding::Block(block) => bytes.next_multiple_of(block.clamp(1, MOST_PLAIN)).min(most),
            Padding::Full => most,
        };
        until - bytes
    }
}

/// The body of the request. `plain` is not longer than `most`, which is not more than [`MOST_PLAIN`].
pub(super) fn encrypt(
    to: &Subscription,
    plain: &[u8],
    padding: Padding,
    most: usize,
    random: &SystemRandom,
) -> Result<Bytes, BadPush> {
    let no_random = |_| BadPush::field("payload", "the machine gives no random numbers");
    let own = EphemeralPrivateKey::generate(&ECDH_P256, random).map_err(no_random)?;
    let public = own.compute_public_key().map_err(no_random)?;
    let mut salt = [0; 16];
    random.fill(&mut salt).map_err(no_random)?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, to.p256dh());
    let body = agree_ephemeral(own, &theirs, |shared| {
        let sealing = Sealing { shared, public: public.as_ref(), salt };
        sealing.seal(to, plain, padding.of(plain.len(), most))
    });
    body.map_err(|_| BadPush::field("p256dh", "not a point of P-256"))?
        .map_err(|_| BadPush::field("payload", "can't be encrypted"))
}

/// What one message is encrypted with.
struct Sealing<'a> {
    /// Of ECDH, 32 bytes.
    shared: &'a [u8],
    public: &'a [u8],
    salt: [u8; 16],
}

impl Sealing<'_> {
    fn seal(
        &self,
        to: &Subscription,
        plain: &[u8],
        padding: usize,
    ) -> Result<Bytes, ring::error::Unspecified> {
        let (key, nonce) = keys(self.shared, to.auth(), to.p256dh(), self.public, &self.salt)?;
        let mut body = Vec::with_capacity(HEADER + plain.len() + 1 + padding + TAG);
        body.extend_from_slice(&self.salt);
        body.extend_from_slice(&RECORD_SIZE.to_be_bytes());
        body.push(u8::try_from(self.public.len()).map_err(|_| ring::error::Unspecified)?);
        body.extend_from_slice(self.public);
        let begins = body.len();
        body.extend_from_slice(plain);
        // The delimiter of the last record (RFC 8188, section 2).
        body.push(2);
        body.resize(body.len() + padding, 0);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut body[begins..])?;
        body.extend_from_slice(tag.as_ref());
        Ok(Bytes::from(body))
    }
}

/// RFC 8291, section 3.4: the key and the nonce of the only record.
pub(crate) fn keys(
    shared: &[u8],
    auth: &[u8; 16],
    browser: &[u8; 65],
    sender: &[u8],
    salt: &[u8; 16],
) -> Result<(LessSafeKey, Nonce), ring::error::Unspecified> {
    let mut ikm = [0; 32];
    let info = [b"WebPush: info\0", browser.as_slice(), sender];
    Salt::new(HKDF_SHA256, auth).extract(shared).expand(&info, Length(32))?.fill(&mut ikm)?;
    let secret = Salt::new(HKDF_SHA256, salt).extract(&ikm);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    secret.expand(&[b"Content-Encoding: aes128gcm\0"], Length(16))?.fill(&mut key)?;
    secret.expand(&[b"Content-Encoding: nonce\0"], Length(12))?.fill(&mut nonce)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    Ok((key, Nonce::assume_unique_for_key(nonce)))
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use p256::ecdh::diffie_hellman;
    use p256::elliptic_curve::sec1::ToSec1Point;
    use p256::{PublicKey, SecretKey};

    fn decode<const N: usize>(text: &str) -> [u8; N] {
        URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out() {
        // Appendix A.
        let sender: [u8; 32] = decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let browser: [u8; 65] =
            decode("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
        let sender = SecretKey::from_slice(&sender).unwrap();
        let theirs = PublicKey::from_sec1_bytes(&browser).unwrap();
        let shared = diffie_hellman(sender.to_nonzero_scalar(), theirs.as_affine());
        let public = sender.public_key().to_sec1_point(false);
        let sealing = Sealing {
            shared: shared.raw_secret_bytes().as_slice(),
            public: public.as_bytes(),
            salt: decode("DGv6ra1nlYgDCS1FRnbzlw"),
        };
        let to =
            Subscription::new("https://push.example/", browser, decode("BTBZMqHH6r4Tts7J_aSIgg")).unwrap();
        let body = sealing.seal(&to, b"When I grow up, I want to be a watermelon", 0).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz\
                        AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(&body), expected);
    }

    #[test]
    fn padding_hides_the_length_and_never_passes_the_limit() {
        assert_eq!((Padding::None.of(5, 100), Padding::Full.of(5, 100)), (0, 95));
        assert_eq!(
            (Padding::Block(128).of(5, MOST_PLAIN), Padding::Block(128).of(128, MOST_PLAIN)),
            (123, 0)
        );
        assert_eq!(Padding::Block(128).of(3_990, MOST_PLAIN), 3);
        assert_eq!(MOST_PLAIN, 3_993);
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let public = key.public_key().to_sec1_point(false).as_bytes().try_into().unwrap();
        let to = Subscription::new("https://push.example/", public, [1; 16]).unwrap();
        let length = |plain: usize| {
            encrypt(&to, &vec![1; plain], Padding::Full, MOST_PLAIN, &SystemRandom::new()).unwrap().len()
        };
        assert_eq!((length(0), length(3_993)), (4_096, 4_096));
        let off_the_curve = Subscription::new("https://push.example/", [4; 65], [1; 16]).unwrap();
        let error = encrypt(&off_the_curve, b"", Padding::None, 10, &SystemRandom::new()).unwrap_err();
        assert_eq!(error.to_string(), "p256dh: not a point of P-256");
    }
}
