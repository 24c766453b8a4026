//! One connection from its first byte: hyper parses every request, and the socket of an HTTP/1
//! subscriber leaves hyper for a fan-out worker.
//!
//! The handoff: the service does all checks, leaves what it found beside the connection and
//! returns an error. hyper then ends the connection without having written anything and gives the
//! socket back. The worker writes the head too, because the socket may be full.

use std::{
    any::Any,
    convert::Infallible,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use fanfare_core::{EventId, Framing, Opening};
use fanfare_fanout::{Attach, Seat};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    activity::{Activity, Answered},
    body::{Body, BodyError},
    guard::Origin,
    h2::{AwayBody, H2Body},
    limits::{
        AWAY_WRITE_MS_MAX, H2_PING_INTERVAL_MS, H2_PING_MS_MAX, H2_SEND_BUFFER_BYTES_MAX,
        H2_STREAMS_MAX, HEAD_BYTES_MAX,
    },
    metrics::Reached,
    places::Place,
    problem::Problem,
    service::{self, Answer},
    socket::{Protocol, Socket},
    state::{Shared, State},
    subscribe::{Outcome, Parameters},
};

/// Serves one accepted socket of the public listener. Without a place the hub is full: then a
/// subscriber is told to come back, and everything else refused.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, place: Option<Place>) {
    let Ok((protocol, socket)) = Socket::accept(stream).await else { return };
    match protocol {
        Protocol::Http1 => serve_http1(shared, socket, place).await,
        Protocol::Http2 => serve_http2(shared, socket, place).await,
    }
}

/// A subscriber that leaves hyper.
enum Handoff {
    /// For a worker.
    Attach(Box<Departing>),
    /// For nobody: these bytes, then the end.
    Away(Vec<u8>),
}

/// All that a worker needs but the socket.
struct Departing {
    opening: Opening,
    head: Vec<u8>,
    framing: Framing,
    heartbeat_ms: u32,
    seat: Seat,
}

async fn serve_http1(shared: Arc<Shared>, socket: Socket, place: Option<Place>) {
    let activity = Arc::clone(socket.activity());
    let left: Arc<Mutex<Option<Handoff>>> = Arc::default();
    let full = place.is_none();
    let service = {
        let (shared, activity, left) = (Arc::clone(&shared), Arc::clone(&activity), left.clone());
        service_fn(move |request: Request<Incoming>| {
            let (shared, left) = (Arc::clone(&shared), Arc::clone(&left));
            let activity = Arc::clone(&activity);
            let answered = activity.answering();
            // Boxed so that the connection is `Unpin` and can be taken apart.
            Box::pin(async move {
                match answer_http1(&shared, request, full).await {
                    Ok(response) => Ok(response.map(|body| Tracked { body, _answered: answered })),
                    Err(handoff) => {
                        activity.until_flushed().await;
                        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(handoff);
                        Err(HandedOff)
                    }
                }
            })
        })
    };
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!full)
        .serve_connection(TokioIo::new(socket), service);
    let stall_ms = u64::from(shared.state.config().write_stall_ms_max);
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            _ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break,
            () = activity.watch(stall_ms) => {
                return count_cut(&shared.state, &activity);
            }
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    let handoff = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stream = connection.into_parts().io.into_inner().into_stream();
    match handoff {
        // What the peer still sends may be the rest of a request that was refused.
        None => send_away(stream, &[]).await,
        Some(Handoff::Away(bytes)) => send_away(stream, &bytes).await,
        Some(Handoff::Attach(departing)) => {
            let Ok(socket) = stream.into_std() else { return };
            let Departing { opening, head, framing, heartbeat_ms, seat } = *departing;
            let permit = place.map(|place| Box::new(place) as Box<dyn Any + Send>);
            let age_ms_max = 0;
            let attach =
                Attach { socket, opening, head, framing, heartbeat_ms, age_ms_max, seat, permit };
            // Stopped workers have closed everything, this socket with it.
            shared.fanout.attach(Box::new(attach)).await.unwrap_or_default();
        }
    }
}

