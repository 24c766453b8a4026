//! The body of a request over HTTP/2, told from one that broke off.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::body::BodyError;

/// The body of a request. To hyper a stream that its peer resets with NO_ERROR has ended, which is
/// so for the answers that a server cuts short (RFC 9113, section 8.1); a request that is reset
/// has broken off, whatever the code. Some proxies and clients reset with NO_ERROR what they lost.
#[derive(Debug)]
pub(crate) struct Received(pub(crate) Incoming);

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            Some(frame) => Poll::Ready(Some(frame.map_err(Into::into))),
            None if self.0.is_end_stream() => Poll::Ready(None),
            None => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
