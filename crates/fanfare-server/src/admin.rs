//! The operators' listener: metrics, probes, the console, and what the hub holds and does, as JSON
//! and as streams under `/api/`.
//!
//! Policy: operators see everything, data included, and may publish, close and delete; so whoever
//! reaches this listener is one, and `Host` and `Origin` are judged before anything is told.
//! Probes are answered whatever `Host` they name, because an orchestrator chooses it; they tell
//! nothing else. A connection that neither asks nor streams is ended soon, and there are fewer
//! streams than connections, so that those who hold some do not keep the probes out.

mod channels;
mod drain;
mod feed;
mod stats;
mod stream;
mod window;

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response,
    body::Incoming as Received,
    header::{self, HeaderValue},
    http::request,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

use self::{
    feed::Feed,
    stream::{Watch, Watched},
};
use crate::{
    body::Body,
    console,
    guard::Listener,
    limits::{ADMIN_CONNECTIONS_MAX, ADMIN_STREAMS_MAX, HEAD_BYTES_MAX},
    listener,
    metrics::{self, Reached},
    problem::Problem,
    publish::json_response,
    state::{Shared, State},
    upload::{Incoming, Upload},
};

/// What the operators' requests share.
pub(crate) struct Admin {
    shared: Arc<Shared>,
    /// The figures, each second, for who streams them.
    feed: Feed,
    /// Permits for streams.
    streams: Arc<Semaphore>,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let feed = Feed::new(&shared.state);
        Self { shared, feed, streams: Arc::new(Semaphore::new(ADMIN_STREAMS_MAX)) }
    }

    fn state(&self) -> &Arc<State> {
        &self.shared.state
    }
}

/// Accepts operators' connections and feeds their streams until it is dropped.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let admin = Arc::new(Admin::new(shared));
    tokio::join!(accept(listener, &admin, tasks), admin.feed.run(&admin.shared));
}

async fn accept(listener: TcpListener, admin: &Arc<Admin>, tasks: TaskTracker) {
    let permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        if permits.available_permits() == 0 {
            admin.state().metrics.reached(Reached::AdminConnections);
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Some(stream) = listener::next(&listener, admin.state()).await else { continue };
        let admin = Arc::clone(admin);
        tasks.spawn(async move {
            serve(&admin, stream).await;
            drop(permit);
        });
    }
}

