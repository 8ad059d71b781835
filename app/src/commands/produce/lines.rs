//! From lines to chunks of messages. A thread reads and checks, so that a slow input keeps nobody from sending.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// Lines of one request.
const CHUNK_LINES: usize = 1_000;
/// Bytes of one request, unless a single line is larger.
const CHUNK_BYTES: usize = 4 << 20;
/// What has come from a slow input is sent after this time.
const GATHER: Duration = Duration::from_millis(200);
/// A longer line is refused without being kept: no node can be set to take more (bus.max_message_bytes). What a node does not
/// take below that, it refuses itself, with its own limit.
const MAX_LINE: u64 = 256 << 20;
/// Bytes of lines that are read ahead; a longer line comes alone.
const READ_AHEAD: usize = 16 << 20;
/// What some programs write before the first character of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where lines come from.
pub struct Input {
    reader: Box<dyn BufRead + Send>,
    /// In bytes, where it is a file.
    pub length: Option<u64>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> io::Result<Input> {
        if path == Path::new("-") {
            return Ok(Input { reader: Box::new(BufReader::new(io::stdin())), length: None });
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder"));
        }
        let length = about.is_file().then_some(about.len());
        Ok(Input { reader: Box::new(BufReader::with_capacity(1 << 16, file)), length })
    }
}

/// A line that is no message.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    pub reason: String,
}

/// What is sent in one request.
#[derive(Debug, Default)]
pub struct Chunk {
    /// From 0.
    pub number: u64,
    /// NDJSON.
    pub body: Bytes,
    /// The number in the file of each line of the body.
    pub lines: Vec<u64>,
    pub bad: Vec<BadLine>,
    /// Bytes of the input up to here.
    pub read: u64,
}

/// A line that was read.
struct Line {
    number: u64,
    read: u64,
    message: Result<Vec<u8>, String>,
    /// Its part of what is read ahead.
    _room: Option<OwnedSemaphorePermit>,
}

/// The chunks of an input.
pub struct Chunks {
    lines: mpsc::Receiver<io::Result<Line>>,
    number: u64,
}

impl Chunks {
    /// Begins to read, in a thread that ends with the input or with the receiver.
    pub fn begin(input: Input, topic: String, key_field: Option<String>) -> Chunks {
        let (send, lines) = mpsc::channel(2 * CHUNK_LINES);
        let room = Room { bytes: Arc::new(Semaphore::new(READ_AHEAD)), runtime: Handle::current() };
        std::thread::spawn(move || read(input.reader, &topic, key_field.as_deref(), &room, &send));
        Chunks { lines, number: 0 }
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(first) = self.lines.recv().await else { return Ok(None) };
        let mut chunk = Chunk { number: self.number, ..Chunk::default() };
        self.number += 1;
        let mut body = BytesMut::new();
        take(&mut chunk, &mut body, first?);
        let until = Instant::now() + GATHER;
        while chunk.lines.len() + chunk.bad.len() < CHUNK_LINES && body.len() < CHUNK_BYTES {
            match timeout_at(until, self.lines.recv()).await {
                Ok(Some(line)) => take(&mut chunk, &mut body, line?),
                Ok(None) | Err(_) => break,
            }
        }
        chunk.body = body.freeze();
        Ok(Some(chunk))
    }
}

fn take(chunk: &mut Chunk, body: &mut BytesMut, line: Line) {
    chunk.read = line.read;
    match line.message {
        Ok(message) => {
            chunk.lines.push(line.number);
            body.put_slice(&message);
            body.put_u8(b'\n');
        }
        Err(reason) => chunk.bad.push(BadLine { line: line.number, reason }),
    }
}

fn read(
    mut reader: Box<dyn BufRead + Send>,
    topic: &str,
    key_field: Option<&str>,
    room: &Room,
    send: &mpsc::Sender<io::Result<Line>>,
) {
    let (mut number, mut read) = (0, 0);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let line = match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                (number, read) = (number + 1, read + count as u64);
                if count as u64 == MAX_LINE && buffer.last() != Some(&b'\n') {
                    match skip_line(&mut reader) {
                        Ok(skipped) => read += skipped,
                        Err(error) => return drop(send.blocking_send(Err(error))),
                    }
                    Err(format!("longer than {MAX_LINE} bytes; send less in one message"))
                } else if strip_mark(&mut buffer, number).iter().all(u8::is_ascii_whitespace) {
                    continue;
                } else {
                    message(&buffer, topic, key_field)
                }
            }
            Err(error) => return drop(send.blocking_send(Err(error))),
        };
        // A closed channel wakes nobody here, but drops the lines that hold the room.
        let _room = line.as_ref().ok().and_then(|line| room.take(line.len()));
        if send.blocking_send(Ok(Line { number, read, message: line, _room })).is_err() {
            return;
        }
    }
}

/// What may be read ahead.
struct Room {
    bytes: Arc<Semaphore>,
    runtime: Handle,
}

impl Room {
    /// Waits, in the reader's thread, until there is so much.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.clamp(1, READ_AHEAD)).ok()?;
        self.runtime.block_on(self.bytes.clone().acquire_many_owned(bytes)).ok()
    }
}

fn strip_mark(line: &mut Vec<u8>, number: u64) -> &[u8] {
    if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
        line.drain(..BYTE_ORDER_MARK.len());
    }
    line
}

