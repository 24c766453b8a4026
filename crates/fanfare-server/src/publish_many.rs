//! A body of many events, each published as soon as its line or block is complete.
//!
//! Policy: what is wrong ends the request, and its answer names the line and how many events were
//! accepted before it; those stay published. A publisher that asked for acks and does not read
//! them is not read on either, so that nothing piles up; those that wait for it are charged for.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use fanfare_core::{
    Change, ChannelName, CloseReason, Draft, EventId, IdempotencyKey, Placed, Producer, Publication,
};
use hyper::{Response, StatusCode, header, header::HeaderValue};
use serde::Serialize;
use tokio::task::coop::consume_budget;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    acks::{self, Acks},
    address::Address,
    body::Body,
    budget::Charge,
    metrics::{Published, Reached},
    ndjson::Ndjson,
    problem::{Kind, Problem, Progress},
    producer::{self, Producing},
    publish::{json_response, place},
    sse_body::SseBody,
    state::State,
    streaming::Streaming,
    trace::Trace,
    upload::{Incoming, Upload},
};

/// One event of a body.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its channel, if it names one.
    pub(crate) channel: Option<ChannelName>,
    /// The event.
    pub(crate) draft: Draft,
    /// Publishes it once.
    pub(crate) key: Option<IdempotencyKey>,
}

/// What finds events in a body.
#[derive(Debug)]
pub(crate) enum Source {
    Ndjson(Ndjson),
    Sse(SseBody),
}

impl Source {
    fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Ndjson(ndjson) => ndjson.push(chunk),
            Self::Sse(sse) => sse.push(chunk),
        }
    }

    /// Says that the body ended as it should.
    fn end(&mut self) {
        match self {
            Self::Ndjson(ndjson) => ndjson.end(),
            // An unfinished block is none (WHATWG HTML, section 9.2.6).
            Self::Sse(_) => {}
        }
    }

    /// The next event that is complete.
    fn next(&mut self) -> Result<Option<Item>, Problem> {
        match self {
            Self::Ndjson(ndjson) => ndjson.next(),
            Self::Sse(sse) => sse.next(),
        }
    }

    /// Bytes that are held between chunks.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Ndjson(ndjson) => ndjson.held_bytes(),
            Self::Sse(sse) => sse.held_bytes(),
        }
    }

    /// The number of the last line that was looked at, from 1 on.
    fn line(&self) -> u64 {
        match self {
            Self::Ndjson(ndjson) => ndjson.line(),
            Self::Sse(sse) => sse.line(),
        }
    }
}

/// A publish of many events.
pub(crate) struct Many<B: Incoming> {
    state: Arc<State>,
    /// Whose rate it counts against; none if nobody's.
    client: Option<Address>,
    /// The channel of events that name none.
    channel: Option<ChannelName>,
    source: Source,
    /// For what `source` holds between chunks.
    charge: Charge,
    upload: Upload<B>,
    summary: Summary,
    /// Who counts its events, if somebody does.
    producer: Option<Producing>,
    /// The channels that are being published to, and how they end.
    streaming: Streaming,
    /// Keeps a drain waiting.
    _token: TaskTrackerToken,
    /// Its span, if it is traced.
    trace: Option<Box<Trace>>,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    first: Option<EventId>,
    last: Option<EventId>,
    accepted: u64,
    /// How the channel is closed, if that was to be done.
    closed: Option<CloseReason>,
}

impl<B: Incoming> Many<B> {
    pub(crate) fn new(
        state: &Arc<State>,
        client: Option<Address>,
        (channel, streaming): (Option<ChannelName>, Streaming),
        source: Source,
        upload: Upload<B>,
        (token, trace): (TaskTrackerToken, Option<Box<Trace>>),
    ) -> Self {
        Self {
            state: Arc::clone(state),
            client,
            channel,
            source,
            charge: state.requests.charge(),
            upload,
            summary: Summary::default(),
            producer: None,
            streaming,
            _token: token,
            trace,
        }
    }

