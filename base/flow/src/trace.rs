//! W3C Trace Context (level 1): a `traceparent` says whose work something is. A request has one, each message carries one, and
//! what they cause is a child of it.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A place in a trace: version 00 of `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Never zero.
    pub trace: u128,
    /// Never zero.
    pub span: u64,
    /// Bit 0 = sampled.
    pub flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent; write it as 00-<32 hex>-<16 hex>-<2 hex>")]
pub struct InvalidTrace;

impl Trace {
    /// A new trace out of 128 random bits, sampled or not.
    pub fn root(random: u128, sampled: bool) -> Trace {
        let trace = random.max(1);
        // The low half of the trace id is random too; turned around so that the two ids don't share digits.
        Trace { trace, span: nonzero((trace as u64).reverse_bits()), flags: u8::from(sampled) }
    }

    /// A span within the same trace.
    pub fn child(self, random: u128) -> Trace {
        Trace { span: nonzero(random as u64), ..self }
    }

    pub fn sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// 32 hexadecimal digits, as logs show it.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// 16 hexadecimal digits.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }
}

fn nonzero(bits: u64) -> u64 {
    bits.max(1)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl FromStr for Trace {
    type Err = InvalidTrace;

    /// Versions after 00 are read by their first four parts, as the recommendation asks.
    fn from_str(text: &str) -> Result<Trace, InvalidTrace> {
        let mut parts = text.split('-');
        let mut next = |length: usize| {
            let part = parts.next().ok_or(InvalidTrace)?;
            let lower = part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
            if part.len() == length && lower {
                u128::from_str_radix(part, 16).map_err(|_| InvalidTrace)
            } else {
                Err(InvalidTrace)
            }
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || trace == 0 || span == 0 {
            return Err(InvalidTrace);
        }
        Ok(Trace {
            trace,
            span: u64::try_from(span).map_err(|_| InvalidTrace)?,
            flags: u8::try_from(flags).map_err(|_| InvalidTrace)?,
        })
    }
}

/// The `traceparent` of the message `id` within the trace of `parent`: the same trace, the id's low bits as span. So whoever
/// publishes the message, now or again after a crash, speaks of the same span.
pub(crate) fn child(parent: &str, id: Uuid) -> Option<String> {
    Some(parent.parse::<Trace>().ok()?.child(id.as_u128()).to_string())
}

/// Whether a `traceparent` asks for spans. Cheap, since it is asked for every message.
pub(crate) fn is_sampled(traceparent: &str) -> bool {
    traceparent.len() >= 55
        && traceparent
            .as_bytes()
            .get(54)
            .and_then(|digit| char::from(*digit).to_digit(16))
            .is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation() {
        let trace: Trace = EXAMPLE.parse().unwrap();
        assert!(trace.sampled());
        assert_eq!(trace.to_string(), EXAMPLE);
        assert_eq!((&*trace.trace_id(), &*trace.span_id()), (&EXAMPLE[3..35], &EXAMPLE[36..52]));
        let child = trace.child(7);
        assert_eq!((child.trace, child.span, child.flags), (trace.trace, 7, 1));
    }

    #[test]
    fn what_the_recommendation_refuses() {
        for text in [
            "",
            "00",
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace("00-", "ff-"),
            &format!("{EXAMPLE}-00"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(text.parse::<Trace>(), Err(InvalidTrace), "{text}");
        }
        assert!(format!("{}-later", EXAMPLE.replace("00-", "01-")).parse::<Trace>().is_ok());
    }

    #[test]
    fn a_message_is_a_span_of_its_own_in_the_same_trace() {
        let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff);
        let child = child(EXAMPLE, id).unwrap();
        assert_eq!(child, "00-0af7651916cd43dd8448eb211c80319c-80000000000000ff-01");
        assert!(is_sampled(&child) && !is_sampled(&child.replace("-01", "-02")) && !is_sampled("00-1"));
        assert_eq!(super::child("no traceparent", id), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(random: u128, sampled: bool) {
            let trace = Trace::root(random, sampled);
            prop_assert_eq!(trace.to_string().parse(), Ok(trace));
        }
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Trace>();
        }
    }
}
