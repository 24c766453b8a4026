//! `/api/channels`: lists of channels, one of them, and what operators may do to it.

use std::sync::Arc;

use fanfare_core::{
    ChannelInfo, ChannelQuery, ChannelSort, CloseReason, Retention,
    limits::{CHANNEL_NAME_BYTES_MAX, LIST_CHANNELS_MAX},
};
use hyper::{Method, Response, http::request};
use serde::Serialize;

use super::written;
use crate::{
    body::Body,
    delete,
    limits::LIST_CHANNELS,
    problem::{Kind, Problem},
    publish::{self, Target},
    query::Query,
    route,
    state::State,
    upload::{Incoming, Upload},
};

/// `GET /api/channels`: a page of channels; `next` is what to ask for as `after`.
pub(super) fn list(state: &State, head: &request::Parts) -> Result<Response<Body>, Problem> {
    let query = Query::of(state, &head.uri)?;
    let prefix = query.single("prefix")?.unwrap_or_default();
    let contains = query.single("contains")?.unwrap_or_default();
    let sort = query.single("sort")?.map(|text| {
        let found = ChannelSort::ALL.into_iter().find(|sort| sort.as_str() == text);
        let all = || ChannelSort::ALL.map(|sort| format!("`{}`", sort.as_str())).join(", ");
        found.ok_or_else(|| Query::wrong("sort", text, &format!("one of {}", all())))
    });
    let sort = sort.transpose()?.unwrap_or(ChannelSort::Subscribers);
    let limit = query.number("limit", 1..=LIST_CHANNELS_MAX)?.unwrap_or(LIST_CHANNELS);
    let after = query.single("after")?.map(|text| {
        let place = text.split_once(':').filter(|(_, name)| name.len() <= CHANNEL_NAME_BYTES_MAX);
        place
            .and_then(|(count, name)| Some((count.parse().ok()?, name)))
            .ok_or_else(|| Query::wrong("after", text, "the `next` of the page before"))
    });
    let (after, now_ms) = (after.transpose()?, state.now_ms());
    let found = state.hub.list(&ChannelQuery { prefix, contains, sort, limit, after, now_ms });
    let next = found.next.map(|(rank, name)| format!("{rank}:{name}"));
    let channels = found.channels.iter().map(|info| Channel::of(state, info, now_ms)).collect();
    Ok(written(&Channels { channels, next, total: found.total }))
}

/// `/api/channels/{channel}`: its facts; a publish or a close; a delete.
pub(super) async fn answer<B: Incoming>(
    state: &Arc<State>,
    encoded: &str,
    head: &request::Parts,
    upload: Upload<B>,
) -> Result<Response<Body>, Problem> {
    let name = route::channel(encoded)?;
    match head.method {
        Method::GET => {
            let info = state.hub.channel(&name).ok_or_else(|| {
                Problem::new(Kind::ChannelNotFound, format!("there is no channel `{name}`"))
            })?;
            Ok(written(&Whole::of(state, &info)))
        }
        Method::POST => {
            let query = Query::of(state, &head.uri)?;
            publish::answer(state, None, Target::Channel(name), &query, &head.headers, upload).await
        }
        Method::DELETE => delete::answer(state, name).await,
        _ => Err(Problem::method("GET, POST, DELETE")),
    }
}

/// Facts about a channel as JSON tells them.
#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    subscribers: u64,
    ring_events: usize,
    ring_bytes: usize,
    events_total: u64,
    rate_per_s: f64,
    first_id: Option<String>,
    last_id: Option<String>,
    last_published_at: Option<u64>,
    /// As in `/status/{channel}`.
    state: &'static str,
    closed: Option<&'static str>,
}

/// A page of them.
#[derive(Serialize)]
struct Channels<'a> {
    channels: Vec<Channel<'a>>,
    next: Option<String>,
    total: usize,
}

/// One with what it keeps.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    channel: Channel<'a>,
    retention: Kept,
    /// Streaming publishes that are open on it.
    publishing: u32,
}

#[derive(Serialize)]
struct Kept {
    ring_events_max: usize,
    ring_bytes_max: usize,
    ring_age_ms: u64,
    closed_retention_ms: u64,
    channel_idle_ms_max: u64,
    channel_age_ms_max: u64,
    producer_grace_ms: u64,
    unwatched_ms_max: u64,
    slow_policy: &'static str,
}

