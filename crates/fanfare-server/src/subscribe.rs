//! A subscribe: its parameters, where it begins, and the head of its answer.

use std::{sync::Arc, time::SystemTime};

use fanfare_core::{
    ChannelName, Epoch, EventId, Framing, HEARTBEAT, Hub, Opening, ReconnectReason, Replay,
    Request, Start, Subscribed, WorkerIndex,
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
    coalesce,
    entrance::ComeBack,
    guard::Origin,
    metrics::{Reached, SubscribeAnswer},
    pressure::Wall,
    problem::{Kind, Problem},
    query::Query,
    service::SubscribeRequest,
    state::State,
    status,
};

/// A subscribe that passed all checks.
#[derive(Debug)]
pub(crate) struct Parameters {
    request: Request,
    /// Whether a channel that does not exist is an error.
    must_exist: bool,
    /// Milliseconds between heartbeats.
    pub(crate) heartbeat_ms: u32,
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
    /// A stream that says only: come back later (a browser stops for good at any status but 200).
    Away(Away),
}

/// A stream that says only: come back later.
pub(crate) struct Away {
    /// Where the client goes on from when it does.
    pub(crate) position: EventId,
    /// Why it is to come back.
    reason: ReconnectReason,
    /// What it is told, framed for the protocol, without a last chunk.
    pub(crate) bytes: Vec<u8>,
}

impl Outcome {
    /// Counts it.
    pub(crate) fn counted(self, state: &State) -> Self {
        state.metrics.subscribe_answered(match &self {
            Self::Answer(response) if response.status() == StatusCode::GONE => SubscribeAnswer::Gap,
            Self::Answer(response) if response.status() == StatusCode::NOT_FOUND => {
                SubscribeAnswer::Missing
            }
            Self::Answer(_) => SubscribeAnswer::Finished,
            Self::Away(away) if away.reason == ReconnectReason::Drain => SubscribeAnswer::Drain,
            Self::Away(_) => SubscribeAnswer::Overload,
            Self::Stream(_) => SubscribeAnswer::Stream,
        });
        self
    }
}

impl Parameters {
    /// Reads the query and the headers.
    pub(crate) fn read(state: &State, asked: SubscribeRequest) -> Result<Self, Problem> {
        let SubscribeRequest { selectors, query, headers, origin, version } = asked;
        let start = start(&query, &headers)?;
        let coalesce = coalesce::of_subscription(&query, &selectors)?;
        let seconds = query.number("heartbeat", 1..=HEARTBEAT_INTERVAL_MS_MAX / 1_000)?;
        let heartbeat_ms = seconds.map_or(state.config().heartbeat_interval_ms, |s| s * 1_000);
        let request = Request {
            selectors,
            start,
            control: flag(&query, "control", [("on", true), ("off", false)])?,
            open: flag(&query, "open", [("1", true), ("0", false)])?,
            envelope: flag(&query, "envelope", [("off", false), ("json", true)])?,
            coalesce,
            live: flag(&query, "live", [("0", false), ("1", true)])?,
        };
        let must_exist = must_exist(&query)?;
        Ok(Self { request, must_exist, heartbeat_ms, origin, version })
    }

    /// How the stream is framed.
    pub(crate) fn framing(&self) -> Framing {
        match self.version {
            Version::HTTP_11 => Framing::Chunked,
            _ => Framing::Bare,
        }
    }

