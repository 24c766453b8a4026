//! A client of HTTP/2 by prior knowledge: many requests and streams on one connection.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::Reason;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    client::conn::http2::{self, SendRequest},
    header::HeaderMap,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use crate::support::{
    DEADLINE,
    hub::Hub,
    sse::{Event, Piece, Sse},
};

type Upload = UnsyncBoxBody<Bytes, Broken>;

/// A connection.
pub(crate) struct Connection {
    requests: SendRequest<Upload>,
}

/// A subscriber: one stream of a connection.
pub(crate) struct Stream {
    pub(crate) headers: HeaderMap,
    body: Incoming,
    sse: Sse,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// With END_STREAM.
    Clean,
    /// With RST_STREAM, or with the connection.
    Reset,
}

/// A body that is sent as it comes.
pub(crate) struct Sender(mpsc::Sender<Result<Bytes, Broken>>);

/// What makes the client reset its own upload.
#[derive(Debug)]
pub(crate) struct Broken(h2::Error);

impl Connection {
    /// Connects with usual settings.
    pub(crate) async fn open(hub: &Hub) -> Self {
        Self::with_window(hub, 1 << 20).await
    }

    /// Connects with so many bytes of window per stream, and plenty for all together.
    pub(crate) async fn with_window(hub: &Hub, window: u32) -> Self {
        let socket = TcpStream::connect(hub.public()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(1 << 28);
        builder.initial_max_send_streams(4_096);
        let (requests, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self { requests }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
    ) -> Response<Incoming> {
        self.try_ask(method, target, headers, body).await.unwrap()
    }

    /// The same, if it may fail.
    pub(crate) async fn try_ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request =
            Request::builder().method(method).uri(format!("http://localhost{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.map_err(Into::into).boxed_unsync()).unwrap();
        soon(self.requests.clone().send_request(request)).await
    }

    /// Sends a request with a whole body and answers the status and the whole answer.
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let answer = self.ask(method, target, headers, body).await;
        let status = answer.status().as_u16();
        let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }

    /// Publishes one event.
    pub(crate) async fn publish(&self, channel: &str, data: &str) -> Value {
        let (status, told) = self.call("POST", &format!("/channels/{channel}"), &[], data).await;
        assert_eq!(status, 200, "{told}");
        serde_json::from_str(&told).unwrap()
    }

    /// Subscribes.
    pub(crate) async fn subscribe(&self, target: &str, headers: &[(&str, &str)]) -> Stream {
        let answer = self.ask("GET", target, headers, Full::<Bytes>::default()).await;
        assert_eq!(answer.status(), 200, "{target}");
        let (head, body) = answer.into_parts();
        Stream { headers: head.headers, body, sse: Sse::default() }
    }
}

impl Stream {
    /// The next piece, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Piece, End> {
        soon(self.read()).await
    }

    async fn read(&mut self) -> Result<Piece, End> {
        loop {
            if let Some(piece) = self.sse.next() {
                return Ok(piece);
            }
            let end = match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.sse.push(&frame.into_data().unwrap());
                    continue;
                }
                Some(Err(_)) => End::Reset,
                None => End::Clean,
            };
            assert_eq!(self.sse.unparsed(), b"", "cut inside an event");
            return Err(end);
        }
    }

    /// The next event; heartbeats before it are passed over.
    pub(crate) async fn event(&mut self) -> Event {
        match soon(self.event_or_end()).await {
            Ok(event) => event,
            Err(end) => panic!("{end:?} after {:?}", String::from_utf8_lossy(self.sse.raw())),
        }
    }

    async fn event_or_end(&mut self) -> Result<Event, End> {
        loop {
            if let Piece::Event(event) = self.next().await? {
                return Ok(event);
            }
        }
    }

    /// The next events.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            events.push(self.event().await);
        }
        events
    }

    /// Waits for the end; no event may come before.
    pub(crate) async fn end(&mut self) -> End {
        match soon(self.event_or_end()).await {
            Ok(event) => panic!("one more event: {event:?}"),
            Err(end) => end,
        }
    }
}

impl Sender {
    /// A body, and what sends it.
    pub(crate) fn new() -> (Self, impl Body<Data = Bytes, Error = Broken> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(16);
        (Self(sender), Streamed(receiver))
    }

    /// Sends a piece of it.
    pub(crate) async fn send(&self, text: &str) {
        soon(self.0.send(Ok(Bytes::copy_from_slice(text.as_bytes())))).await.unwrap();
    }

    /// Breaks it off with this code.
    pub(crate) async fn reset(self, reason: Reason) {
        soon(self.0.send(Err(Broken(reason.into())))).await.unwrap();
    }
}

struct Streamed(mpsc::Receiver<Result<Bytes, Broken>>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off")
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What must come within the deadline of all tests.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("nothing came within {DEADLINE:?}"))
}
