//! Closing a channel: the end that subscribers are told, replay after it, 204 and 409.

use serde_json::json;

use crate::{
    NDJSON, SSE, beside, history, kept, problem, publish, publish_many, send,
    support::{
        http::{Closed, call, get, post},
        hub::Hub,
        sse::{End, Event, Stream},
    },
};

#[test]
fn every_form_of_close_tells_its_reason() {
    let hub = Hub::start(&[]);
    for (form, reason) in [
        ("close", "done"),
        ("close=", "done"),
        ("close=done", "done"),
        ("close=error", "error"),
        ("close=cancelled", "cancelled"),
    ] {
        let channel = format!("by/{}", form.replace('=', "-"));
        let mut stream = Stream::open(hub.public(), &format!("/channels/{channel}?open=0"));
        let answer = post(hub.public(), &format!("/channels/{channel}?{form}"), "last");
        assert_eq!(answer.status(), 200, "{form}");
        let last = stream.event();
        assert_eq!(
            (last.data.as_str(), last.id()),
            ("last", answer.json()["id"].as_str().unwrap())
        );
        let end = stream.event();
        is_end(&end, &[&channel], reason);
        let retry = end.retry.unwrap();
        let data = format!("{{\"channels\":[\"{channel}\"],\"reason\":\"{reason}\"}}");
        let id = end.id();
        let raw = format!("id: {id}\nevent: fanfare.end\nretry: {retry}\ndata: {data}\n\n");
        assert_eq!(end.raw, raw, "byte for byte");
        assert_eq!((stream.end(), stream.client().closed()), (End::Clean, Closed::Fin));
        assert_eq!(history(&hub, &channel)["closed"], reason);
    }
}

#[test]
fn an_empty_body_with_close_publishes_nothing() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    assert_eq!(post(hub.public(), "/channels/a?close", "").status(), 200);
    is_end(&stream.event(), &["a"], "done");
    assert_eq!(kept(&hub, "a"), ["1"]);
}

#[test]
fn bodies_of_many_events_close_after_the_last() {
    let hub = Hub::start(&[]);
    for (channel, media_type, body) in [
        ("n", NDJSON, "{\"data\":1}\n{\"data\":2}"),
        ("s", SSE, "data: 1\n\ndata: 2\n\n"),
        ("empty", NDJSON, ""),
    ] {
        let mut stream = Stream::open(hub.public(), &format!("/channels/{channel}?open=0"));
        let answer = send(&hub, &format!("/channels/{channel}?close=error"), media_type, body);
        let accepted = answer.json()["accepted"].as_u64().unwrap();
        assert_eq!(accepted, if body.is_empty() { 0 } else { 2 });
        stream.events(accepted as usize);
        is_end(&stream.event(), &[channel], "error");
        assert_eq!(stream.end(), End::Clean);
    }
    // A wrong line is not the last event: the channel stays open.
    send(&hub, "/channels/wrong?close", NDJSON, "{\"data\":1}\nwrong\n");
    assert_eq!(history(&hub, "wrong")["closed"], json!(null));
}

#[test]
fn closing_twice_is_fine_and_the_first_reason_stays() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    for form in ["close=error", "close", "close=cancelled", "close=error"] {
        assert_eq!(post(hub.public(), &format!("/channels/a?{form}"), "").status(), 200, "{form}");
    }
    assert_eq!(history(&hub, "a")["closed"], "error");
}

#[test]
fn a_closed_channel_takes_no_more() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close", "");
    problem(&post(hub.public(), "/channels/a", "2"), 409, "channel-closed");
    problem(&post(hub.public(), "/channels/a?close", "2"), 409, "channel-closed");
    let told = problem(&send(&hub, "/channels/a", NDJSON, "{\"data\":2}"), 409, "channel-closed");
    assert_eq!(told["accepted"], 0);
    problem(&send(&hub, "/channels/a", SSE, "data: 2\n\n"), 409, "channel-closed");
    let line = "{\"channel\":\"b\",\"data\":1}\n{\"channel\":\"a\",\"data\":2}\n";
    assert_eq!(problem(&send(&hub, "/events", NDJSON, line), 409, "channel-closed")["accepted"], 1);
    assert_eq!(kept(&hub, "a"), ["1"]);
}

#[test]
fn each_subscriber_is_told_another_retry() {
    let hub = Hub::start(&[]);
    let mut streams: Vec<_> =
        (0..12).map(|_| Stream::open(hub.public(), "/channels/a?open=0")).collect();
    post(hub.public(), "/channels/a?close", "");
    let mut retries: Vec<_> =
        streams.iter_mut().map(|stream| stream.event().retry.unwrap()).collect();
    assert!(retries.iter().all(|retry| (5_000..=60_000).contains(retry)), "{retries:?}");
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 6, "{retries:?}");
}

#[test]
fn who_has_seen_everything_gets_204() {
    let hub = Hub::start(&[]);
    let first = publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start&open=0");
    let last = publish(&hub, "a", "2");
    post(hub.public(), "/channels/a?close", "");
    let end = stream.events(3).remove(2);
    let later = publish(&hub, "b", "x");
    for id in [&last, end.id(), &later] {
        let header = [("Last-Event-ID", id)];
        let answer = call(hub.public(), "GET", "/channels/a", &header, b"");
        assert_eq!((answer.status(), answer.text()), (204, ""), "{id}");
        for query in ["last_event_id", "from"] {
            let answer = get(hub.public(), &format!("/channels/a?{query}={id}"));
            assert_eq!(answer.status(), 204, "{query}={id}");
        }
        let quiet = get(hub.public(), &format!("/events?channel=a&control=off&from={id}"));
        assert_eq!(quiet.status(), 204);
    }
    // Who has not, gets the rest, the end and the end of the stream.
    let mut rest = Stream::open(hub.public(), &format!("/channels/a?from={first}&open=0"));
    assert_eq!(rest.event().data, "2");
    is_end(&rest.event(), &["a"], "done");
    assert_eq!(rest.end(), End::Clean);
}

