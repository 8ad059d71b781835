//! A message's headers: names and values in order; a name may repeat, a value may be null (Kafka's record format).

use bytes::Bytes;
use std::fmt;

/// A list of headers, kept as one piece of bytes in the form that Kafka's records have them. So headers that are read from
/// the log are a slice of what was read: none of them is allocated, and a copy of the list is a reference.
#[derive(Clone, Default)]
pub struct Headers {
    /// `count` headers, well-formed, and nothing behind them: length and bytes of the name, length (-1: null) and bytes of the
    /// value, each length a zigzag varint of at most 32 bits.
    bytes: Bytes,
    count: u32,
}

/// Why bytes are not a list of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DamagedHeaders(pub &'static str);

impl Headers {
    pub const fn new() -> Headers {
        Headers { bytes: Bytes::new(), count: 0 }
    }

    /// Takes `count` headers as Kafka's records have them. `bytes` hold exactly those; everything is checked.
    pub fn from_record(bytes: Bytes, count: usize) -> Result<Headers, DamagedHeaders> {
        let mut rest: &[u8] = &bytes;
        for _ in 0..count {
            let (name, _, behind) = split(rest)?;
            rest = behind;
            if !name.is_ascii() && std::str::from_utf8(name).is_err() {
                return Err(DamagedHeaders("a header name is not UTF-8"));
            }
        }
        if !rest.is_empty() {
            return Err(DamagedHeaders("there are bytes left over behind the headers"));
        }
        let count = u32::try_from(count).map_err(|_| DamagedHeaders("there are too many headers"))?;
        Ok(Headers { bytes, count })
    }

    /// Takes what `count` calls of [`Headers::write_one`] have written, which is not looked through again. Of other bytes
    /// the headers in front of the first that is none are seen.
    pub fn from_written(bytes: Bytes, count: usize) -> Headers {
        debug_assert!(Headers::from_record(bytes.clone(), count).is_ok());
        Headers { bytes, count: u32::try_from(count).unwrap_or(u32::MAX) }
    }

    /// Writes one header behind `out` in the form that [`Headers::from_record`] takes.
    pub fn write_one(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
        // Each length takes up to five bytes.
        out.reserve(name.len() + value.map_or(0, <[u8]>::len) + 10);
        put(out, Some(name.as_bytes()));
        put(out, value);
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all names and values.
    pub fn payload_bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum()
    }

    pub fn iter(&self) -> HeadersIter<'_> {
        HeadersIter { rest: &self.bytes }
    }

    /// The value of the first header with this name; `Some(None)` when it is null.
    pub fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        self.extend([(name, value)]);
    }

    /// Keeps the headers for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, Option<&[u8]>) -> bool) {
        *self = self.iter().filter(|(name, value)| keep(name, *value)).collect();
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, Option<V>)> for Headers {
    fn extend<I: IntoIterator<Item = (N, Option<V>)>>(&mut self, headers: I) {
        // Without a copy where nobody else has these bytes.
        let mut out = Vec::from(std::mem::take(&mut self.bytes));
        for (name, value) in headers {
            Headers::write_one(&mut out, name.as_ref(), value.as_ref().map(AsRef::as_ref));
            self.count += 1;
        }
        self.bytes = Bytes::from(out);
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, Option<V>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Option<V>)>>(headers: I) -> Headers {
        let mut list = Headers::new();
        list.extend(headers);
        list
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = HeadersIter<'a>;
    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// What they say counts; a length can be written in several ways.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.count == other.count && (self.bytes == other.bytes || self.iter().eq(other))
    }
}
impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, value.map(String::from_utf8_lossy)));
        f.debug_list().entries(shown).finish()
    }
}

/// Names and values in order.
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        // The list is well-formed: it ends where its bytes do.
        let (name, value, rest) = split(self.rest).ok()?;
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

/// The first header of `bytes`, and what is behind it.
#[inline]
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn split(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>, &[u8]), DamagedHeaders> {
    let (name, rest) = field(bytes)?;
    let name = name.ok_or(DamagedHeaders("a header name is null"))?;
    let (value, rest) = field(rest)?;
    Ok((name, value, rest))
}

