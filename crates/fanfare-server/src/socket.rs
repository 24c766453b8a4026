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
    /// Whether a write first lets other tasks run, so that what they have goes out with it.
    gathers: bool,
    /// Whether they have run since the last write.
    gathered: bool,
    activity: Arc<Activity>,
}

impl Socket {
    /// Reads as much as tells the protocols apart (`P` also begins `POST`).
    pub(crate) async fn accept(mut stream: TcpStream) -> io::Result<(Protocol, Self)> {
        // Room for the whole head of most requests: hyper then has nothing left to read.
        let mut ahead = BytesMut::with_capacity(READ_AHEAD_BYTES);
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
        // The streams of an HTTP/2 connection are tasks that were woken for the same event: without
        // a pause the connection would write after each of them.
        let (gathers, gathered) = (protocol == Protocol::Http2, false);
        Ok((protocol, Self { stream, ahead: ahead.freeze(), gathers, gathered, activity }))
    }

    /// What the connection is doing.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The socket itself; bytes that were read ahead are let go.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Ready once the tasks that were to run before this write have run.
    fn gather(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.gathers && !std::mem::replace(&mut self.gathered, true) {
            // A task that wakes itself goes to the end of its queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn note<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.on_write(result.is_ready());
        self.gathered &= result.is_pending();
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
            if self.ahead.is_empty() {
                // Its memory goes now and not with the connection.
                self.ahead = Bytes::new();
            }
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
        ready!(self.gather(cx));
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.gather(cx));
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

/// Bytes that are read before the protocol is known.
const READ_AHEAD_BYTES: usize = 1_024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    /// A socket whose peer sent `first`, and the peer.
    async fn accept(first: &[u8]) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        peer.write_all(first).await.unwrap();
        let (_, socket) = Socket::accept(listener.accept().await.unwrap().0).await.unwrap();
        (socket, peer)
    }

    #[tokio::test]
    async fn only_http2_lets_others_run_before_each_write() {
        for (first, waits) in [(PREFACE, true), (b"GET / HTTP/1.1\r\n".as_slice(), false)] {
            let (mut socket, mut peer) = accept(first).await;
            for _ in 0..2 {
                let mut cx = Context::from_waker(Waker::noop());
                let write = Pin::new(&mut socket).poll_write(&mut cx, b"x");
                assert_eq!(write.is_pending(), waits);
                assert!(!socket.activity().is_blocked(), "it waits for others, not for its peer");
                if waits {
                    let write = poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, b"x"));
                    assert_eq!(write.await.unwrap(), 1);
                }
                assert_eq!(peer.read_u8().await.unwrap(), b'x');
            }
        }
    }
}
