//! RFC 9457 problem details: the body of every answer that is an error.
//!
//! Policy: a problem says what was wrong and what is allowed, with numbers; its `type` is a path
//! that never changes, and where a limit was met, `limit` names it.

use std::borrow::Cow;

use fanfare_core::{ProducerRefusal, Refusal};
use hyper::{Response, StatusCode, header, header::HeaderValue};
use serde::Serialize;

use crate::{
    body::Body,
    budget::BudgetMet,
    limits::{RETRY_AFTER_DRAIN_S_MIN, RETRY_AFTER_FULL_S, RETRY_AFTER_REQUESTS_S},
    producer,
    state::State,
};

/// One kind of problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    BodyCutOff,
    BodyIdle,
    CancelWaitersFull,
    ChannelBusy,
    ChannelClosed,
    ChannelExists,
    ChannelName,
    ChannelNotFound,
    ChannelsFull,
    ConnectionsFull,
    Draining,
    EventTooLarge,
    EventType,
    Gap,
    Host,
    HostNotAllowed,
    IdempotencyKey,
    IdempotencyKeyReused,
    IdempotencyKeysFull,
    Line,
    LineTooLong,
    MediaType,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    NotUtf8,
    OriginNotAllowed,
    Path,
    Producer,
    ProducerFenced,
    ProducerGap,
    ProducersFull,
    PublishRate,
    Query,
    RequestsFull,
    Stopping,
    UpstreamBodyTooLarge,
    UpstreamNotFound,
    UpstreamPath,
    UpstreamsFull,
    Unavailable,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 41] = [
        Self::BodyCutOff,
        Self::BodyIdle,
        Self::CancelWaitersFull,
        Self::ChannelBusy,
        Self::ChannelClosed,
        Self::ChannelExists,
        Self::ChannelName,
        Self::ChannelNotFound,
        Self::ChannelsFull,
        Self::ConnectionsFull,
        Self::Draining,
        Self::EventTooLarge,
        Self::EventType,
        Self::Gap,
        Self::Host,
        Self::HostNotAllowed,
        Self::IdempotencyKey,
        Self::IdempotencyKeyReused,
        Self::IdempotencyKeysFull,
        Self::Line,
        Self::LineTooLong,
        Self::MediaType,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::NotFound,
        Self::NotUtf8,
        Self::OriginNotAllowed,
        Self::Path,
        Self::Producer,
        Self::ProducerFenced,
        Self::ProducerGap,
        Self::ProducersFull,
        Self::PublishRate,
        Self::Query,
        Self::RequestsFull,
        Self::Stopping,
        Self::UpstreamBodyTooLarge,
        Self::UpstreamNotFound,
        Self::UpstreamPath,
        Self::UpstreamsFull,
        Self::Unavailable,
    ];

    /// The last segment of its type.
    pub(crate) fn slug(self) -> &'static str {
        self.row().0
    }

    /// The table of all problems: the last segment of the type's path, the status, the title.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        const FULL: StatusCode = S::SERVICE_UNAVAILABLE;
        match self {
            Self::BodyCutOff => ("body-cut-off", S::BAD_REQUEST, "The body broke off"),
            Self::BodyIdle => ("body-idle", S::REQUEST_TIMEOUT, "The body paused too long"),
            Self::CancelWaitersFull => ("cancel-waiters-full", FULL, "Too many wait for a cancel"),
            Self::ChannelBusy => ("channel-busy", S::CONFLICT, "The channel has a stream already"),
            Self::ChannelClosed => ("channel-closed", S::CONFLICT, "The channel is closed"),
            Self::ChannelExists => ("channel-exists", S::CONFLICT, "The channel is not new"),
            Self::ChannelName => ("channel-name", S::BAD_REQUEST, "Not a channel's name"),
            Self::ChannelNotFound => ("channel-not-found", S::NOT_FOUND, "No such channel"),
            Self::ChannelsFull => ("channels-full", FULL, "Too many channels"),
            Self::ConnectionsFull => ("connections-full", FULL, "Too many connections"),
            Self::Draining => ("draining", FULL, "The hub drains"),
            Self::EventTooLarge => ("event-too-large", S::PAYLOAD_TOO_LARGE, "Too much data"),
            Self::EventType => ("event-type", S::BAD_REQUEST, "Not an event type"),
            Self::Gap => ("gap", S::GONE, "Events were lost"),
            Self::Host => ("host", S::BAD_REQUEST, "The request names no host, or several"),
            Self::HostNotAllowed => ("host-not-allowed", S::FORBIDDEN, "Not a host of this hub"),
            Self::IdempotencyKey => ("idempotency-key", S::BAD_REQUEST, "Not an idempotency key"),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", S::UNPROCESSABLE_ENTITY, "The key has other data")
            }
            Self::IdempotencyKeysFull => {
                ("idempotency-keys-full", FULL, "Too many idempotency keys")
            }
            Self::Line => ("line", S::BAD_REQUEST, "A line is wrong"),
            Self::LineTooLong => ("line-too-long", S::PAYLOAD_TOO_LARGE, "A line is too long"),
            Self::MediaType => {
                ("media-type", S::UNSUPPORTED_MEDIA_TYPE, "Not a body that is taken here")
            }
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "The method is not allowed")
            }
            Self::NotAcceptable => {
                ("not-acceptable", S::NOT_ACCEPTABLE, "Not a representation of this")
            }
            Self::NotFound => ("not-found", S::NOT_FOUND, "Nothing is here"),
            Self::NotUtf8 => ("not-utf-8", S::BAD_REQUEST, "The data is not UTF-8"),
            Self::OriginNotAllowed => {
                ("origin-not-allowed", S::FORBIDDEN, "The origin is not allowed")
            }
            Self::Path => ("path", S::BAD_REQUEST, "The path is wrong"),
            Self::Producer => ("producer", S::BAD_REQUEST, "Not what a producer sends"),
            Self::ProducerFenced => {
                ("producer-fenced", S::FORBIDDEN, "The producer has begun a newer epoch")
            }
            Self::ProducerGap => {
                ("producer-gap", S::CONFLICT, "Events of the producer are missing")
            }
            Self::ProducersFull => ("producers-full", FULL, "Too many producers"),
            Self::PublishRate => {
                ("publish-rate", S::TOO_MANY_REQUESTS, "Too many events in too little time")
            }
            Self::Query => ("query", S::BAD_REQUEST, "A query parameter is wrong"),
            Self::RequestsFull => ("requests-full", FULL, "Requests hold too much memory"),
            Self::Stopping => ("stopping", S::CONFLICT, "The process is about to end"),
            Self::UpstreamBodyTooLarge => {
                ("upstream-body-too-large", S::PAYLOAD_TOO_LARGE, "Too much for an upstream")
            }
            Self::UpstreamNotFound => ("upstream-not-found", S::NOT_FOUND, "No such upstream"),
            Self::UpstreamPath => {
                ("upstream-path", S::FORBIDDEN, "Not a path that may be asked for")
            }
            Self::UpstreamsFull => ("upstreams-full", FULL, "Too many fetches of upstreams"),
            Self::Unavailable => ("unavailable", FULL, "The broker does not answer"),
        }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    kind: Kind,
    /// What was wrong and what is allowed.
    detail: Cow<'static, str>,
    /// The limit that was met.
    limit: Option<Limit>,
    /// For a body of many events: where it went wrong.
    progress: Option<Progress>,
    /// Seconds after which to try again.
    retry_after_s: Option<u64>,
    /// For a wrong method: the right ones.
    allow: Option<&'static str>,
    /// Why a producer was refused; apart, because most problems have none.
    producer: Option<Box<ProducerRefusal>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Limit {
    name: &'static str,
    value: u64,
}