#[inline]
fn field(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), DamagedHeaders> {
    let (length, rest) = match bytes {
        // Nearly every length takes one byte, or two.
        [a, rest @ ..] if *a < 0x80 => (u32::from(*a), rest),
        [a, b, rest @ ..] if *b < 0x80 => (u32::from(*a & 0x7f) | u32::from(*b) << 7, rest),
        _ => long(bytes)?,
    };
    // Zigzag: even numbers are not negative, 1 is -1.
    if length == 1 {
        return Ok((None, rest));
    }
    if length & 1 == 1 {
        return Err(DamagedHeaders("a length is negative"));
    }
    let (field, rest) =
        rest.split_at_checked((length >> 1) as usize).ok_or(DamagedHeaders("a header ends early"))?;
    Ok((Some(field), rest))
}

/// A varint of any length up to 32 bits.
fn long(bytes: &[u8]) -> Result<(u32, &[u8]), DamagedHeaders> {
    let mut length = 0u32;
    for (i, byte) in bytes.iter().enumerate() {
        if i == 4 && *byte > 0x0f {
            return Err(DamagedHeaders("a length is longer than 32 bits"));
        }
        length |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((length, &bytes[i + 1..]));
        }
    }
    Err(DamagedHeaders("a header ends early"))
}

fn put(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else { return out.push(1) };
    // What can't be said in 31 bits is far above every limit for a message; it is cut rather than written with a wrong length.
    let field = field.get(..i32::MAX as usize).unwrap_or(field);
    let mut rest = (field.len() as u64) << 1;
    while rest >= 0x80 {
        // The low seven bits with the continuation bit.
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    type Plain = Vec<(String, Option<Vec<u8>>)>;

    fn any_list() -> impl Strategy<Value = Plain> {
        let value = option::of(prop::collection::vec(any::<u8>(), 0..200));
        prop::collection::vec((".{0,100}", value), 0..8)
    }

    fn plain(headers: &Headers) -> Plain {
        headers.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect()
    }

    proptest! {
        #[test]
        fn a_list_comes_back_and_so_do_its_bytes(list in any_list(), more in any_list()) {
            let mut headers: Headers = list.clone().into_iter().collect();
            prop_assert_eq!(headers.len(), list.len());
            prop_assert_eq!(&plain(&headers), &list);
            let read = Headers::from_record(headers.bytes.clone(), list.len());
            prop_assert_eq!(read.as_ref(), Ok(&headers));
            // Growing one leaves the other as it is.
            headers.extend(more.clone());
            prop_assert_eq!(&plain(&read.unwrap()), &list);
            prop_assert_eq!(plain(&headers), [list, more].concat());
        }

        #[test]
        fn cut_or_changed_bytes_never_panic(list in any_list(), cut: prop::sample::Index, flip: u8) {
            let headers: Headers = list.into_iter().collect();
            let mut bytes = headers.bytes.to_vec();
            if !bytes.is_empty() {
                let at = cut.index(bytes.len());
                prop_assert!(Headers::from_record(headers.bytes.slice(..at), headers.len()).is_err());
                bytes[at] ^= flip;
                if let Ok(other) = Headers::from_record(bytes.into(), headers.len()) {
                    prop_assert_eq!(other.iter().count(), headers.len());
                }
            }
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (bytes, reason) in [
            (&[1, 1][..], "a header name is null"),
            (&[3, 1], "a length is negative"),
            (&[2, 0xff, 1], "a header name is not UTF-8"),
            (&[2, b'a', 0xff, 0xff, 0xff, 0xff, 0x10], "a length is longer than 32 bits"),
            (&[2, b'a', 0xfe, 0xff, 0xff, 0xff, 0x0f], "a header ends early"),
            (&[2, b'a', 1, 0], "there are bytes left over behind the headers"),
        ] {
            assert_eq!(Headers::from_record(Bytes::from_static(bytes), 1), Err(DamagedHeaders(reason)));
        }
    }

    #[test]
    fn names_are_found_and_taken_out() {
        let mut headers: Headers = [("a", Some("1")), ("b", None), ("a", Some("2"))].into_iter().collect();
        assert_eq!(
            (headers.get("a"), headers.get("b"), headers.get("c")),
            (Some(Some(&b"1"[..])), Some(None), None)
        );
        assert_eq!(headers.payload_bytes(), 5);
        headers.retain(|name, _| name != "a");
        assert_eq!(format!("{headers:?}"), r#"[("b", None)]"#);
        // The same with a length that is written longer than it has to be.
        let long = Headers::from_record(Bytes::from_static(&[0x82, 0, b'b', 1]), 1);
        assert_eq!(long, Ok(headers));
    }
}
