//! A subscribe: its parameters, where it begins, and the head of its answer.

use std::{sync::Arc, time::SystemTime};

use fanfare_core::{
    EventId, Framing, HEARTBEAT, Opening, ReconnectReason, Request, Start, Subscribed, WorkerIndex,
    limits::{END_RETRY_MS_MAX, END_RETRY_MS_MIN},
    reconnect,
};
use fanfare_fanout::limits::{DRAIN_RETRY_MS, HEARTBEAT_INTERVAL_MS_MAX};
use hyper::{
    HeaderMap, Response, StatusCode, Version,
    header::{HeaderName, HeaderValue},
};

use crate::{
    body::Body,
    guard::Origin,
    limits::OVERLOAD_RETRY_MS,
    problem::{Kind, Problem},
    query::Query,
    service::SubscribeRequest,
    state::State,
};

/// A subscribe that passed all checks.
#[derive(Debug)]
pub(crate) struct Parameters {
    request: Request,
    /// Milliseconds between heartbeats.
    pub(crate) heartbeat_ms: u32,
    /// The id that the client goes on from, if it is one.
    known: Option<EventId>,
    /// The page that asks.
    origin: Origin,
    /// The protocol.
    version: Version,
}

/// What a subscribe is answered.
pub(crate) enum Outcome {
    /// An ordinary answer, an error for instance.
    Answer(Response<Body>),
    /// A stream of events.
    Stream(Opening),
    /// A stream that says only: come back later (rule 8 of the wire: a browser stops for good at
    /// any status but 200). Holds its bytes, framed for the protocol, without a last chunk.
    Away(Vec<u8>),
}

impl Parameters {
    /// Reads the query and the headers.
    pub(crate) fn read(state: &State, asked: SubscribeRequest) -> Result<Self, Problem> {
        let SubscribeRequest { selectors, query, headers, origin, version } = asked;
        let start = start(&query, &headers)?;
        let known = match &start {
            Start::After(text) => text.parse().ok(),
            Start::Now => Some(state.hub.id(state.hub.watermark())),
            _ => None,
        };
        let seconds = query.number("heartbeat", 1..=HEARTBEAT_INTERVAL_MS_MAX / 1_000)?;
        let heartbeat_ms = seconds.map_or(state.config.heartbeat_interval_ms, |s| s * 1_000);
        let request = Request {
            selectors,
            start,
            control: flag(&query, "control", [("on", true), ("off", false)])?,
            open: flag(&query, "open", [("1", true), ("0", false)])?,
            envelope: flag(&query, "envelope", [("off", false), ("json", true)])?,
        };
        Ok(Self { request, heartbeat_ms, known, origin, version })
    }

    /// How the stream is framed.
    pub(crate) fn framing(&self) -> Framing {
        match self.version {
            Version::HTTP_11 => Framing::Chunked,
            _ => Framing::Bare,
        }
    }

