//! Subscribers over HTTP/1.1: one connection each.

use std::{
    future::{pending, poll_fn},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, ReadBuf},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
};

use super::{
    subscriber::{Body, Framing, Reading, Shared, Subscriber},
    tally::add,
};
use crate::{chunked::Chunked, websocket::Messages};

/// Source addresses that connections over loopback are spread over: each has its own ports.
const SOURCES: u32 = 16;
/// A head that takes more is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a slow subscriber lets the kernel hold for it, in bytes.
const SLOW_RECEIVE_BYTES: u32 = 4 * 1024;
/// How often a slow subscriber reads, in milliseconds.
const SLOW_READ_MS: u32 = 100;

/// Subscribes one, and reads until its stream ends.
pub(crate) async fn subscribe(
    subscriber: Rc<Subscriber>,
    shared: Rc<Shared>,
    connecting: Rc<Semaphore>,
) {
    let class = shared.class(&subscriber);
    let Ok((stream, body)) = open(&subscriber, &shared, &connecting).await else {
        return add(&class.refused, 1);
    };
    let open = Open::new(&subscriber, &shared);
    let is_whole = read(stream, body, &subscriber, &shared).await;
    drop(open);
    subscriber.end(is_whole, &shared);
}

/// Counts a stream as open while it lives.
pub(crate) struct Open<'a>(&'a Subscriber, &'a Shared);

impl<'a> Open<'a> {
    pub(crate) fn new(subscriber: &'a Subscriber, shared: &'a Shared) -> Self {
        let class = shared.class(subscriber);
        add(&class.connects, 1);
        add(&class.connected, 1);
        Self(subscriber, shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let connected = &self.1.class(self.0).connected;
        connected.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Connects from one of the source addresses.
pub(crate) async fn connect(shared: &Shared, reading: Reading) -> io::Result<TcpStream> {
    let address = shared.endpoint.address;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let count = shared.connections.get();
        shared.connections.set(count.wrapping_add(1));
        let last = 2 + (count % SOURCES) as u8;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    }
    if reading != Reading::Fast {
        socket.set_recv_buffer_size(SLOW_RECEIVE_BYTES)?;
    }
    // The port is free again at once when the socket is closed.
    socket.set_zero_linger()?;
    socket.connect(address).await
}

/// Connects, subscribes, and reads the head.
async fn open(
    subscriber: &Subscriber,
    shared: &Shared,
    connecting: &Semaphore,
) -> io::Result<(TcpStream, Body)> {
    let _permit = connecting.acquire().await.map_err(io::Error::other)?;
    let mut stream = connect(shared, subscriber.reading).await?;
    let request = subscriber.request(&shared.endpoint);
    stream.write_all(&request).await?;
    let mut head = Vec::new();
    loop {
        let found = poll_fn(|cx| {
            poll_bytes(&mut stream, cx, shared, usize::MAX, |bytes| head.extend_from_slice(bytes))
        });
        if found.await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((length, framing)) = parse_head(&head)? {
            add(&shared.class(subscriber).bytes, head.len() as u64);
            let mut body = Body::framed(framing);
            body.take(&head[length..], subscriber, shared);
            return Ok((stream, body));
        }
    }
}

/// The length of a head and how the body is framed; none if more has to come.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(usize, Framing)>> {
    let mut fields = [httparse::EMPTY_HEADER; 48];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        httparse::Status::Partial => return Err(io::Error::other("the head does not end")),
    };
    if response.code == Some(101) {
        return Ok(Some((length, Framing::Messages(Messages::default()))));
    }
    if response.code != Some(200) {
        return Err(io::Error::other(format!("status {:?}", response.code)));
    }
    let is = |name: &str, value: &str| {
        response.headers.iter().any(|field| {
            field.name.eq_ignore_ascii_case(name)
                && field.value.to_ascii_lowercase().starts_with(value.as_bytes())
        })
    };
    if !is("content-type", "text/event-stream") {
        return Err(io::Error::other("the answer is no event stream"));
    }
    let is_chunked = is("transfer-encoding", "chunked");
    let chunked = || Framing::Chunked(Chunked::default());
    Ok(Some((length, if is_chunked { chunked() } else { Framing::Plain })))
}

/// Reads a stream to its end; returns whether it came whole.
async fn read(
    mut stream: TcpStream,
    mut body: Body,
    subscriber: &Subscriber,
    shared: &Shared,
) -> bool {
    let class = shared.class(subscriber);
    let at_once = match subscriber.reading {
        Reading::Fast => usize::MAX,
        Reading::Slow(rate) => (rate / (1_000 / SLOW_READ_MS)).max(1) as usize,
        Reading::Never => return pending().await,
    };
    loop {
        let found = poll_fn(|cx| {
            poll_bytes(&mut stream, cx, shared, at_once, |bytes| {
                body.take(bytes, subscriber, shared);
            })
        });
        match found.await {
            Ok(0) => return body.is_whole(),
            Err(_) => return false,
            Ok(read) => add(&class.bytes, read as u64),
        }
        if at_once != usize::MAX {
            tokio::time::sleep(Duration::from_millis(SLOW_READ_MS.into())).await;
        }
    }
}

/// Reads what has come, at most `at_once` bytes, into the buffer that all share.
fn poll_bytes(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    shared: &Shared,
    at_once: usize,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut buffer = shared.buffer.borrow_mut();
    let length = buffer.len().min(at_once);
    let mut room = ReadBuf::new(&mut buffer[..length]);
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    let filled = room.filled();
    take(filled);
    Poll::Ready(Ok(filled.len()))
}
