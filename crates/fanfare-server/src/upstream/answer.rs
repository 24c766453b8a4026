//! `POST /upstreams/{upstream}/{path}`: begins a fetch and names its channel.
//!
//! Policy: the answer is there before the upstream's. What the hub can refuse by itself it refuses
//! here; what the upstream does is told on the channel.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::ChannelName;
use hyper::{HeaderMap, Response, StatusCode, header, header::HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::{Taken, Upstream, fetch::Fetch, tls::random_128};
use crate::{
    address::Peer,
    body::Body,
    budget::{BudgetMet, Charge},
    limits::UPSTREAM_BYTES,
    metrics::Reached,
    problem::{Kind, Problem},
    publish::json_response,
    query::Query,
    route,
    state::State,
    upload::{self, Incoming, Upload},
};

/// Begins a fetch of a path of an upstream.
pub(crate) async fn answer<B: Incoming>(
    state: &Arc<State>,
    peer: Peer,
    (upstream, path): (String, String),
    query: &Query,
    headers: &HeaderMap,
    mut upload: Upload<B>,
) -> Result<Response<Body>, Problem> {
    // The token first: a drain that begins after the look waits for this fetch.
    let token = state.publishes.token();
    if state.drain.refuses() {
        return Err(Problem::draining(state));
    }
    let upstream = find(state, &upstream)?;
    if !upstream.allows(&path) {
        let detail = "the settings of this upstream (`paths`) do not allow this path";
        return Err(Problem::new(Kind::UpstreamPath, detail));
    }
    let (channel, must_be_new) = channel(&upstream, query)?;
    upload::check_coding(headers)?;
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    state.pass_event(peer, headers)?;
    let body = whole(state, &mut upload).await?;
    let slots_max = state.config().upstream_fetches_max;
    let is_free = || is_free(state, &channel, must_be_new);
    let taken = state.upstreams.take(&channel, slots_max, is_free);
    let slot = taken.map_err(|refused| refused.told(state, slots_max))?;
    let memory = memory(state)?;
    // Before the channel is there, so that no wish and no end of it is missed.
    let (watch, _) = state.hub.watch(&channel, false)?;
    let publishing = state.hub.begin_publishing(&channel, state.now_ms())?;
    let publishing = publishing.ok_or_else(closed)?;
    let (upstream, state) = (Arc::clone(&upstream), Arc::clone(state));
    let fetch =
        Fetch { state, upstream, path, content_type, body, slot, memory, watch, publishing, token };
    tokio::spawn(fetch.run());
    Ok(accepted(&channel))
}

fn find(state: &State, name: &str) -> Result<Arc<Upstream>, Problem> {
    let config = state.config();
    let found = config.upstreams.iter().find(|upstream| upstream.name == name);
    found.map(Arc::clone).ok_or_else(|| {
        let detail = "the settings of this hub name no such upstream ([[upstreams]])";
        Problem::new(Kind::UpstreamNotFound, detail)
    })
}

/// Where the events go, and whether nothing may have gone there before.
fn channel(upstream: &Upstream, query: &Query) -> Result<(ChannelName, bool), Problem> {
    let must_be_new = match query.single("must_be_new")? {
        None | Some("0") => false,
        Some("" | "1") => true,
        Some(other) => return Err(Query::wrong("must_be_new", other, "bare, `1` or `0`")),
    };
    let name = match query.single("channel")? {
        Some(name) => name.to_owned(),
        None => {
            let unavailable = || Problem::unavailable("the system has no random numbers");
            let random = random_128().ok_or_else(unavailable)?;
            format!("upstreams/{}/{random:032x}", upstream.name)
        }
    };
    Ok((ChannelName::parse(&name).map_err(route::wrong_name)?, must_be_new))
}

/// The whole body, charged for until the upstream has it.
async fn whole<B: Incoming>(state: &State, upload: &mut Upload<B>) -> Result<Bytes, Problem> {
    let bytes_max = state.config().upstream_body_bytes_max;
    let too_large = || {
        state.metrics.reached(Reached::UpstreamBodyBytes);
        let detail = format!("the body has more than {bytes_max} bytes, which is what is allowed");
        let problem = Problem::new(Kind::UpstreamBodyTooLarge, detail);
        problem.with_limit("upstream_body_bytes_max", bytes_max)
    };
    if upload.announced_bytes().is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large());
    }
    upload.rest(state, Bytes::new(), bytes_max, too_large).await
}

/// Charges for what a fetch takes, which it has before its channel is there: one that a full hub
/// refuses leaves nothing behind and can be asked for again.
fn memory(state: &State) -> Result<Charge, Problem> {
    let mut memory = state.sockets.charge();
    match memory.resize(UPSTREAM_BYTES) {
        Ok(()) => Ok(memory),
        Err(BudgetMet(max)) => {
            state.metrics.reached(Reached::SocketsBytes);
            let what = "bytes of connections and streams";
            Err(Problem::upstreams_full(what, "sockets_bytes_max", max))
        }
    }
}

/// Why a fetch gets no place.
enum Refused {
    Problem(Problem),
    Taken(Taken),
}

impl From<Taken> for Refused {
    fn from(taken: Taken) -> Self {
        Self::Taken(taken)
    }
}

impl Refused {
    fn told(self, state: &State, slots_max: usize) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Taken(Taken::Channel) => busy(),
            Self::Taken(Taken::All) => {
                state.metrics.reached(Reached::UpstreamFetches);
                Problem::upstreams_full("streams of upstreams", "upstream_fetches_max", slots_max)
            }
        }
    }
}

/// Whether a channel can take a stream: it is open, and nobody else streams to it.
fn is_free(state: &State, channel: &ChannelName, must_be_new: bool) -> Result<(), Refused> {
    let Some(info) = state.hub.channel(channel) else { return Ok(()) };
    if must_be_new && (info.events_total > 0 || info.closed.is_some()) {
        let detail = "the channel has had events, and `must_be_new` says that it must not";
        return Err(Refused::Problem(Problem::new(Kind::ChannelExists, detail)));
    }
    if info.closed.is_some() {
        return Err(Refused::Problem(closed()));
    }
    if info.publishing > 0 {
        return Err(Refused::Problem(busy()));
    }
    Ok(())
}

fn closed() -> Problem {
    Problem::new(Kind::ChannelClosed, "the channel was closed and takes no more events")
}

fn busy() -> Problem {
    let detail = "another stream is being published to the channel; one is allowed to begin here";
    Problem::new(Kind::ChannelBusy, detail)
}

fn accepted(channel: &ChannelName) -> Response<Body> {
    let segments = channel.as_str().split('/');
    let encoded: Vec<_> =
        segments.map(|part| utf8_percent_encode(part, ENCODED).to_string()).collect();
    let encoded = encoded.join("/");
    let told = Told {
        channel: channel.as_str(),
        status_url: format!("/status/{encoded}"),
        events_url: format!("/channels/{encoded}?from=start"),
    };
    let mut response = json_response(serde_json::to_vec(&told).unwrap_or_default());
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::try_from(format!("/channels/{encoded}")) {
        headers.insert(header::LOCATION, location);
    }
    response
}

#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    status_url: String,
    /// From the start: the upstream may be quicker than who asked.
    events_url: String,
}

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
