//! Which records a log holds, the same for each adapter: what one of them took and another one refuses could never be moved
//! there. And what a record takes in the format that all of them have.

use crate::codec::HEADER_BYTES;
use crate::{BusError, Record};

/// Bytes of a batch with this record alone, before compression: what a broker compares with `max.message.bytes`.
pub fn alone(record: &Record<'_>) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| field(Some(name.len())) + field(value.map(<[u8]>::len)))
        .sum();
    // Attributes, and a time and an offset that are those of the batch.
    let body = 3
        + field(record.key.map(<[u8]>::len))
        + field(record.value.map(<[u8]>::len))
        + varint(record.headers.len())
        + headers;
    HEADER_BYTES + varint(body) + body
}

/// A length and what it is the length of; null is the length -1.
fn field(length: Option<usize>) -> usize {
    length.map_or(1, |length| varint(length) + length)
}

/// Bytes of a length in zigzag code, seven bits each.
fn varint(value: usize) -> usize {
    let bits = usize::BITS - (value << 1).leading_zeros();
    (bits.max(1)).div_ceil(7) as usize
}

/// Why no log takes this record, whatever its size; `None` = it is as good as any. Both are what Kafka's client would store
/// differently than it was given.
pub fn unstorable(record: &Record<'_>) -> Option<&'static str> {
    if record.time.millis() <= 0 {
        return Some("its time is not after 1970-01-01T00:00:00Z, which Kafka's client takes for \"now\"");
    }
    let is_cut = |name: &str| name.as_bytes().contains(&0);
    let has_cut = record.headers.iter().any(|(name, _)| is_cut(name));
    has_cut.then_some("a header's name holds the character U+0000, where Kafka's client ends it")
}

/// Refuses a batch with such a record in it.
pub(crate) fn check(batch: &[Record<'_>]) -> Result<(), BusError> {
    match batch.iter().enumerate().find_map(|(index, record)| Some((index, unstorable(record)?))) {
        None => Ok(()),
        Some((index, reason)) => Err(BusError::InvalidRecord { index, reason: reason.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Compression, Limits, encode};
    use artel_message::Time;
    use proptest::prelude::*;

    proptest! {
        /// The encoder of the embedded log writes the same format.
        #[test]
        fn as_the_encoder_has_it(
            key in proptest::option::of(0usize..300),
            value in proptest::option::of(0usize..40_000),
            names in proptest::collection::vec(0usize..140, 0..70),
        ) {
            let bytes = vec![7u8; 40_000];
            let text = "n".repeat(140);
            let headers: Vec<(&str, Option<&[u8]>)> = names.iter().enumerate()
                .map(|(i, len)| (&text[..*len], (i % 3 > 0).then(|| &bytes[..*len]))).collect();
            let record = Record {
                key: key.map(|len| &bytes[..len]),
                value: value.map(|len| &bytes[..len]),
                headers: &headers,
                time: Time::from_millis(1_700_000_000_000),
            };
            let encoded = encode(&[record], Compression::None, &Limits::READ).unwrap();
            prop_assert_eq!(alone(&record), encoded.size());
        }
    }
}
