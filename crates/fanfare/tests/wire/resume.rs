//! Last event ids that are no place in this life of the log: each is a gap, never an error.

use crate::{
    beside, publish, publish_many,
    support::{
        http::{Client, call},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn garbage_is_a_gap_and_everything_kept_follows() {
    let hub = Hub::start(&[]);
    let last = publish_many(&hub, "a", 3);
    let epoch = last.split_once('-').unwrap().0.to_owned();
    let huge = "x".repeat(5_000);
    let ids = [
        "garbage",
        "-",
        "0",
        "null",
        "zzzzzzzz-1",
        &beside(&last, 1),
        &format!("{epoch}-18446744073709551615"),
        &format!("{epoch}-99999999999999999999999"),
        &format!("{epoch}-01"),
        &format!("{epoch}--1"),
        &format!("{epoch}-"),
        &last.to_uppercase(),
        &format!("{last} {last}"),
        huge.as_str(),
    ];
    for (index, id) in ids.into_iter().enumerate() {
        let header = [("Last-Event-ID", id)];
        let mut stream = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
        let gap = stream.event();
        assert_eq!(gap.kind(), "fanfare.gap", "{gap:?}");
        let told = gap.json();
        assert_eq!(
            (&told["reason"], &told["channels"]),
            (&"epoch".into(), &serde_json::json!(["a"]))
        );
        assert_eq!(told["resumed_after"], gap.id());
        let requested = told["requested"].as_str().unwrap();
        assert!(id.starts_with(requested) && requested.len() >= id.len().min(100), "{requested}");
        let data: Vec<_> = stream.events(3).into_iter().map(|event| event.data).collect();
        assert_eq!(data, ["1", "2", "3"], "{id:.50}");
        crate::metric_becomes(&hub, "fanfare_gaps_total{reason=\"epoch\"}", (index + 1) as f64);
        // Its id resumes exactly.
        let header = [("Last-Event-ID", gap.id())];
        let mut back = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
        assert_eq!(back.event().data, "1");
    }
}

#[test]
fn bytes_that_are_no_text_are_a_gap_too() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let mut client = Client::connect(hub.public());
    client.send(b"GET /channels/a HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\xfe\r\n\r\n");
    let mut stream = Stream::over(client);
    assert_eq!(stream.events(3)[1].kind(), "fanfare.gap");
}

#[test]
fn a_hub_that_began_anew_tells_a_gap() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    drop(hub);
    let hub = Hub::start(&[]);
    let header = [("Last-Event-ID", id.as_str())];
    let mut stream = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
    let gap = stream.event();
    assert_eq!((gap.kind(), gap.json()["requested"].as_str()), ("fanfare.gap", Some(&*id)));
    let next = publish(&hub, "a", "2");
    assert_eq!(stream.event().id(), next);
}

#[test]
fn every_event_resumes_after_itself() {
    let hub = Hub::start(&[]);
    publish_many(&hub, "a", 20);
    let all = Stream::open(hub.public(), "/channels/a?from=start&open=0").events(20);
    publish(&hub, "a", "end");
    for (index, event) in all.iter().enumerate() {
        let header = [("Last-Event-ID", event.id())];
        let mut stream = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
        assert_eq!(stream.head().get("fanfare-last-event-id"), Some(event.id()));
        assert_eq!(stream.events(19 - index), all[index + 1..]);
        assert_eq!(stream.event().data, "end");
    }
    let replays = "fanfare_replays_total{result=\"exact\"}";
    crate::metric_becomes(&hub, replays, 20.0);
}

#[test]
fn a_head_of_5_kb_is_fine_everywhere() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let long = "x".repeat(5_000);
    let headers = [("Last-Event-ID", long.as_str()), ("Accept", "application/json")];
    assert_eq!(call(hub.public(), "GET", "/channels/a", &headers, b"").status(), 200);
    let target = format!("/channels/a?last_event_id={long}");
    let mut stream = Stream::open(hub.public(), &target);
    assert_eq!(stream.events(2)[1].kind(), "fanfare.gap");
}