async fn answer_http1(
    shared: &Shared,
    request: Request<Incoming>,
    full: bool,
) -> Result<Response<Body>, Handoff> {
    let parameters = match prepare(&shared.state, request, full).await {
        Ok(parameters) => parameters,
        Err(response) => return Ok(response),
    };
    let seat = shared.fanout.seat();
    match parameters.subscribe(&shared.state, seat.worker(), full) {
        Outcome::Answer(response) => Ok(response),
        Outcome::Away(away) => {
            let mut bytes = parameters.head(away.position);
            bytes.extend_from_slice(&away.bytes);
            Err(Handoff::Away(bytes))
        }
        Outcome::Stream(opening) => {
            let head = parameters.head(opening.subscription.position());
            let (framing, heartbeat_ms) = (parameters.framing(), parameters.heartbeat_ms);
            let departing = Departing { opening, head, framing, heartbeat_ms, seat };
            Err(Handoff::Attach(Box::new(departing)))
        }
    }
}

async fn serve_http2(shared: Arc<Shared>, socket: Socket, place: Option<Place>) {
    let activity = Arc::clone(socket.activity());
    let full = place.is_none();
    let service = {
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        service_fn(move |request| {
            let shared = Arc::clone(&shared);
            let answered = activity.answering();
            async move {
                let response = answer_http2(&shared, request, full).await;
                Ok::<_, Infallible>(response.map(|body| Tracked { body, _answered: answered }))
            }
        })
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(Duration::from_millis(H2_PING_INTERVAL_MS))
        .keep_alive_timeout(Duration::from_millis(H2_PING_MS_MAX));
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let stall_ms = u64::from(shared.state.config().write_stall_ms_max);
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            _ended = &mut connection => break,
            () = activity.watch(stall_ms) => {
                count_cut(&shared.state, &activity);
                break;
            }
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    drop(place);
}

async fn answer_http2(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    full: bool,
) -> Response<Body> {
    let parameters = match prepare(&shared.state, request, full).await {
        Ok(parameters) => parameters,
        Err(response) => return response,
    };
    stream(shared, &parameters, full)
}

/// Subscribes with the answer's body for a stream.
pub(crate) fn stream(shared: &Shared, parameters: &Parameters, full: bool) -> Response<Body> {
    match parameters.subscribe(&shared.state, shared.h2.worker(), full) {
        Outcome::Answer(response) => response,
        Outcome::Away(away) => {
            let body = AwayBody::new(away.bytes.into());
            parameters.response(away.position, Body::stream(body))
        }
        Outcome::Stream(opening) => {
            let position: EventId = opening.subscription.position();
            let body = H2Body::new(&shared.h2, opening, parameters.heartbeat_ms, 0);
            parameters.response(position, Body::stream(body))
        }
    }
}

/// Answers a request, unless it is a subscribe: then its parameters.
async fn prepare(
    state: &Arc<State>,
    request: Request<Incoming>,
    full: bool,
) -> Result<Parameters, Response<Body>> {
    if full && !matches!(*request.method(), Method::GET | Method::OPTIONS) {
        return Err(refuse(state));
    }
    match service::answer(state, request).await {
        Answer::Response(response) => Err(response),
        Answer::Subscribe(asked) => {
            let origin = asked.origin.clone();
            Parameters::read(state, asked).map_err(|problem| readable(&problem, &origin))
        }
    }
}

/// Counts why a connection was cut that did nothing for too long; one that only idled is no loss.
fn count_cut(state: &State, activity: &Activity) {
    if activity.is_blocked() {
        state.metrics.reached(Reached::WriteStall);
    } else if activity.is_reading_head() {
        state.metrics.reached(Reached::HeadRead);
    }
}

/// A problem that the page it concerns may read.
fn readable(problem: &Problem, origin: &Origin) -> Response<Body> {
    let mut response = problem.response();
    origin.add_to(response.headers_mut());
    response
}

/// The answer of a full hub to anything that changes something.
fn refuse(state: &State) -> Response<Body> {
    let max = state.config().connections_max;
    let detail = format!("the hub holds {max} connections, its limit; try again later");
    Problem::unavailable(detail).with_limit("connections_max", max).response()
}

/// Writes an answer that says to come back, and leaves the close to the peer for a while: closing
/// with unread input would destroy the answer on its way.
async fn send_away(mut stream: TcpStream, bytes: &[u8]) {
    let write = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut unread = [0; 1_024];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether it ends by itself or by the clock, nothing more can be done for this peer.
    drop(timeout(Duration::from_millis(AWAY_WRITE_MS_MAX), write).await);
}

/// The error that makes hyper give a socket back.
#[derive(Debug)]
struct HandedOff;

impl fmt::Display for HandedOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection belongs to a fan-out worker now")
    }
}

impl std::error::Error for HandedOff {}

/// A body that says when it was sent whole, or dropped.
struct Tracked {
    body: Body,
    _answered: Answered,
}

impl hyper::body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
