//! Everything that an upstream can do wrong: each is an end with an error that says what, and
//! what came before it stays.

use std::{net::TcpListener, time::Duration};

use serde_json::{Value, json};

use crate::{
    SECRET, error, fetch, hub,
    scripted::{STREAM, Upstream, is_left, say, stream, whole},
    support::{
        eventually,
        http::{chunk, get},
        metric,
    },
};

/// The error of a fetch from an upstream that answers with these bytes, and what came before.
fn after(bytes: impl Into<Vec<u8>>) -> (Value, Vec<String>) {
    let upstream = Upstream::answering(bytes);
    let hub = hub(&upstream.url(), "");
    assert_eq!(fetch(&hub, "a").status(), 202);
    let told = error(&hub, "a");
    assert!(!hub.said().contains(SECRET), "{}", hub.said());
    told
}

fn kind(bytes: impl Into<Vec<u8>>) -> String {
    after(bytes).0["type"].as_str().unwrap().to_owned()
}

#[test]
fn one_that_refuses_connections() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hub = hub(&format!("http://127.0.0.1:{port}"), "");
    fetch(&hub, "a");
    let (told, _) = error(&hub, "a");
    assert_eq!(told["type"], "upstream_connect");
    assert!(told["message"].as_str().unwrap().contains("refused"), "{told}");
    let total = "fanfare_upstream_fetches_total{result=\"connect\"}";
    assert_eq!(metric(get(hub.admin(), "/metrics").text(), total), Some(1.0));
    let is_logged = || hub.said().contains("a fetch of an upstream failed");
    eventually("the log has it", || is_logged().then_some(()));
}

#[test]
fn one_whose_name_leads_nowhere() {
    let hub = hub("http://no-such-name.invalid", "");
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_connect");
}

