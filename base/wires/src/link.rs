//! A connection, plain or under TLS, that is read by lines of bounded length and has a time limit on each wait.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Read at once, and written at once under TLS, which makes records of at most so many bytes.
const CHUNK: usize = 16 << 10;

/// Why a connection is of no use any more. Its text holds nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(io::ErrorKind),
    #[error("a line had more than {0} bytes")]
    LongLine(usize),
    #[error("nothing came within {} s", .0.as_secs_f64())]
    Late(Duration),
    #[error("{0}")]
    Senseless(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Closed,
            kind => Fault::Io(kind),
        }
    }
}

/// What comes of `work`, or [`Fault::Late`].
pub(crate) async fn within<T, E: Into<Fault>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Fault::Late(limit)),
    }
}

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(crate) struct Link {
    stream: Stream,
    /// What was read; up to `start` it is done with.
    buffer: Vec<u8>,
    start: usize,
}

impl Link {
    pub fn new(stream: Stream) -> Link {
        Link { stream, buffer: Vec::new(), start: 0 }
    }

    pub fn encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The plain connection, to go on with under TLS. What was sent ahead of the handshake would be taken for something that came
    /// under TLS, so that is a fault; and a connection that is under TLS already can't go on so.
    pub fn into_plain(self) -> Result<TcpStream, Fault> {
        match self.stream {
            _ if self.start < self.buffer.len() => Err(Fault::Senseless("bytes ahead of the TLS handshake")),
            Stream::Plain(stream) => Ok(stream),
            Stream::Tls(_) => Err(Fault::Senseless("TLS in TLS")),
        }
    }

    pub fn local_address(&self) -> Option<std::net::IpAddr> {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        stream.local_addr().ok().map(|address| address.ip())
    }

    /// The next line without its end.
    pub async fn line(&mut self, most: usize, limit: Duration) -> Result<&[u8], Fault> {
        let mut looked = 0;
        let end = loop {
            let rest = &self.buffer[self.start..];
            if let Some(at) = rest[looked..].iter().position(|byte| *byte == b'\n') {
                break looked + at;
            }
            looked = rest.len();
            if looked > most {
                return Err(Fault::LongLine(most));
            }
            self.read_more(limit).await?;
        };
        let line = self.start..self.start + end;
        self.start = line.end + 1;
        let line = &self.buffer[line];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > most { Err(Fault::LongLine(most)) } else { Ok(line) }
    }

    /// What was read and not taken yet; at first, or if there is nothing, `read_more`.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn take(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.buffer.len());
    }

    pub async fn read_more(&mut self, limit: Duration) -> Result<(), Fault> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve(CHUNK);
        let read = match &mut self.stream {
            Stream::Plain(stream) => within(limit, stream.read_buf(&mut self.buffer)).await?,
            Stream::Tls(stream) => within(limit, stream.read_buf(&mut self.buffer)).await?,
        };
        if read == 0 { Err(Fault::Closed) } else { Ok(()) }
    }

    /// Writes all, with a time limit on each part of it. `whole` becomes true before the last byte may have gone out: it tells
    /// after a failure, and after this was dropped, whether the other side can have all of it.
    pub async fn write(&mut self, bytes: &[u8], limit: Duration, whole: &mut bool) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = match &mut self.stream {
                // A call that fails has given nothing to the system.
                Stream::Plain(stream) => within(limit, stream.write(rest)).await?,
                Stream::Tls(stream) => {
                    let part = &rest[..rest.len().min(CHUNK)];
                    // One that fails here may have given it a record.
                    *whole |= part.len() == rest.len();
                    within(limit, stream.write(part)).await?
                }
            };
            if written == 0 {
                return Err(Fault::Closed);
            }
            rest = &rest[written..];
        }
        *whole = true;
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(stream) => within(limit, stream.flush()).await,
        }
    }

    /// Whether it is open, as far as is known here, and nothing has come unasked.
    pub fn quiet(&mut self) -> bool {
        let mut one = [0; 1];
        let (mut one, mut context) = (ReadBuf::new(&mut one), Context::from_waker(Waker::noop()));
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(&mut context, &mut one),
            Stream::Tls(stream) => Pin::new(stream).poll_read(&mut context, &mut one),
        };
        self.start == self.buffer.len() && read.is_pending()
    }

    /// Says that no more comes, so that the other side reads all that was written before it sees the end.
    pub async fn shut(&mut self, limit: Duration) {
        let shut = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
            }
        };
        let _ = within(limit, shut).await;
    }
}
