//! Upstreams that the hub fetches, over real sockets and against the real binary: every way in
//! which an upstream can be wrong, and whatever a request could try to reach with it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod fetched;
mod scripted;
mod settings;
mod tls;
mod tricks;
mod wrong;

use serde_json::Value;

use crate::support::{
    eventually,
    http::{Answer, call},
    hub::Hub,
};

/// The secret that each upstream is sent. It must turn up nowhere else.
const SECRET: &str = "sk-hunter2-0123456789";
/// A request for a stream, as clients send it.
const REQUEST: &str = "{\"model\":\"m\",\"stream\":true}";

/// The settings of an upstream `u` at a URL, with more lines of its table.
fn table(url: &str, more: &str) -> String {
    format!(
        "[[upstreams]]\nname = \"u\"\nurl = \"{url}\"\npaths = [\"v1/*\"]\nallow_http = true\n\
         headers.Authorization = \"Bearer {SECRET}\"\n{more}\n"
    )
}

/// A hub that fetches from a URL of loopback.
fn hub(url: &str, more: &str) -> Hub {
    Hub::configured(&table(url, &format!("allow_private = true\n{more}")), &["--log", "debug"])
}

/// Asks for a stream on a channel.
fn fetch(hub: &Hub, channel: &str) -> Answer {
    fetch_path(hub, &format!("/upstreams/u/v1/chat?channel={channel}"))
}

fn fetch_path(hub: &Hub, target: &str) -> Answer {
    let json = [("Content-Type", "application/json")];
    call(hub.public(), "POST", target, &json, REQUEST.as_bytes())
}

/// The history of a channel once it is closed.
fn closed(hub: &Hub, channel: &str) -> Value {
    eventually(&format!("{channel} is closed"), || {
        let target = format!("/channels/{channel}?last=1000&limit=1000");
        let history = call(hub.public(), "GET", &target, &[("Accept", "application/json")], b"");
        let is_closed = history.status() == 200 && !history.json()["closed"].is_null();
        is_closed.then(|| history.json())
    })
}

/// The data of all events of a history.
fn data(history: &Value) -> Vec<&str> {
    history["events"].as_array().unwrap().iter().map(|e| e["data"].as_str().unwrap()).collect()
}

/// The error that a channel was closed with, and the data of what came before.
#[track_caller]
fn error(hub: &Hub, channel: &str) -> (Value, Vec<String>) {
    let history = closed(hub, channel);
    assert_eq!(history["closed"], "error", "{history}");
    let mut data: Vec<_> = data(&history).into_iter().map(str::to_owned).collect();
    let last = data.pop().unwrap();
    assert_eq!(history["events"][data.len()]["event"], Value::Null);
    assert!(!last.contains(SECRET), "{last}");
    let mut told: Value = serde_json::from_str(&last).unwrap();
    assert!(told["error"]["message"].as_str().unwrap().starts_with("the upstream u "), "{told}");
    (told["error"].take(), data)
}

/// Checks that an answer is a problem of this kind.
#[track_caller]
fn problem(answer: &Answer, status: u16, slug: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.json()["type"], format!("/problems/{slug}"));
    assert!(!answer.text().contains(SECRET));
}
