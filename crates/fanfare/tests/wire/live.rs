//! `fanfare.live`: where what was published before ends.

use serde_json::json;

use crate::{
    beside,
    h2_client::Connection,
    problem, publish, publish_many,
    support::{
        http::{get, post},
        hub::Hub,
        sse::{End, Event, Stream},
    },
};

/// The data of events, or their types.
fn words(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_deref().unwrap_or(&event.data)).collect()
}

#[test]
fn it_stands_behind_all_that_was_there() {
    let hub = Hub::start(&[]);
    let last = publish_many(&hub, "a", 300);
    publish(&hub, "b", "x");
    let near = format!("from={}", beside(&last, -7));
    let at = format!("from={last}");
    let mut streams = Vec::new();
    for (query, count) in
        [("from=start", 300), (&*near, 7), ("last=1", 1), ("from=now", 0), (&*at, 0)]
    {
        let target = format!("/channels/a?live=1&open=0&{query}");
        let mut stream = Stream::open(hub.public(), &target);
        let events = stream.events(count + 1);
        let (live, before) = events.split_last().unwrap();
        assert_eq!((live.kind(), live.json()), ("fanfare.live", json!({"channels": ["a"]})));
        assert!(before.iter().all(|event| event.kind.is_none()), "{query}");
        streams.push((stream, live.id().to_owned()));
    }
    // Its id is a place like any other, and it comes once.
    publish(&hub, "a", "next");
    for (mut stream, id) in streams {
        assert_eq!(stream.event().data, "next");
        let target = format!("/channels/a?open=0&from={id}");
        assert_eq!(Stream::open(hub.public(), &target).event().data, "next");
    }
    let mut without = Stream::open(hub.public(), "/channels/a?open=0&last=1");
    publish(&hub, "a", "later");
    assert_eq!(words(&without.events(2)), ["next", "later"], "only who asks is told");
}

#[test]
fn several_channels_patterns_and_gaps_have_it_too() {
    let hub = Hub::start(&["--ring-events", "4"]);
    publish_many(&hub, "a/1", 6);
    publish_many(&hub, "b", 2);
    for (target, told) in [
        ("/events?channel=a/1&channel=b&last=3", vec!["6", "1", "2", "fanfare.live"]),
        ("/events?channel=a/*&last=2", vec!["5", "6", "fanfare.live"]),
        ("/events?channel=c/*&from=start", vec!["fanfare.live"]),
        ("/channels/c?from=start", vec!["fanfare.live"]),
        ("/channels/b?from=aaaaaaaa-1", vec!["fanfare.gap", "1", "2", "fanfare.live"]),
    ] {
        let mut stream = Stream::open(hub.public(), &format!("{target}&open=0&live=1"));
        assert_eq!(words(&stream.events(told.len())), told, "{target}");
    }
}

#[test]
fn a_stream_that_ends_has_the_end_for_it() {
    let hub = Hub::start(&[]);
    publish_many(&hub, "a", 3);
    post(hub.public(), "/channels/a?close", "4");
    for (query, told) in
        [("from=start", &["1", "2", "3", "4", "fanfare.end"][..]), ("from=now", &["fanfare.end"])]
    {
        let target = format!("/channels/a?open=0&live=1&{query}");
        let mut stream = Stream::open(hub.public(), &target);
        assert_eq!(words(&stream.events(told.len())), told, "{query}");
        assert_eq!(stream.end(), End::Clean);
    }
    let mut silent = Stream::open(hub.public(), "/channels/b?live=1&control=off");
    publish(&hub, "b", "1");
    assert_eq!(silent.event().data, "1");
    problem(&get(hub.public(), "/channels/b?live=2"), 400, "query");
}

#[tokio::test]
async fn streams_over_http_2_have_it_too() {
    let hub = Hub::start(&[]);
    publish_many(&hub, "a", 300);
    publish(&hub, "b/1", "x");
    let h2 = Connection::open(&hub).await;
    for (target, count) in [
        ("/channels/a?from=start", 300),
        ("/channels/a?last=2", 2),
        ("/channels/a?from=now", 0),
        ("/events?channel=b/*&from=start", 1),
        ("/events?channel=c/*&from=start", 0),
    ] {
        let mut stream = h2.subscribe(&format!("{target}&open=0&live=1"), &[]).await;
        let events = stream.events(count + 1).await;
        let (live, before) = events.split_last().unwrap();
        assert_eq!(live.kind(), "fanfare.live", "{target}");
        assert!(before.iter().all(|event| event.kind.is_none()), "{target}");
    }
    let mut stream = h2.subscribe("/channels/a?last=1&open=0&live=1", &[]).await;
    stream.events(2).await;
    publish(&hub, "a", "next");
    assert_eq!(stream.event().await.data, "next");
}
