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

use bytes::BytesMut;
use fanfare_core::{EventId, Framing, Opening};
use fanfare_fanout::{Attach, Seat};
use hyper::{
    Method, Request, Response,
    body::{Body as _, Frame, Incoming, SizeHint},
    http::request,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    acks,
    activity::{Activity, Answered},
    addresses::Share,
    body::{Body, BodyError},
    budget::Charge,
    entrance::{ComeBack, Ticket, Visit, identify},
    guard::Origin,
    h2::{AwayBody, End, H2Body, Received, Tasks},
    limits::{
        AWAY_WRITE_MS_MAX, H2_CONNECTION_WINDOW_BYTES, H2_PING_INTERVAL_MS, H2_PING_MS_MAX,
        H2_SEND_BUFFER_BYTES_MAX, H2_STREAM_BYTES, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
        HEAD_BYTES_MAX, REFUSED_MS_MAX,
    },
    metrics::{Reached, SubscribeAnswer},
    places::Place,
    pressure::Wall,
    problem::Problem,
    service::{self, Answer},
    socket::{Protocol, Socket},
    state::{Shared, State},
    subscribe::{Outcome, Parameters},
    upload,
};

/// Serves one accepted socket of the public listener. Without a place the hub is full: then a
/// subscriber is told to come back, and everything else refused.
pub(crate) async fn serve(shared: Arc<Shared>, mut stream: TcpStream, place: Option<Place>) {
    let Ok(from) = stream.peer_addr() else { return };
    tracing::debug!(%from, is_full = place.is_none(), "a connection");
    let Some((peer, ahead)) = identify(&shared.state, &mut stream, from.ip()).await else { return };
    let Some(place) = place else {
        let visit = Visit { peer, wall: Some(Wall::Connections) };
        return visited(shared, stream, ahead, visit, None).await;
    };
    match shared.state.enter(peer, place) {
        Ok(ticket) => {
            let visit = Visit { peer, wall: None };
            visited(shared, stream, ahead, visit, Some(ticket)).await;
        }
        Err((wall, _place)) => {
            // Who comes in masses is not answered in masses.
            let Ok(_refusal) = Arc::clone(&shared.state.gate.refusals).try_acquire_owned() else {
                return shared.state.metrics.reached(Reached::RefusedConnections);
            };
            let visit = Visit { peer, wall: Some(wall) };
            let refuse = visited(shared, stream, ahead, visit, None);
            // Whether it took its answer or not, its time is over.
            drop(timeout(Duration::from_millis(REFUSED_MS_MAX), refuse).await);
        }
    }
}

