//! `POST /channels/{channel}` and `POST /events`: what a publish asks for, and a body of one event.
//!
//! Policy: one event is published when its whole body is there, or not at all. Who publishes waits
//! for the event's place, never for a subscriber. When the hub drains, new publishes are refused
//! and those in flight finish.

use std::{io::Write, sync::Arc, time::Instant};

use bytes::Bytes;
use fanfare_core::{
    Change, ChannelName, CloseReason, Draft, EventType, IdempotencyKey, Placed, Producer,
    Publication, Published,
};
use hyper::{
    HeaderMap, Response, StatusCode, header,
    header::{HeaderName, HeaderValue},
};

use crate::{
    address::Peer,
    body::Body,
    metrics::{self, Reached},
    ndjson::Ndjson,
    problem::{Kind, Problem},
    producer,
    publish_many::{self, Many, Source},
    query::Query,
    sse_body::SseBody,
    state::State,
    streaming::{Close, Streaming},
    trace::Trace,
    upload::{self, Incoming, Upload},
};

/// Where a publish goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// `/channels/{channel}`
    Channel(ChannelName),
    /// `/events`: each line names its channel.
    Lines,
}

/// How a body holds events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Ndjson,
    One,
    Sse,
}

/// What the query of a publish asks for.
#[derive(Clone, Debug, Default)]
struct Options {
    /// The type of events that name none.
    event_type: Option<EventType>,
    /// How the channel ends with it.
    close: Option<Close>,
    /// Whether each event is acknowledged as it is accepted.
    acks: bool,
}

/// Publishes a body of a peer; operators are none.
pub(crate) async fn answer<B: Incoming>(
    state: &Arc<State>,
    peer: Option<Peer>,
    target: Target,
    query: &Query,
    headers: &HeaderMap,
    upload: Upload<B>,
) -> Result<Response<Body>, Problem> {
    let mut trace = state.tracer.get().and_then(|tracer| Trace::begin(&**tracer, headers));
    let answer = take(state, peer, target, query, headers, upload, &mut trace).await;
    if let Some(trace) = &mut trace {
        trace.answered(answer.as_ref().map_or_else(Problem::status, Response::status));
    }
    answer
}

/// The same; `trace` is left if it ends with the answer.
async fn take<B: Incoming>(
    state: &Arc<State>,
    peer: Option<Peer>,
    target: Target,
    query: &Query,
    headers: &HeaderMap,
    mut upload: Upload<B>,
    trace: &mut Option<Box<Trace>>,
) -> Result<Response<Body>, Problem> {
    // The token first: a drain that begins after the look waits for this publish.
    let token = state.publishes.token();
    if state.drain.refuses() {
        return Err(Problem::draining(state));
    }
    let (form, options, key) = ask(&target, query, headers)?;
    let producer = producer(&target, key.as_ref(), headers)?;
    let data_max = state.config().event_data_bytes_max;
    let (source, channel) = match (form, target) {
        (Form::One, Target::Channel(channel)) => {
            peer.map_or(Ok(()), |peer| state.pass_event(peer, headers))?;
            let who = (producer, key);
            return one(state, channel, options, who, &mut upload, trace).await;
        }
        (Form::Sse, Target::Channel(channel)) => {
            (Source::Sse(SseBody::new(options.event_type, data_max)), Some(channel))
        }
        (_, Target::Channel(channel)) => {
            (Source::Ndjson(Ndjson::new(options.event_type, data_max, false)), Some(channel))
        }
        (_, Target::Lines) => {
            (Source::Ndjson(Ndjson::new(options.event_type, data_max, true)), None)
        }
    };
    let client = peer.map(|peer| peer.client(headers, &state.config().trusted_proxies));
    let place = (channel, Streaming::new(state, options.close));
    let many = Many::new(state, client, place, source, upload, (token, trace.take()));
    Box::pin(publish_many::answer(many, producer, options.acks)).await
}

/// What the head of a publish asks for, if that can be had.
fn ask(
    target: &Target,
    query: &Query,
    headers: &HeaderMap,
) -> Result<(Form, Options, Option<IdempotencyKey>), Problem> {
    let form = form(headers)?;
    let options = options(query)?;
    let key = key(headers)?;
    let refused = match (target, form) {
        (Target::Lines, Form::One | Form::Sse) => Some((
            Kind::MediaType,
            "a publish to /events is `Content-Type: application/x-ndjson`: its lines name their \
             channels",
        )),
        (Target::Lines, _) if options.close.is_some() => Some((
            Kind::Query,
            "`close` is for a publish to one channel: /channels/{channel}?close",
        )),
        (_, Form::One) if options.acks => Some((
            Kind::Query,
            "`acks=stream` is for a body of many events: `Content-Type: application/x-ndjson` or \
             `text/event-stream`",
        )),
        (_, Form::Ndjson | Form::Sse) if key.is_some() => Some((
            Kind::IdempotencyKey,
            "`Idempotency-Key` is for a body of one event; a line of NDJSON has its own `key`",
        )),
        _ => None,
    };
    match refused {
        Some((kind, detail)) => Err(Problem::new(kind, detail)),
        None => Ok((form, options, key)),
    }
}

