//! Control events: their ids, their data, and streams that want none.

use serde_json::json;

use crate::{
    beside, problem, publish, publish_many,
    support::{
        http::{call, get, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn open_is_first_and_stands_where_the_stream_begins() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a");
    let open = stream.event();
    let raw = format!("id: {id}\nevent: fanfare.open\ndata: {{\"channels\":[\"a\"]}}\n\n");
    assert_eq!(open.raw, raw);
    let mut several = Stream::open(hub.public(), "/events?channel=b/*&channel=b&channel=a");
    assert_eq!(several.event().json(), json!({"channels": ["a", "b", "b/*"]}));
}

#[test]
fn who_is_cut_before_the_first_event_resumes_exactly() {
    let hub = Hub::start(&[]);
    for target in ["/channels/a", "/events?channel=*", "/channels/none?from=start"] {
        let mut stream = Stream::open(hub.public(), target);
        let open = stream.event().id().to_owned();
        drop(stream);
        publish(&hub, if target.contains("none") { "none" } else { "a" }, "missed");
        let header = [("Last-Event-ID", open.as_str())];
        let mut back = Stream::open_with(hub.public(), target, &header);
        assert_eq!(back.event().kind(), "fanfare.open");
        assert_eq!(back.event().data, "missed", "{target}");
    }
}

#[test]
fn a_gap_tells_what_was_lost_and_is_told_once() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "a", "0");
    publish_many(&hub, "a", 6);
    let mut stream = Stream::open(hub.public(), &format!("/channels/a?open=0&from={first}"));
    let gap = stream.event();
    let after = beside(&first, 3);
    assert_eq!((gap.kind(), gap.id()), ("fanfare.gap", after.as_str()));
    let data = json!({
        "channels": ["a"], "requested": first, "resumed_after": after, "reason": "evicted",
    });
    assert_eq!((gap.json(), gap.retry), (data, None));
    let oldest = stream.event();
    assert_eq!((oldest.data.as_str(), oldest.id()), ("4", beside(&after, 1).as_str()));
    // Cut right after the gap: it resumes exactly and is not told of it again.
    let header = [("Last-Event-ID", after.as_str())];
    let mut back = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
    assert_eq!(back.events(3), [vec![oldest], stream.events(2)].concat());
    assert_eq!(crate::metric(&hub, "fanfare_gaps_total{reason=\"evicted\"}"), 1.0);
}

#[test]
fn who_missed_nothing_is_told_of_no_gap() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let last = publish_many(&hub, "a", 9);
    // The event after this one is the oldest that is kept.
    let mut stream =
        Stream::open(hub.public(), &format!("/channels/a?open=0&from={}", beside(&last, -3)));
    let data: Vec<_> = stream.events(3).into_iter().map(|event| event.data).collect();
    assert_eq!(data, ["7", "8", "9"]);
    // Who begins at the start wants what there is.
    let mut start = Stream::open(hub.public(), "/channels/a?open=0&from=start");
    assert_eq!(start.events(3)[0].data, "7");
    // Events of others that are gone are no loss.
    publish_many(&hub, "b", 50);
    let mut stream = Stream::open(hub.public(), &format!("/channels/a?open=0&from={last}"));
    publish(&hub, "a", "10");
    assert_eq!(stream.event().data, "10");
}

#[test]
fn without_control_events_there_are_none() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?control=off");
    publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close", "2");
    let events = stream.events(2);
    assert_eq!((events[0].data.as_str(), events[1].data.as_str()), ("1", "2"));
    assert_eq!(stream.end(), End::Clean, "the end is clean, though it is not told");
}

#[test]
fn without_control_events_a_gap_at_connect_is_410() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "a", "0");
    let last = publish_many(&hub, "a", 6);
    let garbage = ["nonsense".to_owned(), "zzzzzzzz-1".to_owned(), beside(&last, 1)];
    for id in [vec![first], garbage.into()].concat() {
        let header = [("Last-Event-ID", id.as_str())];
        for target in ["/channels/a?control=off", "/events?channel=a&channel=b&control=off"] {
            let answer = call(hub.public(), "GET", target, &header, b"");
            problem(&answer, 410, "gap");
        }
    }
    let exact = format!("/channels/a?control=off&from={}", beside(&last, -2));
    assert_eq!(Stream::open(hub.public(), &exact).event().data, "5");
    let open = get(hub.public(), "/api/none");
    problem(&open, 404, "not-found");
}

#[test]
fn a_gap_is_not_told_for_patterns_that_lost_nothing() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let id = publish(&hub, "b/1", "kept");
    publish_many(&hub, "a", 50);
    let target = format!("/events?channel=b/*&open=0&from={}", beside(&id, -1));
    let mut stream = Stream::open(hub.public(), &target);
    assert_eq!(stream.event().data, "kept");
    publish(&hub, "b/2", "next");
    assert_eq!(stream.event().data, "next");
    // One that matches the channel that lost events is told.
    let target = format!("/events?channel=**&open=0&from={id}");
    let gap = Stream::open(hub.public(), &target).event();
    assert_eq!((gap.kind(), gap.json()["reason"].as_str()), ("fanfare.gap", Some("evicted")));
}