    /// The head of the body is there: its channel is being streamed to. If it is a producer's, it
    /// thereby fences its earlier lives even if no event ever comes.
    async fn begin(&mut self, producer: Option<Producer>) -> Result<(), Problem> {
        let Some(channel) = self.channel.clone() else { return Ok(()) };
        if producer.is_some() || self.streaming.closes() {
            // It leaves something behind even if no event comes, so it counts like one.
            let client = self.client.filter(|_| self.state.limits_publishes());
            if let Some(client) = client.filter(|client| !self.state.pass_at_once(*client)) {
                self.state.pass_in_turn(client).await?;
            }
        }
        if let Some(producer) = producer {
            let (change, now_us) = (Change::Claim, self.state.now_us());
            let of = Some(producer.clone());
            let (channel, key) = (channel.clone(), None);
            // A claim is no publish, and counts as none.
            let claim = Publication { channel, change, instance: None, producer: of, key, now_us };
            self.producer = Producing::new(producer, &place(&self.state, claim).await?);
        }
        self.streaming.begin(&channel)
    }

    /// Publishes all of it, or up to what is wrong.
    async fn run(&mut self, acks: &mut Acks) -> Result<(), Problem> {
        let answer = self.read(acks).await;
        if let Some(trace) = &mut self.trace {
            trace.answered(answer.as_ref().map_or_else(Problem::status, |()| StatusCode::OK));
            trace.facts.events = self.summary.accepted;
            trace.facts.channels = self.streaming.channels() as u64;
        }
        answer.map_err(|problem| {
            match problem.kind() {
                Kind::Draining => self.streaming.cut(),
                _ => self.streaming.break_off(),
            }
            let limit = match problem.kind() {
                Kind::EventTooLarge => Some(Reached::EventDataBytes),
                Kind::LineTooLong => Some(Reached::LineBytes),
                Kind::RequestsFull => Some(Reached::RequestsBytes),
                _ => None,
            };
            limit.into_iter().for_each(|limit| self.state.metrics.reached(limit));
            let (line, accepted) = (self.source.line(), self.summary.accepted);
            problem.with_progress(Progress { line, accepted })
        })
    }

    async fn read(&mut self, acks: &mut Acks) -> Result<(), Problem> {
        loop {
            let chunk = acks.beside(self.upload.chunk(&self.state)).await?;
            let (ended, bytes) = (chunk.is_none(), chunk.as_ref().map_or(0, Bytes::len));
            if let Some(trace) = &mut self.trace {
                trace.facts.bytes += bytes as u64;
                trace.facts.events = self.summary.accepted;
                trace.facts.channels = self.streaming.channels() as u64;
            }
            match chunk {
                Some(chunk) => self.source.push(chunk),
                None => self.source.end(),
            }
            self.place_chunk(acks, bytes).await?;
            acks.hand_over().await?;
            if ended {
                break;
            }
            self.charge.resize(self.source.held_bytes())?;
        }
        let producer = self.producer.as_ref().map(Producing::next);
        self.summary.closed = self.streaming.finish(self.channel.as_ref(), producer).await?;
        Ok(())
    }

    /// Publishes what became whole with a chunk. The clock is read once for all of it, and once
    /// more for how long the first event took, which is a sample of the others.
    async fn place_chunk(&mut self, acks: &mut Acks, bytes: usize) -> Result<(), Problem> {
        let mut began = Some(Instant::now());
        let mut now_us = self.state.now_us();
        let client = self.client.filter(|_| self.state.limits_publishes());
        while let Some(item) = self.source.next()? {
            if let Some(client) = client.filter(|client| !self.state.pass_at_once(*client)) {
                self.wait(client, acks, bytes).await?;
                now_us = self.state.now_us();
                began = began.map(|_| Instant::now());
            }
            let placed = self.place(item, now_us).await;
            if let Some(began) = began.take() {
                self.state.metrics.publish_took(Published::of(&placed), began.elapsed());
            }
            let placed = placed?;
            let seq = self.producer.as_mut().map(|producer| producer.note(&placed));
            acks.push(&placed, seq);
            if let Some(channel) = &placed.channel {
                self.streaming.note(channel);
            }
            if acks.are_many() {
                acks.hand_over().await?;
                now_us = self.state.now_us();
            }
            // Others have a turn on this thread, however long the chunk is.
            consume_budget().await;
        }
        Ok(())
    }

    /// Waits for a turn. The publisher has the acks that there are; what it sent is charged for.
    async fn wait(
        &mut self,
        client: Address,
        acks: &mut Acks,
        bytes: usize,
    ) -> Result<(), Problem> {
        self.charge.resize(self.source.held_bytes() + bytes)?;
        acks.hand_over().await?;
        acks.beside(self.state.pass_in_turn(client)).await
    }

