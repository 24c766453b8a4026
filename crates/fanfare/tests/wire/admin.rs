//! The operators' listener.

use serde_json::json;

use crate::{
    eventually, problem, publish, publish_many,
    support::{
        http::{call, get, post},
        hub::Hub,
        sse::{End, Piece, Stream},
    },
};

#[test]
fn probes_answer() {
    let hub = Hub::start(&[]);
    for target in ["/livez", "/readyz"] {
        assert_eq!(get(hub.admin(), target).status(), 200, "{target}");
        problem(&post(hub.admin(), target, ""), 405, "method-not-allowed");
    }
}

#[test]
fn channels_are_listed_in_pages() {
    let hub = Hub::start(&[]);
    let streams: Vec<_> = [("a/1", 3), ("a/2", 1), ("b", 2)]
        .into_iter()
        .flat_map(|(channel, count)| (0..count).map(move |_| channel))
        .map(|channel| Stream::open(hub.public(), &format!("/channels/{channel}")))
        .collect();
    let last = publish_many(&hub, "b", 2);
    let all = get(hub.admin(), "/api/channels?sort=subscribers").json();
    let names = |page: &serde_json::Value| -> Vec<(String, u64)> {
        let channels = page["channels"].as_array().unwrap();
        let name = |c: &serde_json::Value| {
            (c["channel"].as_str().unwrap().to_owned(), c["subscribers"].as_u64().unwrap())
        };
        channels.iter().map(name).collect()
    };
    let expected = [("a/1".to_owned(), 3), ("b".to_owned(), 2), ("a/2".to_owned(), 1)];
    assert_eq!(names(&all), expected);
    assert_eq!(names(&get(hub.admin(), "/api/channels?prefix=a/").json()).len(), 2);
    // Page by page.
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let target = format!("/api/channels?sort=subscribers&limit=1{after}");
        let page = get(hub.admin(), &target).json();
        found.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, expected);
    let one = get(hub.admin(), "/api/channels/b").json();
    assert_eq!((&one["channel"], &one["subscribers"]), (&json!("b"), &json!(2)));
    assert_eq!((&one["ring_events"], &one["last_id"]), (&json!(2), &json!(last)));
    problem(&get(hub.admin(), "/api/channels/none"), 404, "channel-not-found");
    problem(&get(hub.admin(), "/api/channels/a%2F1"), 400, "channel-name");
    for query in ["limit=0", "limit=x", "sort=x", "after=x"] {
        problem(&get(hub.admin(), &format!("/api/channels?{query}")), 400, "query");
    }
    drop(streams);
}