/// The producer that a publish names, where one may.
fn producer(
    target: &Target,
    key: Option<&IdempotencyKey>,
    headers: &HeaderMap,
) -> Result<Option<Producer>, Problem> {
    let Some(producer) = producer::of(headers)? else { return Ok(None) };
    if *target == Target::Lines {
        let detail = "a producer publishes to one channel: POST /channels/{channel}";
        return Err(producer::wrong(detail));
    }
    if key.is_some() {
        return Err(producer::wrong("a publish has an `Idempotency-Key` or a producer, not both"));
    }
    Ok(Some(producer))
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    upload::check_coding(headers)?;
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Form::One) };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    Ok(if essence.eq_ignore_ascii_case(b"application/x-ndjson") {
        Form::Ndjson
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        Form::Sse
    } else {
        Form::One
    })
}

fn options(query: &Query) -> Result<Options, Problem> {
    let event_type = EventType::parse(query.single("event")?.unwrap_or_default());
    let event_type = event_type.map_err(|e| Problem::new(Kind::EventType, e.to_string()))?;
    let close = query.single("close")?.map(|text| {
        let expected = "`done`, `error`, `cancelled` or `on-end`, or bare for `done`";
        let close = match text {
            "on-end" => Some(Close::OnEnd),
            reason => CloseReason::parse(reason).map(Close::As),
        };
        close.ok_or_else(|| Query::wrong("close", text, expected))
    });
    let acks = match query.single("acks")? {
        None => false,
        Some("stream") => true,
        Some(other) => return Err(Query::wrong("acks", other, "`stream`")),
    };
    Ok(Options { event_type, close: close.transpose()?, acks })
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let detail = "the request has two `Idempotency-Key` headers, one is allowed";
        return Err(Problem::new(Kind::IdempotencyKey, detail));
    }
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.map_err(|_| Problem::new(Kind::IdempotencyKey, "the key is not UTF-8"))?;
    let key = IdempotencyKey::parse(text);
    key.map(Some).map_err(|error| Problem::new(Kind::IdempotencyKey, error.to_string()))
}

/// Publishes a body that is one event, or that only ends the channel.
async fn one<B: Incoming>(
    state: &State,
    channel: ChannelName,
    options: Options,
    (producer, key): (Option<Producer>, Option<IdempotencyKey>),
    upload: &mut Upload<B>,
    trace: &mut Option<Box<Trace>>,
) -> Result<Response<Body>, Problem> {
    let data = whole(state, upload).await?;
    if let Some(trace) = trace {
        (trace.facts.channels, trace.facts.bytes) = (1, data.len() as u64);
    }
    let change = match options.close.map(Close::at_once) {
        Some(reason) if data.is_empty() => Change::Close(reason),
        close => {
            let data = std::str::from_utf8(&data).map_err(|error| not_utf8(error.valid_up_to()))?;
            Change::Event(Draft::new(options.event_type.as_ref(), data), close)
        }
    };
    let events = u64::from(matches!(change, Change::Event(..)));
    let placed = place_as(state, channel, change, (producer, key)).await?;
    if let Some(trace) = trace {
        trace.facts.events = events;
    }
    let mut response = match placed.producer {
        Some(_) if placed.duplicate => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => {
            let mut json = Vec::with_capacity(ACK_BYTES);
            push_ack(&mut json, &placed);
            json_response(json)
        }
    };
    if let Some(at) = &placed.producer {
        producer::tell(response.headers_mut(), at);
    }
    Ok(response)
}

/// The whole body, if it is not too long for one event.
async fn whole<B: Incoming>(state: &State, upload: &mut Upload<B>) -> Result<Bytes, Problem> {
    let bytes_max = state.config().event_data_bytes_max;
    let too_large = |bytes| {
        state.metrics.reached(Reached::EventDataBytes);
        Problem::event_too_large(bytes, bytes_max)
    };
    let announced = upload.announced_bytes();
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(announced));
    }
    let Some(first) = upload.chunk(state).await? else { return Ok(Bytes::new()) };
    if first.len() <= bytes_max && upload.is_over() {
        return Ok(first);
    }
    // Few bodies come in pieces, so what all of them pay for is kept small.
    Box::pin(upload.rest(state, first, bytes_max, || too_large(None))).await
}

