//! One request of the public listener: who may, what it names, who answers.

use std::{mem, sync::Arc};

use fanfare_core::{Selectors, SelectorsError, limits::CHANNELS_PER_SUBSCRIPTION_MAX};
use hyper::{HeaderMap, Method, Response, StatusCode, Version, http::request};
use tracing::Level;

use crate::{
    address::Peer,
    body::Body,
    cancel, delete,
    guard::{Listener, Origin},
    history,
    limits::LOGGED_PATH_BYTES_MAX,
    metrics::{Reached, SubscribeAnswer},
    page,
    problem::{Kind, Problem},
    publish::{self, Target},
    query::Query,
    route::Route,
    state::State,
    status,
    upload::{Incoming, Upload},
    upstream,
};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is answered.
    Response(Response<Body>),
    /// It wants to subscribe, and may ask for what it names.
    Subscribe(SubscribeRequest),
}

/// A request for a stream of events.
#[derive(Debug)]
pub(crate) struct SubscribeRequest {
    /// The channels and patterns.
    pub(crate) selectors: Selectors,
    /// The parameters.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The protocol.
    pub(crate) version: Version,
    /// The page it came from: its [`headers`](Origin::headers) belong into the answer's head.
    pub(crate) origin: Origin,
}

/// Answers a request, or finds out that it wants to subscribe: then its headers are taken.
///
/// The head stays where it is: each async function that owns it would have it in its future twice.
pub(crate) async fn answer<B: Incoming>(
    state: &Arc<State>,
    peer: Peer,
    head: &mut request::Parts,
    body: B,
) -> Answer {
    let upload = Upload::new(body, &head.headers);
    if let Err(problem) = Listener::Public.check_host(&state.config(), &head.uri, &head.headers) {
        return Answer::Response(problem.response(state));
    }
    let origin = Listener::Public.origin(&state.config(), &head.uri, &head.headers);
    let asked = Asked::note(head);
    let mut response = match dispatch(state, peer, head, upload, &origin).await {
        Ok(Answer::Response(response)) => response,
        Ok(subscribe) => {
            asked.log(StatusCode::OK);
            return subscribe;
        }
        Err(problem) => problem.response(state),
    };
    asked.log(response.status());
    origin.add_to(response.headers_mut());
    Answer::Response(response)
}

async fn dispatch<B: Incoming>(
    state: &Arc<State>,
    peer: Peer,
    head: &mut request::Parts,
    upload: Upload<B>,
    origin: &Origin,
) -> Result<Answer, Problem> {
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        return Ok(Answer::Response(origin.preflight(ALL_METHODS)));
    }
    let route = Route::parse(head.uri.path())?;
    if head.method == Method::OPTIONS {
        return Ok(Answer::Response(origin.preflight(route.methods())));
    }
    origin.check_method(&head.method)?;
    let query = Query::of(state, &head.uri)?;
    let response = match (&head.method, route) {
        (&Method::GET, Route::Channel(channel)) if history::wants_json(&head.headers) => {
            history::answer(state, &channel, &query)?
        }
        (&Method::GET, Route::Channel(channel)) => {
            return Ok(subscribe(Selectors::one(channel), query, head, origin));
        }
        (&Method::POST, Route::Channel(channel)) => {
            let target = Target::Channel(channel);
            publish::answer(state, Some(peer), target, &query, &head.headers, upload).await?
        }
        (&Method::GET, Route::Status(channel)) => status::answer(state, &channel, &query)?,
        (&Method::GET, Route::Cancel(channel)) => cancel::wait(state, channel, &query).await?,
        (&Method::POST, Route::Cancel(channel)) => {
            state.pass_event(peer, &head.headers)?;
            cancel::ask(state, channel).await?
        }
        (&Method::DELETE, Route::Channel(channel)) => delete::answer(state, channel).await?,
        (&Method::GET, Route::Events) if history::wants_json(&head.headers) => {
            let detail = "/events is a stream, `Accept: text/event-stream`; history as JSON is \
                          one channel's: /channels/{channel}";
            return Err(Problem::new(Kind::NotAcceptable, detail));
        }
        (&Method::GET, Route::Events) => {
            return Ok(subscribe(selectors(state, &query)?, query, head, origin));
        }
        (&Method::POST, Route::Events) => {
            publish::answer(state, Some(peer), Target::Lines, &query, &head.headers, upload).await?
        }
        (&Method::POST, Route::Upstream(name, path)) => {
            upstream::answer(state, peer, (name, path), &query, &head.headers, upload).await?
        }
        (&Method::GET, Route::Upstream(..)) => return Err(Problem::method("POST, OPTIONS")),
        (&Method::GET, file) => page::answer(&file).ok_or_else(|| Problem::method(ALL_METHODS))?,
        (_, route) => return Err(Problem::method(route.methods())),
    };
    Ok(Answer::Response(response))
}

/// What the log tells of a request, if it does: never its query, which may hold secrets.
struct Asked(Option<(Method, String)>);

impl Asked {
    fn note(head: &request::Parts) -> Self {
        Self(tracing::enabled!(Level::DEBUG).then(|| {
            let path = head.uri.path();
            let end = path.floor_char_boundary(LOGGED_PATH_BYTES_MAX);
            (head.method.clone(), path[..end].to_owned())
        }))
    }

