//! What makes two failures one cause: their code and their words, without the numbers and ids in them. Beside it the chain of
//! errors that a message went through.

use crate::Failure;
use artel_message::Time;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Of a reason so many characters count and are kept in a chain.
const REASON: usize = 400;
/// A chain keeps its first error and the latest of the others.
const CHAIN: usize = 10;

/// The same text for the same cause: sixteen hexadecimal digits.
pub(crate) fn fingerprint(code: &str, reason: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(code.as_bytes());
    hash.update([0]);
    hash.update(normal(reason).as_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn of(failure: &Failure) -> String {
    fingerprint(failure.code().as_str(), &failure.to_string())
}

/// The words of a reason: what has a digit in it is a number or an id, and stands as one sign.
fn normal(reason: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        if word.bytes().any(|b| b.is_ascii_digit()) {
            let number = word.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'_');
            out.push_str(if number { "#" } else { "<id>" });
        } else {
            out.push_str(word);
        }
        word.clear();
    };
    for c in reason.chars().take(REASON) {
        if c.is_alphanumeric() || c == '-' || c == '_' {
            word.push(c);
        } else {
            end(&mut word, &mut out);
            out.push(c);
        }
    }
    end(&mut word, &mut out);
    out
}

/// One error of a chain, as often as it came without another in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub code: String,
    pub reason: String,
    /// When it came first, and last.
    pub first: Time,
    pub last: Time,
    pub times: u32,
}

/// What a message failed with, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chain(Vec<Trouble>);

impl Chain {
    /// As [`Chain::text`] wrote it; empty where that can't be read.
    pub(crate) fn read(text: Option<&str>) -> Chain {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "[]".to_owned())
    }

    pub(crate) fn add(&mut self, failure: &Failure, at: Time) {
        let code = failure.code().as_str().to_owned();
        let reason = tame(&failure.to_string(), REASON);
        let same = |t: &Trouble| fingerprint(&t.code, &t.reason) == fingerprint(&code, &reason);
        if let Some(before) = self.0.last_mut().filter(|t| same(t)) {
            before.times = before.times.saturating_add(1);
            before.last = at;
            return;
        }
        if self.0.len() == CHAIN {
            self.0.remove(1);
        }
        self.0.push(Trouble { code, reason, first: at, last: at, times: 1 });
    }

    pub fn troubles(&self) -> &[Trouble] {
        &self.0
    }
}

/// Text that any database takes, of at most so many characters.
pub(crate) fn tame(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Fault;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_ids_make_no_other_cause() {
        let same = [
            "order 17 of 018f0000-0000-7000-8000-000000000001 (ord_8f3k) took -5 ms",
            "order 4 of 7c9e6679-7425-40de-944b-e07fc1f90ae7 (ord_9zz1) took 120 ms",
        ];
        assert_eq!(fingerprint("timeout", same[0]), fingerprint("timeout", same[1]));
        assert_ne!(fingerprint("timeout", same[0]), fingerprint("internal", same[0]));
        assert_ne!(fingerprint("timeout", "no ship"), fingerprint("timeout", "no shop"));
        assert_eq!(normal("a1, b: 12.5 k-2"), "<id>, b: #.# <id>");
    }

    #[test]
    fn a_chain_counts_what_repeats_and_is_bounded() {
        let failure = |text: &str| Failure::Refused(Fault::unavailable(text));
        let at = |s: i64| Time::from_micros(s * 1_000_000);
        let mut chain = Chain::default();
        chain.add(&failure("no way to host 1"), at(0));
        chain.add(&failure("no way to host 2"), at(5));
        assert_eq!(chain.troubles().len(), 1);
        assert_eq!((chain.troubles()[0].times, chain.troubles()[0].last), (2, at(5)));
        for letter in ('a'..='z').chain('a'..='z') {
            chain.add(&failure(&letter.to_string()), at(9));
        }
        assert_eq!(chain.troubles().len(), CHAIN);
        assert_eq!(chain.troubles()[0].times, 2, "the first error stays");
        assert!(chain.troubles()[CHAIN - 1].reason.ends_with('z'));
        assert_eq!(Chain::read(Some(&chain.text())), chain);
    }

    proptest! {
        #[test]
        fn any_two_numbers_in_one_sentence_are_one_cause(a: u64, b: i32, words in "[a-z ]{0,40}") {
            let with = |n: String| fingerprint("internal", &format!("{words} {n}: {words}"));
            prop_assert_eq!(with(a.to_string()), with(b.to_string()));
        }
    }
}
