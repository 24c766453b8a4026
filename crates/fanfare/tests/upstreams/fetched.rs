//! A stream that is fetched: each event, its end, and who may leave meanwhile.

use std::sync::{Mutex, mpsc};

use serde_json::json;

use crate::{
    REQUEST, SECRET, closed, data, fetch, fetch_path, hub, problem,
    scripted::{STREAM, Upstream, is_left, say, stream},
    support::{
        DEADLINE, eventually,
        http::{call, chunk, get, post},
        hub::Hub,
        metric,
        sse::{End, Stream},
    },
    table,
};

#[test]
fn each_event_is_kept_and_the_end_is_done() {
    let body = [
        "\u{feff}: hello\r\n\r\nevent: message_start\r\ndata: {\"a\":1}\r\n\r\n",
        "data: one\rdata: two\r\rid: 9\nretry: 5\nda",
        "ta: größe\n\n",
        "event: ping\ndata\n\ndata: [DONE]\n\ndata: unfinished",
    ];
    let upstream = Upstream::answering(stream(&body));
    let hub = hub(&upstream.url(), "");
    let answer = fetch(&hub, "a");
    assert_eq!(answer.status(), 202, "{}", answer.text());
    let told = json!({
        "channel": "a",
        "status_url": "/status/a",
        "events_url": "/channels/a?from=start",
    });
    assert_eq!(answer.json(), told);
    assert_eq!(answer.get("location"), Some("/channels/a"));
    let asked = upstream.asked().to_ascii_lowercase();
    assert!(asked.starts_with("post /v1/chat http/1.1\r\n"), "{asked}");
    assert!(asked.ends_with(REQUEST), "{asked}");
    let history = closed(&hub, "a");
    assert_eq!(history["closed"], "done");
    let events: Vec<_> = history["events"].as_array().unwrap().iter().collect();
    let events: Vec<_> = events.iter().map(|event| (&event["event"], &event["data"])).collect();
    let expected = [
        (json!("message_start"), json!("{\"a\":1}")),
        (json!(null), json!("one\ntwo")),
        (json!(null), json!("größe")),
        (json!("ping"), json!("")),
        (json!(null), json!("[DONE]")),
    ];
    assert_eq!(events, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
}

#[test]
fn nothing_of_the_client_is_handed_on_but_body_and_type() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&format!("{}/base?version=1", upstream.url()), "headers.X-Own = \"own-value\"");
    let headers = [
        ("Content-Type", "application/json; x=y"),
        ("Authorization", "Bearer of-the-client"),
        ("Cookie", "of-the-client"),
        ("Accept", "of-the-client"),
        ("X-Own", "of-the-client"),
        ("X-Forwarded-For", "of-the-client"),
        ("User-Agent", "of-the-client"),
    ];
    let target = "/upstreams/u/v1/chat?channel=a&version=of-the-client";
    let answer = call(hub.public(), "POST", target, &headers, REQUEST.as_bytes());
    assert_eq!(answer.status(), 202, "{}", answer.text());
    let asked = upstream.asked();
    assert!(!asked.contains("of-the-client"), "{asked}");
    let asked = asked.to_ascii_lowercase();
    assert!(asked.starts_with("post /base/v1/chat?version=1 http/1.1\r\n"), "{asked}");
    for line in [
        &format!("authorization: bearer {SECRET}"),
        &format!("host: 127.0.0.1:{}", upstream.port()),
        "content-type: application/json; x=y",
        "x-own: own-value",
        "accept: text/event-stream",
        "accept-encoding: identity",
        "connection: close",
    ] {
        assert!(asked.lines().any(|found| found == line), "{line}\n{asked}");
    }
}