#[test]
fn stats_are_told() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    let stats = get(hub.admin(), "/api/stats").json();
    assert_eq!((&stats["events_published_total"], &stats["last_id"]), (&json!(1), &json!(id)));
    assert_eq!(stats["channels"], json!({ "live": 1, "closed": 0 }));
    assert_eq!((&stats["state"], &stats["drain"]["phase"]), (&json!("running"), &json!("none")));
    assert!(stats["memory"]["resident_bytes"].as_u64().unwrap() > 1024 * 1024, "{stats}");

    let limit = |name: &str| {
        let limits = stats["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["limit"] == name).unwrap().clone()
    };
    assert_eq!(
        (&limit("channels")["used"], &limit("channels")["reached_total"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(limit("line_bytes")["used"], json!(null));
}

#[test]
fn stats_tell_how_long_things_took() {
    let hub = Hub::start(&["--workers", "1"]);
    let none = json!({ "samples": 0, "p50_ms": null, "p90_ms": null, "p99_ms": null });
    let stats = || get(hub.admin(), "/api/stats").json();
    assert_eq!((&stats()["delivery"], &stats()["publish"]), (&none, &none));
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for n in 1..=10 {
        publish(&hub, "a", n.to_string());
        stream.event();
    }
    let told = eventually("all deliveries", || {
        let told = stats();
        let is_told = told["delivery"]["samples"] == 10 && told["workers"][0]["subscribers"] == 1;
        is_told.then_some(told)
    });
    assert_eq!(told["publish"]["samples"], 10);
    for what in ["delivery", "publish"] {
        let at = |name: &str| told[what][name].as_f64().unwrap();
        let [p50, p90, p99] = [at("p50_ms"), at("p90_ms"), at("p99_ms")];
        assert!(0.0 < p50 && p50 <= p90 && p90 <= p99, "{told}");
    }
    let worker = &told["workers"][0];
    assert_eq!((&worker["worker"], &worker["subscribers"]), (&json!(0), &json!(1)));
    let busy = worker["busy_percent"].as_f64().unwrap();
    assert!((0.0..=100.0).contains(&busy), "{told}");
    assert_eq!((&told["writes_total"], &told["events_delivered_total"]), (&json!(10), &json!(10)));
    assert_eq!(told["subscribers"], json!({ "http1": 1, "http2": 0, "blocked": 0 }));
    assert_eq!(told["replays_total"], json!({ "exact": 0, "gap": 0, "live": 1 }));
}

#[test]
fn stats_are_streamed_each_second() {
    let hub = Hub::start(&[]);
    let accept = [("Accept", "text/event-stream")];
    let mut stream = Stream::open_with(hub.admin(), "/api/stats", &accept);
    assert_eq!(stream.event().kind(), "fanfare.open");
    publish(&hub, "a", "1");
    // Longer than a connection that does not stream may be silent.
    let mut events = stream.events(7);
    let times: Vec<_> = events.iter().map(|e| e.json()["time_ms"].as_u64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| (500..5_000).contains(&(pair[1] - pair[0]))), "{times:?}");
    let newest = events.pop().unwrap();
    assert_eq!(newest.json()["events_published_total"], 1);
    assert_eq!(newest.json()["subscribers"]["http2"], 0, "the console is none");
    // It is resumed where it was left, without a hole.
    drop(stream);
    let resumed = [accept[0], ("Last-Event-ID", events[2].id())];
    let mut stream = Stream::open_with(hub.admin(), "/api/stats?open=0", &resumed);
    assert_eq!(stream.event(), events[3]);
    // A drain is watched to its end; then the stream is cut, and its reader comes back.
    post(hub.admin(), "/api/drain", "");
    eventually("the drain", || (stream.event().json()["state"] != "running").then_some(()));
    hub.terminate();
    let end = std::iter::from_fn(|| stream.next().ok()).last();
    assert!(matches!(end, Some(Piece::Event(event)) if event.kind() == "fanfare.reconnect"));
}

#[test]
fn operators_follow_a_channel_and_change_it() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    publish(&hub, "a", "2");
    let mut tail = Stream::open(hub.admin(), "/api/events?channel=a&last=1");
    assert_eq!(tail.event().kind(), "fanfare.open");
    assert_eq!(tail.event().data, "2");
    let answer = post(hub.admin(), "/api/channels/a?event=note", "3");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let event = tail.event();
    assert_eq!((event.kind(), event.data.as_str()), ("note", "3"));
    assert_eq!(post(hub.admin(), "/api/channels/a?close=cancelled", "").status(), 200);
    let end = tail.event();
    assert_eq!((end.kind(), end.json()["reason"].as_str()), ("fanfare.end", Some("cancelled")));
    assert_eq!(tail.end(), End::Clean);
    problem(&post(hub.admin(), "/api/channels/a", "4"), 409, "channel-closed");
    assert_eq!(get(hub.admin(), "/api/channels/a").json()["closed"], "cancelled");
    let delete = || call(hub.admin(), "DELETE", "/api/channels/a", &[], b"");
    assert_eq!(delete().status(), 204);
    problem(&delete(), 404, "channel-not-found");
    let foreign = [("Origin", "http://localhost:1")];
    for method in ["POST", "DELETE"] {
        let answer = call(hub.admin(), method, "/api/channels/a", &foreign, b"");
        problem(&answer, 403, "origin-not-allowed");
    }
    problem(&get(hub.admin(), "/api/events"), 400, "query");
}

#[test]
fn the_listeners_are_apart() {
    let hub = Hub::start(&[]);
    for target in ["/metrics", "/livez", "/readyz", "/api/stats"] {
        problem(&get(hub.public(), target), 404, "not-found");
    }
    problem(&get(hub.admin(), "/channels/a"), 404, "not-found");
    problem(&post(hub.admin(), "/channels/a", "x"), 404, "not-found");
    for (method, target) in [("POST", "/metrics"), ("PUT", "/api/drain"), ("DELETE", "/api/stats")]
    {
        let answer = call(hub.admin(), method, target, &[], b"");
        problem(&answer, 405, "method-not-allowed");
        assert!(answer.get("allow").is_some(), "{target}");
    }
}
