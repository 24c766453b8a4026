//! The HTTP contract over real sockets, against the real binary: every rule of the wire, every
//! row of API.md, and everything that a peer can get wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod acks;
mod admin;
mod admin_lists;
mod bad_events;
mod cancel;
mod close;
mod control;
mod cut_off;
mod delete;
mod deltas;
mod drain;
mod drain_back;
mod drain_late;
mod full;
mod h2;
mod h2_client;
mod h2_memory;
mod head;
mod history;
mod hosts;
mod http1;
mod idempotency;
mod idle;
mod lifecycle;
mod limits;
mod limits_live;
mod limits_proxies;
mod limits_reached;
mod live;
mod metrics;
mod names;
mod ndjson;
mod on_end;
mod origins;
mod page;
mod peers;
mod precedence;
mod problems;
mod producers;
mod publish;
mod resume;
mod retention;
mod rules;
mod several;
mod sse_body;
mod start;
mod status;
mod subscribe;

use serde_json::Value;

use support::{
    eventually,
    http::{Answer, call, get, post},
    hub::Hub,
};

/// Publishes one event and answers its id.
fn publish(hub: &Hub, channel: &str, data: impl AsRef<[u8]>) -> String {
    let answer = post(hub.public(), &format!("/channels/{channel}"), data);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Publishes a body of this media type to a path.
fn send(hub: &Hub, target: &str, media_type: &str, body: impl AsRef<[u8]>) -> Answer {
    call(hub.public(), "POST", target, &[("Content-Type", media_type)], body.as_ref())
}

/// Publishes so many events, `1`, `2` and so on, and answers the id of the last.
fn publish_many(hub: &Hub, channel: &str, count: usize) -> String {
    let lines: String = (1..=count).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
    let answer = send(hub, &format!("/channels/{channel}"), NDJSON, lines);
    assert_eq!(answer.json()["accepted"], count, "{}", answer.text());
    answer.json()["last_id"].as_str().unwrap().to_owned()
}

/// The history of a channel.
fn history(hub: &Hub, channel: &str) -> Value {
    let target = format!("/channels/{channel}?limit=1000");
    let json = [("Accept", "application/json")];
    call(hub.public(), "GET", &target, &json, b"").json()
}

/// What a channel keeps, as data.
fn kept(hub: &Hub, channel: &str) -> Vec<String> {
    let data = |event: &Value| event["data"].as_str().unwrap().to_owned();
    history(hub, channel)["events"].as_array().map_or(Vec::new(), |e| e.iter().map(data).collect())
}

/// Checks that an answer is a problem of this kind, as RFC 9457 wants it, and answers its body.
#[track_caller]
fn problem(answer: &Answer, status: u16, slug: &str) -> Value {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.get("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert_eq!(body["type"], format!("/problems/{slug}"), "{body}");
    assert_eq!(body["status"], status);
    assert!(!body["title"].as_str().unwrap().is_empty(), "{body}");
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
    body
}

/// The number of a metric, such as `fanfare_gaps_total{reason="epoch"}`; without labels the sum of
/// all that it has.
fn metric(hub: &Hub, name: &str) -> f64 {
    let text = get(hub.admin(), "/metrics");
    support::metric(text.text(), name).unwrap_or_else(|| panic!("no {name}: {}", text.text()))
}

/// Waits until a metric has this value.
fn metric_becomes(hub: &Hub, name: &str, value: f64) {
    eventually(&format!("{name} {value}"), || (metric(hub, name) == value).then_some(()));
}

/// The number in an id.
fn seq(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// The id that stands so far after another, or before.
fn beside(id: &str, distance: i64) -> String {
    let (epoch, seq) = id.split_once('-').unwrap();
    let seq: u64 = seq.parse().unwrap();
    format!("{epoch}-{}", seq.checked_add_signed(distance).unwrap())
}

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";
