//! Streams for operators: the figures each second, and the channels of the hub themselves.
//!
//! Both go through hyper as the body of an HTTP/2 subscriber does, over HTTP/1 here: they are few.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fanfare_core::Selectors;
use hyper::{
    HeaderMap, Response,
    body::{Frame, SizeHint},
    header,
    http::request,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};

use super::Admin;
use crate::{
    body::{Body, BodyError},
    connection,
    entrance::ComeBack,
    guard::Origin,
    h2::AwayBody,
    limits::{ADMIN_REQUEST_MS_MAX, ADMIN_STREAM_MS_MAX},
    metrics::{Reached, SubscribeAnswer},
    problem::Problem,
    query::Query,
    service::{self, SubscribeRequest},
    subscribe::{Outcome, Parameters},
};

/// Whether a request asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut texts = values.filter_map(|value| value.to_str().ok());
    texts.any(|text| text.to_ascii_lowercase().contains("text/event-stream"))
}

/// `GET /api/events`: a subscription to channels of the hub, counted as one over HTTP/2.
pub(super) fn tail(admin: &Admin, head: request::Parts) -> Result<Response<Body>, Problem> {
    let query = Query::of(admin.state(), &head.uri)?;
    let selectors = service::selectors(admin.state(), &query)?;
    let parameters = parameters(admin, selectors, query, head)
        .inspect_err(|_| admin.state().metrics.subscribe_answered(SubscribeAnswer::Refused))?;
    let permit = permit(admin);
    let response = connection::stream(&admin.shared, &parameters, room(permit.as_ref()), None);
    Ok(held(response, permit))
}

/// `GET /api/stats` as a stream.
pub(super) fn stats(admin: &Admin, head: request::Parts) -> Result<Response<Body>, Problem> {
    let query = Query::of(admin.state(), &head.uri)?;
    let parameters = parameters(admin, Selectors::one(admin.feed.channel()), query, head)?;
    let permit = permit(admin);
    let (hub, worker) = admin.feed.hub();
    let response = match parameters.subscribe_apart(admin.state(), hub, worker, permit.is_none()) {
        Outcome::Answer(response) => response,
        Outcome::Away(away) => {
            let body = AwayBody::new(away.bytes.into());
            parameters.response(away.position, Body::stream(body))
        }
        Outcome::Stream(opening) => {
            let position = opening.subscription.position();
            let body = admin.feed.body(opening, parameters.heartbeat_ms);
            parameters.response(position, Body::stream(body))
        }
    };
    Ok(held(response, permit))
}

fn parameters(
    admin: &Admin,
    selectors: Selectors,
    query: Query,
    head: request::Parts,
) -> Result<Parameters, Problem> {
    let request::Parts { headers, version, .. } = head;
    // A page that may read this comes from here, so it needs no leave.
    let origin = Origin::Absent;
    Parameters::read(admin.state(), SubscribeRequest { selectors, query, headers, version, origin })
}

/// A place among the streams; none if there is none.
fn permit(admin: &Admin) -> Option<OwnedSemaphorePermit> {
    let permit = Arc::clone(&admin.streams).try_acquire_owned().ok();
    if permit.is_none() {
        admin.state().metrics.reached(Reached::AdminStreams);
    }
    permit
}

fn room(permit: Option<&OwnedSemaphorePermit>) -> Result<(), ComeBack> {
    permit.map(|_| ()).ok_or_else(ComeBack::soon)
}

/// An answer whose stream holds its place until it ends.
fn held(response: Response<Body>, permit: Option<OwnedSemaphorePermit>) -> Response<Body> {
    use http_body_util::BodyExt as _;
    match permit {
        Some(permit) if matches!(response.body(), Body::Stream(_)) => response.map(|body| {
            Body::stream(body.map_frame(move |frame| {
                let _held = &permit;
                frame
            }))
        }),
        _ => response,
    }
}

/// Sees whether a connection does anything.
#[derive(Debug, Default)]
pub(super) struct Watch {
    moved: Notify,
    /// Whether it is in the middle of a stream.
    streams: AtomicBool,
}