    /// Subscribes on behalf of a worker; or says to come back later, if the hub drains or has no
    /// room for what is asked.
    pub(crate) fn subscribe(&self, state: &Arc<State>, worker: WorkerIndex) -> Outcome {
        if state.drain.refuses() {
            let retry_ms = if state.drain.stays() {
                // All who were here may knock, again and again.
                state.come_back(Wall::Drained).0
            } else {
                let left_ms = state.drain.time_left().as_millis() as u32;
                left_ms.saturating_add(fastrand::u32(DRAIN_RETRY_MS))
            };
            return self.away(&state.hub, worker, ReconnectReason::Drain, retry_ms);
        }
        // Asked for in this way a channel is never made.
        if let Some(name) = self.missing(&state.hub) {
            return Outcome::Answer(self.refusal(state, &status::missing(name)));
        }
        let retry_ms = fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX);
        let subscribed = state.hub.subscribe(&self.request, worker, retry_ms);
        // It may have expired meanwhile; from here on the interest in it keeps it.
        if let Some(name) = self.missing(&state.hub) {
            drop(subscribed);
            return Outcome::Answer(self.refusal(state, &status::missing(name)));
        }
        match subscribed {
            Err(_full) => self.overload(&state.hub, worker, state.come_back(Wall::Channels)),
            Ok(Subscribed::Finished) => Outcome::Answer(self.answer(StatusCode::NO_CONTENT)),
            Ok(Subscribed::Live(opening)) if is_crowded(state, &opening) => {
                state.metrics.reached(Reached::SubscribersPerChannel);
                let began = opening.subscription.position();
                drop(opening);
                let ComeBack(retry_ms) = state.come_back(Wall::Channel);
                let position = self.came_with().unwrap_or(began);
                self.away_from(position, ReconnectReason::Overload, retry_ms)
            }
            Ok(Subscribed::Gap) => {
                state.metrics.replayed(Replay::Gap);
                Outcome::Answer(self.gap(state))
            }
            Ok(Subscribed::Live(opening)) => {
                state.metrics.replayed(opening.replay);
                state.admitted();
                Outcome::Stream(opening)
            }
        }
    }

    /// Subscribes on behalf of a worker of a hub apart, which neither drains nor counts.
    pub(crate) fn subscribe_apart(
        &self,
        state: &State,
        hub: &Arc<Hub>,
        worker: WorkerIndex,
        full: bool,
    ) -> Outcome {
        let retry_ms = fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX);
        let subscribed = || hub.subscribe(&self.request, worker, retry_ms);
        match (!full).then(subscribed) {
            None | Some(Err(_)) => self.overload(hub, worker, ComeBack::soon()),
            Some(Ok(Subscribed::Finished)) => Outcome::Answer(self.answer(StatusCode::NO_CONTENT)),
            Some(Ok(Subscribed::Gap)) => Outcome::Answer(self.gap(state)),
            Some(Ok(Subscribed::Live(opening))) => Outcome::Stream(opening),
        }
    }

    /// The answer of a hub that has no room.
    pub(crate) fn overload(
        &self,
        hub: &Arc<Hub>,
        worker: WorkerIndex,
        ComeBack(retry_ms): ComeBack,
    ) -> Outcome {
        self.away(hub, worker, ReconnectReason::Overload, retry_ms)
    }

    /// The first channel that must exist and does not.
    fn missing(&self, hub: &Hub) -> Option<&ChannelName> {
        let mut named = self.request.selectors.channels().iter();
        named.find(|name| self.must_exist && !hub.exists(name))
    }

    fn refusal(&self, state: &State, problem: &Problem) -> Response<Body> {
        let mut response = problem.response(state);
        self.origin.add_to(response.headers_mut());
        response
    }

    /// The answer to one that lost events and wants no control events.
    fn gap(&self, state: &State) -> Response<Body> {
        let detail = "events after that id are lost, and with `control=off` the stream cannot say \
                      so; begin anew with `from=start` or `from=now`";
        self.refusal(state, &Problem::new(Kind::Gap, detail))
    }

    /// The head of a stream over HTTP/1, byte for byte.
    ///
    /// The content type comes first: a browser that gets only the beginning of a head takes it for
    /// all of it, and without a content type it would never come back.
    pub(crate) fn head(&self, position: EventId) -> Vec<u8> {
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
    pub(crate) fn response(&self, position: EventId, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        response.headers_mut().extend(self.headers(position));
        response
    }

    fn headers(&self, position: EventId) -> Vec<(HeaderName, HeaderValue)> {
        let fixed = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache, no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("x-content-type-options", "nosniff"),
        ];
        let mut headers: Vec<_> =
            fixed.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).into();
        if let Ok(value) = HeaderValue::try_from(position.to_string()) {
            headers.push((HeaderName::from_static("fanfare-last-event-id"), value));
        }
        headers.extend(self.origin.headers());
        headers
    }

    fn away(
        &self,
        hub: &Arc<Hub>,
        worker: WorkerIndex,
        reason: ReconnectReason,
        retry_ms: u32,
    ) -> Outcome {
        self.away_from(self.position(hub, worker), reason, retry_ms)
    }

    fn away_from(&self, position: EventId, reason: ReconnectReason, retry_ms: u32) -> Outcome {
        let mut bytes = Vec::new();
        self.framing().wrap(HEARTBEAT, &mut bytes);
        if self.request.control {
            self.framing().wrap(&reconnect(position, reason, retry_ms), &mut bytes);
        }
        Outcome::Away(Away { position, reason, bytes })
    }

    /// Where a client that is sent away at once goes on from: its own last event id, whatever log
    /// that is of, or else where its subscription would have begun.
    fn position(&self, hub: &Arc<Hub>, worker: WorkerIndex) -> EventId {
        if let Some(position) = self.came_with() {
            return position;
        }
        match hub.subscribe(&self.request, worker, 0) {
            Ok(Subscribed::Live(opening)) => opening.subscription.position(),
            _ => hub.id(hub.watermark()),
        }
    }

    /// The last event id of the client, if it has one.
    fn came_with(&self) -> Option<EventId> {
        let Start::After(text) = &self.request.start else { return None };
        // A text that is no id stays one that the hub does not know: that is told as a gap.
        let no_place = || EventId { epoch: Epoch::from_random(0), seq: 0 };
        Some(text.parse().unwrap_or_else(|_| no_place()))
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

/// Whether a channel of a subscription has more subscribers than it may. This one is among them,
/// so of two that come at once for the last place both may be sent away, and never one too many
/// stays.
fn is_crowded(state: &State, opening: &Opening) -> bool {
    let subscribers_max = state.config().subscribers_per_channel_max as u64;
    let channels = opening.subscription.feed().channels();
    subscribers_max > 0 && channels.iter().any(|channel| channel.subscribers() > subscribers_max)
}

/// Whether a channel that never was or has expired is an error, which it can be told from one that
/// has nothing yet by.
pub(crate) fn must_exist(query: &Query) -> Result<bool, Problem> {
    match query.single("must_exist")? {
        None | Some("0") => Ok(false),
        Some("" | "1") => Ok(true),
        Some(other) => Err(Query::wrong("must_exist", other, "`1` or `0`, or bare for `1`")),
    }
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

#[cfg(test)]
mod tests {
    use fanfare_core::{HubLimits, Selectors};

    use super::*;
    use crate::{config::Config, entrance::Visit, testing};

    fn parameters(state: &State, channel: &str) -> Parameters {
        let asked = SubscribeRequest {
            selectors: Selectors::parse([channel]).unwrap(),
            query: Query::parse("").unwrap(),
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            origin: Origin::Absent,
        };
        Parameters::read(state, asked).unwrap()
    }

    /// Subscribes as a client does, one time after the other; answers after how long it is to come
    /// back, and why.
    fn knock(state: &Arc<State>, channel: &str, times: usize) -> Vec<(ReconnectReason, u32)> {
        let (peer, wall) = (testing::peer(), None);
        let knocks = (0..times).map(|_| {
            state.admit(Visit { peer, wall }, peer.address()).unwrap();
            match parameters(state, channel).subscribe(state, 0) {
                Outcome::Away(away) => {
                    let text = String::from_utf8(away.bytes).unwrap();
                    let retry = text.lines().find_map(|line| line.strip_prefix("retry: "));
                    (away.reason, retry.unwrap().parse().unwrap())
                }
                _ => panic!("it is to be sent away"),
            }
        });
        knocks.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_meets_a_wall_inside_is_not_let_in() {
        for (channel, subscribers_per_channel_max, channels_max) in [("a", 1, 100), ("b", 0, 1)] {
            let config = Config { subscribers_per_channel_max, ..testing::config() };
            let state = testing::state_with(config);
            state.hub.set_limits(&HubLimits { channels_max, ..HubLimits::default() });
            let first = parameters(&state, "a").subscribe(&state, 0);
            assert!(matches!(first, Outcome::Stream(_)));
            let told = knock(&state, channel, 600);
            assert!(told.iter().all(|(reason, _)| *reason == ReconnectReason::Overload));
            let most = told.iter().map(|(_, retry_ms)| *retry_ms).max().unwrap();
            assert!(most > 60_000, "{channel}: {most}, though nobody gets in");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_stays_drained_sends_its_crowd_away_for_longer() {
        let state = testing::state();
        state.drain.refuse(0);
        let told = knock(&state, "a", 600);
        assert!(told.iter().all(|(_, retry_ms)| *retry_ms < 10_000), "there is another hub soon");
        state.drain.done();
        let told = knock(&state, "a", 600);
        assert!(told.iter().all(|(reason, _)| *reason == ReconnectReason::Drain));
        assert!(told.iter().all(|(_, retry_ms)| *retry_ms >= 5_000));
        let most = told.iter().map(|(_, retry_ms)| *retry_ms).max().unwrap();
        assert!(most > 60_000, "{most}");
    }
}