    async fn place(&mut self, item: Item, now_us: u64) -> Result<Placed, Problem> {
        let Item { channel, draft, key } = item;
        let Some(channel) = channel.or_else(|| self.channel.clone()) else {
            return Err(Problem::new(Kind::Line, "the line names no `channel`"));
        };
        let change = Change::Event(draft, None);
        let step = self.producer.as_mut().map(|producer| producer.step(key.as_ref()));
        let producer = step.transpose()?;
        let publication = Publication { channel, change, instance: None, producer, key, now_us };
        let placed = place(&self.state, publication).await?;
        if placed.duplicate && self.producer.is_some() {
            return Ok(placed);
        }
        self.summary.first.get_or_insert(placed.id);
        self.summary.last = Some(placed.id);
        self.summary.accepted += 1;
        Ok(placed)
    }
}

/// Publishes a body, with an ack for each event if that is asked for. What a producer may not do at
/// all is refused before that.
pub(crate) async fn answer<B: Incoming>(
    mut many: Many<B>,
    producer: Option<Producer>,
    acks: bool,
) -> Result<Response<Body>, Problem> {
    if let Err(problem) = many.begin(producer).await {
        if let Some(trace) = &mut many.trace {
            trace.answered(problem.status());
        }
        return Err(problem);
    }
    if acks { Ok(acknowledged(many)) } else { summed_up(many).await }
}

/// Publishes a body and then tells how many events it had.
async fn summed_up<B: Incoming>(mut many: Many<B>) -> Result<Response<Body>, Problem> {
    many.run(&mut Acks::none()).await?;
    let id = |id: Option<EventId>| id.map(|id| id.to_string());
    let Summary { first, last, accepted, closed } = many.summary;
    let producer = many.producer.as_ref();
    let told = Told {
        first_id: id(first),
        last_id: id(last),
        accepted,
        closed: closed.map(CloseReason::as_str),
        producer: producer.map(Producing::told),
    };
    let mut response = json_response(serde_json::to_vec(&told).unwrap_or_default());
    if let Some(producer) = producer {
        producer::tell(response.headers_mut(), producer.at());
    }
    Ok(response)
}