fn not_utf8(valid_up_to: usize) -> Problem {
    let detail = format!(
        "the data is not UTF-8 from byte {valid_up_to} on; server-sent events are text, so bytes \
         have to be encoded, for example as base64"
    );
    Problem::new(Kind::NotUtf8, detail)
}

/// Gives one change its place, and notes how long that took.
pub(crate) async fn place_now(
    state: &State,
    channel: ChannelName,
    change: Change,
    key: Option<IdempotencyKey>,
) -> Result<Placed, Problem> {
    place_as(state, channel, change, (None, key)).await
}

/// The same of a change that is perhaps a producer's.
pub(crate) async fn place_as(
    state: &State,
    channel: ChannelName,
    change: Change,
    (producer, key): (Option<Producer>, Option<IdempotencyKey>),
) -> Result<Placed, Problem> {
    let now_us = state.now_us();
    place_measured(state, Publication { channel, change, instance: None, producer, key, now_us })
        .await
}

/// The same of a publication.
pub(crate) async fn place_measured(
    state: &State,
    publication: Publication,
) -> Result<Placed, Problem> {
    let began = Instant::now();
    let placed = place(state, publication).await;
    state.metrics.publish_took(metrics::Published::of(&placed), began.elapsed());
    placed
}

/// Gives one change its place, when this is called; what is awaited is only the broker's word.
pub(crate) fn place(
    state: &State,
    publication: Publication,
) -> impl Future<Output = Result<Placed, Problem>> + use<> {
    let published = state.broker.publish(publication);
    async {
        match published {
            Published::Now(result) => Ok(result?),
            Published::Later(result) => Ok(result.await?),
        }
    }
}

/// Appends what a publisher is told of one accepted event.
pub(crate) fn push_ack(out: &mut Vec<u8>, placed: &Placed) {
    let Placed { id, subscribers, .. } = placed;
    write!(out, "{{\"id\":\"{id}\",\"subscribers\":{subscribers}}}").expect(MEMORY);
}