impl Watch {
    /// Notes that it does.
    pub(super) fn moves(&self) {
        self.moved.notify_one();
    }

    /// Resolves when it did nothing for too long.
    pub(super) async fn silent(&self) {
        loop {
            let streams = self.streams.load(Relaxed);
            let ms = if streams { ADMIN_STREAM_MS_MAX } else { ADMIN_REQUEST_MS_MAX };
            if timeout(Duration::from_millis(ms), self.moved.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// A body that tells the watch of its connection when it is asked for more: hyper does not while
/// the peer takes nothing.
pub(super) struct Watched {
    body: Body,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(body: Body, watch: Arc<Watch>) -> Self {
        watch.streams.store(matches!(body, Body::Stream(_)), Relaxed);
        Self { body, watch }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() && self.watch.streams.load(Relaxed) {
            self.watch.moves();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.watch.streams.swap(false, Relaxed) {
            self.watch.moves();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::{
        admin::tests::{admin, call},
        limits::ADMIN_STREAMS_MAX,
        testing,
    };

    const SSE: [(&str, &str); 1] = [("accept", "text/event-stream")];

    async fn next(response: &mut Response<Body>) -> String {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn there_are_fewer_streams_than_connections() {
        let admin = admin();
        let mut streams = Vec::new();
        for n in 0..ADMIN_STREAMS_MAX {
            let path = if n % 2 == 0 { "/api/stats" } else { "/api/events?channel=a" };
            let mut response = call(&admin, "GET", path, &SSE).await;
            assert!(next(&mut response).await.contains("event: fanfare.open\n"), "{path}");
            streams.push(response);
        }
        for path in ["/api/stats", "/api/events?channel=a"] {
            let mut refused = call(&admin, "GET", path, &SSE).await;
            assert_eq!(refused.status(), 200);
            assert!(next(&mut refused).await.contains(r#""reason":"overload""#), "{path}");
        }
        assert_eq!(admin.state().metrics.reached_total(Reached::AdminStreams), 2);
        streams.pop();
        let mut response = call(&admin, "GET", "/api/stats", &SSE).await;
        assert!(next(&mut response).await.contains("event: fanfare.open\n"));
    }

    #[tokio::test]
    async fn what_operators_read_of_the_hub_itself_is_no_subscription() {
        let admin = admin();
        let figures = call(&admin, "GET", "/api/stats", &SSE).await;
        assert_eq!(admin.state().hub.subscribers(), 0);
        let tail = call(&admin, "GET", "/api/events?channel=a&last=5", &[]).await;
        assert_eq!(admin.state().hub.subscribers(), 1);
        drop((figures, tail));
        assert_eq!(admin.state().hub.subscribers(), 0);
        for wrong in ["/api/events", "/api/events?channel=*b", "/api/events?channel=a&last=x"] {
            assert_eq!(call(&admin, "GET", wrong, &[]).await.status(), 400, "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_cut_only_when_its_peer_takes_nothing() {
        let began = tokio::time::Instant::now();
        let watch = Arc::new(Watch::default());
        let (sender, body) = testing::body();
        let mut body = Watched::new(Body::stream(body), Arc::clone(&watch));
        let reads = async {
            for _ in 0..3 {
                tokio::time::advance(Duration::from_millis(ADMIN_STREAM_MS_MAX - 1)).await;
                sender.try_send(Ok(Bytes::from("x"))).unwrap();
                body.frame().await.unwrap().unwrap();
            }
        };
        tokio::join!(watch.silent(), reads);
        let elapsed_ms = began.elapsed().as_millis() as u64;
        assert_eq!(elapsed_ms, 4 * ADMIN_STREAM_MS_MAX - 3);
        // What is no stream any more is a connection like the others.
        drop(body);
        watch.silent().await;
        assert_eq!(began.elapsed().as_millis() as u64, elapsed_ms + ADMIN_REQUEST_MS_MAX);
    }
}