/// Answers at once and publishes beside that: an ack a line, a line when somebody wishes that the
/// channel be cancelled, and last, if something is wrong, the problem as a line.
pub(crate) fn acknowledged<B: Incoming>(mut many: Many<B>) -> Response<Body> {
    let claimed = many.producer.as_ref().map(|producer| *producer.at());
    let (state, channel) = (Arc::clone(&many.state), many.channel.clone());
    let is_producer = claimed.is_some();
    let mut response = acks::answer(&state, channel.as_ref(), is_producer, |mut acks| async move {
        let outcome = many.run(&mut acks).await;
        let state = Arc::clone(&many.state);
        // Its end waits for nobody who is yet to read of it.
        drop(many);
        if let Err(problem) = outcome {
            state.metrics.problem(problem.kind());
            acks.end_with(&problem).await;
        }
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(at) = claimed {
        producer::tell(headers, &at);
    }
    response
}

/// What a publisher of many events is told.
#[derive(Serialize)]
struct Told<'a> {
    first_id: Option<String>,
    last_id: Option<String>,
    accepted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<&'static str>,
    #[serde(flatten)]
    producer: Option<producer::Told<'a>>,
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        publish::{self, Target},
        query::Query,
        testing::{self, TestBody},
    };

    async fn post(
        state: &Arc<State>,
        path: Option<&str>,
        query: &str,
        media_type: &'static str,
        body: TestBody,
    ) -> Result<Response<Body>, Problem> {
        let channel = path.map(|name| ChannelName::parse(name).unwrap());
        let target = channel.map_or(Target::Lines, Target::Channel);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let upload = Upload::new(body, &headers);
        publish::answer(
            state,
            Some(testing::peer()),
            target,
            &Query::parse(query).unwrap(),
            &headers,
            upload,
        )
        .await
    }

    async fn ndjson(
        state: &Arc<State>,
        query: &str,
        chunks: impl IntoIterator<Item = &'static str>,
    ) -> Result<Value, Problem> {
        let body = testing::chunks(chunks);
        let response = post(state, Some("a"), query, NDJSON, body).await?;
        Ok(testing::json(response).await)
    }

    fn data(state: &State, channel: &str) -> Vec<String> {
        testing::events(state, channel).into_iter().map(|(_, data)| data).collect()
    }

    #[tokio::test]
    async fn lines_are_summed_up() {
        let state = testing::state();
        let chunks = ["{\"data\":\"1\"}\n\r\n{\"da", "ta\":\"2\"}\r\n{\"data\":\"3\"}"];
        let told = ndjson(&state, "close", chunks).await.unwrap();
        let (first, last) = (state.hub.id(1).to_string(), state.hub.id(3).to_string());
        assert_eq!(
            told,
            json!({"first_id": first, "last_id": last, "accepted": 3, "closed": "done"})
        );
        assert_eq!(data(&state, "a"), ["1", "2", "3"]);
        assert_eq!(testing::closed(&state, "a"), Some(CloseReason::Done));
        let told = ndjson(&state, "close", []).await.unwrap();
        assert_eq!(
            told,
            json!({"first_id": null, "last_id": null, "accepted": 0, "closed": "done"})
        );
    }

    #[tokio::test]
    async fn a_wrong_line_ends_it_and_the_rest_stays() {
        let state = testing::state();
        let chunks = ["{\"data\":1}\n\n{\"data\":2}\n{\"dat\":3}\n{\"data\":4}\n"];
        let problem = ndjson(&state, "close", chunks).await.unwrap_err();
        let told: Value = serde_json::from_slice(&problem.json()).unwrap();
        assert_eq!((&told["line"], &told["accepted"]), (&json!(4), &json!(2)), "{told}");
        assert_eq!(data(&state, "a"), ["1", "2"]);
        assert_eq!(testing::closed(&state, "a"), None);
    }

    #[tokio::test]
    async fn a_cut_body_publishes_no_half_line() {
        let state = testing::state();
        let chunks = ["{\"data\":1}\n{\"data\":2}", "!cut"];
        let problem = ndjson(&state, "close", chunks).await.unwrap_err();
        assert_eq!(problem.kind(), Kind::BodyCutOff);
        assert_eq!(data(&state, "a"), ["1"]);
        let state = testing::state();
        let body = testing::chunks(["data: 1\n\ndata: 2\n", "!cut"]);
        let problem = post(&state, Some("a"), "", SSE, body).await.unwrap_err();
        assert_eq!(problem.kind(), Kind::BodyCutOff);
        assert_eq!(data(&state, "a"), ["1"]);
    }

    #[tokio::test]
    async fn lines_to_events_name_their_channel() {
        let state = testing::state();
        let body = testing::chunks([
            "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b/c\",\"data\":2,\"event\":\"x\"}\n",
            "{\"data\":3}\n",
        ]);
        let problem = post(&state, None, "event=t", NDJSON, body).await.unwrap_err();
        assert_eq!(problem.kind(), Kind::Line);
        assert_eq!(testing::events(&state, "a"), [(Some("t".into()), "1".into())]);
        assert_eq!(testing::events(&state, "b/c"), [(Some("x".into()), "2".into())]);
        for (query, media_type) in [("", "text/plain"), ("", SSE), ("close", NDJSON)] {
            let body = testing::chunks(["{\"channel\":\"a\",\"data\":1}\n"]);
            post(&state, None, query, media_type, body).await.unwrap_err();
        }
        assert_eq!(state.hub.published_total(), 2);
    }

    #[tokio::test]
    async fn acks_come_line_by_line_and_end_with_the_problem() {
        let state = testing::state();
        let (sender, body) = testing::body();
        let response = post(&state, Some("a"), "acks=stream", NDJSON, body).await.unwrap();
        let mut acks = response.into_body();
        let next = async |acks: &mut Body| {
            let frame = acks.frame().await.unwrap().unwrap();
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        };
        sender.send(Ok(Bytes::from("{\"data\":1}\n{\"data\":2}\n{\"da"))).await.unwrap();
        let id = |seq| state.hub.id(seq);
        let two = format!(
            "{{\"id\":\"{}\",\"subscribers\":0}}\n{{\"id\":\"{}\",\"subscribers\":0}}\n",
            id(1),
            id(2)
        );
        assert_eq!(next(&mut acks).await, two);
        sender.send(Ok(Bytes::from("ta\":3}\nnonsense\n"))).await.unwrap();
        let last = next(&mut acks).await;
        let (ack, problem) = last.trim_end().split_once('\n').unwrap();
        assert_eq!(ack, format!("{{\"id\":\"{}\",\"subscribers\":0}}", id(3)));
        let problem: Value = serde_json::from_str(problem).unwrap();
        assert_eq!((&problem["line"], &problem["accepted"]), (&json!(4), &json!(3)));
        assert!(acks.frame().await.is_none());
    }

    #[tokio::test]
    async fn unread_acks_stop_the_reading() {
        let state = testing::state();
        let lines = "{\"data\":\"\"}\n".repeat(1_000);
        let body = testing::raw(vec![lines.into_bytes(); 20]);
        let response = post(&state, Some("a"), "acks=stream", NDJSON, body).await.unwrap();
        let mut acks = response.into_body();
        acks.frame().await.unwrap().unwrap();
        assert!(state.hub.published_total() < 3_000, "{}", state.hub.published_total());
        let rest = acks.collect().await.unwrap().to_bytes();
        assert!(rest.ends_with(b"}\n"));
        assert_eq!(state.hub.published_total(), 20_000);
    }

    #[tokio::test]
    async fn an_unfinished_line_is_charged_for() {
        let begun = "{\"data\":1}\n{\"data\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        for (media_type, begun) in [(NDJSON, begun), (SSE, "data: 1\n\ndata: xxxxxxxxxxxxxxxxx\n")]
        {
            let state = testing::state_with_requests(16);
            let body = testing::chunks([begun, "rest"]);
            let problem = post(&state, Some("a"), "", media_type, body).await.unwrap_err();
            assert_eq!(problem.kind(), Kind::RequestsFull, "{media_type}");
            assert!(problem.json().ends_with(b"\"accepted\":1}"));
            assert_eq!(state.requests.held_bytes(), 0);
            assert_eq!(state.metrics.reached_total(Reached::RequestsBytes), 1);
            let state = testing::state_with_requests(200);
            let body = testing::chunks([begun, "\"}\n\n"]);
            post(&state, Some("a"), "", media_type, body).await.unwrap();
            assert_eq!((state.hub.published_total(), state.requests.held_bytes()), (2, 0));
        }
    }

    #[tokio::test]
    async fn a_block_without_an_empty_line_is_not_published() {
        let state = testing::state();
        let body = testing::chunks(["data: 1\n\ndata: 2\n"]);
        let response = post(&state, Some("a"), "close", SSE, body).await.unwrap();
        assert_eq!(testing::json(response).await["accepted"], 1);
        assert_eq!(data(&state, "a"), ["1"]);
    }

    #[tokio::test]
    async fn acks_are_charged_for_until_they_were_read() {
        let state = testing::state_with_requests(4_000);
        let chunk = "{\"data\":1}\n".repeat(50);
        let body = || testing::raw(vec![chunk.clone().into_bytes(); 2]);
        let post = async || post(&state, Some("a"), "acks=stream", NDJSON, body()).await.unwrap();
        let mut acks = post().await.into_body();
        let unread = acks.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(state.requests.held_bytes() >= unread.len());
        let told = post().await.into_body().collect().await.unwrap().to_bytes();
        let lines: Vec<_> = told.trim_ascii().split(|byte| *byte == b'\n').collect();
        let problem: Value = serde_json::from_slice(lines.last().unwrap()).unwrap();
        assert_eq!(problem["type"], "/problems/requests-full");
        assert_eq!(problem["accepted"], lines.len() - 1, "each ack is told all the same");
        drop((acks, unread));
        assert_eq!(state.requests.held_bytes(), 0);
    }

    #[tokio::test]
    async fn an_open_stream_is_known_and_ends_with_the_drain() {
        let state = testing::state();
        let (sender, body) = testing::body();
        let publish = {
            let state = Arc::clone(&state);
            tokio::spawn(async move { post(&state, Some("a"), "", NDJSON, body).await })
        };
        sender.send(Ok(Bytes::from("{\"data\":1}\n"))).await.unwrap();
        while state.hub.published_total() == 0 {
            tokio::task::yield_now().await;
        }
        state.drain.refuse(20_000);
        assert_eq!(state.publishes.len(), 1);
        state.drain.publishes_end.turn_on();
        let problem = publish.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), Kind::Draining);
        assert!(problem.json().ends_with(b"\"accepted\":1}"));
        assert!(state.publishes.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_none_of_its_acks_is_given_up() {
        let state = testing::state();
        let (sender, body) = testing::body();
        // Nobody asks for the answer's body, as over HTTP/2 while there is no window.
        let query = "acks=stream&close=on-end";
        let unread = post(&state, Some("a"), query, NDJSON, body).await.unwrap();
        let mut open = UntilStalled::new(&state);
        sender.send(Ok(Bytes::from("{\"data\":1}\n"))).await.unwrap();
        // Its body goes on, and no further ack waits for the one before.
        while open.goes_on().await {
            sender.try_send(Ok(Bytes::from("\n"))).unwrap();
        }
        assert!((30..=46).contains(&open.seconds), "after {} s", open.seconds);
        assert_eq!(state.metrics.reached_total(Reached::WriteStall), 1);
        assert_eq!(data(&state, "a"), ["1"]);
        assert_eq!(testing::closed(&state, "a"), None, "it waits for its producer");
        let mut acks = unread.into_body();
        acks.frame().await.unwrap().unwrap();
        acks.frame().await.unwrap().unwrap_err();
        assert!(acks.frame().await.is_none());
        assert_eq!(state.requests.held_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_its_acks_slowly_is_not() {
        let state = testing::state();
        let lines = "{\"data\":\"\"}\n".repeat(1_000);
        let body = testing::raw(vec![lines.into_bytes(); 5]);
        let response = post(&state, Some("a"), "acks=stream", NDJSON, body).await.unwrap();
        let (mut acks, mut open) = (response.into_body(), UntilStalled::new(&state));
        let mut pieces = 0;
        while acks.frame().await.transpose().unwrap().is_some() {
            pieces += 1;
            // In the middle of what is allowed, and together for far longer.
            for _ in 0..20 {
                open.goes_on().await;
            }
        }
        assert!(pieces > 5, "{pieces}");
        assert_eq!(state.hub.published_total(), 5_000);
        assert_eq!(state.metrics.reached_total(Reached::WriteStall), 0);
    }

    #[tokio::test]
    async fn a_drain_ends_who_takes_none_of_its_acks() {
        let state = testing::state();
        let lines = "{\"data\":\"\"}\n".repeat(10_000);
        let body = testing::raw(vec![lines.into_bytes(); 2]);
        let query = "acks=stream&close=on-end";
        let unread = post(&state, Some("a"), query, NDJSON, body).await.unwrap();
        let name = ChannelName::parse("a").unwrap();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(state.hub.channel(&name).unwrap().publishing, 1);
        state.drain.refuse(20_000);
        state.drain.publishes_end.turn_on();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(state.hub.channel(&name).unwrap().publishing, 0);
        assert!(state.publishes.is_empty(), "and nobody waits for it");
        let told = unread.into_body().collect().await.unwrap().to_bytes();
        let lines: Vec<_> = told.trim_ascii().split(|byte| *byte == b'\n').collect();
        let problem: Value = serde_json::from_slice(lines.last().unwrap()).unwrap();
        assert_eq!(problem["type"], "/problems/draining");
        assert_eq!(problem["accepted"], lines.len() - 1, "each ack is told all the same");
        assert_eq!(state.hub.published_total() as usize, lines.len() - 1);
    }

    /// Lets time pass while `a` is being streamed to.
    struct UntilStalled<'a> {
        state: &'a State,
        /// How much has passed.
        seconds: u64,
    }

    impl<'a> UntilStalled<'a> {
        fn new(state: &'a State) -> Self {
            Self { state, seconds: 0 }
        }

        /// Lets a second pass; returns whether the publish is still open.
        async fn goes_on(&mut self) -> bool {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            // The publish has its turns.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.seconds += 1;
            assert!(self.seconds < 1_000, "it is open for ever");
            let channel = self.state.hub.channel(&ChannelName::parse("a").unwrap());
            channel.is_some_and(|channel| channel.publishing > 0)
        }
    }

    const NDJSON: &str = "application/x-ndjson";
    const SSE: &str = "text/event-stream";
}
