//! A body that says when it was asked for.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Given out whole, once. Until then the connection can't have written the end of the request, in HTTP/1.1 nor in HTTP/2: without
/// its body the request is none, so nothing was done about it.
pub(super) struct Once {
    data: Option<Bytes>,
    left: Arc<AtomicBool>,
}

impl Once {
    pub(super) fn new(data: Bytes, left: Arc<AtomicBool>) -> Once {
        left.store(data.is_empty(), Ordering::Release);
        Once { data: (!data.is_empty()).then_some(data), left }
    }
}

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.left.store(true, Ordering::Release);
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
