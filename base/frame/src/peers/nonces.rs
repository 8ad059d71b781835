//! Which tokens were used: each is good for one request.

use super::token::VALID;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A token is valid from `VALID` before the moment that it names until `VALID` behind it, so this long at most.
const REMEMBERED: Duration = VALID.saturating_mul(2);
/// Tokens in one generation: above 8,000 requests a second for a whole minute. Only what is signed with the secret is
/// remembered, so that no stranger can fill it.
const MOST: usize = 1 << 19;

/// The nonces of the last minute or two, in two generations.
pub(super) struct Nonces {
    young: HashSet<Uuid>,
    old: HashSet<Uuid>,
    /// When the young generation began.
    since: Instant,
    most: usize,
}

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
    /// There is no room to remember it; it must not be taken.
    Full,
}

impl Nonces {
    pub fn new(now: Instant) -> Nonces {
        Nonces { young: HashSet::new(), old: HashSet::new(), since: now, most: MOST }
    }

    pub fn take(&mut self, nonce: Uuid, now: Instant) -> Use {
        let age = now.saturating_duration_since(self.since);
        if age >= REMEMBERED * 2 {
            (self.young, self.old, self.since) = (HashSet::new(), HashSet::new(), now);
        } else if age >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        if self.old.contains(&nonce) || self.young.contains(&nonce) {
            return Use::Again;
        }
        if self.young.len() >= self.most {
            return Use::Full;
        }
        self.young.insert(nonce);
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_nonce_is_known_for_as_long_as_its_token_is_valid_and_no_longer_than_needed() {
        let start = Instant::now();
        let id = Uuid::from_u128;
        for first in [0, 59, 119] {
            let mut nonces = Nonces::new(start);
            let at = start + Duration::from_secs(first);
            assert_eq!(nonces.take(id(1), at), Use::First);
            assert_eq!(nonces.take(id(1), at), Use::Again);
            assert_eq!(nonces.take(id(2), at + REMEMBERED / 2), Use::First);
            assert_eq!(nonces.take(id(1), at + REMEMBERED), Use::Again, "{first}");
            assert_eq!(nonces.take(id(1), at + REMEMBERED * 4), Use::First);
        }
    }

    #[tokio::test]
    async fn what_can_not_be_remembered_is_not_taken() {
        let start = Instant::now();
        let mut nonces = Nonces { most: 2, ..Nonces::new(start) };
        let taken: Vec<Use> = (1..=4).map(|n| nonces.take(Uuid::from_u128(n % 3 + 1), start)).collect();
        assert_eq!(taken, [Use::First, Use::First, Use::Full, Use::Again]);
    }
}
