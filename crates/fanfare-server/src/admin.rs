//! The operators' listener: metrics, probes, the console, and what the hub holds, as JSON under
//! `/api/`.
//!
//! Policy: it tells of channels and counts, never of data. Probes are answered whatever `Host`
//! they name, because an orchestrator chooses it; they tell nothing else. A connection that does
//! not ask is ended soon, so that those who hold one do not keep the probes out.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fanfare_core::{
    ChannelInfo, ChannelSort, CloseReason, GapReason, Limit,
    limits::{CHANNEL_NAME_BYTES_MAX, LIST_CHANNELS_MAX},
};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, header::HeaderValue,
    http::request, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Notify, Semaphore},
    time::timeout,
};

use crate::{
    body::Body,
    console,
    guard::Listener,
    limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_MS_MAX, HEAD_BYTES_MAX, LIST_CHANNELS},
    listener,
    metrics::{self, Reached},
    problem::{Kind, Problem},
    publish::json_response,
    query::Query,
    route,
    state::{Shared, State},
};

/// Accepts operators' connections until it is dropped.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        if permits.available_permits() == 0 {
            shared.state.metrics.reached(Reached::AdminConnections);
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Some(stream) = listener::next(&listener, &shared.state).await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(&shared.state, &|| metrics::export(&shared), stream).await;
            drop(permit);
        });
    }
}

/// Serves one connection, HTTP/1 only. Each request has the same time: to come, from the one
/// before it, and to have its answer taken.
async fn serve(
    state: &State,
    export: &(dyn Fn() + Sync),
    stream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let asked = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        asked.notify_one();
        let response = answer(state, &request.into_parts().0, export);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let period = Duration::from_millis(ADMIN_REQUEST_MS_MAX);
    let silent = async { while timeout(period, asked.notified()).await.is_ok() {} };
    tokio::select! {
        // However it ended, there is nobody left to tell.
        _ended = connection => {}
        () = silent => {}
    }
}