#[test]
fn one_that_hangs() {
    let silent = Upstream::start(|socket| assert!(is_left(socket)));
    let hub_of = |upstream: &Upstream, more: &str| hub(&upstream.url(), more);
    let hub = hub_of(&silent, "first_byte_timeout = \"200ms\"");
    fetch(&hub, "a");
    let (told, _) = error(&hub, "a");
    assert_eq!(told["type"], "upstream_timeout");
    assert!(told["message"].as_str().unwrap().contains("the first byte may take 200 ms"), "{told}");
    let dripping_head = Upstream::start(|socket| {
        for byte in STREAM.bytes() {
            say(socket, [byte]);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let hub = hub_of(&dripping_head, "first_byte_timeout = \"200ms\"");
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_timeout");
    let in_the_middle = Upstream::start(|socket| {
        say(socket, STREAM);
        say(socket, chunk(b"data: 1\n\ndata: 2\n"));
        is_left(socket);
    });
    let hub = hub_of(&in_the_middle, "idle_timeout = \"200ms\"");
    fetch(&hub, "a");
    let (told, before) = error(&hub, "a");
    assert_eq!((&told["type"], before), (&json!("upstream_timeout"), vec!["1".to_owned()]));
}

#[test]
fn one_that_never_ends() {
    let upstream = Upstream::start(|socket| {
        say(socket, STREAM);
        let mut sent = true;
        // Bytes, one by one and for ever: none of the pauses is too long.
        while sent {
            sent = std::io::Write::write_all(socket, &chunk(b":")).is_ok();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let hub = hub(&upstream.url(), "total_timeout = \"500ms\"");
    fetch(&hub, "a");
    let (told, _) = error(&hub, "a");
    assert_eq!(told["type"], "upstream_timeout");
    assert!(told["message"].as_str().unwrap().contains("all of it"), "{told}");
    let upstream = Upstream::start(|socket| {
        say(socket, STREAM);
        while std::io::Write::write_all(socket, &chunk(b"data: x\n\n")).is_ok() {}
    });
    let hub = crate::hub(&upstream.url(), "total_timeout = \"500ms\"");
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_timeout");
}

#[test]
fn one_that_answers_with_an_error() {
    let json = "Content-Type: application/json\r\n";
    for (status, code) in
        [("401 Unauthorized", 401), ("429 Too Many Requests", 429), ("500 Oh", 500)]
    {
        // Services repeat what they were sent, secrets included, as JSON may spell them.
        let key = SECRET.replace('-', if code == 500 { "\\u002d" } else { "-" });
        let body = format!("{{\"error\":{{\"message\":\"bad key {key}\",\"code\":\"x\"}}}}");
        let (told, before) = after(whole(status, json, &body));
        assert_eq!((&told["type"], &told["code"]), (&json!("upstream_status"), &json!(code)));
        assert_eq!(told["body"], json!({"error": {"message": "bad key ***", "code": "x"}}));
        assert!(told["message"].as_str().unwrap().ends_with(": bad key ***"), "{told}");
        assert!(before.is_empty());
    }
    let (told, _) = after(whole("503 Busy", "Content-Type: text/html\r\n", "<p>busy"));
    assert_eq!((&told["code"], &told["body"]), (&json!(503), &json!("<p>busy")));
    let (told, _) = after(whole("500 Oh", "", ""));
    assert_eq!(told.get("body"), None);
    // No more than 16 KiB of it, and no half of a secret at its end.
    let long = format!("{}{SECRET}", "x".repeat(16 * 1024 - 10));
    let (told, _) = after(whole("500 Oh", json, &long));
    let body = told["body"].as_str().unwrap();
    assert!(body.len() > 16_000 && body.chars().all(|c| c == 'x'), "{} bytes", body.len());
    // None if JSON makes it six times as long.
    let (told, _) = after(whole("500 Oh", "", &"\u{1}".repeat(16_000)));
    assert_eq!((&told["code"], told.get("body").is_some()), (&json!(500), false));
}

#[test]
fn one_that_answers_with_something_else() {
    let json = "Content-Type: application/json\r\n";
    let (told, _) = after(whole("200 OK", json, "{\"choices\":[]}"));
    assert_eq!(told["type"], "upstream_content_type");
    assert_eq!(told["body"], json!({"choices": []}));
    assert!(told["message"].as_str().unwrap().contains("application/json"), "{told}");
    assert_eq!(kind(whole("200 OK", "", "data: 1\n\n")), "upstream_content_type");
    assert_eq!(kind("HTTP/1.1 204 No Content\r\n\r\n"), "upstream_content_type");
    let gzip = "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n";
    assert_eq!(kind(whole("200 OK", gzip, "\x1f")), "upstream_content_encoding");
    let plain = "Content-Type: Text/Event-Stream; charset=utf-8\r\nContent-Encoding: identity\r\n";
    let upstream = Upstream::answering(whole("200 OK", plain, "data: 1\n\n"));
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    assert_eq!(crate::closed(&hub, "a")["closed"], "done");
}

#[test]
fn one_that_sends_the_hub_elsewhere() {
    let other = Upstream::answering(stream(&["data: 1\n\n"]));
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        let to = format!("Location: {}/v1/chat\r\n", other.url());
        let (told, _) = after(whole(status, &to, ""));
        assert_eq!(told["type"], "upstream_redirect", "{status}");
        assert_eq!(told["code"], status[..3].parse::<u16>().unwrap());
    }
    assert!(other.was_not_asked());
}

#[test]
fn one_whose_stream_breaks() {
    let begun = || [STREAM.as_bytes(), &chunk(b"data: 1\n\ndata: 2\n")].concat();
    for rest in [&b""[..], b"5\r\nab", b"zz\r\n", b"2\r\nabcd\r\n", b"ffffffffffffffffff\r\n"] {
        let (told, before) = after([&begun()[..], rest].concat());
        let rest = String::from_utf8_lossy(rest);
        assert_eq!(
            (&told["type"], before),
            (&json!("upstream_broken"), vec!["1".into()]),
            "{rest}"
        );
    }
    let short = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\n\
                 data: 1\n\n";
    assert_eq!(kind(short), "upstream_broken");
    for no_http in ["", "hello\r\n\r\n", "HTTP/1.1 20x OK\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        assert_eq!(kind(no_http), "upstream_broken", "{no_http:?}");
    }
    let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000));
    assert_eq!(kind(endless_head), "upstream_broken");
}

#[test]
fn one_whose_stream_has_what_no_event_may_have() {
    let long = format!("data: {}\n\n", "x".repeat(300_000));
    let endless_line = "x".repeat(300_000);
    let many_lines = format!("{}\n\n", "data: xxxxxxxx\n".repeat(40_000));
    for (wrong, why) in [
        (long.as_str(), "bytes"),
        (&endless_line, "bytes"),
        (&many_lines, "bytes"),
        ("event: fanfare.end\ndata: {}\n\n", "fanfare."),
    ] {
        let (told, before) = after(stream(&["data: 1\n\n", wrong, "data: 3\n\n"]));
        assert_eq!((&told["type"], before), (&json!("upstream_event"), vec!["1".into()]));
        assert!(told["message"].as_str().unwrap().contains(why), "{told}");
    }
    let binary = [STREAM.as_bytes(), &chunk(b"data: \xff\n\n")].concat();
    assert_eq!(kind(binary), "upstream_event");
}

#[test]
fn what_comes_after_the_end_is_nothing() {
    let answer = [stream(&["data: 1\n\n"]), b"data: 2\n\nHTTP/1.1 200 OK\r\n\r\n".into()].concat();
    let upstream = Upstream::answering(answer);
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    let history = crate::closed(&hub, "a");
    assert_eq!((&history["closed"], crate::data(&history)), (&json!("done"), vec!["1"]));
}

#[test]
fn one_that_repeats_its_secrets_in_its_events() {
    let (start, end) = SECRET.split_at(7);
    let chunks = [&format!("event: {SECRET}\ndata: {start}"), end, &format!("{SECRET}\n\n")];
    let upstream = Upstream::answering(stream(&chunks));
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    let history = crate::closed(&hub, "a");
    assert_eq!(history["events"][0]["data"], "******");
    assert!(!history.to_string().contains("hunter2"), "{history}");
}
