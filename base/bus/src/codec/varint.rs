//! Zigzag varints (Protocol Buffers' encoding), as Kafka's records use them.

use super::CodecError;
use std::ops::Range;

#[inline]
fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)).cast_unsigned()
}

/// Bytes that `put` writes for `v`: 1 to 10.
#[inline]
pub(super) fn size(v: i64) -> usize {
    let bits = 64 - (zigzag(v) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Hands over the bytes of `v`, one by one.
#[inline(always)]
pub(super) fn put(v: i64, mut byte: impl FnMut(u8)) {
    let mut rest = zigzag(v);
    while rest >= 0x80 {
        // The low seven bits with the continuation bit.
        byte((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    byte(rest as u8);
}

/// A checked walk over a buffer: every step knows where the buffer ends.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Cursor<'_> {
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or(CodecError::Malformed("a record ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub fn varlong(&mut self) -> Result<i64, CodecError> {
        match self.bytes.get(self.at) {
            // Nearly every number of a record takes one byte.
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.long_varlong(),
        }
    }

    fn long_varlong(&mut self) -> Result<i64, CodecError> {
        let mut raw = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(CodecError::Malformed("a varint is longer than 64 bits"));
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(CodecError::Malformed("a varint is longer than 64 bits"))
    }

    pub fn varint(&mut self) -> Result<i32, CodecError> {
        i32::try_from(self.varlong()?).map_err(|_| CodecError::Malformed("a varint is longer than 32 bits"))
    }

    /// A count that is not negative.
    pub fn count(&mut self) -> Result<usize, CodecError> {
        usize::try_from(self.varint()?).map_err(|_| CodecError::Malformed("a count is negative"))
    }

    /// The place of `length` bytes, which are stepped over.
    pub fn take(&mut self, length: usize) -> Result<Range<usize>, CodecError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(CodecError::Malformed("a field reaches past the record"))?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    /// A length and that many bytes; a length of -1 is null.
    pub fn nullable(&mut self) -> Result<Option<Range<usize>>, CodecError> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| CodecError::Malformed("a length is negative"))?;
                self.take(length).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back_and_its_size_is_known(v in any::<i64>(), shift in 0u32..64) {
            let v = v >> shift;
            let mut out = Vec::new();
            put(v, |byte| out.push(byte));
            prop_assert_eq!(out.len(), size(v));
            let mut cursor = Cursor { bytes: &out, at: 0 };
            prop_assert_eq!(cursor.varlong().unwrap(), v);
            prop_assert_eq!(cursor.at, out.len());
        }
    }

    #[test]
    fn known_encodings() {
        for (v, bytes) in
            [(0i64, &[0u8][..]), (-1, &[1]), (1, &[2]), (63, &[0x7e]), (-64, &[0x7f]), (64, &[0x80, 1])]
        {
            let mut out = Vec::new();
            put(v, |byte| out.push(byte));
            assert_eq!(out, bytes, "{v}");
        }
    }

    #[test]
    fn endless_and_short_varints_are_refused() {
        assert!(Cursor { bytes: &[0xff; 11], at: 0 }.varlong().is_err());
        assert!(Cursor { bytes: &[0x80], at: 0 }.varlong().is_err());
        assert!(Cursor { bytes: &[0xff, 0xff, 0xff, 0xff, 0xff, 1], at: 0 }.varint().is_err());
    }
}