    fn log(self, status: StatusCode) {
        let Some((method, path)) = self.0 else { return };
        tracing::debug!(%method, path, status = status.as_u16(), "request");
    }
}

fn subscribe(
    selectors: Selectors,
    query: Query,
    head: &mut request::Parts,
    origin: &Origin,
) -> Answer {
    let (headers, version, origin) = (mem::take(&mut head.headers), head.version, origin.clone());
    Answer::Subscribe(SubscribeRequest { selectors, query, headers, version, origin })
}

/// The channels and patterns that a query names.
pub(crate) fn selectors(state: &State, query: &Query) -> Result<Selectors, Problem> {
    Selectors::parse(query.all("channel")).map_err(|error| wrong_selectors(state, &error))
}

fn wrong_selectors(state: &State, error: &SelectorsError) -> Problem {
    state.metrics.subscribe_answered(SubscribeAnswer::Refused);
    let detail = error.to_string();
    match error {
        SelectorsError::Name { .. } => Problem::new(Kind::ChannelName, detail),
        SelectorsError::TooMany => {
            state.metrics.reached(Reached::ChannelsPerSubscription);
            Problem::new(Kind::Query, detail)
                .with_limit("channels_per_subscription_max", CHANNELS_PER_SUBSCRIPTION_MAX)
        }
        _ => Problem::new(Kind::Query, format!("{detail}: /events?channel=a&channel=b/*")),
    }
}

const ALL_METHODS: &str = "GET, POST, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use hyper::{Request, header};

    use super::*;
    use crate::testing;

    async fn ask(
        state: &Arc<State>,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(header::HOST, "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, body) = request.body(testing::chunks(["x"])).unwrap().into_parts();
        answer(state, testing::peer(), &mut head, body).await
    }

    async fn status(
        state: &Arc<State>,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> StatusCode {
        match ask(state, method, uri, headers).await {
            Answer::Response(response) => response.status(),
            Answer::Subscribe(_) => panic!("{uri} subscribes"),
        }
    }

    #[tokio::test]
    async fn subscribes_are_passed_on() {
        let state = testing::state();
        let page = [("origin", "http://localhost:3000")];
        for (uri, texts) in [
            ("/channels/a%20b?open=0", vec!["a b"]),
            ("/events?channel=b%2F*&channel=a&x=1", vec!["a", "b/*"]),
        ] {
            match ask(&state, Method::GET, uri, &page).await {
                Answer::Subscribe(subscribe) => {
                    assert_eq!(subscribe.selectors.texts().collect::<Vec<_>>(), texts);
                    let names: Vec<_> = subscribe.origin.headers().map(|(name, _)| name).collect();
                    assert!(names.contains(&header::ACCESS_CONTROL_ALLOW_ORIGIN));
                }
                Answer::Response(response) => panic!("{uri}: {}", response.status()),
            }
        }
        for uri in ["/events", "/events?channel=", "/events?channel=a&channel=*b", "/channels/*"] {
            let got = status(&state, Method::GET, uri, &[]).await;
            assert_eq!(got, StatusCode::BAD_REQUEST, "{uri}");
        }
    }

    #[tokio::test]
    async fn every_route_answers() {
        let state = testing::state();
        let json = [("accept", "application/json")];
        for (method, uri, headers, expected) in [
            (Method::GET, "/", &[][..], 200),
            (Method::HEAD, "/", &[], 405),
            (Method::GET, "/nothing", &[], 404),
            (Method::GET, "/channels/a", &json, 404),
            (Method::POST, "/channels/a", &[], 200),
            (Method::GET, "/channels/a", &json, 200),
            (Method::GET, "/events?channel=a", &json, 406),
            (Method::POST, "/events", &[], 415),
            (Method::PUT, "/channels/a", &[], 405),
            (Method::DELETE, "/events", &[], 405),
            (Method::DELETE, "/channels/a", &[], 204),
            (Method::DELETE, "/channels/a", &[], 404),
            (Method::OPTIONS, "/channels/a", &[], 204),
            (Method::OPTIONS, "*", &[], 204),
            (Method::OPTIONS, "/nothing", &[], 404),
        ] {
            let got = status(&state, method.clone(), uri, headers).await;
            assert_eq!(got, expected, "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn foreign_pages_may_neither_publish_nor_read() {
        let state = testing::state();
        let foreign = [("origin", "https://evil.example")];
        for method in [Method::POST, Method::DELETE] {
            let got = status(&state, method, "/channels/a", &foreign).await;
            assert_eq!(got, StatusCode::FORBIDDEN);
        }
        assert_eq!(state.hub.published_total(), 0);
        match ask(&state, Method::GET, "/", &foreign).await {
            Answer::Response(response) => {
                assert_eq!(response.headers()[header::VARY], "Origin");
                assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
            }
            Answer::Subscribe(_) => panic!("the page does not subscribe"),
        }
    }

    #[tokio::test]
    async fn problems_can_be_read_by_accepted_pages() {
        let state = testing::state();
        let own = [("origin", "http://127.0.0.1:8080"), ("accept", "application/json")];
        match ask(&state, Method::GET, "/channels/none", &own).await {
            Answer::Response(response) => {
                assert_eq!(response.status(), StatusCode::NOT_FOUND);
                let allowed = &response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN];
                assert_eq!(allowed, "http://127.0.0.1:8080");
            }
            Answer::Subscribe(_) => panic!("a history is no subscription"),
        }
    }
}
