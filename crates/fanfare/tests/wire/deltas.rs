//! Deltas put together over the wire: `coalesce=` and `window=`.

use std::{
    thread::{self, JoinHandle},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    NDJSON, beside,
    h2_client::Connection,
    problem, publish, send, seq,
    support::{
        http::{call, get, post},
        hub::Hub,
        sse::{End, Event, Piece, Stream},
    },
};

/// Two thousand tokens of an answer, as chunks of a chat completion.
const TOKENS: usize = 2_000;

/// A hub with an answer in its channel `a`, which is closed; answers the id of its first chunk.
fn hub_with_answer() -> (Hub, String) {
    let hub = Hub::start(&["--ring-events", "4096"]);
    let line = |data: Value| format!("{}\n", json!({ "data": data.to_string() }));
    let lines: String =
        (0..TOKENS).map(|n| line(chunk(json!({"content": token(n)}), None))).collect();
    let lines = lines + &line(chunk(json!({}), Some("stop"))) + "{\"data\":\"[DONE]\"}\n";
    let answer = send(&hub, "/channels/a?close", NDJSON, lines);
    assert_eq!(answer.json()["accepted"], TOKENS + 2, "{}", answer.text());
    let first = answer.json()["first_id"].as_str().unwrap().to_owned();
    (hub, first)
}

fn token(n: usize) -> String {
    format!(" t{n}")
}

fn tokens(from: usize) -> String {
    (from..TOKENS).map(token).collect()
}

fn chunk(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-CkQ2Zr8tWfXb1", "object": "chat.completion.chunk", "created": 1795000000,
        "model": "gpt-5.4-2026-03-05", "service_tier": "default", "usage": null,
        "choices": [{
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        }],
    })
}

/// Everything up to the end of a stream, and how many bytes that was.
fn whole(hub: &Hub, target: &str) -> (Vec<Event>, usize) {
    let mut stream = Stream::open(hub.public(), target);
    let mut events = Vec::new();
    loop {
        match stream.next() {
            Ok(Piece::Event(event)) => events.push(event),
            Ok(Piece::Heartbeat) => {}
            Err(end) => {
                assert_eq!(end, End::Clean);
                return (events, stream.raw().len());
            }
        }
    }
}

/// The text of the chunks among events.
fn text(events: &[Event]) -> String {
    let chunks =
        events.iter().filter(|event| event.data.starts_with('{') && event.kind().is_empty());
    let text = |event: &Event| {
        let delta = event.json()["choices"][0]["delta"].take();
        delta["content"].as_str().unwrap_or_default().to_owned()
    };
    chunks.map(text).collect()
}

#[test]
fn a_replay_of_two_thousand_deltas_is_a_twentieth_of_the_bytes() {
    let (hub, first) = hub_with_answer();
    let (plain, plain_bytes) = whole(&hub, "/channels/a?from=start&open=0");
    let (merged, bytes) = whole(&hub, "/channels/a?from=start&open=0&coalesce=openai-chat");
    assert!(bytes * 20 <= plain_bytes, "{bytes} of {plain_bytes}");
    assert_eq!((text(&plain), text(&merged)), (tokens(0), tokens(0)));
    let others = |events: &[Event]| events[events.len() - 3..].to_vec();
    assert_eq!(others(&plain)[..2], others(&merged)[..2], "the last chunk and [DONE] are as ever");
    assert_eq!(others(&merged)[2].kind(), "fanfare.end");
    let ids: Vec<_> = plain.iter().map(Event::id).collect();
    assert!(merged.iter().all(|event| ids.contains(&event.id())));
    // Whatever id somebody comes back with, it gets exactly the rest.
    for n in [0, 1, 7, 299, 1_000, 1_500, TOKENS - 1] {
        let target =
            format!("/channels/a?from={}&open=0&coalesce=openai-chat", beside(&first, n as i64));
        assert_eq!(text(&whole(&hub, &target).0), tokens(n + 1), "after {n}");
    }
    for event in &merged[..merged.len() - 3] {
        let from = usize::try_from(seq(event.id()) - seq(&first)).unwrap() + 1;
        let target = format!("/channels/a?from={}&open=0", event.id());
        assert_eq!(text(&whole(&hub, &target).0), tokens(from), "without `coalesce`");
    }
}

#[test]
fn without_control_events_it_is_what_the_service_would_have_sent() {
    let (hub, _) = hub_with_answer();
    let (events, _) = whole(&hub, "/channels/a?from=start&control=off&coalesce=openai-chat");
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    assert_eq!(text(chunks), tokens(0));
    let mut first = chunks[0].json();
    first["choices"][0]["delta"].take();
    assert_eq!(first, chunk(Value::Null, None), "all but the text is as it was");
}