#[test]
fn events_come_as_they_come_and_it_goes_on_when_all_have_gone() {
    let (step, steps) = mpsc::channel::<&str>();
    let steps = Mutex::new(steps);
    let upstream = Upstream::start(move |socket| {
        say(socket, STREAM);
        for data in steps.lock().unwrap().iter() {
            say(socket, chunk(data.as_bytes()));
        }
    });
    let hub = hub(&upstream.url(), "");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    assert_eq!(fetch(&hub, "a").status(), 202);
    for data in ["1", "2"] {
        step.send(if data == "1" { "data: 1\n\n" } else { "data: 2\n\n" }).unwrap();
        assert_eq!(stream.event().data, data);
    }
    let open = |name| metric(get(hub.admin(), "/metrics").text(), name);
    assert_eq!(open("fanfare_upstream_fetches"), Some(1.0));
    drop(stream);
    eventually("nobody is left", || (open("fanfare_subscribers") == Some(0.0)).then_some(()));
    step.send("data: 3\n\n").unwrap();
    step.send("").unwrap();
    assert_eq!(data(&closed(&hub, "a")), ["1", "2", "3"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0&from=start");
    assert_eq!(stream.events(4).pop().unwrap().kind(), "fanfare.end");
    assert_eq!(stream.end(), End::Clean);
    assert_eq!(open("fanfare_upstream_fetches"), Some(0.0));
    assert_eq!(open("fanfare_upstream_fetches_total{result=\"done\"}"), Some(1.0));
}

#[test]
fn a_channel_is_named_if_the_request_names_none() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&upstream.url(), "");
    let names = [(); 2].map(|()| {
        let answer = fetch_path(&hub, "/upstreams/u/v1/chat");
        answer.json()["channel"].as_str().unwrap().to_owned()
    });
    assert_ne!(names[0], names[1]);
    for name in names {
        let random = name.strip_prefix("upstreams/u/").unwrap();
        assert!(random.len() == 32 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert_eq!(data(&closed(&hub, &name)), ["1"]);
    }
    let answer = fetch_path(&hub, "/upstreams/u/v1/chat?channel=gr%C3%B6%C3%9Fe/a%20b");
    assert_eq!(answer.get("location"), Some("/channels/gr%C3%B6%C3%9Fe/a%20b"));
}

#[test]
fn a_channel_has_one_stream_and_no_second_life() {
    let upstream = Upstream::start(|socket| {
        say(socket, STREAM);
        is_left(socket);
    });
    let hub = hub(&upstream.url(), "");
    assert_eq!(fetch(&hub, "a").status(), 202);
    upstream.asked();
    problem(&fetch(&hub, "a"), 409, "channel-busy");
    post(hub.public(), "/channels/b?close", "1");
    problem(&fetch(&hub, "b"), 409, "channel-closed");
    post(hub.public(), "/channels/c", "1");
    let target = "/upstreams/u/v1/chat?channel=c&must_be_new";
    problem(&fetch_path(&hub, target), 409, "channel-exists");
    assert_eq!(fetch(&hub, "c").status(), 202);
    upstream.asked();
    assert!(upstream.was_not_asked());
}

/// An upstream that begins a stream, says no more, and tells when it is left.
fn endless() -> (Upstream, mpsc::Receiver<bool>) {
    let (left, lefts) = mpsc::channel();
    let upstream = Upstream::start(move |socket| {
        say(socket, STREAM);
        say(socket, chunk(b"data: 1\n\n"));
        left.send(is_left(socket)).ok();
    });
    (upstream, lefts)
}

#[test]
fn a_wish_to_cancel_ends_the_fetch() {
    let (upstream, lefts) = endless();
    let hub = hub(&upstream.url(), "");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    fetch(&hub, "a");
    let status = get(hub.public(), "/status/a").json();
    assert_eq!((&status["state"], &status["publishing"]), (&json!("open"), &json!(1)));
    assert_eq!(stream.event().data, "1");
    assert_eq!(post(hub.public(), "/cancel/a", "").status(), 202);
    assert_eq!(lefts.recv_timeout(DEADLINE), Ok(true));
    let end = stream.event();
    assert_eq!((end.kind(), end.data.contains("cancelled")), ("fanfare.end", true), "{end:?}");
    let history = closed(&hub, "a");
    assert_eq!((&history["closed"], data(&history)), (&json!("cancelled"), vec!["1"]));
    let total = "fanfare_upstream_fetches_total{result=\"cancelled\"}";
    eventually("it is counted", || {
        (metric(get(hub.admin(), "/metrics").text(), total) == Some(1.0)).then_some(())
    });
}

#[test]
fn a_wish_that_came_before_asks_for_nothing() {
    let (upstream, _) = endless();
    let hub = hub(&upstream.url(), "");
    assert_eq!(post(hub.public(), "/cancel/a", "").status(), 202);
    assert_eq!(fetch(&hub, "a").status(), 202);
    assert_eq!(closed(&hub, "a")["closed"], "cancelled");
    assert!(upstream.was_not_asked());
}

#[test]
fn a_channel_that_somebody_else_closes_ends_the_fetch() {
    let (upstream, lefts) = endless();
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    upstream.asked();
    post(hub.public(), "/channels/a?close", "2");
    assert_eq!(lefts.recv_timeout(DEADLINE), Ok(true));
    assert_eq!(closed(&hub, "a")["closed"], "done");
}

#[test]
fn a_delete_ends_the_fetch() {
    let (upstream, lefts) = endless();
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    upstream.asked();
    assert_eq!(call(hub.public(), "DELETE", "/channels/a", &[], b"").status(), 204);
    assert_eq!(lefts.recv_timeout(DEADLINE), Ok(true));
    let json = [("Accept", "application/json")];
    assert_eq!(call(hub.public(), "GET", "/channels/a", &json, b"").status(), 404);
}

#[test]
fn there_are_so_many_fetches_at_once() {
    let upstream = Upstream::start(|socket| {
        say(socket, STREAM);
        is_left(socket);
    });
    let settings = table(&upstream.url(), "allow_private = true");
    let hub = Hub::configured(&settings, &["--upstream-fetches-max", "2"]);
    assert_eq!((fetch(&hub, "a").status(), fetch(&hub, "b").status()), (202, 202));
    let refused = fetch(&hub, "c");
    problem(&refused, 503, "upstreams-full");
    assert_eq!(refused.get("retry-after"), Some("10"));
    let reached = "fanfare_limit_reached_total{limit=\"upstream_fetches\"}";
    assert_eq!(metric(get(hub.admin(), "/metrics").text(), reached), Some(1.0));
    call(hub.public(), "DELETE", "/channels/a", &[], b"");
    eventually("a place is free", || (fetch(&hub, "c").status() == 202).then_some(()));
}

#[test]
fn a_drain_is_over_when_the_streams_are() {
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let upstream = Upstream::start(move |socket| {
        say(socket, STREAM);
        say(socket, chunk(b"data: 1\n\n"));
        ends.lock().unwrap().recv().unwrap();
        say(socket, chunk(b""));
    });
    // Longer than the test waits for its end.
    let mut hub = Hub::configured(
        &table(&upstream.url(), "allow_private = true"),
        &["--drain-period", "10m", "--workers", "1"],
    );
    let mut streams = [(); 3].map(|()| Stream::open(hub.public(), "/channels/a?open=0&from=start"));
    fetch(&hub, "a");
    streams.iter_mut().for_each(|stream| assert_eq!(stream.event().data, "1"));
    let mut other = Stream::open(hub.public(), "/channels/b?open=0");
    hub.terminate();
    // Who reads nothing that is being fetched goes first, when the departures begin.
    assert_eq!(other.event().kind(), "fanfare.reconnect");
    end.send(()).unwrap();
    for stream in &mut streams {
        let told = stream.event();
        assert_eq!((told.kind(), told.data.contains("done")), ("fanfare.end", true), "{told:?}");
    }
    drop((streams, other));
    let exit = hub.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert!(exit.said.contains("drained: 1 subscriber, all in time"), "{}", exit.said);
}

#[test]
fn a_drain_waits_for_it_and_ends_it_at_its_cut() {
    let upstream = Upstream::start(|socket| {
        say(socket, STREAM);
        is_left(socket);
    });
    let mut hub = Hub::configured(
        &table(&upstream.url(), "allow_private = true"),
        &["--drain-period", "1s", "--log", "debug"],
    );
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    fetch(&hub, "a");
    upstream.asked();
    hub.terminate();
    let told = stream.event();
    assert!(told.data.contains("\"upstream_drain\""), "{told:?}");
    let end = stream.event();
    assert_eq!((end.kind(), end.data.contains("error")), ("fanfare.end", true), "{end:?}");
    drop(stream);
    let exit = hub.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert!(!exit.said.contains(SECRET));
}