impl<'a> Channel<'a> {
    fn of(state: &State, info: &'a ChannelInfo, now_ms: u64) -> Self {
        let id = |seq| state.hub.id(seq).to_string();
        Self {
            channel: info.name.as_str(),
            subscribers: info.subscribers,
            ring_events: info.ring_events,
            ring_bytes: info.ring_bytes,
            events_total: info.events_total,
            rate_per_s: info.rate.per_s(now_ms),
            first_id: info.first_seq.map(id),
            last_id: info.last_seq.map(id),
            last_published_at: info.last_published_at_ms,
            state: info.standing.as_str(),
            closed: info.closed.map(CloseReason::as_str),
        }
    }
}

impl<'a> Whole<'a> {
    fn of(state: &State, info: &'a ChannelInfo) -> Self {
        let Retention {
            ring_events_max,
            ring_bytes_max,
            ring_age_ms,
            closed_retention_ms,
            channel_idle_ms_max,
            channel_age_ms_max,
            producer_grace_ms,
            unwatched_ms_max,
            slow_policy,
        } = info.retention;
        let retention = Kept {
            ring_events_max,
            ring_bytes_max,
            ring_age_ms,
            closed_retention_ms,
            channel_idle_ms_max,
            channel_age_ms_max,
            producer_grace_ms,
            unwatched_ms_max,
            slow_policy: slow_policy.as_str(),
        };
        let channel = Channel::of(state, info, state.now_ms());
        Self { channel, retention, publishing: info.publishing }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        admin::tests::{admin, call, get},
        testing,
    };

    #[tokio::test]
    async fn channels_are_listed_page_by_page() {
        let admin = admin();
        for name in ["b", "a", "c", "other"] {
            testing::publish(admin.state(), name, "x").await;
        }
        for sort in ["name", "subscribers", "events", "bytes", "rate"] {
            let (_, page) = get(&admin, &format!("/api/channels?sort={sort}&limit=3")).await;
            let names: Vec<_> =
                page["channels"].as_array().unwrap().iter().map(|c| &c["channel"]).collect();
            assert_eq!(names, ["a", "b", "c"]);
            assert_eq!(page["total"], 4);
            let next = page["next"].as_str().unwrap();
            let (_, page) =
                get(&admin, &format!("/api/channels?sort={sort}&limit=3&after={next}")).await;
            assert_eq!(page["channels"][0]["channel"], "other");
            assert_eq!(page["next"], Value::Null);
        }
        let (_, page) = get(&admin, "/api/channels?prefix=o").await;
        assert_eq!(page["channels"].as_array().unwrap().len(), 1);
        assert_eq!(page["channels"][0]["ring_events"], 1);
        let (_, page) = get(&admin, "/api/channels?contains=the").await;
        assert_eq!((&page["channels"][0]["channel"], &page["total"]), (&json!("other"), &json!(1)));
        for wrong in ["sort=size", "limit=0", "limit=1001", "after=x", "after=x:y"] {
            assert_eq!(get(&admin, &format!("/api/channels?{wrong}")).await.0, 400, "{wrong}");
        }
    }

    #[tokio::test]
    async fn one_channel_is_told_of_published_to_closed_and_deleted() {
        let admin = admin();
        let path = "/api/channels/a/b";
        let id = |seq| admin.state().hub.id(seq).to_string();
        assert_eq!(get(&admin, path).await.0, 404);
        let told = testing::json(call(&admin, "POST", path, &[]).await).await;
        assert_eq!(told["id"], id(1));
        let (status, info) = get(&admin, path).await;
        assert_eq!((status, &info["last_id"]), (200, &Value::from(id(1))));
        assert_eq!((&info["closed"], &info["state"]), (&Value::Null, &json!("open")));
        assert_eq!((&info["events_total"], &info["publishing"]), (&json!(1), &json!(0)));
        assert!(info["last_published_at"].as_u64().unwrap() > 1_600_000_000_000);
        assert_eq!(info["retention"]["slow_policy"], "gap");
        assert!(info["retention"]["ring_events_max"].as_u64().unwrap() > 0);
        let close = format!("{path}?close=error");
        assert_eq!(call(&admin, "POST", &close, &[]).await.status(), 200);
        assert_eq!(get(&admin, path).await.1["closed"], "error");
        assert_eq!(call(&admin, "POST", path, &[]).await.status(), 409);
        assert_eq!(call(&admin, "DELETE", path, &[]).await.status(), 204);
        assert_eq!(call(&admin, "DELETE", path, &[]).await.status(), 404);
        assert_eq!(call(&admin, "PUT", path, &[]).await.status(), 405);
        assert_eq!(get(&admin, "/api/channels/a%2Fb").await.0, 400);
    }
}
