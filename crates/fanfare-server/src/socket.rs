//! A socket that gives back what was read from it too early, and notes what it does.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::{
    activity::Activity,
    limits::{HEAD_READ_MS_MAX, KEEPALIVE_IDLE_MS_MAX},
};

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// Anything but the preface; hyper says so if it is not HTTP/1 either.
    Http1,
    /// The client preface (RFC 9113, section 3.4).
    Http2,
}

/// A TCP socket with a few bytes that were read from it already.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Given to the next reads first.
    ahead: Bytes,
    activity: Arc<Activity>,
}

impl Socket {
    /// Reads as much as tells the protocols apart (`P` also begins `POST`).
    pub(crate) async fn accept(mut stream: TcpStream) -> io::Result<(Protocol, Self)> {
        let mut ahead = BytesMut::with_capacity(PREFACE.len());
        let mut wait = KEEPALIVE_IDLE_MS_MAX;
        let protocol = loop {
            let read = timeout(Duration::from_millis(wait), stream.read_buf(&mut ahead)).await??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !PREFACE.starts_with(&ahead) && !ahead.starts_with(PREFACE) {
                break Protocol::Http1;
            }
            if ahead.len() >= PREFACE.len() {
                break Protocol::Http2;
            }
            wait = HEAD_READ_MS_MAX;
        };
        let activity = Activity::new(protocol == Protocol::Http1);
        activity.on_read();
        Ok((protocol, Self { stream, ahead: ahead.freeze(), activity }))
    }

    /// What the connection is doing.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The socket itself; bytes that were read ahead are let go.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.on_write(result.is_ready());
        result
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let take = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..take]);
            self.ahead.advance(take);
        }
        self.activity.on_read();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.on_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
