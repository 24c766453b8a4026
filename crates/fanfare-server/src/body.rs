//! The body of an answer: nothing, bytes, or a stream of them.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};

/// Why a stream broke off. hyper then aborts the connection or resets the stream.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer. Only a stream is boxed.
#[derive(Debug, Default)]
pub(crate) enum Body {
    /// Nothing, or nothing more.
    #[default]
    Empty,
    /// All of it.
    Full(Bytes),
    /// What comes as it comes.
    Stream(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// A body that is there already.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    /// A body that comes in pieces.
    pub(crate) fn stream<B>(body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        Self::Stream(body.map_err(Into::into).boxed_unsync())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn every_kind_says_its_size_and_ends() {
        let streamed = Body::stream(Full::new(Bytes::from("three")));
        for (body, text) in
            [(Body::full("three"), "three"), (Body::full(""), ""), (streamed, "three")]
        {
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            assert_eq!(body.is_end_stream(), text.is_empty());
            assert_eq!(body.collect().await.unwrap().to_bytes(), text);
        }
    }
}
