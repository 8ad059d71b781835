//! Browsers: each a key pair and a secret, which follow from the seed and the subscription's id. So nothing is kept of them, and
//! the ids of an earlier run are known again.

use super::super::derive::Derived;
use crate::jwt::base64url;
use crate::web_push::keys;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use ring::aead::Aad;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct Browsers {
    derived: Derived,
    /// Ids that were taken back.
    ended: Mutex<VecDeque<String>>,
    /// Those that were asked for lately: their keys take a while to compute.
    known: Mutex<HashMap<String, Arc<Browser>>>,
}

pub(super) struct Browser {
    pub(super) id: String,
    pub(super) auth: [u8; 16],
    /// An uncompressed point.
    pub(super) public: [u8; 65],
    key: SecretKey,
    /// The first characters of a VAPID key's hash, or [`ANYBODY`].
    sender: String,
}

const MOST_ENDED: usize = 10_000;
const MOST_KNOWN: usize = 10_000;
const ANYBODY: &str = "any";

impl Browsers {
    pub(super) fn new(derived: Derived) -> Browsers {
        Browsers { derived, ended: Mutex::default(), known: Mutex::default() }
    }

    /// `None` where the VAPID key is none.
    pub(super) fn new_one(&self, sender: Option<&str>, random: &SystemRandom) -> Option<Arc<Browser>> {
        let sender = match sender {
            None => ANYBODY.to_owned(),
            Some(text) => {
                let key = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
                PublicKey::from_sec1_bytes(&key).ok()?;
                hash(&key)
            }
        };
        let mut bytes = [0; 12];
        random.fill(&mut bytes).ok()?;
        let begin = format!("{}.{sender}", base64url(bytes));
        self.find(&format!("{begin}.{}", self.mark(&begin)))
    }

    /// The browser with that id, if we gave it out.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Browser>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(browser) = known().get(id) {
            return Some(Arc::clone(browser));
        }
        let browser = Arc::new(self.compute(id)?);
        let mut known = known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(id.to_owned(), Arc::clone(&browser));
        Some(browser)
    }

    fn compute(&self, id: &str) -> Option<Browser> {
        let (begin, mark) = id.rsplit_once('.')?;
        let (_, sender) = begin.split_once('.')?;
        if self.mark(begin) != mark {
            return None;
        }
        let key = (0..4u8).find_map(|turn| {
            let bytes = self.derived.bytes("browser key", format!("{id} {turn}").as_bytes());
            SecretKey::from_slice(&bytes).ok()
        })?;
        let auth = self.derived.bytes("browser auth", id.as_bytes())[..16].try_into().ok()?;
        Some(Browser { id: id.to_owned(), auth, public: point(&key), key, sender: sender.to_owned() })
    }

    /// Whether there was one to end.
    pub(super) fn end(&self, id: &str) -> bool {
        let known = self.find(id).is_some() && !self.ended(id);
        if known {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push_back(id.to_owned());
            while ended.len() > MOST_ENDED {
                ended.pop_front();
            }
        }
        known
    }

    pub(super) fn ended(&self, id: &str) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|own| own == id)
    }

    /// For the name of a message.
    pub(super) fn derived(&self, n: u64) -> [u8; 16] {
        let mut name = [0; 16];
        name.copy_from_slice(&self.derived.bytes("message", &n.to_be_bytes())[..16]);
        name
    }

    fn mark(&self, begin: &str) -> String {
        base64url(&self.derived.bytes("browser", begin.as_bytes())[..9])
    }
}

fn hash(key: &[u8]) -> String {
    base64url(&ring::digest::digest(&ring::digest::SHA256, key).as_ref()[..9])
}

fn point(key: &SecretKey) -> [u8; 65] {
    let mut bytes = [0; 65];
    bytes.copy_from_slice(key.public_key().to_sec1_point(false).as_bytes());
    bytes
}

impl Browser {
    pub(super) fn belongs_to(&self, key: &[u8]) -> bool {
        self.sender == ANYBODY || self.sender == hash(key)
    }

    /// Decrypts a body of one record (RFC 8188, section 2; RFC 8291, section 4).
    pub(super) fn open(&self, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        if body.is_empty() {
            return Ok(Vec::new());
        }
        let (head, rest) = body.split_first_chunk::<21>().ok_or("shorter than its header")?;
        let [salt @ .., a, b, c, d, length] = head;
        let salt: &[u8; 16] = salt;
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if *length != 65 || rest.len() < 65 {
            return Err("the key's id is no public key");
        }
        let (sender, record) = rest.split_at(65);
        if record.len() > size {
            return Err("more than one record");
        }
        let theirs =
            PublicKey::from_sec1_bytes(sender).map_err(|_| "the sender's key is no point of P-256")?;
        let shared = diffie_hellman(self.key.to_nonzero_scalar(), theirs.as_affine());
        let failed = "the key does not fit";
        let (key, nonce) =
            keys(shared.raw_secret_bytes(), &self.auth, &self.public, sender, salt).map_err(|_| failed)?;
        let mut record = record.to_vec();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut record).map_err(|_| failed)?;
        // Padding is zeros behind the delimiter, which is 2 in the last record.
        let end = plain.iter().rposition(|byte| *byte != 0).ok_or("no delimiter")?;
        if plain[end] != 2 { Err("not the last record") } else { Ok(plain[..end].to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_8291_is_read() {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let key = SecretKey::from_slice(&decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")).unwrap();
        let browser = Browser {
            id: String::new(),
            public: point(&key),
            auth: decode("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap(),
            key,
            sender: ANYBODY.to_owned(),
        };
        let body = decode(
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz\
             AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
        );
        assert_eq!(browser.open(&body).unwrap(), b"When I grow up, I want to be a watermelon");
        let mut changed = body.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(browser.open(&changed), Err("the key does not fit"));
        assert_eq!(browser.open(&body[..20]), Err("shorter than its header"));
    }

    #[test]
    fn ids_are_known_again_and_others_are_not() {
        let browsers = Browsers::new(Derived::new(7));
        let one = browsers.new_one(None, &SystemRandom::new()).unwrap();
        let again = Browsers::new(Derived::new(7)).find(&one.id).unwrap();
        assert_eq!((again.public, again.auth), (one.public, one.auth));
        assert!(Browsers::new(Derived::new(8)).find(&one.id).is_none());
        assert!(browsers.find(&format!("x{}", one.id)).is_none() && browsers.find("x").is_none());
        assert!(browsers.end(&one.id) && browsers.ended(&one.id) && !browsers.end(&one.id));
    }
}