/// How far a body of many events came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Progress {
    /// The line that is being read, from 1 on.
    pub(crate) line: u64,
    /// Events that were published and stay so.
    pub(crate) accepted: u64,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        let (limit, progress, retry_after_s) = (None, None, None);
        Self { kind, detail, limit, progress, retry_after_s, allow: None, producer: None }
    }

    /// A path where nothing is.
    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// A method that a path does not take.
    pub(crate) fn method(allow: &'static str) -> Self {
        let problem = Self::new(Kind::MethodNotAllowed, format!("this path takes {allow}"));
        Self { allow: Some(allow), ..problem }
    }

    /// The hub takes nothing new because it drains.
    pub(crate) fn draining(state: &State) -> Self {
        let wait = state.drain.time_left().as_secs().saturating_add(1).max(RETRY_AFTER_DRAIN_S_MIN);
        let detail = format!("the hub drains and takes no more publishes; try again in {wait} s");
        Self { retry_after_s: Some(wait), ..Self::new(Kind::Draining, detail) }
    }

    /// An event came too soon after others.
    pub(crate) fn too_fast(name: &'static str, per_s: u32, wait_ns: u64) -> Self {
        let wait = wait_ns.div_ceil(1_000_000_000).max(1);
        let detail = format!(
            "the hub takes {per_s} events a second ({name}); try again in {wait} s, or send many \
             events in one body, which is read as fast as they are taken"
        );
        let problem = Self::new(Kind::PublishRate, detail).with_limit(name, per_s as usize);
        Self { retry_after_s: Some(wait), ..problem }
    }

    /// Data over the limit of one event.
    pub(crate) fn event_too_large(bytes: Option<u64>, bytes_max: usize) -> Self {
        let detail = match bytes {
            Some(bytes) => {
                format!("the event's data has {bytes} bytes, at most {bytes_max} are allowed")
            }
            None => format!(
                "the event's data has more than {bytes_max} bytes, which is what is allowed"
            ),
        };
        Self::new(Kind::EventTooLarge, detail).with_limit("event_data_bytes_max", bytes_max)
    }

    /// There is no room for the connection, or none for one more of its address.
    pub(crate) fn connections_full(what: &str, name: &'static str, max: usize) -> Self {
        let detail =
            format!("the hub holds {max} {what}, its limit; try again in {RETRY_AFTER_FULL_S} s");
        Self::full(Kind::ConnectionsFull, detail, name, max)
    }

    /// There is no room for what is asked, for now.
    pub(crate) fn full(kind: Kind, detail: String, name: &'static str, max: usize) -> Self {
        let problem = Self::new(kind, detail).with_limit(name, max);
        Self { retry_after_s: Some(RETRY_AFTER_FULL_S), ..problem }
    }

    /// There is no room for one more fetch of an upstream.
    pub(crate) fn upstreams_full(what: &str, name: &'static str, max: usize) -> Self {
        let detail =
            format!("the hub has {max} {what}, its limit; try again in {RETRY_AFTER_FULL_S} s");
        Self::full(Kind::UpstreamsFull, detail, name, max)
    }

    /// The broker gave no answer, or one that is not known here.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self::new(Kind::Unavailable, detail);
        Self { retry_after_s: Some(RETRY_AFTER_FULL_S), ..problem }
    }

    #[must_use]
    pub(crate) fn with_limit(mut self, name: &'static str, value: usize) -> Self {
        self.limit = Some(Limit { name, value: value as u64 });
        self
    }

    #[must_use]
    pub(crate) fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.row().1
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What was wrong and what is allowed.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether a limit was met.
    pub(crate) fn has_limit(&self) -> bool {
        self.limit.is_some()
    }

    /// The problem as JSON on one line.
    pub(crate) fn json(&self) -> Vec<u8> {
        let (slug, status, title) = self.kind.row();
        let (epoch, expected_seq, received_seq) = self.told_producer();
        let details = Details {
            kind: [TYPE_PREFIX, slug].concat(),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            limit: self.limit,
            line: self.progress.map(|progress| progress.line),
            accepted: self.progress.map(|progress| progress.accepted),
            epoch,
            expected_seq,
            received_seq,
        };
        serde_json::to_vec(&details).unwrap_or_default()
    }

    /// The problem as an answer, which is counted.
    pub(crate) fn response(&self, state: &State) -> Response<Body> {
        state.metrics.problem(self.kind);
        self.uncounted()
    }

    fn uncounted(&self) -> Response<Body> {
        let (_, status, _) = self.kind.row();
        let mut response = Response::new(Body::full(self.json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        let (epoch, expected, received) = self.told_producer();
        let told = [
            (producer::EPOCH, epoch),
            (producer::EXPECTED, expected),
            (producer::RECEIVED, received),
        ];
        headers.extend(told.into_iter().filter_map(|(name, n)| Some((name, n?.into()))));
        response
    }

    /// What a producer that was refused goes on with: the newest epoch, or which event would have
    /// been accepted and which one came. In headers and in the body, which streamed acks have, too.
    fn told_producer(&self) -> (Option<u64>, Option<u64>, Option<u64>) {
        match self.producer.as_deref().copied() {
            Some(ProducerRefusal::Fenced(epoch)) => (Some(epoch), None, None),
            Some(ProducerRefusal::Gap { expected, received }) => {
                (None, Some(expected), Some(received))
            }
            Some(ProducerRefusal::Late(received)) => (None, Some(0), Some(received)),
            _ => (None, None, None),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let full = |kind, name, value| {
            let detail = format!("{refusal}; try again in {RETRY_AFTER_FULL_S} s");
            Self::full(kind, detail, name, value)
        };
        match refusal {
            Refusal::ChannelsFull(max) => full(Kind::ChannelsFull, "channels_max", max),
            Refusal::Closed(_) | Refusal::NotDue => Self::new(Kind::ChannelClosed, detail),
            Refusal::KeyReused => Self::new(Kind::IdempotencyKeyReused, detail),
            Refusal::KeysFull(max) => full(Kind::IdempotencyKeysFull, "idempotency_keys_max", max),
            Refusal::NoChannel => Self::new(Kind::ChannelNotFound, detail),
            Refusal::Producer(ProducerRefusal::Full(max)) => {
                full(Kind::ProducersFull, "producers_per_channel_max", max)
            }
            Refusal::Producer(ProducerRefusal::HubFull(max)) => {
                full(Kind::ProducersFull, "producers_bytes_max", max)
            }
            Refusal::Producer(refused) => {
                let kind = match refused {
                    ProducerRefusal::Fenced(_) => Kind::ProducerFenced,
                    ProducerRefusal::Gap { .. } => Kind::ProducerGap,
                    _ => Kind::Producer,
                };
                Self { producer: Some(Box::new(refused)), ..Self::new(kind, detail) }
            }
            _ => Self::unavailable(detail),
        }
    }
}

impl From<BudgetMet> for Problem {
    fn from(BudgetMet(max): BudgetMet) -> Self {
        let wait = RETRY_AFTER_REQUESTS_S;
        let detail = format!(
            "requests hold {max} bytes that are not whole or not taken yet, which is what is \
             allowed; try again in {wait} s"
        );
        let problem = Self::new(Kind::RequestsFull, detail).with_limit("requests_bytes_max", max);
        Self { retry_after_s: Some(wait), ..problem }
    }
}

/// The members of a problem, in the order of RFC 9457.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_seq: Option<u64>,
}

const MEDIA_TYPE: &str = "application/problem+json";
const TYPE_PREFIX: &str = "/problems/";
// Counts of problems have a place for each.
const _: () = assert!(Kind::ALL.len() == Kind::Unavailable as usize + 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_spelled_as_rfc_9457_wants() {
        let problem = Problem::event_too_large(Some(300), 256);
        let text = String::from_utf8(problem.json()).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"/problems/event-too-large\",\"title\":\"Too much data\",\"status\":413,\
             \"detail\":\"the event's data has 300 bytes, at most 256 are allowed\",\
             \"limit\":{\"name\":\"event_data_bytes_max\",\"value\":256}}"
        );
        let headers = problem.uncounted().into_parts().0.headers;
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let response = Problem::from(Refusal::KeysFull(7)).uncounted();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "10");
        let problem = Problem::from(BudgetMet(9));
        assert!(String::from_utf8(problem.json()).unwrap().contains("requests_bytes_max"));
        assert_eq!(problem.uncounted().headers()[header::RETRY_AFTER], "1");
        let response = Problem::method("GET, OPTIONS").uncounted();
        assert_eq!(response.headers()[header::ALLOW], "GET, OPTIONS");
    }

    #[test]
    fn every_kind_has_its_place_and_its_slug() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let slug = kind.slug();
            assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b"-28".contains(&b)), "{slug}");
        }
    }

    #[test]
    fn progress_is_told() {
        let problem =
            Problem::new(Kind::Line, "x").with_progress(Progress { line: 3, accepted: 2 });
        assert!(problem.json().ends_with(b"\"line\":3,\"accepted\":2}"));
        assert_eq!(problem.uncounted().status(), StatusCode::BAD_REQUEST);
    }
}
