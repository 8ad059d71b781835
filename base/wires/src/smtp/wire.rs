//! A mail as it goes over the wire: lines that end in CRLF, dots doubled, the final dot.

use super::address::Envelope;
use bytes::Bytes;

/// A line without its end, in bytes (RFC 5321, section 4.5.3.1.6).
pub const LONGEST_LINE: usize = 998;

/// An envelope with a mail in it, ready for the wire.
#[derive(Debug, Clone)]
pub struct Mail {
    pub(super) envelope: Envelope,
    /// With doubled dots and the final one.
    pub(super) wire: Bytes,
    /// Bytes as the server counts them: without what the transport adds (RFC 1870, section 6.1).
    pub(super) size: usize,
    /// There is a byte above 127 (RFC 6152).
    pub(super) eight_bit: bool,
    /// There is one in the headers, or in the envelope's addresses (RFC 6531, RFC 6532).
    pub(super) utf8: bool,
}

/// Why a mail can't be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMail {
    #[error("line {line} of the mail has more than {LONGEST_LINE} bytes")]
    LongLine { line: usize },
    #[error("line {line} of the mail holds a zero byte")]
    Zero { line: usize },
}

impl Mail {
    /// `content` is headers, an empty line, and the body. A CR or LF that stands alone becomes the end of a line: servers don't
    /// agree on what it is, and a mail could end early for one of them.
    pub fn new(envelope: Envelope, content: &[u8]) -> Result<Mail, BadMail> {
        let mut wire = Vec::with_capacity(content.len() + content.len() / 64 + 8);
        let (mut size, mut eight_bit, mut in_headers) = (0, false, true);
        let utf8_address = |address: &super::Address| address.needs_utf8();
        let mut utf8 = utf8_address(&envelope.to) || envelope.from.as_ref().is_some_and(utf8_address);
        let (mut rest, mut line) = (content, 0);
        while !rest.is_empty() {
            line += 1;
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
            if text.len() > LONGEST_LINE {
                return Err(BadMail::LongLine { line });
            }
            if text.contains(&0) {
                return Err(BadMail::Zero { line });
            }
            in_headers &= !text.is_empty();
            if !text.is_ascii() {
                eight_bit = true;
                utf8 |= in_headers;
            }
            if text.first() == Some(&b'.') {
                wire.push(b'.');
            }
            wire.extend_from_slice(text);
            wire.extend_from_slice(b"\r\n");
            size += text.len() + 2;
        }
        wire.extend_from_slice(b".\r\n");
        Ok(Mail { envelope, wire: wire.into(), size, eight_bit, utf8 })
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;
    use proptest::prelude::*;

    fn mail(content: &[u8]) -> Result<Mail, BadMail> {
        Mail::new(Envelope { from: None, to: Address::parse("anna@example.org").unwrap() }, content)
    }

    #[test]
    fn dots_are_doubled_and_ends_of_lines_are_whole() {
        for (content, wire) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\nb\r.c\r\n\r\n", "a\r\n..\r\nb\r\n..c\r\n\r\n.\r\n"),
        ] {
            let mail = mail(content.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&mail.wire).unwrap(), wire, "{content:?}");
        }
        assert_eq!(mail(b"a\r\n.b\r\n").unwrap().size, 7);
    }

    #[test]
    fn what_servers_cut_or_refuse_is_refused_here() {
        let long = [b"a\r\n".to_vec(), vec![b'x'; LONGEST_LINE + 1]].concat();
        assert_eq!(mail(&long).unwrap_err(), BadMail::LongLine { line: 2 });
        assert!(mail(&vec![b'x'; LONGEST_LINE]).is_ok());
        assert_eq!(mail(b"a\r\n\r\nb\0").unwrap_err(), BadMail::Zero { line: 3 });
    }

    #[test]
    fn bytes_above_127_are_noticed_where_they_stand() {
        let found = |content: &str| mail(content.as_bytes()).map(|mail| (mail.eight_bit, mail.utf8)).unwrap();
        assert_eq!(found("Subject: a\r\n\r\nb\r\n"), (false, false));
        assert_eq!(found("Subject: a\r\n\r\nб\r\n"), (true, false));
        assert_eq!(found("Subject: б\r\n\r\na\r\n"), (true, true));
    }

    proptest! {
        #[test]
        fn the_final_dot_stands_at_the_end_alone(content in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a'), Just(0xd0)], 0..200))
        {
            let mail = mail(&content).unwrap();
            let ends: Vec<usize> = (0..mail.wire.len())
                .filter(|at| mail.wire[*at..].starts_with(b".\r\n") && (*at == 0 || mail.wire[..*at].ends_with(b"\r\n")))
                .collect();
            prop_assert_eq!(ends, vec![mail.wire.len() - 3]);
        }
    }
}
