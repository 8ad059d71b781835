//! Cursor pages: an opaque cursor names the place after the last item, so that lists stay right while they grow.

use crate::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One page of a list. `next` is absent on the last page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// A place in a list, opaque to clients: URL-safe text that only the service that made it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cursor(pub String);

impl Cursor {
    /// Encodes the sort key of the last item.
    pub fn of<K: Serialize>(key: &K) -> Cursor {
        let json = serde_json::to_vec(key).unwrap_or_default();
        Cursor(json.iter().fold(String::with_capacity(json.len() * 2), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        }))
    }

    /// Decodes what [`Cursor::of`] encoded; anything else is `invalid`, naming the field `cursor`.
    pub fn key<K: DeserializeOwned>(&self) -> Result<K, Fault> {
        let wrong =
            || Fault::field("cursor", "not a cursor of this list; take it from the field 'next' of a page");
        let text = self.0.as_bytes();
        if !text.len().is_multiple_of(2) || text.len() > 4096 {
            return Err(wrong());
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let bytes: Option<Vec<u8>> =
            text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
        serde_json::from_slice(&bytes.ok_or_else(wrong)?).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Time};
    use proptest::prelude::*;

    #[test]
    fn a_page_without_a_next_one_says_nothing_of_it() {
        let last = Page { items: vec![1, 2], next: None };
        assert_eq!(serde_json::to_string(&last).unwrap(), r#"{"items":[1,2]}"#);
        let more = Page { next: Some(Cursor("3b".to_owned())), ..last.clone() };
        assert_eq!(serde_json::to_string(&more).unwrap(), r#"{"items":[1,2],"next":"3b"}"#);
        assert_eq!(serde_json::from_str::<Page<i32>>(r#"{"items":[1,2]}"#).unwrap(), last);
    }

    #[test]
    fn what_is_no_cursor_is_refused_and_names_the_field() {
        let long = "00".repeat(2049);
        for wrong in ["", "0", "zz", "5b31", "+1+1", "ёё", &long, &Cursor::of(&"text").0] {
            let fault = Cursor(wrong.to_owned()).key::<(i64, i64)>().unwrap_err();
            assert_eq!(fault.code, Code::Invalid);
            assert!(fault.reason.starts_with("cursor: "), "{wrong}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_gives_its_key_back(micros: i64, text: String) {
            let key = (Time::from_micros(micros), text);
            let cursor = Cursor::of(&key);
            prop_assert!(cursor.0.bytes().all(|b| b.is_ascii_hexdigit()));
            prop_assert_eq!(cursor.key::<(Time, String)>(), Ok(key));
        }
    }
}