async fn visited(
    shared: Arc<Shared>,
    stream: TcpStream,
    ahead: BytesMut,
    visit: Visit,
    ticket: Option<Ticket>,
) {
    let Ok((protocol, socket)) = Socket::accept(stream, ahead).await else { return };
    let counted = Arc::clone(&shared);
    let _open = ticket.is_some().then(|| counted.state.metrics.opened(protocol));
    match protocol {
        Protocol::Http1 => serve_http1(shared, socket, visit, ticket).await,
        Protocol::Http2 => serve_http2(shared, socket, visit, ticket).await,
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
    /// Its part of what its address may have, if it came through a proxy.
    share: Option<Share>,
}

async fn serve_http1(shared: Arc<Shared>, socket: Socket, visit: Visit, ticket: Option<Ticket>) {
    let activity = Arc::clone(socket.activity());
    let left: Arc<Mutex<Option<Handoff>>> = Arc::default();
    let service = {
        let (shared, activity, left) = (Arc::clone(&shared), Arc::clone(&activity), left.clone());
        service_fn(move |request: Request<Incoming>| {
            let (shared, left) = (Arc::clone(&shared), Arc::clone(&left));
            let activity = Arc::clone(&activity);
            let answered = activity.answering();
            let (mut head, body) = request.into_parts();
            // Boxed so that the connection is `Unpin` and can be taken apart.
            Box::pin(async move {
                match answer_http1(&shared, &mut head, body, visit).await {
                    Ok(response) => Ok(response.map(|body| Tracked::new(body, (), answered))),
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
        .keep_alive(visit.wall.is_none())
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
            let Departing { opening, head, framing, heartbeat_ms, seat, share } = *departing;
            let ticket = ticket.map(|ticket| ticket.for_worker(share));
            let permit = ticket.map(|ticket| Box::new(ticket) as Box<dyn Any + Send>);
            let age_ms_max = shared.state.age_ms_max();
            let attach =
                Attach { socket, opening, head, framing, heartbeat_ms, age_ms_max, seat, permit };
            // Stopped workers have closed everything, this socket with it.
            shared.fanout.attach(Box::new(attach)).await.unwrap_or_default();
        }
    }
}

async fn answer_http1(
    shared: &Shared,
    head: &mut request::Parts,
    body: Incoming,
    visit: Visit,
) -> Result<Response<Body>, Handoff> {
    let (parameters, admitted) = match prepare(&shared.state, head, body, visit).await {
        Ok(prepared) => prepared,
        Err(response) => return Ok(response),
    };
    let seat = shared.fanout.seat();
    let (outcome, share) = match admitted {
        Ok(share) => (parameters.subscribe(&shared.state, seat.worker()), share),
        Err(back) => (parameters.overload(&shared.state.hub, seat.worker(), back), None),
    };
    match outcome.counted(&shared.state) {
        Outcome::Answer(response) => Ok(response),
        Outcome::Away(away) => {
            let mut bytes = parameters.head(away.position);
            bytes.extend_from_slice(&away.bytes);
            Err(Handoff::Away(bytes))
        }
        Outcome::Stream(opening) => {
            let head = parameters.head(opening.subscription.position());
            let (framing, heartbeat_ms) = (parameters.framing(), parameters.heartbeat_ms);
            let departing = Departing { opening, head, framing, heartbeat_ms, seat, share };
            Err(Handoff::Attach(Box::new(departing)))
        }
    }
}

async fn serve_http2(shared: Arc<Shared>, socket: Socket, visit: Visit, ticket: Option<Ticket>) {
    let activity = Arc::clone(socket.activity());
    let tasks = Tasks::default();
    let service = {
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        let tasks = tasks.clone();
        service_fn(move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            let answered = activity.answering();
            let end = tasks.end_of_next();
            let (mut head, body) = request.into_parts();
            async move {
                let (response, held) = answer_http2(&shared, &mut head, body, visit, end).await;
                Ok::<_, Infallible>(response.map(|body| Tracked::new(body, held, answered)))
            }
        })
    };
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES as u32)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES as u32)
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
            () = tasks.needed() => {
                if activity.is_blocked() {
                    break;
                }
            }
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    drop(ticket);
}

/// Answers a request, and says what is held until its answer is over.
async fn answer_http2(
    shared: &Arc<Shared>,
    head: &mut request::Parts,
    body: Incoming,
    mut visit: Visit,
    end: End,
) -> (Response<Body>, (Charge, Option<Share>)) {
    let mut charge = shared.state.sockets.charge();
    if charge.resize(H2_STREAM_BYTES + unread_bytes_max(&body)).is_err() && visit.wall.is_none() {
        shared.state.metrics.reached(Reached::SocketsBytes);
        visit.wall = Some(Wall::Sockets);
    }
    match prepare(&shared.state, head, Received(body), visit).await {
        Err(response) => {
            acks::ends_by(&response, end);
            (response, (charge, None))
        }
        Ok((parameters, Ok(share))) => {
            (stream(shared, &parameters, Ok(()), Some(end)), (charge, share))
        }
        Ok((parameters, Err(back))) => {
            (stream(shared, &parameters, Err(back), None), (charge, None))
        }
    }
}

/// Bytes of a body that may wait to be read.
fn unread_bytes_max(body: &Incoming) -> usize {
    let left = if body.is_end_stream() { Some(0) } else { body.size_hint().upper() };
    left.map_or(H2_STREAM_WINDOW_BYTES, |left| left.min(H2_STREAM_WINDOW_BYTES as u64) as usize)
}

/// Subscribes with the answer's body for a stream, and with what ends its task.
pub(crate) fn stream(
    shared: &Shared,
    parameters: &Parameters,
    admitted: Result<(), ComeBack>,
    end: Option<End>,
) -> Response<Body> {
    let worker = shared.h2.worker();
    let outcome = match admitted {
        Ok(()) => parameters.subscribe(&shared.state, worker),
        Err(back) => parameters.overload(&shared.state.hub, worker, back),
    };
    match outcome.counted(&shared.state) {
        Outcome::Answer(response) => response,
        Outcome::Away(away) => {
            let body = AwayBody::new(away.bytes.into());
            parameters.response(away.position, Body::stream(body))
        }
        Outcome::Stream(opening) => {
            let position: EventId = opening.subscription.position();
            let body = H2Body::new(
                &shared.h2,
                opening,
                parameters.heartbeat_ms,
                shared.state.age_ms_max(),
            );
            parameters.response(position, Body::stream(body.with_end(end)))
        }
    }
}

/// Answers a request, unless it is a subscribe: then its parameters, and whether it is let in.
async fn prepare(
    state: &Arc<State>,
    head: &mut request::Parts,
    body: impl upload::Incoming,
    visit: Visit,
) -> Result<(Parameters, Result<Option<Share>, ComeBack>), Response<Body>> {
    if let Some(wall) = visit.wall
        && !matches!(head.method, Method::GET | Method::OPTIONS)
    {
        return Err(refuse(state, wall));
    }
    match service::answer(state, visit.peer, head, body).await {
        Answer::Response(response) => Err(response),
        Answer::Subscribe(asked) => {
            let origin = asked.origin.clone();
            let client = visit.peer.client(&asked.headers, &state.config().trusted_proxies);
            let parameters = Parameters::read(state, asked);
            let parameters = parameters.map_err(|problem| {
                state.metrics.subscribe_answered(SubscribeAnswer::Refused);
                readable(state, &problem, &origin)
            })?;
            Ok((parameters, state.admit(visit, client)))
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
fn readable(state: &State, problem: &Problem, origin: &Origin) -> Response<Body> {
    let mut response = problem.response(state);
    origin.add_to(response.headers_mut());
    response
}

/// The answer of a hub without room to anything that changes something.
fn refuse(state: &State, wall: Wall) -> Response<Body> {
    let config = state.config();
    let (what, limit, max) = match wall {
        Wall::Address => (
            "connections of this address",
            "connections_per_address_max",
            config.connections_per_address_max,
        ),
        Wall::Sockets => ("bytes of connections", "sockets_bytes_max", state.shares().sockets),
        _ => ("connections", "connections_max", config.connections_max),
    };
    Problem::connections_full(what, limit, max).response(state)
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

/// A body that says when it was sent whole, or dropped, and holds something until then.
struct Tracked<H> {
    body: Body,
    _held: H,
    _answered: Answered,
}

impl<H> Tracked<H> {
    fn new(body: Body, held: H, answered: Answered) -> Self {
        Self { body, _held: held, _answered: answered }
    }
}

impl<H: Unpin> hyper::body::Body for Tracked<H> {
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
