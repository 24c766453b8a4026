//! Those who publish token streams: a request each, over connections of their own or over few of
//! HTTP/2, or one request for all.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use h2::{SendStream, client::ResponseFuture};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::Over;
use crate::{
    endpoint::{Endpoint, Kind},
    payload,
    publisher::{LinePublisher, Log, Publisher},
};

/// The publishers of all streams, one for each channel from 0 on.
pub(super) enum Publishers {
    /// A connection each.
    Each(Vec<Each>),
    /// One request.
    One(Box<LinePublisher>),
    /// A stream of a connection each.
    Http2 {
        streams: Vec<Http2>,
        /// What drives the connections; they end with it.
        _connections: JoinSet<()>,
    },
}

/// A request over a connection of its own.
pub(super) struct Each {
    socket: TcpStream,
    /// What the socket has not taken yet.
    waiting: Vec<u8>,
}

/// A request over a connection of HTTP/2.
pub(super) struct Http2 {
    body: SendStream<bytes::Bytes>,
    answer: ResponseFuture,
}

/// Streams on a connection of HTTP/2: what clients take for granted of a server that says nothing.
const STREAMS_PER_CONNECTION: u32 = 100;
/// How long the hub may take to answer at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer that is longer is none.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

impl Publishers {
    /// Connects them and begins their requests.
    pub(super) async fn connect(endpoint: &Endpoint, over: Over, count: u32) -> io::Result<Self> {
        Ok(match over {
            Over::PerStream => {
                let mut all = Vec::new();
                for channel in 0..count {
                    all.push(Each::connect(endpoint, channel).await?);
                }
                Self::Each(all)
            }
            Over::One => Self::One(Box::new(LinePublisher::connect(endpoint).await?)),
            Over::H2 => {
                let (mut streams, mut connections) = (Vec::new(), JoinSet::new());
                for first in (0..count).step_by(STREAMS_PER_CONNECTION as usize) {
                    let channels = first..count.min(first + STREAMS_PER_CONNECTION);
                    streams.extend(Http2::connect(endpoint, channels, &mut connections).await?);
                }
                Self::Http2 { streams, _connections: connections }
            }
        })
    }

    /// Publishes the next token of some channels.
    pub(super) async fn publish(
        &mut self,
        stamp_ns: u64,
        channels: impl Iterator<Item = u32>,
        number: u64,
    ) -> io::Result<()> {
        let mut data = Vec::new();
        for channel in channels {
            data.clear();
            match self {
                Self::One(lines) => lines.add_chunk(stamp_ns, channel),
                Self::Each(all) => {
                    event(&mut data, stamp_ns, number);
                    all[channel as usize].send(&data)?;
                }
                Self::Http2 { streams, .. } => {
                    event(&mut data, stamp_ns, number);
                    let body = &mut streams[channel as usize].body;
                    body.send_data(data.clone().into(), false).map_err(io::Error::other)?;
                }
            }
        }
        match self {
            Self::One(lines) => lines.flush().await,
            Self::Each(_) | Self::Http2 { .. } => Ok(()),
        }
    }

    /// Ends their requests and closes the channels; returns what was published once the hub has
    /// answered that it took all: `tokens` of each of `count` channels.
    pub(super) async fn finish(
        self,
        endpoint: &Endpoint,
        count: u32,
        tokens: u64,
    ) -> io::Result<Log> {
        match self {
            Self::One(lines) => {
                let log = lines.finish().await?;
                // A baseline knows no end.
                if endpoint.kind == Kind::Fanfare {
                    let mut publisher = Publisher::connect(endpoint).await?;
                    for channel in 0..count {
                        publisher.close(channel).await?;
                    }
                }
                return Ok(log);
            }
            Self::Each(mut all) => {
                for one in &mut all {
                    one.end().await?;
                }
                for one in &mut all {
                    timeout(PATIENCE, one.answer(tokens)).await??;
                }
            }
            Self::Http2 { mut streams, _connections } => {
                for Http2 { body, .. } in &mut streams {
                    body.send_data(bytes::Bytes::new(), true).map_err(io::Error::other)?;
                }
                for Http2 { answer, .. } in streams {
                    timeout(PATIENCE, answered(answer, tokens)).await??;
                }
            }
        }
        let newest = (0..count).map(|channel| (channel, tokens)).collect();
        Ok(Log { newest, events: u64::from(count) * tokens, ..Log::default() })
    }
}

