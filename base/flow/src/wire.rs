//! Headers as bytes, for the rows that keep a message: count, then per header name and value, each with its length.

use artel_message::{DamagedHeaders, Headers};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The span that made a message, as a `traceparent`. It stands among the headers as they are stored, and is never decoded: what
/// is published does not have it.
pub const PARENT: &str = "artel_span";

pub fn encode(headers: &Headers) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + headers.payload_bytes() + 8 * headers.len());
    out.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
    for (name, value) in headers {
        out.put_u32(u32::try_from(name.len()).unwrap_or(u32::MAX));
        out.put_slice(name.as_bytes());
        match value {
            Some(value) => {
                out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
                out.put_slice(value);
            }
            None => out.put_i32(-1),
        }
    }
    out.freeze()
}

pub fn decode(stored: &[u8]) -> Result<Headers, DamagedHeaders> {
    let mut rest = stored;
    let count = rest.try_get_u32().map_err(|_| EARLY)?;
    let mut headers = Vec::with_capacity(count.min(64) as usize);
    for _ in 0..count {
        let length = rest.try_get_u32().map_err(|_| EARLY)?;
        let name = take(&mut rest, length)?;
        let name =
            std::str::from_utf8(name).map_err(|_| DamagedHeaders("a stored header name is not UTF-8"))?;
        let value = match u32::try_from(rest.try_get_i32().map_err(|_| EARLY)?) {
            Ok(length) => Some(take(&mut rest, length)?),
            Err(_) => None,
        };
        if name != PARENT {
            headers.push((name, value));
        }
    }
    Ok(headers.into_iter().collect())
}

const EARLY: DamagedHeaders = DamagedHeaders("the stored headers end early");

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Result<&'a [u8], DamagedHeaders> {
    rest.split_off(..length as usize).ok_or(EARLY)
}

/// The value of a header without reading the others; none where it is null.
pub fn find<'a>(mut bytes: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let count = bytes.try_get_u32().ok()?;
    for _ in 0..count {
        let length = bytes.try_get_u32().ok()? as usize;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let mut value = None;
        if let Ok(length) = usize::try_from(bytes.try_get_i32().ok()?) {
            let (found, rest) = bytes.split_at_checked(length)?;
            (value, bytes) = (Some(found), rest);
        }
        if name == wanted.as_bytes() {
            return value;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let headers: Headers = [("a", Some("1")), ("a", None), ("b", Some(""))].into_iter().collect();
        let mut stored = headers.clone();
        stored.push(PARENT, Some(b"x"));
        assert_eq!(find(&encode(&stored), PARENT), Some(&b"x"[..]));
        assert_eq!(decode(&encode(&stored)), Ok(headers.clone()));
        let bytes = encode(&headers);
        assert_eq!(find(&bytes, "a"), Some(&b"1"[..]));
        assert_eq!((find(&bytes, "b"), find(&bytes, "c")), (Some(&b""[..]), None));
        assert_eq!(decode(&bytes), Ok(headers));
    }

    #[test]
    fn a_cut_list_is_refused() {
        let whole = encode(&[("name", Some("value"))].into_iter().collect());
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
            assert_eq!(find(&whole[..end], "name"), None, "cut at {end}");
        }
    }
}
