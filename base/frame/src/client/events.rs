//! Server-sent events as a client reads them (WHATWG HTML, section 9.2.6).

use super::{ClientError, innermost};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Longer lines end the stream: a message of 1 MB in base64 fits several times.
const MAX_LINE: usize = 32 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `message` where the server names none.
    pub name: String,
    /// The last id that was sent, for `Last-Event-ID`.
    pub id: Option<String>,
    pub data: String,
}

/// A stream of events.
pub struct Events {
    body: Incoming,
    url: String,
    parser: Parser,
}

impl Events {
    pub(super) fn new(body: Incoming, url: String) -> Events {
        Events { body, url, parser: Parser::default() }
    }

    /// The next event; `None` when the server has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let broken = |reason| ClientError::Broken { url: self.url.clone(), reason };
            let frame = frame.map_err(|error| broken(innermost(&error)))?;
            if let Ok(data) = frame.into_data() {
                self.parser.push(&data);
            }
            if self.parser.buffer.len() > MAX_LINE {
                return Err(broken("an event is too long".to_owned()));
            }
        }
    }
}

/// Lines gathered into events.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
    name: String,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    fn push(&mut self, data: &Bytes) {
        self.buffer.extend_from_slice(data);
    }

    fn line(&mut self) -> Option<String> {
        let Some(end) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + end + 1);
        let line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }

    fn next(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let name = std::mem::take(&mut self.name);
                if let Some(data) = self.data.take() {
                    let name = if name.is_empty() { "message".to_owned() } else { name };
                    return Some(Event { name, id: self.id.clone(), data });
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.name = value.to_owned(),
                "id" => self.id = Some(value.to_owned()),
                "data" => match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                },
                // Comments begin with a colon; other fields are for browsers.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = ": hello\n\nid: 1\nevent: record\ndata: {\"a\":\ndata: 1}\n\ndata: x\r\n\r\nid: 2\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for part in text.as_bytes().chunks(size) {
                parser.push(&Bytes::copy_from_slice(part));
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            let first =
                Event { name: "record".to_owned(), id: Some("1".to_owned()), data: "{\"a\":\n1}".to_owned() };
            let second = Event { name: "message".to_owned(), id: Some("1".to_owned()), data: "x".to_owned() };
            assert_eq!(events, [first, second], "parts of {size}");
        }
    }
}
