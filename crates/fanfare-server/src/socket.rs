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
    limits::{HEAD_READ_MS_MAX, JOINED_BYTES_MAX, KEEPALIVE_IDLE_MS_MAX, READ_AHEAD_BYTES},
};

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// Anything but the preface; hyper says so if it is not HTTP/1 either.
    Http1,
    /// The client preface (RFC 9113, section 3.4).
    Http2,
}

impl Protocol {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The protocol as the metrics spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// A TCP socket with a few bytes that were read from it already.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Given to the next reads first.
    ahead: Bytes,
    /// How far a write over HTTP/2 has let others go first; none over HTTP/1.
    gather: Option<Gather>,
    activity: Arc<Activity>,
}

/// The streams of an HTTP/2 connection are tasks that were woken for the same event. The runtime
/// runs the connection right after the first of them, and without a pause it would write after
/// each. So its first write waits once, for all that are queued to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gather {
    /// The next write waits.
    Due,
    /// It waits now.
    Waiting,
    /// Writes go out until the connection has nothing left to do.
    Done,
}

impl Socket {
    /// Reads as much as tells the protocols apart (`P` also begins `POST`); some may have been
    /// read already.
    pub(crate) async fn accept(
        mut stream: TcpStream,
        mut ahead: BytesMut,
    ) -> io::Result<(Protocol, Self)> {
        let protocol = loop {
            if !PREFACE.starts_with(&ahead) && !ahead.starts_with(PREFACE) {
                break Protocol::Http1;
            }
            if ahead.len() >= PREFACE.len() {
                break Protocol::Http2;
            }
            let wait = if ahead.is_empty() { KEEPALIVE_IDLE_MS_MAX } else { HEAD_READ_MS_MAX };
            // Room for the whole head of most requests: hyper then has nothing left to read.
            ahead.reserve(READ_AHEAD_BYTES);
            let read = timeout(Duration::from_millis(wait), stream.read_buf(&mut ahead)).await??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let activity = Activity::new(protocol == Protocol::Http1);
        activity.on_read();
        let gather = (protocol == Protocol::Http2).then_some(Gather::Due);
        Ok((protocol, Self { stream, ahead: ahead.freeze(), gather, activity }))
    }

    /// What the connection is doing.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The socket itself; bytes that were read ahead are let go.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Ready unless others are to run before this write.
    fn gather(&mut self, cx: &Context<'_>) -> Poll<()> {
        match self.gather {
            Some(Gather::Due) => {
                self.gather = Some(Gather::Waiting);
                // A task that wakes itself goes to the end of its queue.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Gather::Waiting) => {
                self.gather = Some(Gather::Done);
                Poll::Ready(())
            }
            Some(Gather::Done) | None => Poll::Ready(()),
        }
    }

    /// Writes small pieces as one: for the kernel that is cheaper than a list of them.
    fn poll_write_joined(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; JOINED_BYTES_MAX];
        let mut length = 0;
        for buf in bufs {
            joined[length..length + buf.len()].copy_from_slice(buf);
            length += buf.len();
        }
        self.poll_write(cx, &joined[..length])
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
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            // h2 reads until there is nothing more, once per wake-up, before it writes.
            if read.is_pending() && self.gather == Some(Gather::Done) {
                self.gather = Some(Gather::Due);
            }
            ready!(read)?;
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
        let bytes = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if self.gather.is_none() && bytes <= JOINED_BYTES_MAX {
            return self.poll_write_joined(cx, bufs);
        }
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

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const _: () = assert!(READ_AHEAD_BYTES >= PREFACE.len());

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
        let (_, socket) =
            Socket::accept(listener.accept().await.unwrap().0, BytesMut::new()).await.unwrap();
        (socket, peer)
    }

    #[tokio::test]
    async fn only_http2_lets_others_run_before_it_writes() {
        for (first, waits) in [(PREFACE, true), (b"GET / HTTP/1.1\r\n".as_slice(), false)] {
            let (mut socket, mut peer) = accept(first).await;
            let mut cx = Context::from_waker(Waker::noop());
            let mut read = vec![0; first.len()];
            socket.read_exact(&mut read).await.unwrap();
            assert_eq!(read, first);
            for _ in 0..2 {
                // Once per wake-up, however many writes there are.
                for waits in [waits, false, false] {
                    let mut byte = [0];
                    let mut nothing = ReadBuf::new(&mut byte);
                    if waits {
                        let write = Pin::new(&mut socket).poll_write(&mut cx, b"x");
                        assert!(write.is_pending());
                        assert!(!socket.activity().is_blocked(), "its peer is not in the way");
                        let read = Pin::new(&mut socket).poll_read(&mut cx, &mut nothing);
                        assert!(read.is_pending());
                    }
                    let write = Pin::new(&mut socket).poll_write(&mut cx, b"x");
                    assert!(matches!(write, Poll::Ready(Ok(1))));
                    assert_eq!(peer.read_u8().await.unwrap(), b'x');
                }
                let mut byte = [0];
                let mut nothing = ReadBuf::new(&mut byte);
                assert!(Pin::new(&mut socket).poll_read(&mut cx, &mut nothing).is_pending());
            }
        }
    }

    #[tokio::test]
    async fn small_pieces_are_written_as_one_and_large_ones_as_they_are() {
        let (mut socket, mut peer) = accept(b"GET / HTTP/1.1\r\n").await;
        for bytes in [3, JOINED_BYTES_MAX, JOINED_BYTES_MAX + 1] {
            let text: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let (one, two) = text.split_at(2);
            let pieces = [io::IoSlice::new(one), io::IoSlice::new(two)];
            let write = poll_fn(|cx| Pin::new(&mut socket).poll_write_vectored(cx, &pieces));
            assert_eq!(write.await.unwrap(), bytes);
            let mut got = vec![0; bytes];
            peer.read_exact(&mut got).await.unwrap();
            assert_eq!(got, text);
        }
    }
}