#[test]
fn a_page_of_history_is_put_together() {
    let (hub, first) = hub_with_answer();
    let ask = |query: &str| {
        let target = format!("/channels/a?{query}");
        call(hub.public(), "GET", &target, &[("Accept", "application/json")], b"")
    };
    let page = ask("limit=1000&coalesce=openai-chat").json();
    let events = page["events"].as_array().unwrap();
    assert_eq!((events.len(), &page["next"]), (1, &json!(beside(&first, 999))));
    assert_eq!(events[0]["id"], page["next"]);
    let data: Value = serde_json::from_str(events[0]["data"].as_str().unwrap()).unwrap();
    let content: String = (0..1_000).map(token).collect();
    assert_eq!(data["choices"][0]["delta"]["content"], content);
    let rest =
        ask(&format!("limit=1000&coalesce=openai-chat&from={}", beside(&first, 1_500))).json();
    assert_eq!(rest["events"].as_array().unwrap().len(), 3);
    problem(&ask("coalesce=json"), 400, "query");
}

#[test]
fn a_wish_that_cannot_be_is_refused() {
    let hub = Hub::start(&[]);
    for target in [
        "/channels/a?coalesce=json",
        "/channels/a?window=50",
        "/channels/a?coalesce=text&window=5",
        "/events?channel=a&channel=b&coalesce=text",
        "/events?channel=a/*&coalesce=text",
    ] {
        problem(&get(hub.public(), target), 400, "query");
    }
    let mut one = Stream::open(hub.public(), "/events?channel=a&coalesce=text:t&open=0");
    publish(&hub, "a?event=t", "x");
    assert_eq!(one.event().data, "x", "one channel is one, however it is asked for");
}

#[tokio::test]
async fn streams_over_http_2_are_put_together_for_each_from_its_own_place() {
    let (hub, first) = hub_with_answer();
    let h2 = Connection::open(&hub).await;
    for n in [0, 1, 500, 1_234] {
        let target =
            format!("/channels/a?from={}&coalesce=openai-chat&open=0", beside(&first, n as i64));
        let mut stream = h2.subscribe(&target, &[]).await;
        let mut events = vec![stream.event().await];
        while events.last().unwrap().kind() != "fanfare.end" {
            events.push(stream.event().await);
        }
        assert_eq!(text(&events), tokens(n + 1), "after {n}");
        assert!(events.len() < 20, "{}", events.len());
    }
}

/// Tokens that are published live: few enough to wait together, however fast they come.
const LIVE_TOKENS: usize = 100;

/// Publishes tokens one by one, and that there are no more.
fn publish_tokens(hub: &Hub) -> JoinHandle<()> {
    let address = hub.public();
    thread::spawn(move || {
        for n in 0..LIVE_TOKENS {
            let data = chunk(json!({"content": token(n)}), None).to_string();
            assert_eq!(post(address, "/channels/a", data).status(), 200);
        }
        post(address, "/channels/a", "[DONE]");
    })
}

/// Whether there is more to read.
fn goes_on(events: &[Event]) -> bool {
    events.last().is_none_or(|event| event.data != "[DONE]")
}

/// All tokens came, in no more events than windows of 50 ms have passed: the first, one for each
/// window, what waited for the last event and that one, and one for clocks that count milliseconds.
fn check_live(events: &[Event], began: Instant) {
    let windows = began.elapsed().as_millis() as usize / 50;
    let all: String = (0..LIVE_TOKENS).map(token).collect();
    assert_eq!(text(events), all);
    assert!(events.len() <= 4 + windows, "{} events in {windows} windows", events.len());
}

#[test]
fn a_live_stream_has_an_event_for_each_window() {
    let hub = Hub::start(&[]);
    let target = "/channels/a?open=0&coalesce=openai-chat&window=50";
    let mut stream = Stream::open(hub.public(), target);
    let mut plain = Stream::open(hub.public(), "/channels/a?open=0");
    let (began, publisher) = (Instant::now(), publish_tokens(&hub));
    let mut events = Vec::new();
    while goes_on(&events) {
        events.push(stream.event());
    }
    check_live(&events, began);
    publisher.join().unwrap();
    assert_eq!(text(&plain.events(LIVE_TOKENS + 1)), text(&events), "who did not ask gets each");
}

#[tokio::test]
async fn a_live_stream_over_http_2_has_an_event_for_each_window() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let target = "/channels/a?open=0&coalesce=openai-chat&window=50";
    let mut stream = h2.subscribe(target, &[]).await;
    let (began, publisher) = (Instant::now(), publish_tokens(&hub));
    let mut events = Vec::new();
    while goes_on(&events) {
        events.push(stream.event().await);
    }
    check_live(&events, began);
    publisher.join().unwrap();
}
