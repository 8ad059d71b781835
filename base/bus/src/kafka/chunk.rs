//! Records as the poll thread takes them out of librdkafka: copied once into one piece of memory, of which every key, value
//! and list of headers is a slice; made into [`Received`] by whoever reads them.

use crate::Received;
use artel_message::{Headers, Time};
use bytes::Bytes;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// From and to, in the chunk's bytes.
type Span = (u32, u32);

struct Entry {
    offset: i64,
    millis: i64,
    key: Option<Span>,
    value: Option<Span>,
    /// Its headers in the form that [`Headers`] takes.
    headers: Span,
    header_count: u32,
    /// Bytes of key, value, and the headers' names and values.
    payload: u32,
}

/// Records of one partition in offset order.
pub(super) struct Chunk {
    bytes: Bytes,
    entries: Vec<Entry>,
}

/// What a record costs beside its bytes.
const OVERHEAD: usize = size_of::<Entry>() + 16;

impl Chunk {
    /// At least one.
    pub fn last(&self) -> i64 {
        self.entries.last().map_or(-1, |entry| entry.offset)
    }

    pub fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * OVERHEAD
    }

    /// About how much of the chunk lies at or above an offset.
    pub fn size_from(&self, offset: i64) -> usize {
        let below = self.entries.partition_point(|entry| entry.offset < offset);
        let rest = self.entries.len() - below;
        if rest == 0 { 0 } else { self.size() * rest / self.entries.len() }
    }

    /// Appends records from `from` on to `out`, as many as `limits` allow. True when none is left behind.
    pub fn read(&self, from: i64, limits: &mut Room, out: &mut Vec<Received>) -> bool {
        let start = self.entries.partition_point(|entry| entry.offset < from);
        out.reserve((self.entries.len() - start).min(limits.records));
        for entry in &self.entries[start..] {
            if !limits.take(entry.payload as usize, out.is_empty()) {
                return false;
            }
            out.push(self.received(entry));
        }
        true
    }

    fn received(&self, entry: &Entry) -> Received {
        let slice = |(from, to): Span| self.bytes.slice(from as usize..to as usize);
        let headers = match entry.header_count {
            0 => Headers::new(),
            count => Headers::from_written(slice(entry.headers), count as usize),
        };
        Received {
            offset: entry.offset,
            time: Time::from_millis(entry.millis),
            key: entry.key.map(slice),
            value: entry.value.map(slice),
            headers,
        }
    }
}

/// How much a read may still bring.
pub(super) struct Room {
    pub records: usize,
    pub bytes: usize,
}

impl Room {
    /// Whether a record still fits; the first always does.
    fn take(&mut self, bytes: usize, is_first: bool) -> bool {
        if !is_first && (self.records == 0 || bytes > self.bytes) {
            return false;
        }
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// A chunk in the making.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// The headers of one record while they are written.
#[derive(Default)]
struct Written {
    count: u32,
    payload: usize,
}

impl Builder {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * OVERHEAD
    }

    pub fn push(&mut self, message: &BorrowedMessage<'_>) {
        let key = message.key().map(|key| self.put(key));
        let value = message.payload().map(|value| self.put(value));
        let first = self.bytes.len();
        let mut written = Written::default();
        if let Some(headers) = message.headers()
            && catch_unwind(AssertUnwindSafe(|| self.put_headers(headers, &mut written))).is_err()
        {
            // rdkafka panics on a name that is not UTF-8: another program's message, which must not stop the partition.
            self.bytes.truncate(first);
            written = Written::default();
            self.put_good_headers(message, &mut written);
        }
        self.entries.push(Entry {
            offset: message.offset(),
            millis: message.timestamp().to_millis().unwrap_or(0),
            key,
            value,
            headers: (index(first), index(self.bytes.len())),
            header_count: written.count,
            payload: index(message.key().map_or(0, <[u8]>::len) + message.payload_len() + written.payload),
        });
    }

    fn put_header(&mut self, header: &Header<'_, &[u8]>, written: &mut Written) {
        Headers::write_one(&mut self.bytes, header.key, header.value);
        written.count += 1;
        written.payload += header.key.len() + header.value.map_or(0, <[u8]>::len);
    }

    fn put_headers(&mut self, headers: &BorrowedHeaders, written: &mut Written) {
        for header in headers.iter() {
            self.put_header(&header, written);
        }
    }

    /// Those whose names can be read.
    fn put_good_headers(&mut self, message: &BorrowedMessage<'_>, written: &mut Written) {
        let Some(headers) = message.headers() else { return };
        for at in 0..headers.count() {
            let Ok(Some(header)) = catch_unwind(AssertUnwindSafe(|| headers.try_get(at))) else {
                tracing::warn!(
                    target: "artel_bus::kafka",
                    "{}/{} offset {}: a header whose name is not UTF-8 is left out",
                    message.topic(), message.partition(), message.offset()
                );
                continue;
            };
            self.put_header(&header, written);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        let from = index(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        (from, index(self.bytes.len()))
    }

    /// The chunk; the builder is empty again, with room for as much and a little more, lest it is moved for the last record.
    pub fn take(&mut self) -> Chunk {
        let next = Builder {
            bytes: Vec::with_capacity(self.bytes.len() + self.bytes.len() / 16),
            entries: Vec::with_capacity(self.entries.len() + self.entries.len() / 16),
        };
        let full = std::mem::replace(self, next);
        Chunk { bytes: Bytes::from(full.bytes), entries: full.entries }
    }
}

/// A chunk is flushed long before it has so many bytes.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