impl Each {
    async fn connect(endpoint: &Endpoint, channel: u32) -> io::Result<Self> {
        let mut socket = TcpStream::connect(endpoint.address).await?;
        socket.set_nodelay(true)?;
        socket.write_all(&endpoint.publish_stream(channel)).await?;
        Ok(Self { socket, waiting: Vec::new() })
    }

    /// Sends an event as a chunk, as far as the socket takes it.
    fn send(&mut self, event: &[u8]) -> io::Result<()> {
        write!(self.waiting, "{:x}\r\n", event.len())?;
        self.waiting.extend_from_slice(event);
        self.waiting.extend_from_slice(b"\r\n");
        match self.socket.try_write(&self.waiting) {
            Ok(sent) => drop(self.waiting.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends what waits, and the end.
    async fn end(&mut self) -> io::Result<()> {
        self.waiting.extend_from_slice(b"0\r\n\r\n");
        self.socket.write_all(&self.waiting).await
    }

    async fn answer(&mut self, tokens: u64) -> io::Result<()> {
        let mut answer = Vec::new();
        while !is_all(&answer, tokens) {
            if answer.len() > ANSWER_BYTES_MAX || self.socket.read_buf(&mut answer).await? == 0 {
                return Err(not_all(&answer, tokens));
            }
        }
        Ok(())
    }
}

impl Http2 {
    async fn connect(
        endpoint: &Endpoint,
        channels: std::ops::Range<u32>,
        connections: &mut JoinSet<()>,
    ) -> io::Result<Vec<Self>> {
        let socket = TcpStream::connect(endpoint.address).await?;
        socket.set_nodelay(true)?;
        let handshake = h2::client::Builder::new().handshake(socket).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        connections.spawn(async move { drop(connection.await) });
        let mut streams = Vec::new();
        for channel in channels {
            sender = sender.ready().await.map_err(io::Error::other)?;
            let path = endpoint.stream_path(channel);
            let mut request = http::Request::post(format!("http://{}{path}", endpoint.address))
                .header("content-type", "text/event-stream");
            if let Some(token) = &endpoint.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.body(()).map_err(io::Error::other)?;
            let sent = sender.send_request(request, false).map_err(io::Error::other)?;
            streams.push(Self { answer: sent.0, body: sent.1 });
        }
        Ok(streams)
    }
}

/// Appends the event of a token.
fn event(out: &mut Vec<u8>, stamp_ns: u64, number: u64) {
    out.extend_from_slice(b"data: ");
    payload::write_chunk(out, stamp_ns, number);
    out.extend_from_slice(b"\n\n");
}

async fn answered(answer: ResponseFuture, tokens: u64) -> io::Result<()> {
    let answer = answer.await.map_err(io::Error::other)?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut told = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.map_err(io::Error::other)?;
        body.flow_control().release_capacity(bytes.len()).map_err(io::Error::other)?;
        told.extend_from_slice(&bytes);
    }
    if status == StatusCode::OK && is_all(&told, tokens) {
        return Ok(());
    }
    Err(not_all(&told, tokens))
}

/// Whether an answer says that so many events were accepted.
fn is_all(answer: &[u8], tokens: u64) -> bool {
    [',', '}'].iter().any(|end| {
        let accepted = format!("\"accepted\":{tokens}{end}");
        memchr::memmem::find(answer, accepted.as_bytes()).is_some()
    })
}

fn not_all(answer: &[u8], tokens: u64) -> io::Error {
    io::Error::other(format!("not {tokens} accepted, but {}", String::from_utf8_lossy(answer)))
}
