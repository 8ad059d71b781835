//! A mail's content: read to its final dot, and looked into.

use crate::link::{Fault, Link};
use crate::simulators::Arrival;
use mail_parser::{MessageParser, PartType};
use std::time::Duration;

/// Bytes of a mail that are shown.
const MOST_RAW: usize = 256 << 10;
/// A line that has no end within so many bytes is none of a mail.
const LONGEST_LINE: usize = 1 << 20;

/// What stands before the final dot, dots single again. `None` if it has more than `most` bytes; it is read to its end all the
/// same. A line ends in CRLF and in nothing else (RFC 5321, section 2.3.8).
pub(super) async fn read(link: &mut Link, most: usize, limit: Duration) -> Result<Option<Vec<u8>>, Fault> {
    let mut content = Some(Vec::new());
    loop {
        let taken = lines(link.unread(), &mut content, most);
        link.take(taken.bytes);
        if taken.ended {
            return Ok(content);
        }
        if link.unread().len() > LONGEST_LINE {
            return Err(Fault::LongLine(LONGEST_LINE));
        }
        link.read_more(limit).await?;
    }
}

struct Taken {
    bytes: usize,
    ended: bool,
}

/// All whole lines that are there.
fn lines(unread: &[u8], content: &mut Option<Vec<u8>>, most: usize) -> Taken {
    let mut rest = unread;
    let mut looked = 0;
    while let Some(at) = rest[looked..].iter().position(|byte| *byte == b'\n') {
        let end = looked + at;
        if end == 0 || rest[end - 1] != b'\r' {
            looked = end + 1;
            continue;
        }
        let (line, after) = rest.split_at(end + 1);
        (rest, looked) = (after, 0);
        if line == b".\r\n" {
            return Taken { bytes: unread.len() - rest.len(), ended: true };
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        if content.as_ref().is_some_and(|content| content.len() + line.len() > most) {
            *content = None;
        }
        if let Some(content) = content {
            content.extend_from_slice(line);
        }
    }
    Taken { bytes: unread.len() - rest.len(), ended: false }
}

/// What the board shows of a mail; the recipient and the answer are for the caller to fill in.
pub(super) fn arrival(content: &[u8]) -> Arrival {
    let parsed = MessageParser::default().parse(content);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let (key, title, body) = match &parsed {
        Some(mail) => (
            text(mail.message_id()),
            text(mail.subject()),
            mail.body_text(0).map(|body| body.into_owned()).unwrap_or_default(),
        ),
        None => Default::default(),
    };
    let raw = String::from_utf8_lossy(&content[..content.len().min(MOST_RAW)]).into_owned();
    Arrival { provider: "smtp", key, title, text: body, raw, ..Arrival::default() }
}

/// What a mail looks like, where it has HTML.
pub(in crate::simulators) fn html(arrival: &Arrival) -> Option<String> {
    let parsed =
        (arrival.provider == "smtp").then(|| MessageParser::default().parse(arrival.raw.as_bytes()))??;
    let part = parsed.html_part(0)?;
    let PartType::Html(html) = &part.body else { return None };
    Some(html.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &str, most: usize) -> (Option<String>, usize, bool) {
        let mut content = Some(Vec::new());
        let taken = lines(bytes.as_bytes(), &mut content, most);
        (content.map(|content| String::from_utf8(content).unwrap()), taken.bytes, taken.ended)
    }

    #[test]
    fn only_a_dot_alone_between_crlf_ends_it() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(taken("a\r\n.\r\nNOOP\r\n", 99), (some("a\r\n"), 6, true));
        assert_eq!(taken(".\r\n", 99), (some(""), 3, true));
        assert_eq!(taken("a\r\n..\r\n.b\r\n", 99), (some("a\r\n.\r\nb\r\n"), 11, false));
        assert_eq!(taken("a\n.\nb\r\n.\rc\r\n", 99), (some("a\n.\nb\r\n\rc\r\n"), 12, false));
        assert_eq!(taken("a\r\n.\r", 99), (some("a\r\n"), 3, false));
        assert_eq!(taken("abc\r\nd\r\n.\r\n", 5), (None, 11, true));
    }
}
