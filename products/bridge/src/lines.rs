//! A body cut into lines as it comes, however long they are: what passes the bound is passed over without being kept.

use bytes::{Buf, Bytes, BytesMut};

/// What some programs write before the first character of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its end.
    Whole(Bytes),
    TooLong,
}

pub struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
    limit: usize,
    /// The line that is being read has passed the bound already.
    skipping: bool,
    first: bool,
}

impl Lines {
    pub fn new(limit: usize) -> Lines {
        Lines { buffer: BytesMut::new(), searched: 0, limit, skipping: false, first: true }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next line that has an end.
    pub fn next(&mut self) -> Option<Line> {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                Some(self.ended(line))
            }
            None => {
                if self.skipping || self.buffer.len() > self.limit {
                    self.skipping = true;
                    self.buffer.clear();
                }
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// What stands behind the last line's end.
    pub fn last(&mut self) -> Option<Line> {
        if self.buffer.is_empty() && !self.skipping {
            return None;
        }
        let line = std::mem::take(&mut self.buffer);
        Some(self.ended(line))
    }

    fn ended(&mut self, mut line: BytesMut) -> Line {
        if std::mem::take(&mut self.first) && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        if std::mem::take(&mut self.skipping) || line.len() > self.limit {
            return Line::TooLong;
        }
        Line::Whole(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], size: usize, limit: usize) -> Vec<Line> {
        let (mut lines, mut all) = (Lines::new(limit), Vec::new());
        for piece in text.chunks(size) {
            lines.push(piece);
            all.extend(std::iter::from_fn(|| lines.next()));
        }
        all.extend(lines.last());
        all
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"\xef\xbb\xbf{1}\r\n\n123456\n12345678901234567890\nlast";
        let whole = |text: &'static [u8]| Line::Whole(Bytes::from_static(text));
        for size in 1..text.len() {
            let expected = [whole(b"{1}\r"), whole(b""), whole(b"123456"), Line::TooLong, whole(b"last")];
            assert_eq!(read(text, size, 7), expected, "pieces of {size}");
        }
        assert_eq!(read(b"", 1, 7), []);
        assert_eq!(read(b"12345678", 3, 7), [Line::TooLong]);
    }

    #[test]
    fn a_long_line_is_not_kept() {
        let mut lines = Lines::new(10);
        for _ in 0..1000 {
            lines.push(&[b'x'; 100]);
            assert_eq!(lines.next(), None);
            assert!(lines.buffer.len() <= 110);
        }
        lines.push(b"\nshort\n");
        assert_eq!(lines.next(), Some(Line::TooLong));
        assert_eq!(lines.next(), Some(Line::Whole(Bytes::from_static(b"short"))));
    }
}
