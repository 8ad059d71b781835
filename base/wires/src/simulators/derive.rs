//! Keys of the simulators, made from a seed: what was handed out is good after a restart too. They protect nothing.

use rand_core::{TryCryptoRng, TryRng};
use ring::hmac;
use std::convert::Infallible;

/// Bytes that follow from a seed.
#[derive(Clone)]
pub(super) struct Derived(hmac::Key);

impl Derived {
    pub(super) fn new(seed: u64) -> Derived {
        Derived(hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()))
    }

    pub(super) fn bytes(&self, label: &str, of: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label.as_bytes());
        context.update(&[0]);
        context.update(of);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }

    pub(super) fn stream(&self, label: &'static str) -> Stream {
        Stream { of: self.clone(), label, block: 0, rest: Vec::new() }
    }
}

/// As many as are wanted.
pub(super) struct Stream {
    of: Derived,
    label: &'static str,
    block: u64,
    rest: Vec<u8>,
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, wanted: &mut [u8]) -> Result<(), Infallible> {
        for byte in wanted {
            if self.rest.is_empty() {
                self.rest = self.of.bytes(self.label, &self.block.to_be_bytes()).to_vec();
                self.block += 1;
            }
            *byte = self.rest.pop().unwrap_or_default();
        }
        Ok(())
    }
}

/// For whoever makes primes with it; nothing here is secret.
impl TryCryptoRng for Stream {}
