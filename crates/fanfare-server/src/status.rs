//! `GET /status/{channel}`: how far a channel is, in one answer.

use fanfare_core::{ChannelInfo, ChannelName, CloseReason};
use hyper::{Response, header, header::HeaderValue};
use serde::Serialize;

use crate::{
    body::Body,
    problem::{Kind, Problem},
    publish::json_response,
    query::Query,
    state::State,
};

/// Answers what is known of a channel, and of a producer on it if one is asked for.
pub(crate) fn answer(
    state: &State,
    channel: &ChannelName,
    query: &Query,
) -> Result<Response<Body>, Problem> {
    let asked = query.single("producer")?;
    let info = state.hub.channel(channel).filter(|info| info.created_at_ms.is_some());
    let info = info.ok_or_else(|| missing(channel))?;
    let producer = asked.map(|id| {
        state.hub.producer(channel, id).map(|at| Producer {
            id,
            epoch: at.epoch,
            seq: at.seq,
            events: at.events,
            last_id: at.last_event.map(|seq| state.hub.id(seq).to_string()),
        })
    });
    let status = Status { producer, ..Status::of(state, &info) };
    let mut response = json_response(serde_json::to_vec(&status).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The problem of a channel that never was or has expired.
pub(crate) fn missing(channel: &ChannelName) -> Problem {
    let detail = format!(
        "the channel never was, or it has expired: it has neither an event nor an end, nobody is \
         streaming to it and nobody wishes that it be cancelled; the name is `{channel}`"
    );
    Problem::new(Kind::ChannelNotFound, detail)
}

/// What is told. Times are Unix milliseconds.
#[derive(Serialize)]
struct Status<'a> {
    channel: &'a str,
    state: &'static str,
    reason: Option<&'static str>,
    /// The oldest event that is kept.
    first_id: Option<String>,
    /// The newest event that there was.
    last_id: Option<String>,
    /// Events that the channel had, and their bytes on the wire.
    events: u64,
    bytes: u64,
    kept: Kept,
    subscribers: u64,
    /// Streaming publishes that are open on it.
    publishing: u32,
    created_at: Option<u64>,
    updated_at: Option<u64>,
    closed_at: Option<u64>,
    /// Only if it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<Option<Producer<'a>>>,
}

/// How far a producer is.
#[derive(Serialize)]
struct Producer<'a> {
    id: &'a str,
    epoch: u64,
    /// Its newest event of that epoch.
    seq: Option<u64>,
    /// Those of all its epochs.
    events: u64,
    last_id: Option<String>,
}

/// What can be replayed, and what that takes in memory.
#[derive(Serialize)]
struct Kept {
    events: usize,
    bytes: usize,
}

impl<'a> Status<'a> {
    fn of(state: &State, info: &'a ChannelInfo) -> Self {
        let id = |seq: Option<u64>| seq.map(|seq| state.hub.id(seq).to_string());
        Self {
            channel: info.name.as_str(),
            state: info.standing.as_str(),
            reason: info.standing.reason().map(CloseReason::as_str),
            first_id: id(info.first_seq),
            last_id: id(info.last_seq),
            events: info.events_total,
            bytes: info.bytes_total,
            kept: Kept { events: info.ring_events, bytes: info.ring_bytes },
            subscribers: info.subscribers,
            publishing: info.publishing,
            created_at: info.created_at_ms,
            updated_at: info.updated_at_ms,
            closed_at: info.closed_at_ms,
            producer: None,
        }
    }
}
