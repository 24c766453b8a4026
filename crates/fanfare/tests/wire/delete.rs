//! `DELETE /channels/{channel}`: its subscribers end, its events are gone now.

use crate::{
    close::is_end,
    history, kept, problem, publish, publish_many, seq,
    support::{
        http::{Answer, call, get, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn its_subscribers_end_and_its_events_are_gone() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start&open=0");
    assert_eq!(stream.event().data, "1");
    let answer = delete(&hub, "a");
    assert!(matches!(answer.status(), 200 | 204), "{}", answer.status());
    is_end(&stream.event(), &["a"], "deleted");
    assert_eq!(stream.end(), End::Clean);
    let json = [("Accept", "application/json")];
    problem(&call(hub.public(), "GET", "/channels/a", &json, b""), 404, "channel-not-found");
    problem(&delete(&hub, "a"), 404, "channel-not-found");
    problem(&delete(&hub, "never"), 404, "channel-not-found");
}

#[test]
fn who_comes_back_gets_204() {
    let hub = Hub::start(&[]);
    let first = publish(&hub, "a", "1");
    let last = publish(&hub, "a", "2");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    delete(&hub, "a");
    let end = stream.event().id().to_owned();
    for id in [&last, &end, &first] {
        let header = [("Last-Event-ID", id.as_str())];
        let answer = call(hub.public(), "GET", "/channels/a", &header, b"");
        assert_eq!(answer.status(), 204, "{id}");
    }
}

#[test]
fn the_next_publish_begins_anew() {
    let hub = Hub::start(&[]);
    publish_many(&hub, "a", 3);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    delete(&hub, "a");
    let end = stream.event();
    let anew = publish(&hub, "a", "anew");
    assert!(seq(&anew) >= seq(end.id()), "ids go on");
    assert_eq!(kept(&hub, "a"), ["anew"]);
    assert_eq!(history(&hub, "a")["closed"], serde_json::Value::Null);
    let mut first = Stream::open(hub.public(), "/channels/a?from=start&open=0");
    assert_eq!(first.event().data, "anew");
    // Who saw the end of the old one and comes back gets the new one, without a gap.
    let target = format!("/channels/a?open=0&last_event_id={}", end.id());
    let mut back = Stream::open(hub.public(), &target);
    assert_eq!(back.event().data, "anew");
    publish(&hub, "a", "on");
    assert_eq!((first.event().data, back.event().data), ("on".into(), "on".into()));
}

#[test]
fn who_missed_the_end_of_a_channel_that_began_anew_is_told() {
    let hub = Hub::start(&[]);
    let seen = publish(&hub, "a", "1");
    publish(&hub, "a", "2");
    delete(&hub, "a");
    publish(&hub, "a", "anew");
    let mut stream = Stream::open(hub.public(), &format!("/channels/a?open=0&from={seen}"));
    // A gap or the end: anything but silence about what is gone.
    let told = stream.event();
    assert!(["fanfare.gap", "fanfare.end"].contains(&told.kind()), "{told:?}");
}

#[test]
fn a_pattern_goes_on_after_a_delete() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/events?channel=a/*&open=0");
    publish(&hub, "a/b", "1");
    assert_eq!(stream.event().data, "1");
    delete(&hub, "a/b");
    is_end(&stream.event(), &["a/b"], "deleted");
    publish(&hub, "a/b", "2");
    assert_eq!(stream.event().data, "2");
}

#[test]
fn a_closed_channel_can_be_deleted() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close", "");
    assert!(delete(&hub, "a").status() < 300);
    assert_eq!(get(hub.public(), &format!("/channels/a?from={id}")).status(), 204);
    publish(&hub, "a", "it is open again");
}

#[test]
fn a_channel_with_subscribers_and_no_event_can_be_deleted() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    assert!(delete(&hub, "a").status() < 300);
    is_end(&stream.event(), &["a"], "deleted");
    assert_eq!(stream.end(), End::Clean);
}

fn delete(hub: &Hub, channel: &str) -> Answer {
    call(hub.public(), "DELETE", &format!("/channels/{channel}"), &[], b"")
}
