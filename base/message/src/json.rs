//! Whether a text is JSON that every reader takes: `serde_json`'s raw values let more through than its values do.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Checks that `text` is JSON whose strings are Unicode (no half of a surrogate pair), whose numbers fit a double (RFC 8259,
/// sections 6 and 8.2), and that is nested at most `depth` deep. The error is a sentence with the place.
pub fn check_json(text: &str, depth: usize) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // The depth is counted here, so that the sentence says how much is taken.
    let checked = Sound { left: depth, depth }.deserialize(&mut reader);
    checked.and_then(|()| reader.end()).map_err(|error| {
        let sentence = error.to_string().replace(" at line 1 column ", " at column ");
        match sentence
            .strip_prefix("unexpected end of hex escape")
            .or(sentence.strip_prefix("lone leading surrogate"))
        {
            Some(place) => format!("holds half of a surrogate pair{place}"),
            None => sentence,
        }
    })
}

/// Reads a value and keeps nothing.
struct Sound {
    left: usize,
    depth: usize,
}

impl Sound {
    fn inner<E: Error>(&self) -> Result<Sound, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Sound { left, depth: self.depth }),
            None => Err(E::custom(format_args!("nested deeper than {}", self.depth))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = |own: &Sound| own.inner::<A::Error>();
        while list.next_element_seed(inner(&self)?)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Sound { left: self.left, depth: self.depth })?.is_some() {
            map.next_value_seed(self.inner::<A::Error>()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_some_reader_would_refuse_is_refused() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        for good in [
            "1",
            "\"\\ud83d\\ude00\"",
            "{\"a\":[null,true,-0.5e-3,18446744073709551616]}",
            " {} ",
            &nested(100),
        ] {
            assert_eq!(check_json(good, 100), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("", "EOF while parsing a value"),
            ("1 2", "trailing characters at column 3"),
            ("\"\\ud800\"", "holds half of a surrogate pair at column 8"),
            ("{\"\\udc00\":1}", "holds half of a surrogate pair"),
            ("\"\\ud800\\u0041\"", "holds half of a surrogate pair"),
            ("[1e999]", "number out of range at column 6"),
            (&nested(101), "nested deeper than 100 at column 101"),
            (&nested(100_000), "nested deeper than 100 at column 101"),
            (&"{\"a\":".repeat(1000), "nested deeper than 100"),
        ] {
            let error = check_json(bad, 100).unwrap_err();
            assert!(error.starts_with(said), "{error} / {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = check_json(&text, 20);
        }

        #[test]
        fn what_is_sound_can_be_read(text in "[\\[\\]{}:,\"\\\\ud80c1e9.+ -]{0,40}") {
            let sound = check_json(&text, 100).is_ok();
            prop_assert_eq!(sound, serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