/// Answers one request of the operators' listener; `export` brings the metrics up to date. No
/// body is ever read.
fn answer(state: &State, head: &request::Parts, export: &dyn Fn()) -> Response<Body> {
    let mut response = route(state, head, export).unwrap_or_else(|problem| problem.response());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn route(
    state: &State,
    head: &request::Parts,
    export: &dyn Fn(),
) -> Result<Response<Body>, Problem> {
    let path = head.uri.path();
    match path {
        "/livez" => return only(head, Method::GET, GET).map(|()| text("alive\n")),
        "/readyz" => return only(head, Method::GET, GET).and_then(|()| ready(state)),
        _ => {}
    }
    Listener::Admin.check_host(&state.config(), &head.uri, &head.headers)?;
    let origin = Listener::Admin.origin(&state.config(), &head.uri, &head.headers);
    origin.check_method(&head.method)?;
    match path {
        "/metrics" => only(head, Method::GET, GET).map(|()| scrape(state, export)),
        "/api/channels" => only(head, Method::GET, GET).and_then(|()| list(state, head)),
        "/api/stats" => only(head, Method::GET, GET).map(|()| stats(state)),
        "/api/drain" => only(head, Method::POST, POST).map(|()| drain(state)),
        _ => match path.strip_prefix("/api/channels/") {
            Some(encoded) => only(head, Method::GET, GET).and_then(|()| channel(state, encoded)),
            None => match console::answer(path) {
                Some(file) => only(head, Method::GET, GET).map(|()| file),
                None => Err(Problem::not_found(
                    "this listener has /, /metrics, /livez, /readyz, /api/channels, \
                     /api/channels/{channel}, /api/stats and /api/drain",
                )),
            },
        },
    }
}

/// Lets one method through.
fn only(head: &request::Parts, method: Method, allow: &'static str) -> Result<(), Problem> {
    if head.method == method { Ok(()) } else { Err(Problem::method(allow)) }
}

fn ready(state: &State) -> Result<Response<Body>, Problem> {
    if state.draining.is_cancelled() {
        return Err(Problem::draining(state));
    }
    Ok(text("ready\n"))
}

fn scrape(state: &State, export: &dyn Fn()) -> Response<Body> {
    export();
    let mut response = Response::new(Body::full(state.metrics.render()));
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// `GET /api/channels`: a page of channels; `next` is what to ask for as `after`.
fn list(state: &State, head: &request::Parts) -> Result<Response<Body>, Problem> {
    let query = Query::of(state, &head.uri)?;
    let prefix = query.single("prefix")?.unwrap_or_default();
    let sort = match query.single("sort")? {
        None | Some("subscribers") => ChannelSort::Subscribers,
        Some("name") => ChannelSort::Name,
        Some(other) => return Err(Query::wrong("sort", other, "`subscribers` or `name`")),
    };
    let limit = query.number("limit", 1..=LIST_CHANNELS_MAX)?.unwrap_or(LIST_CHANNELS);
    let after = query.single("after")?.map(|text| {
        let place = text.split_once(':').filter(|(_, name)| name.len() <= CHANNEL_NAME_BYTES_MAX);
        place
            .and_then(|(count, name)| Some((count.parse().ok()?, name)))
            .ok_or_else(|| Query::wrong("after", text, "the `next` of the page before"))
    });
    let found = state.hub.list(prefix, sort, limit, after.transpose()?);
    let next = found
        .last()
        .filter(|_| found.len() == limit)
        .map(|last| format!("{}:{}", last.subscribers, last.name));
    let channels = found.iter().map(|info| Channel::of(state, info)).collect();
    Ok(written(&Channels { channels, next }))
}

/// `GET /api/channels/{channel}`
fn channel(state: &State, encoded: &str) -> Result<Response<Body>, Problem> {
    let name = route::channel(encoded)?;
    let info = state.hub.channel(&name).ok_or_else(|| {
        Problem::new(Kind::ChannelNotFound, format!("there is no channel `{name}`"))
    })?;
    Ok(written(&Channel::of(state, &info)))
}

/// `GET /api/stats`
fn stats(state: &State) -> Response<Body> {
    let held = state.hub.held();
    let hub = &state.hub;
    let totals = |pairs: Vec<(&str, u64)>| {
        pairs.into_iter().map(|(name, total)| (name.to_owned(), total.into())).collect()
    };
    let gaps: Map<String, Value> =
        totals(GapReason::ALL.map(|reason| (reason.as_str(), hub.gaps_total(reason))).into());
    let limits: Map<String, Value> =
        totals(Limit::ALL.map(|limit| (limit.as_str(), hub.limit_total(limit))).into());
    written(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": millis(state.started.elapsed()),
        "draining": state.draining.is_cancelled(),
        "epoch": hub.epoch().as_str(),
        "last_id": hub.id(hub.watermark()).to_string(),
        "subscribers": hub.subscribers(),
        "channels": held.channels,
        "events_published_total": hub.published_total(),
        "publishes_open": state.publishes.len(),
        "rings_bytes": held.bytes,
        "rings_bytes_max": state.config().rings_bytes_max,
        "journal_events": held.journal_events,
        "journal_events_max": state.config().journal_events_max,
        "channels_max": state.config().channels_max,
        "connections_max": state.config().connections_max,
        "idempotency_keys": held.idempotency_keys,
        "tombstones": held.tombstones,
        "tombstones_forgotten": held.forgotten,
        "gaps_total": gaps,
        "limit_reached_total": limits,
    }))
}

/// `POST /api/drain`: begins what SIGTERM begins.
fn drain(state: &State) -> Response<Body> {
    state.begin_drain();
    let left = millis(state.drain_left());
    let mut response = written(&json!({ "draining": true, "drain_left_ms": left }));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Facts about a channel as JSON tells them.
#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    subscribers: u64,
    ring_events: usize,
    ring_bytes: usize,
    first_id: Option<String>,
    last_id: Option<String>,
    closed: Option<&'static str>,
}

#[derive(Serialize)]
struct Channels<'a> {
    channels: Vec<Channel<'a>>,
    next: Option<String>,
}

impl<'a> Channel<'a> {
    fn of(state: &State, info: &'a ChannelInfo) -> Self {
        let id = |seq| state.hub.id(seq).to_string();
        Self {
            channel: info.name.as_str(),
            subscribers: info.subscribers,
            ring_events: info.ring_events,
            ring_bytes: info.ring_bytes,
            first_id: info.first_seq.map(id),
            last_id: info.last_seq.map(id),
            closed: info.closed.map(CloseReason::as_str),
        }
    }
}

