//! Headers as bytes, for the rows that keep a message: count, then per header name and value, each with its length.

use artel_message::Headers;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A header list that this module did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored headers are damaged")]
pub struct DamagedHeaders;

pub fn encode(headers: &Headers) -> Bytes {
    let size = headers.iter().map(|(n, v)| 8 + n.len() + v.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    let mut out = BytesMut::with_capacity(4 + size);
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

pub fn decode(mut bytes: Bytes) -> Result<Headers, DamagedHeaders> {
    let count = bytes.try_get_u32().map_err(|_| DamagedHeaders)? as usize;
    let mut headers = Headers::with_capacity(count.min(64));
    for _ in 0..count {
        let length = bytes.try_get_u32().map_err(|_| DamagedHeaders)? as usize;
        let name = take(&mut bytes, length)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| DamagedHeaders)?;
        let value = match usize::try_from(bytes.try_get_i32().map_err(|_| DamagedHeaders)?) {
            Ok(length) => Some(take(&mut bytes, length)?),
            Err(_) => None,
        };
        headers.push((name, value));
    }
    Ok(headers)
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, DamagedHeaders> {
    if bytes.remaining() < length {
        return Err(DamagedHeaders);
    }
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let headers: Headers = vec![
            ("a".into(), Some(Bytes::from_static(b"1"))),
            ("a".into(), None),
            ("b".into(), Some(Bytes::new())),
        ];
        assert_eq!(decode(encode(&headers)), Ok(headers));
    }

    #[test]
    fn a_cut_list_is_refused() {
        let whole = encode(&vec![("name".to_owned(), Some(Bytes::from_static(b"value")))]);
        for end in 0..whole.len() {
            assert_eq!(decode(whole.slice(..end)), Err(DamagedHeaders), "cut at {end}");
        }
    }
}