/// Reads to the end of the line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(skipped);
        }
        let (count, ended) = match available.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        reader.consume(count);
        skipped += count as u64;
        if ended {
            return Ok(skipped);
        }
    }
}

/// What the bridge takes as one line of a batch.
#[derive(Serialize)]
struct Message<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    value: &'a RawValue,
}

/// A line as a message: its value stays as it is, digit for digit.
fn message(line: &[u8], topic: &str, key_field: Option<&str>) -> Result<Vec<u8>, String> {
    let value: &RawValue =
        serde_json::from_slice(line).map_err(|error| format!("not JSON: {}", lower(&error)))?;
    let key = key_field.map(|field| key_of(value, field)).transpose()?;
    serde_json::to_vec(&Message { topic, key, value }).map_err(|error| error.to_string())
}

/// Serde's message without its line, which is always 1 here, and without its capital.
fn lower(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.replace(" at line 1 column ", " at column ");
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

fn key_of(value: &RawValue, field: &str) -> Result<String, String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(value.get())
        .map_err(|_| format!("not an object, so it has no field '{field}' (--key-field)"))?;
    let raw = fields.get(field).ok_or_else(|| format!("has no field '{field}' (--key-field)"))?.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9' | b't' | b'f') => Ok(raw.to_owned()),
        _ => Err(format!("the field '{field}' (--key-field) is no text, number or truth value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str, key_field: Option<&str>) -> Result<String, String> {
        message(line.as_bytes(), "t", key_field).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_value_stays_as_it_is() {
        let line = "{\"id\":9007199254740993, \"k\": \"ü\\n\"}\n";
        let sent = "{\"topic\":\"t\",\"key\":\"9007199254740993\",\"value\":{\"id\":9007199254740993, \"k\": \"ü\\n\"}}";
        assert_eq!(text(line, Some("id")).unwrap(), sent);
        assert!(text(line, Some("k")).unwrap().contains("\"key\":\"ü\\n\""));
        assert_eq!(text("[1]", None).unwrap(), "{\"topic\":\"t\",\"value\":[1]}");
    }

    #[test]
    fn a_line_that_is_no_message_says_why() {
        for (line, key, reason) in [
            ("{\"a\":", None, "not JSON: eof while parsing a value at column 5"),
            ("{} {}", None, "not JSON: trailing characters at column 4"),
            ("[]", Some("a"), "not an object, so it has no field 'a' (--key-field)"),
            ("{}", Some("a"), "has no field 'a' (--key-field)"),
            ("{\"a\":null}", Some("a"), "the field 'a' (--key-field) is no text, number or truth value"),
        ] {
            assert_eq!(text(line, key).unwrap_err().to_lowercase(), reason.to_lowercase(), "{line}");
        }
    }

    #[tokio::test]
    async fn lines_are_gathered_and_counted() {
        let mut lines: Vec<String> = (0..2500).map(|n| format!("{{\"n\":{n}}}")).collect();
        lines[1] = String::new();
        lines[3] = "x".to_owned();
        let all = lines.join("\n");
        let length = all.len() as u64;
        let input = Input { reader: Box::new(io::Cursor::new(all)), length: Some(length) };
        let mut chunks = Chunks::begin(input, "t".to_owned(), None);
        let (mut sent, mut bad, mut read, mut number) = (Vec::new(), Vec::new(), 0, 0);
        while let Some(chunk) = chunks.next().await.unwrap() {
            assert_eq!(chunk.number, number);
            assert_eq!(chunk.body.iter().filter(|b| **b == b'\n').count(), chunk.lines.len());
            assert!(chunk.lines.len() <= CHUNK_LINES);
            number += 1;
            sent.extend(chunk.lines);
            bad.extend(chunk.bad);
            read = chunk.read;
        }
        let expected: Vec<u64> = (1..=2500).filter(|n| ![2, 4].contains(n)).collect();
        assert_eq!(sent, expected);
        assert_eq!((bad.len(), bad[0].line, read), (1, 4, length));
    }

    #[tokio::test]
    async fn long_lines_are_not_all_read_ahead() {
        let line = format!("\"{}\"\n", "x".repeat(3 << 20));
        let all = format!("\u{feff}{}", line.repeat(40));
        let input = Input { reader: Box::new(io::Cursor::new(all)), length: None };
        let mut chunks = Chunks::begin(input, "t".to_owned(), None);
        let first = chunks.next().await.unwrap().unwrap();
        assert_eq!((first.bad, first.lines.len() <= 3), (Vec::new(), true));
        assert!(chunks.lines.len() <= READ_AHEAD / (3 << 20), "{} lines wait", chunks.lines.len());
        let mut lines = first.lines.len();
        while let Some(chunk) = chunks.next().await.unwrap() {
            assert!(chunk.bad.is_empty());
            lines += chunk.lines.len();
        }
        assert_eq!(lines, 40);
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let mut reader = io::Cursor::new(b"aaaa\nb".to_vec());
        assert_eq!(skip_line(&mut reader).unwrap(), 5);
        assert_eq!(skip_line(&mut reader).unwrap(), 1);
        assert_eq!(skip_line(&mut reader).unwrap(), 0);
    }
}
