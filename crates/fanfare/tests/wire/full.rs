//! A hub at its limits: connections, channels, memory.

use serde_json::json;

use crate::{
    NDJSON, metric, metric_becomes, problem, publish, send,
    support::{
        eventually,
        http::{Client, call, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn a_full_hub_sends_new_subscribers_away_and_keeps_the_others() {
    let hub = Hub::start(&["--connections-max", "3"]);
    let mut established: Vec<_> =
        (0..2).map(|_| Stream::open(hub.public(), "/channels/a?open=0")).collect();
    let mut publisher = Client::connect(hub.public());
    publisher.request("POST", "/channels/a", &[], b"1");
    assert_eq!(publisher.answer().json()["subscribers"], 2);
    let mut retries = Vec::new();
    for target in ["/channels/a", "/events?channel=*", "/channels/new?from=start"] {
        let mut away = Stream::open(hub.public(), target);
        let event = away.event();
        assert_eq!(
            (event.kind(), &event.json()["reason"]),
            ("fanfare.reconnect", &"overload".into())
        );
        retries.push(event.retry.unwrap());
        assert_eq!(away.end(), End::Cut, "without its last chunk");
        assert!(away.raw().starts_with(b":\n"));
    }
    assert!(retries.iter().all(|retry| (1_000..=60_000).contains(retry)), "{retries:?}");
    assert!(retries[0] != retries[1] || retries[1] != retries[2], "jittered: {retries:?}");
    let mut quiet = Stream::open(hub.public(), "/channels/a?control=off");
    assert_eq!(quiet.end(), End::Cut, "after the head");
    // A publish is told the truth.
    let refused = post(hub.public(), "/channels/a", "x");
    assert_eq!(problem(&refused, 503, "connections-full")["limit"]["value"], 3);
    assert!(refused.get("retry-after").is_some(), "{}", refused.head.raw);
    publisher.request("POST", "/channels/a", &[], b"2");
    assert_eq!(publisher.answer().json()["subscribers"], 2, "who was there goes on");
    for stream in &mut established {
        assert_eq!((stream.event().data, stream.event().data), ("1".into(), "2".into()));
    }
    assert!(metric(&hub, "fanfare_limit_reached_total{limit=\"connections\"}") >= 5.0);
    // There is room again when one leaves.
    drop(established.pop());
    eventually("room", || {
        let mut stream = Stream::open(hub.public(), "/channels/a");
        (stream.event().kind() == "fanfare.open").then_some(())
    });
}

#[test]
fn a_full_hub_still_refuses_what_is_wrong_for_good() {
    let hub = Hub::start(&["--connections-max", "1"]);
    let established = Stream::open(hub.public(), "/channels/a");
    let bad = call(hub.public(), "GET", "/channels/..", &[], b"");
    problem(&bad, 400, "channel-name");
    let evil = call(hub.public(), "GET", "/channels/a", &[("Host", "evil.example")], b"");
    problem(&evil, 403, "host-not-allowed");
    // Without an answer to its preflight a page would take the hub for gone.
    let page = [("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "GET")];
    let answer = call(hub.public(), "OPTIONS", "/channels/a", &page, b"");
    assert_eq!((answer.status(), answer.get("vary")), (204, Some("Origin")));
    drop(established);
}

#[test]
fn who_is_sent_away_keeps_its_place() {
    let hub = Hub::start(&["--connections-max", "2"]);
    let mut publisher = Client::connect(hub.public());
    let mut publish = |data: &str| {
        publisher.request("POST", "/channels/a", &[], data.as_bytes());
        publisher.answer().json()["id"].as_str().unwrap().to_owned()
    };
    let id = publish("1");
    publish("2");
    let established = Stream::open(hub.public(), "/channels/a");
    let header = [("Last-Event-ID", id.as_str())];
    let mut away = Stream::open_with(hub.public(), "/channels/a", &header);
    let told = away.event();
    assert_eq!(told.kind(), "fanfare.reconnect");
    // Where the client goes on from is still what it came with.
    assert_eq!(told.id(), id, "{told:?}");
    drop((publisher, established));
    metric_becomes(&hub, "fanfare_subscribers", 0.0);
    let mut back = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
    assert_eq!(back.event().data, "2");
}

#[test]
fn too_many_channels_are_refused() {
    let hub = Hub::start(&["--channels-max", "2"]);
    publish(&hub, "a", "1");
    let mut b = Stream::open(hub.public(), "/channels/b?open=0");
    let refused = post(hub.public(), "/channels/c", "x");
    assert_eq!(problem(&refused, 503, "channels-full")["limit"]["value"], 2);
    assert!(refused.get("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    let lines = "{\"channel\":\"a\",\"data\":2}\n{\"channel\":\"c\",\"data\":3}\n";
    let told = problem(&send(&hub, "/events", NDJSON, lines), 503, "channels-full");
    assert_eq!((&told["line"], &told["accepted"]), (&2.into(), &1.into()));
    // A refused new channel is no final status for a subscriber.
    for target in ["/channels/c", "/events?channel=a&channel=c"] {
        let mut away = Stream::open(hub.public(), target);
        let told = away.event();
        assert_eq!(
            (told.kind(), &told.json()["reason"]),
            ("fanfare.reconnect", &"overload".into())
        );
        assert_eq!(away.end(), End::Cut);
    }
    // Those that exist go on, and a pattern needs no channel of its own.
    let mut pattern = Stream::open(hub.public(), "/events?channel=*&open=0");
    publish(&hub, "b", "on");
    assert_eq!((b.event().data, pattern.event().data), ("on".into(), "on".into()));
    assert!(metric(&hub, "fanfare_limit_reached_total{limit=\"channels\"}") >= 4.0);
    // A channel that never had an event goes with its last subscriber and makes room.
    drop(Stream::open(hub.public(), "/events?channel=*"));
    call(hub.public(), "DELETE", "/channels/a", &[], b"");
    publish(&hub, "c", "room");
}

#[test]
fn channels_without_events_go_with_their_last_subscriber() {
    let hub = Hub::start(&["--channels-max", "3"]);
    for n in 0..20 {
        let stream = Stream::open(hub.public(), &format!("/events?channel=x{n}&channel=y{n}"));
        assert_eq!(stream.head().status, 200);
        drop(stream);
        metric_becomes(&hub, "fanfare_channels", 0.0);
    }
    publish(&hub, "a", "1");
    assert_eq!(metric(&hub, "fanfare_limit_reached_total{limit=\"channels\"}"), 0.0);
}

#[test]
fn at_the_memory_budget_the_hubs_oldest_events_go_and_a_gap_is_told() {
    let hub = Hub::start(&["--rings-bytes-max", "1MiB", "--ring-bytes", "1MiB"]);
    let data = "x".repeat(50_000);
    let old = publish(&hub, "old", &data);
    let first = publish(&hub, "busy/0", &data);
    for n in 1..60 {
        publish(&hub, &format!("busy/{}", n % 6), &data);
    }
    let stats = crate::get(hub.admin(), "/api/stats").json();
    let rings = &stats["memory"]["shares"][0];
    assert_eq!((&rings["share"], &rings["max_bytes"]), (&json!("rings"), &json!(1 << 20)));
    let used = rings["used_bytes"].as_u64().unwrap();
    assert!((800_000..=1 << 20).contains(&used), "{stats}");
    assert!(metric(&hub, "fanfare_limit_reached_total{limit=\"rings_bytes\"}") > 0.0);
    // The oldest of all went first, whatever its channel.
    let before = crate::beside(&old, -1);
    let mut stream = Stream::open(hub.public(), &format!("/channels/old?open=0&from={before}"));
    let gap = stream.event();
    assert_eq!((gap.kind(), gap.json()["reason"].as_str()), ("fanfare.gap", Some("evicted")));
    let mut stream = Stream::open(hub.public(), &format!("/channels/busy/0?open=0&from={first}"));
    assert_eq!(stream.event().kind(), "fanfare.gap");
    assert_eq!(stream.event().data, data);
    let mut pattern =
        Stream::open(hub.public(), &format!("/events?channel=busy/*&open=0&from={first}"));
    assert_eq!(pattern.event().kind(), "fanfare.gap");
    // The newest are there still.
    let mut newest = Stream::open(hub.public(), "/events?channel=**&open=0&last=15");
    assert!(newest.events(15).iter().all(|event| event.data == data));
}