/// An answer of JSON.
pub(crate) fn json_response(json: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// The media type of answers that are not streams of events.
pub(crate) const JSON: &str = "application/json";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MEMORY: &str = "writing to memory cannot fail";
/// Bytes that an ack usually has at most.
const ACK_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use fanfare_core::{Broker, MemoryBroker, Refusal};

    use super::*;
    use crate::testing::{self, TestBody};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    async fn post(
        state: &Arc<State>,
        query: &str,
        pairs: &[(&'static str, &'static str)],
        body: TestBody,
    ) -> Result<serde_json::Value, Problem> {
        let target = Target::Channel(ChannelName::parse("news").unwrap());
        let query = Query::parse(query).unwrap();
        let headers = headers(pairs);
        let upload = Upload::new(body, &headers);
        let response = answer(state, None, target, &query, &headers, upload).await?;
        Ok(testing::json(response).await)
    }

    async fn kind(
        state: &Arc<State>,
        query: &str,
        pairs: &[(&'static str, &'static str)],
        body: TestBody,
    ) -> Kind {
        post(state, query, pairs, body).await.unwrap_err().kind()
    }

    #[tokio::test]
    async fn one_event_is_published_whole() {
        let state = testing::state();
        let told = post(&state, "event=tick", &[], testing::chunks(["he", "llo"])).await.unwrap();
        assert_eq!(told["subscribers"], 0);
        assert_eq!(told["id"], state.hub.id(1).to_string());
        assert_eq!(testing::events(&state, "news"), [(Some("tick".into()), "hello".into())]);
        let told = post(&state, "", &[], testing::chunks([])).await.unwrap();
        assert_eq!(told["id"], state.hub.id(2).to_string());
        assert_eq!(testing::events(&state, "news")[1], (None, String::new()));
    }

    #[tokio::test]
    async fn half_a_body_publishes_nothing() {
        let state = testing::state();
        assert_eq!(kind(&state, "", &[], testing::chunks(["a", "!cut"])).await, Kind::BodyCutOff);
        assert_eq!(state.hub.published_total(), 0);
    }

    #[tokio::test]
    async fn data_is_utf8_and_bounded() {
        let state = testing::state();
        let body = testing::raw(vec![b"ok\xff".to_vec()]);
        assert_eq!(kind(&state, "", &[], body).await, Kind::NotUtf8);
        let max = state.config().event_data_bytes_max;
        let fits = vec![vec![b'a'; max / 2], vec![b'a'; max - max / 2]];
        post(&state, "", &[], testing::raw(fits)).await.unwrap();
        let body = testing::raw(vec![vec![b'a'; max], vec![b'a']]);
        assert_eq!(kind(&state, "", &[], body).await, Kind::EventTooLarge);
        let body = testing::raw(vec![vec![b'a'; max + 1]]);
        assert_eq!(kind(&state, "", &[], body).await, Kind::EventTooLarge);
        assert_eq!(state.hub.published_total(), 1);
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_charged_for_while_it_comes() {
        let state = testing::state_with_requests(1_000);
        let (sender, body) = testing::body();
        let publish = {
            let state = Arc::clone(&state);
            tokio::spawn(async move { post(&state, "", &[], body).await })
        };
        sender.send(Ok(vec![b'a'; 900].into())).await.unwrap();
        while state.requests.held_bytes() == 0 {
            tokio::task::yield_now().await;
        }
        let pieces = || testing::raw(vec![vec![b'b'; 100], vec![b'b'; 100]]);
        assert_eq!(kind(&state, "", &[], pieces()).await, Kind::RequestsFull);
        drop(sender);
        publish.await.unwrap().unwrap();
        assert_eq!(state.requests.held_bytes(), 0);
        post(&state, "", &[], pieces()).await.unwrap();
        assert_eq!((state.hub.published_total(), state.requests.held_bytes()), (2, 0));
    }

    /// A broker that is asked again before it answers, or that never knows.
    struct Slow(MemoryBroker);

    impl Broker for Slow {
        fn publish(&self, publication: Publication) -> Published {
            let result = match publication.key {
                None => self.0.place(publication),
                Some(_) => Err(Refusal::NoAnswer),
            };
            Published::Later(Box::pin(async {
                tokio::task::yield_now().await;
                result
            }))
        }
    }

    #[tokio::test]
    async fn a_broker_may_answer_later() {
        let mut state = testing::state();
        let broker = Slow(MemoryBroker::new(Arc::clone(&state.hub)));
        Arc::get_mut(&mut state).unwrap().broker = Arc::new(broker);
        let told = post(&state, "", &[], testing::chunks(["a"])).await.unwrap();
        assert_eq!(told["id"], state.hub.id(1).to_string());
        let key = [("idempotency-key", "k")];
        assert_eq!(kind(&state, "", &key, testing::chunks(["a"])).await, Kind::Unavailable);
    }

    #[tokio::test]
    async fn close_ends_a_channel_once() {
        let state = testing::state();
        post(&state, "close", &[], testing::chunks(["last"])).await.unwrap();
        assert_eq!(testing::closed(&state, "news"), Some(CloseReason::Done));
        post(&state, "close=error", &[], testing::chunks([])).await.unwrap();
        assert_eq!(testing::closed(&state, "news"), Some(CloseReason::Done));
        let late = kind(&state, "", &[], testing::chunks(["x"])).await;
        assert_eq!(late, Kind::ChannelClosed);
        assert_eq!(kind(&state, "close=deleted", &[], testing::chunks([])).await, Kind::Query);
        assert_eq!(testing::events(&state, "news").len(), 1);
    }

    #[tokio::test]
    async fn a_key_publishes_once() {
        let state = testing::state();
        let key = [("idempotency-key", "k")];
        let first = post(&state, "", &key, testing::chunks(["a"])).await.unwrap();
        let again = post(&state, "", &key, testing::chunks(["a"])).await.unwrap();
        assert_eq!(first["id"], again["id"]);
        let other = kind(&state, "", &key, testing::chunks(["b"])).await;
        assert_eq!(other, Kind::IdempotencyKeyReused);
        let two = [("idempotency-key", "k"), ("idempotency-key", "k")];
        for pairs in [two.as_slice(), &[("idempotency-key", "")]] {
            let wrong = kind(&state, "", pairs, testing::chunks(["a"])).await;
            assert_eq!(wrong, Kind::IdempotencyKey);
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_together_is_refused() {
        let state = testing::state();
        let ndjson = ("content-type", "Application/X-NDJSON; charset=utf-8");
        for (query, pairs, expected) in [
            ("acks=stream", &[][..], Kind::Query),
            ("acks=all", &[ndjson], Kind::Query),
            ("event=fanfare.open", &[], Kind::EventType),
            ("event=a%0Ab", &[], Kind::EventType),
            ("event=a&event=b", &[], Kind::Query),
            ("", &[ndjson, ("idempotency-key", "k")], Kind::IdempotencyKey),
            ("", &[("content-encoding", "gzip")], Kind::MediaType),
        ] {
            let body = testing::chunks(["{\"data\":1}\n"]);
            assert_eq!(kind(&state, query, pairs, body).await, expected, "{query}");
        }
        assert_eq!(state.hub.published_total(), 0);
    }

    #[tokio::test]
    async fn a_drain_refuses_new_publishes() {
        let state = testing::state();
        state.drain.refuse(20_000);
        assert_eq!(kind(&state, "", &[], testing::chunks(["a"])).await, Kind::Draining);
        assert_eq!(state.hub.published_total(), 0);
        assert!(state.publishes.is_empty());
    }
}