    /// Subscribes on behalf of a worker; or says to come back later, if the hub drains or is full.
    pub(crate) fn subscribe(&self, state: &Arc<State>, worker: WorkerIndex, full: bool) -> Outcome {
        if full {
            return self.overload();
        }
        if state.draining.is_cancelled() {
            let left_ms = state.drain_left().as_millis() as u32;
            let retry_ms = left_ms.saturating_add(fastrand::u32(DRAIN_RETRY_MS));
            return self.away(ReconnectReason::Drain, retry_ms);
        }
        let retry_ms = fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX);
        match state.hub.subscribe(&self.request, worker, retry_ms) {
            Err(_full) => self.overload(),
            Ok(Subscribed::Finished) => Outcome::Answer(self.answer(StatusCode::NO_CONTENT)),
            Ok(Subscribed::Gap) => {
                state.count_replay(fanfare_core::Replay::Gap);
                let detail = "events after that id are lost, and with `control=off` the stream \
                              cannot say so; begin anew with `from=start` or `from=now`";
                let mut response = Problem::new(Kind::Gap, detail).response();
                self.origin.add_to(response.headers_mut());
                Outcome::Answer(response)
            }
            Ok(Subscribed::Live(opening)) => {
                state.count_replay(opening.replay);
                Outcome::Stream(opening)
            }
        }
    }

    /// The answer of a hub that has no room.
    fn overload(&self) -> Outcome {
        self.away(ReconnectReason::Overload, fastrand::u32(OVERLOAD_RETRY_MS))
    }

    /// The head of a stream over HTTP/1, byte for byte.
    ///
    /// The content type comes first: a browser that gets only the beginning of a head takes it for
    /// all of it, and without a content type it would never come back.
    pub(crate) fn head(&self, position: Option<EventId>) -> Vec<u8> {
        let version = if self.version == Version::HTTP_10 { "1.0" } else { "1.1" };
        let mut head = format!("HTTP/{version} 200 OK\r\n").into_bytes();
        for (name, value) in self.headers(position) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let date = httpdate::fmt_http_date(SystemTime::now());
        head.extend_from_slice(format!("date: {date}\r\nconnection: close\r\n").as_bytes());
        if self.version == Version::HTTP_11 {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The head of a stream over HTTP/2.
    pub(crate) fn response(&self, position: Option<EventId>, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        response.headers_mut().extend(self.headers(position));
        response
    }

    fn headers(&self, position: Option<EventId>) -> Vec<(HeaderName, HeaderValue)> {
        let fixed = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache, no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("x-content-type-options", "nosniff"),
        ];
        let mut headers: Vec<_> =
            fixed.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).into();
        if let Some(value) = position.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
            headers.push((HeaderName::from_static("fanfare-last-event-id"), value));
        }
        headers.extend(self.origin.headers());
        headers
    }

    fn away(&self, reason: ReconnectReason, retry_ms: u32) -> Outcome {
        // An id that the hub cannot vouch for stays what the client has: it is told of its gap
        // when it comes back.
        let mut sse = Vec::new();
        self.framing().wrap(HEARTBEAT, &mut sse);
        if self.request.control {
            self.framing().wrap(&reconnect(self.known, reason, retry_ms), &mut sse);
        }
        Outcome::Away(sse)
    }

    /// Where a stream begins that says only to come back.
    pub(crate) fn known(&self) -> Option<EventId> {
        self.known
    }

    fn answer(&self, status: StatusCode) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        self.origin.add_to(response.headers_mut());
        response
    }
}

/// Where the subscription begins: the header, then its forms in the query, then `from`, then
/// `last`.
fn start(query: &Query, headers: &HeaderMap) -> Result<Start, Problem> {
    let last = query.number("last", 0..=u64::MAX)?;
    let from = match query.single("from")? {
        None => None,
        Some("now") => Some(Start::Now),
        Some("start") => Some(Start::Beginning),
        Some(id) if id.parse::<EventId>().is_ok() => Some(Start::After(id.to_owned())),
        Some(id) => return Err(Query::wrong("from", id, "`now`, `start` or an event id")),
    };
    let header = headers.get("last-event-id").map(|value| value.as_bytes());
    if let Some(id) = header.filter(|id| !id.is_empty()) {
        return Ok(Start::After(String::from_utf8_lossy(id).into_owned()));
    }
    for form in LAST_EVENT_ID_FORMS {
        if let Some(id) = query.all(form).last().filter(|id| !id.is_empty()) {
            return Ok(Start::After(id.to_owned()));
        }
    }
    Ok(from.or_else(|| last.map(Start::Last)).unwrap_or(Start::Now))
}

/// A parameter of two values; without it the first counts.
fn flag(
    query: &Query,
    name: &'static str,
    values: [(&'static str, bool); 2],
) -> Result<bool, Problem> {
    let [(first, default), (second, other)] = values;
    match query.single(name)? {
        None => Ok(default),
        Some(text) if text == first => Ok(default),
        Some(text) if text == second => Ok(other),
        Some(text) => Err(Query::wrong(name, text, &format!("`{first}` or `{second}`"))),
    }
}

/// Parameters for clients that cannot set the header.
const LAST_EVENT_ID_FORMS: [&str; 4] =
    ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"];
