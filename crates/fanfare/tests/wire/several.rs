//! Subscriptions of several channels and of patterns.

use crate::{
    NDJSON, beside, problem, publish, publish_many, send,
    support::{
        http::{get, post},
        hub::Hub,
        sse::{Event, Stream},
    },
};

#[test]
fn several_channels_are_one_sequence() {
    let hub = Hub::start(&["--workers", "2"]);
    let mut named = Stream::open(hub.public(), "/events?channel=a&channel=b&channel=c&open=0");
    let mut matched = Stream::open(hub.public(), "/events?channel=*&open=0");
    let lines: String = (0..90)
        .map(|n| format!("{{\"channel\":\"{}\",\"data\":\"{n}\"}}\n", ["a", "b", "c"][n % 3]))
        .collect();
    assert_eq!(send(&hub, "/events", NDJSON, lines).status(), 200);
    let events = named.events(90);
    let expected: Vec<_> = (0..90).map(|n: usize| n.to_string()).collect();
    assert_eq!(data(&events), expected);
    assert_eq!(matched.events(90), events);
    // One id resumes all of them.
    for at in [0, 1, 2, 40, 88] {
        for channels in ["channel=a&channel=b&channel=c", "channel=**"] {
            let target = format!("/events?{channels}&open=0&from={}", events[at].id());
            let mut back = Stream::open(hub.public(), &target);
            assert_eq!(back.events(89 - at), events[at + 1..], "{channels} from {at}");
        }
    }
}

#[test]
fn an_event_comes_once_however_often_it_is_asked_for() {
    let hub = Hub::start(&[]);
    let target = "/events?channel=a/b&channel=a/b&channel=a/*&channel=**&open=0";
    let mut stream = Stream::open(hub.public(), target);
    assert_eq!(post(hub.public(), "/channels/a/b", "1").json()["subscribers"], 1);
    publish(&hub, "a/b", "2");
    assert_eq!(data(&stream.events(2)), ["1", "2"]);
}

#[test]
fn patterns_match_whole_segments() {
    let hub = Hub::start(&[]);
    let open = |pattern: &str| {
        Stream::open(hub.public(), &format!("/events?channel={pattern}&open=0&from=start"))
    };
    let channels = ["orders", "orders/1", "orders/1/items", "orders/2", "news", "x/status"];
    let patterns = [
        ("orders/*", &["orders/1", "orders/2"][..]),
        ("orders/**", &["orders/1", "orders/1/items", "orders/2"]),
        ("*", &["orders", "news"]),
        ("**", &channels),
        ("*/status", &["x/status"]),
        ("*/1/*", &["orders/1/items"]),
        ("orders/%2A", &["orders/1", "orders/2"]),
    ];
    let mut live: Vec<_> = patterns.iter().map(|(pattern, _)| open(pattern)).collect();
    // The channels come after the subscriptions.
    channels.iter().for_each(|channel| drop(publish(&hub, channel, channel)));
    for ((pattern, expected), live) in patterns.iter().zip(&mut live) {
        assert_eq!(data(&live.events(expected.len())), **expected, "{pattern} live");
        assert_eq!(data(&open(pattern).events(expected.len())), **expected, "{pattern} replayed");
    }
}

#[test]
fn patterns_are_only_for_events_and_must_be_well_formed() {
    let hub = Hub::start(&[]);
    problem(&get(hub.public(), "/channels/*"), 400, "channel-name");
    for pattern in ["a*", "a/**/b", "***", "a/*b", "$hub/*", "a//*", "*/..", "a/%00/*"] {
        let answer = get(hub.public(), &format!("/events?channel=fine&channel={pattern}"));
        problem(&answer, 400, "channel-name");
    }
}

#[test]
fn last_counts_events_of_the_merged_sequence() {
    let hub = Hub::start(&[]);
    for n in 0..12 {
        publish(&hub, ["a", "b", "a", "other/x"][n % 4], n.to_string());
    }
    for channels in ["channel=a&channel=b", "channel=*"] {
        let open = |count| {
            let target = format!("/events?{channels}&open=0&last={count}");
            Stream::open(hub.public(), &target)
        };
        assert_eq!(data(&open(4).events(4)), ["6", "8", "9", "10"], "{channels}");
        assert_eq!(data(&open(100).events(9))[..2], ["0", "1"], "{channels}");
    }
}

#[test]
fn a_gap_of_several_names_who_lost_events() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "busy", "0");
    publish(&hub, "calm", "kept");
    publish_many(&hub, "busy", 6);
    let target = format!("/events?channel=busy&channel=calm&open=0&from={first}");
    let mut stream = Stream::open(hub.public(), &target);
    let events = stream.events(5);
    let gaps: Vec<_> = events.iter().filter(|event| event.kind() == "fanfare.gap").collect();
    assert_eq!(gaps.len(), 1, "{events:?}");
    assert_eq!(gaps[0].json()["channels"], serde_json::json!(["busy"]));
    let rest: Vec<_> = events.iter().filter(|event| event.kind().is_empty()).cloned().collect();
    assert_eq!(data(&rest), ["kept", "4", "5", "6"], "what was not lost comes");
}

#[test]
fn a_pattern_older_than_the_journal_is_told_a_gap() {
    let hub = Hub::start(&["--journal-events-max", "1024", "--ring-events", "1024"]);
    let first = publish(&hub, "a/b", "0");
    publish_many(&hub, "other", 1_500);
    let mut stream =
        Stream::open(hub.public(), &format!("/events?channel=a/*&open=0&from={first}"));
    let gap = stream.event();
    assert_eq!(gap.kind(), "fanfare.gap", "{gap:?}");
    assert_eq!(gap.json()["reason"], "evicted");
    publish(&hub, "a/b", "on");
    // That pushed the oldest pair out of the journal: who has not walked past it is told again.
    let mut next = stream.event();
    if next.kind() == "fanfare.gap" {
        assert_eq!(next.id(), beside(gap.id(), 1), "{next:?}");
        next = stream.event();
    }
    assert_eq!(next.data, "on");
    let begin = beside(&first, 1_500);
    let exact = format!("/events?channel=a/*&open=0&from={begin}");
    assert_eq!(Stream::open(hub.public(), &exact).event().data, "on");
}

#[test]
fn patterns_wake_for_channels_on_every_worker() {
    let hub = Hub::start(&["--workers", "2"]);
    let mut streams: Vec<_> =
        (0..6).map(|_| Stream::open(hub.public(), "/events?channel=a/**&open=0")).collect();
    for n in 0..30 {
        publish(&hub, &format!("a/{}", n % 7), n.to_string());
    }
    let expected: Vec<_> = (0..30).map(|n: usize| n.to_string()).collect();
    for stream in &mut streams {
        assert_eq!(data(&stream.events(30)), expected);
    }
}

fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}