/// Serves one connection, HTTP/1 only. Each request has the same time: to come, from the one
/// before it, and to have its answer taken. A stream has it from one piece to the next, and so has
/// a body that comes.
async fn serve(admin: &Arc<Admin>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let watch = Arc::new(Watch::default());
    let service = service_fn(|request: Request<Received>| {
        watch.moves();
        let (admin, watch) = (Arc::clone(admin), Arc::clone(&watch));
        let uploads = Arc::clone(&watch);
        // A publish of many events moves as long as some of them come.
        let request = request.map(|body| {
            body.map_frame(move |frame| {
                uploads.moves();
                frame
            })
        });
        async move {
            let response = answer(&admin, request).await;
            Ok::<_, Infallible>(response.map(|body| Watched::new(body, watch)))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut closing = false;
    loop {
        tokio::select! {
            // However it ended, there is nobody left to tell.
            _ended = &mut connection => return,
            () = watch.silent() => return,
            () = admin.shared.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Answers one request of the operators' listener.
async fn answer<B: Incoming>(admin: &Arc<Admin>, request: Request<B>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let upload = Upload::new(body, &head.headers);
    let answer = route(admin, head, upload).await;
    let mut response = answer.unwrap_or_else(|problem| problem.response(admin.state()));
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn route<B: Incoming>(
    admin: &Arc<Admin>,
    head: request::Parts,
    upload: Upload<B>,
) -> Result<Response<Body>, Problem> {
    let state = admin.state();
    let path = head.uri.path();
    match path {
        "/livez" => return only(&head, Method::GET, GET).map(|()| text("alive\n")),
        "/readyz" => return only(&head, Method::GET, GET).and_then(|()| ready(state)),
        _ => {}
    }
    Listener::Admin.check_host(&state.config(), &head.uri, &head.headers)?;
    let origin = Listener::Admin.origin(&state.config(), &head.uri, &head.headers);
    origin.check_method(&head.method)?;
    match path {
        "/metrics" => only(&head, Method::GET, GET).map(|()| scrape(&admin.shared)),
        "/api/channels" => {
            only(&head, Method::GET, GET).and_then(|()| channels::list(state, &head))
        }
        "/api/stats" => only(&head, Method::GET, GET).and_then(|()| stats(admin, head)),
        "/api/events" => only(&head, Method::GET, GET).and_then(|()| stream::tail(admin, head)),
        "/api/drain" => drain::answer(&admin.shared, &head).await,
        _ => match path.strip_prefix("/api/channels/").map(str::to_owned) {
            Some(encoded) => channels::answer(state, &encoded, &head, upload).await,
            None => match console::answer(path) {
                Some(file) => only(&head, Method::GET, GET).map(|()| file),
                None => Err(Problem::not_found(
                    "this listener has /, /metrics, /livez, /readyz, /api/channels, \
                     /api/channels/{channel}, /api/events, /api/stats and /api/drain",
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
    if state.drain.is_on() {
        return Err(Problem::draining(state));
    }
    Ok(text("ready\n"))
}

fn scrape(shared: &Shared) -> Response<Body> {
    let mut response = Response::new(Body::full(metrics::scrape(shared)));
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// `GET /api/stats`: once as JSON, or each second as an event.
fn stats(admin: &Admin, head: request::Parts) -> Result<Response<Body>, Problem> {
    if stream::is_wanted(&head.headers) {
        return stream::stats(admin, head);
    }
    Ok(written(&stats::Stats::of(&admin.shared, admin.feed.window())))
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

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;
    use crate::{limits::ADMIN_REQUEST_MS_MAX, testing};

    pub(super) fn admin() -> Arc<Admin> {
        Arc::new(Admin::new(testing::shared()))
    }

    pub(super) async fn call(
        admin: &Arc<Admin>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "localhost:8081");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(admin, request.body(testing::chunks(["x"])).unwrap()).await
    }

    pub(super) async fn get(admin: &Arc<Admin>, path: &str) -> (u16, Value) {
        let response = call(admin, "GET", path, &[]).await;
        (response.status().as_u16(), testing::json(response).await)
    }

    async fn status(admin: &Arc<Admin>, method: &str, path: &str, host: &str) -> u16 {
        call(admin, method, path, &[("host", host)]).await.status().as_u16()
    }

    #[tokio::test]
    async fn a_drain_fails_the_readiness_probe_at_once() {
        let admin = admin();
        for (method, path, expected) in [
            ("GET", "/livez", 200),
            ("GET", "/readyz", 200),
            ("PUT", "/api/drain", 405),
            ("POST", "/api/drain", 202),
            ("GET", "/livez", 200),
            ("GET", "/readyz", 503),
        ] {
            let got = status(&admin, method, path, "127.0.0.1:8081").await;
            assert_eq!(got, expected, "{method} {path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_ask_is_ended() {
        let admin = admin();
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
        tokio::join!(serve(&admin, stream), probe);
        let ended_ms = began.elapsed().as_millis() as u64;
        assert!((4 * ADMIN_REQUEST_MS_MAX - 3..=4 * ADMIN_REQUEST_MS_MAX).contains(&ended_ms));
    }

    #[tokio::test(start_paused = true)]
    async fn a_publish_of_many_events_goes_on_as_long_as_they_come() {
        let admin = admin();
        let (mut peer, stream) = duplex(64 * 1024);
        let publisher = async {
            let head = "POST /api/channels/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                        Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
            peer.write_all(head.as_bytes()).await.unwrap();
            for published in 1..=3 {
                peer.write_all(b"b\r\n{\"data\":1}\n\r\n").await.unwrap();
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(admin.state().hub.published_total(), published);
                tokio::time::advance(Duration::from_millis(ADMIN_REQUEST_MS_MAX - 1)).await;
            }
            peer.write_all(b"0\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("\"accepted\":3"), "{answer}");
        };
        tokio::join!(serve(&admin, stream), publisher);
    }

    #[tokio::test]
    async fn strangers_are_kept_out() {
        let admin = admin();
        assert_eq!(status(&admin, "GET", "/metrics", "evil.example").await, 403);
        assert_eq!(status(&admin, "GET", "/livez", "evil.example").await, 200);
        assert_eq!(status(&admin, "GET", "/", "localhost").await, 200);
        assert_eq!(status(&admin, "GET", "/console.js", "evil.example").await, 403);
        assert_eq!(status(&admin, "GET", "/page.js", "localhost").await, 404);
        assert_eq!(status(&admin, "GET", "/metrics", "localhost").await, 200);
        let foreign = [("origin", "http://localhost:8080")];
        for (method, path) in [
            ("POST", "/api/drain"),
            ("POST", "/api/channels/news"),
            ("DELETE", "/api/channels/news"),
        ] {
            let response = call(&admin, method, path, &foreign).await;
            assert_eq!(response.status(), 403, "{method} {path}");
        }
        let state = admin.state();
        assert!(!state.drain.is_on());
        assert_eq!(state.hub.published_total(), 0);
    }
}