#[test]
fn replay_stays_after_a_close() {
    let hub = Hub::start(&[]);
    let last = publish_many(&hub, "a", 3);
    post(hub.public(), "/channels/a?close=cancelled", "");
    for (query, count) in
        [("from=start", 3), ("last=2", 2), ("last=9", 3), ("from=now", 0), ("", 0)]
    {
        let target = format!("/channels/a?{query}");
        let mut stream = Stream::open(hub.public(), &target);
        assert_eq!(stream.event().kind(), "fanfare.open");
        let events = stream.events(count);
        assert!(events.iter().all(|event| event.kind().is_empty()), "{query}");
        let end = stream.event();
        is_end(&end, &["a"], "cancelled");
        assert_eq!(stream.end(), End::Clean, "{query}");
        // Whoever comes back after the end has nothing to expect.
        let again = get(hub.public(), &format!("/channels/a?last_event_id={}", end.id()));
        assert_eq!(again.status(), 204, "{query}");
    }
    // An id that is no place in this log is a gap, never the end.
    let mut stream =
        Stream::open(hub.public(), &format!("/channels/a?last_event_id={}", beside(&last, 1_000)));
    let kinds: Vec<_> = stream.events(6).iter().map(|event| event.kind().to_owned()).collect();
    assert_eq!(kinds, ["fanfare.open", "fanfare.gap", "", "", "", "fanfare.end"]);
}

#[test]
fn a_channel_that_was_only_closed_can_be_subscribed_to() {
    let hub = Hub::start(&[]);
    assert_eq!(post(hub.public(), "/channels/a?close", "").status(), 200);
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start&open=0");
    is_end(&stream.event(), &["a"], "done");
    assert_eq!(stream.end(), End::Clean);
}

#[test]
fn a_stream_of_several_ends_with_its_last_channel() {
    let hub = Hub::start(&[]);
    let mut both = Stream::open(hub.public(), "/events?channel=a&channel=b&open=0");
    let mut pattern = Stream::open(hub.public(), "/events?channel=a&channel=b/*&open=0");
    let mut all = Stream::open(hub.public(), "/events?channel=**&open=0");
    post(hub.public(), "/channels/a?close", "1");
    for stream in [&mut both, &mut pattern, &mut all] {
        assert_eq!(stream.event().data, "1");
        is_end(&stream.event(), &["a"], "done");
    }
    publish(&hub, "b", "2");
    post(hub.public(), "/channels/b?close=error", "");
    assert_eq!(both.event().data, "2");
    is_end(&both.event(), &["b"], "error");
    assert_eq!(both.end(), End::Clean);
    // One with a pattern never ends for that.
    assert_eq!(all.event().data, "2");
    is_end(&all.event(), &["b"], "error");
    publish(&hub, "b/c", "3");
    assert_eq!((pattern.event().data, all.event().data), ("3".into(), "3".into()));
    // Garbage is a gap, and then everything there was.
    let target = "/events?channel=a&channel=b&open=0&last_event_id=none";
    let mut replay = Stream::open(hub.public(), target);
    let kinds: Vec<_> = replay.events(5).iter().map(|event| event.kind().to_owned()).collect();
    assert_eq!(kinds, ["fanfare.gap", "", "fanfare.end", "", "fanfare.end"]);
    assert_eq!(replay.end(), End::Clean);
}

#[test]
fn some_closed_and_some_open_is_no_204() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let id = publish(&hub, "b", "2");
    post(hub.public(), "/channels/a?close", "");
    let target = format!("/events?channel=a&channel=b&open=0&last_event_id={id}");
    let mut stream = Stream::open(hub.public(), &target);
    publish(&hub, "b", "3");
    let mut event = stream.event();
    if event.kind() == "fanfare.end" {
        event = stream.event();
    }
    assert_eq!(event.data, "3");
    let both = post(hub.public(), "/channels/b?close", "").status();
    assert_eq!(both, 200);
    is_end(&stream.event(), &["b"], "done");
    assert_eq!(stream.end(), End::Clean);
}

#[test]
fn who_comes_back_after_the_end_of_one_channel_is_not_told_again() {
    let hub = Hub::start(&[]);
    let target = "/events?channel=a&channel=b&open=0";
    let mut stream = Stream::open(hub.public(), target);
    publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close", "");
    let end = stream.events(2).remove(1);
    is_end(&end, &["a"], "done");
    drop(stream);
    let header = [("Last-Event-ID", end.id())];
    let mut back = Stream::open_with(hub.public(), target, &header);
    publish(&hub, "b", "2");
    assert_eq!(back.event().data, "2");
    post(hub.public(), "/channels/b?close", "");
    is_end(&back.event(), &["b"], "done");
    assert_eq!(back.end(), End::Clean);
}

/// Checks that an event is the end of these channels.
#[track_caller]
pub(crate) fn is_end(event: &Event, channels: &[&str], reason: &str) {
    assert_eq!(event.kind(), "fanfare.end", "{event:?}");
    assert_eq!(event.json(), json!({"channels": channels, "reason": reason}));
    assert!((5_000..=60_000).contains(&event.retry.unwrap()), "{event:?}");
    assert!(event.id.is_some(), "{event:?}");
}