fn text(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

fn written(value: &impl Serialize) -> Response<Body> {
    json_response(serde_json::to_vec(value).unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const GET: &str = "GET";
const POST: &str = "POST";

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;
    use crate::testing;

    fn ask(state: &State, method: &str, path: &str, host: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
        answer(state, &request.body(()).unwrap().into_parts().0, &|| {})
    }

    async fn get(state: &State, path: &str) -> (u16, Value) {
        let response = ask(state, "GET", path, "localhost:8081");
        (response.status().as_u16(), testing::json(response).await)
    }

    #[tokio::test]
    async fn channels_are_listed_page_by_page() {
        let state = testing::state();
        for name in ["b", "a", "c", "other"] {
            testing::publish(&state, name, "x").await;
        }
        for sort in ["name", "subscribers"] {
            let (_, page) = get(&state, &format!("/api/channels?sort={sort}&limit=3")).await;
            let names: Vec<_> =
                page["channels"].as_array().unwrap().iter().map(|c| &c["channel"]).collect();
            assert_eq!(names, ["a", "b", "c"]);
            let next = page["next"].as_str().unwrap();
            let (_, page) =
                get(&state, &format!("/api/channels?sort={sort}&limit=3&after={next}")).await;
            assert_eq!(page["channels"][0]["channel"], "other");
            assert_eq!(page["next"], Value::Null);
        }
        let (_, page) = get(&state, "/api/channels?prefix=o").await;
        assert_eq!(page["channels"].as_array().unwrap().len(), 1);
        assert_eq!(page["channels"][0]["ring_events"], 1);
        for wrong in ["sort=size", "limit=0", "limit=1001", "after=x", "after=x:y"] {
            assert_eq!(get(&state, &format!("/api/channels?{wrong}")).await.0, 400, "{wrong}");
        }
    }

    #[tokio::test]
    async fn one_channel_and_the_whole_are_described() {
        let state = testing::state();
        testing::publish(&state, "a/b", "x").await;
        let (status, info) = get(&state, "/api/channels/a/b").await;
        assert_eq!((status, &info["last_id"]), (200, &json!(state.hub.id(1).to_string())));
        assert_eq!(get(&state, "/api/channels/none").await.0, 404);
        assert_eq!(get(&state, "/api/channels/a%2Fb").await.0, 400);
        let (_, stats) = get(&state, "/api/stats").await;
        assert_eq!((&stats["channels"], &stats["events_published_total"]), (&json!(1), &json!(1)));
        assert_eq!(stats["gaps_total"]["evicted"], 0);
    }

    #[tokio::test]
    async fn a_drain_fails_the_readiness_probe_at_once() {
        let state = testing::state();
        let status = |method, path| ask(&state, method, path, "127.0.0.1:8081").status().as_u16();
        assert_eq!((status("GET", "/livez"), status("GET", "/readyz")), (200, 200));
        assert_eq!(status("GET", "/api/drain"), 405);
        assert_eq!(status("POST", "/api/drain"), 202);
        assert_eq!((status("GET", "/livez"), status("GET", "/readyz")), (200, 503));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_ask_is_ended() {
        let state = testing::state();
        let (mut peer, stream) = duplex(64 * 1024);
        let began = Instant::now();
        let probe = async {
            for _ in 0..3 {
                tokio::time::advance(Duration::from_millis(ADMIN_REQUEST_MS_MAX - 1)).await;
                peer.write_all(b"GET /livez HTTP/1.1\r\nHost: any\r\n\r\n").await.unwrap();
                let mut answer = [0; 1_024];
                let bytes = peer.read(&mut answer).await.unwrap();
                assert!(answer[..bytes].starts_with(b"HTTP/1.1 200 "));
            }
            // The beginning of a head is no request.
            peer.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
            assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        };
        tokio::join!(serve(&state, &|| {}, stream), probe);
        let ended_ms = began.elapsed().as_millis() as u64;
        assert!((4 * ADMIN_REQUEST_MS_MAX - 3..=4 * ADMIN_REQUEST_MS_MAX).contains(&ended_ms));
    }

    #[tokio::test]
    async fn strangers_are_kept_out() {
        let state = testing::state();
        let status = |path, host| ask(&state, "GET", path, host).status().as_u16();
        assert_eq!(status("/metrics", "evil.example"), 403);
        assert_eq!(status("/livez", "evil.example"), 200);
        assert_eq!(status("/", "localhost"), 200);
        assert_eq!(status("/console.js", "evil.example"), 403);
        assert_eq!(status("/page.js", "localhost"), 404);
        assert_eq!(status("/metrics", "localhost"), 200);
        let request = Request::post("/api/drain")
            .header(header::HOST, "localhost:8081")
            .header(header::ORIGIN, "http://localhost:8080");
        let head = request.body(()).unwrap().into_parts().0;
        assert_eq!(answer(&state, &head, &|| {}).status(), 403);
        assert!(!state.draining.is_cancelled());
    }
}
