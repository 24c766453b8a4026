//! Parameters of a subscribe: every row of the table, and every malformed form.

use serde_json::json;

use crate::{
    problem, publish, publish_many,
    support::{
        http::{call, get},
        hub::Hub,
        sse::{Piece, Stream},
    },
};

#[test]
fn from_and_last_say_where_a_first_connection_begins() {
    let hub = Hub::start(&[]);
    for (index, (query, replayed)) in [
        ("", &[][..]),
        ("from=now", &[]),
        ("from=start", &["0", "1", "2", "3", "4", "5"]),
        ("from=FIRST", &["1", "2", "3", "4", "5"]),
        ("last=0", &[]),
        ("last=2", &["4", "5"]),
        ("last=6", &["0", "1", "2", "3", "4", "5"]),
        ("last=1000000", &["0", "1", "2", "3", "4", "5"]),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("row/{index}");
        let first = publish(&hub, &channel, "0");
        publish_many(&hub, &channel, 5);
        let query = query.replace("FIRST", &first);
        let mut stream = Stream::open(hub.public(), &format!("/channels/{channel}?{query}"));
        assert_eq!(stream.event().kind(), "fanfare.open");
        publish(&hub, &channel, "live");
        let events = stream.events(replayed.len() + 1);
        let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(data, [replayed, &["live"]].concat(), "{query}");
    }
}

#[test]
fn malformed_parameters_are_400() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    for query in [
        "from=",
        "from=later",
        "from=START",
        "from=-1",
        "from=zzzz-1",
        "from=zzzzzzzz-01",
        "last=",
        "last=-1",
        "last=x",
        "last=1.5",
        "last=99999999999999999999999",
        "heartbeat=",
        "heartbeat=0",
        "heartbeat=61",
        "heartbeat=-1",
        "heartbeat=1.5",
        "heartbeat=15s",
    ] {
        let name = query.split_once('=').unwrap().0;
        let target = format!("/channels/a?{query}");
        for headers in [&[][..], &[("Last-Event-ID", id.as_str())]] {
            let answer = call(hub.public(), "GET", &target, headers, b"");
            let told = problem(&answer, 400, "query");
            assert!(told["detail"].as_str().unwrap().contains(name), "{query}: {told}");
        }
    }
    assert_eq!(crate::metric(&hub, "fanfare_subscribers"), 0.0, "none of them subscribed");
}

#[test]
fn from_an_id_of_another_life_is_a_gap() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?from=zzzzzzzz-1&open=0");
    assert_eq!(stream.event().json()["reason"], "epoch");
    assert_eq!(stream.event().data, "1");
}

#[test]
fn heartbeat_is_this_connections_own() {
    let hub = Hub::start(&["--heartbeat-interval", "1s"]);
    let mut own = Stream::open(hub.public(), "/channels/a?open=0&heartbeat=60");
    let mut usual = Stream::open(hub.public(), "/channels/a?open=0");
    usual.heartbeat();
    usual.heartbeat();
    usual.heartbeat();
    publish(&hub, "a", "x");
    assert_eq!(own.next(), Ok(Piece::Heartbeat), "the one at the start");
    assert!(matches!(own.next(), Ok(Piece::Event(_))), "and none since");
    for seconds in [1, 60] {
        Stream::open(hub.public(), &format!("/channels/a?heartbeat={seconds}"));
    }
}

#[test]
fn a_heartbeat_is_only_sent_in_silence() {
    let hub = Hub::start(&[]);
    let mut busy = Stream::open(hub.public(), "/channels/a?open=0&heartbeat=2");
    let mut quiet = Stream::open(hub.public(), "/channels/b?open=0&heartbeat=1");
    quiet.heartbeat();
    assert_eq!(busy.next(), Ok(Piece::Heartbeat), "the one at the start");
    for _ in 0..4 {
        quiet.heartbeat();
        publish(&hub, "a", "x");
        assert!(matches!(busy.next(), Ok(Piece::Event(_))), "no heartbeat while events come");
    }
}

#[test]
fn open_can_be_left_out() {
    let hub = Hub::start(&[]);
    let mut without = Stream::open(hub.public(), "/channels/a?open=0");
    publish(&hub, "a", "1");
    assert_eq!(without.event().data, "1");
    // The other control events still come.
    call(hub.public(), "DELETE", "/channels/a", &[], b"");
    assert_eq!(without.event().kind(), "fanfare.end");
}

#[test]
fn an_envelope_names_the_channel() {
    let hub = Hub::start(&[]);
    let mut one = Stream::open(hub.public(), "/channels/a?open=0&envelope=json");
    let target = "/events?channel=a&channel=b/*&open=0&envelope=json";
    let mut several = Stream::open(hub.public(), target);
    let mut plain = Stream::open(hub.public(), "/channels/a?open=0");
    let odd = "line 1\n\"line\" 2\\ \u{1}\u{2028}ß";
    let id = publish(&hub, "a", odd);
    crate::support::http::post(hub.public(), "/channels/b/c?event=t", "{\"x\": 1}");
    let event = one.event();
    assert_eq!(event.json(), json!({"channel": "a", "data": odd}));
    assert_eq!((event.id(), event.raw.matches("data: ").count()), (id.as_str(), 1));
    assert_eq!(several.event(), event);
    let typed = several.event();
    assert_eq!(typed.json(), json!({"channel": "b/c", "data": "{\"x\": 1}"}));
    assert_eq!(typed.kind(), "t");
    assert_eq!(plain.event().data, odd, "others get it as it is");
    let mut back = Stream::open(hub.public(), "/channels/a?open=0&envelope=json&from=start");
    assert_eq!(back.event(), event, "a replay is the same bytes");
}

#[test]
fn unknown_parameters_are_ignored() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let target = "/channels/a?x=y&_=123&from=start&&utm_source=%20&open=0";
    assert_eq!(Stream::open(hub.public(), target).event().data, "1");
}

#[test]
fn a_stream_unless_only_json_is_asked_for() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    for accept in ["text/event-stream", "*/*", "text/html", "application/json, text/event-stream"] {
        let stream = Stream::open_with(hub.public(), "/channels/a", &[("Accept", accept)]);
        assert_eq!(stream.head().status, 200, "{accept}");
    }
    for accept in ["application/json", "application/json, */*", "text/html, application/json;q=0.5"]
    {
        let answer = call(hub.public(), "GET", "/channels/a", &[("Accept", accept)], b"");
        assert_eq!(answer.get("content-type"), Some("application/json"), "{accept}");
    }
    let json = [("Accept", "application/json")];
    let answer = call(hub.public(), "GET", "/events?channel=a", &json, b"");
    assert!(matches!(answer.status(), 400..=499), "history is one channel's: {answer:?}");
}

#[test]
fn a_subscription_names_1_to_64_channels() {
    let hub = Hub::start(&[]);
    problem(&get(hub.public(), "/events"), 400, "query");
    problem(&get(hub.public(), "/events?channel="), 400, "channel-name");
    let names = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("channel=c{n}")).collect();
        format!("/events?open=0&{}", names.join("&"))
    };
    let mut most = Stream::open(hub.public(), &names(64));
    let told = problem(&get(hub.public(), &names(65)), 400, "query");
    assert_eq!(told["limit"]["value"], 64, "{told}");
    publish(&hub, "c0", "1");
    publish(&hub, "c63", "2");
    assert_eq!((most.event().data, most.event().data), ("1".into(), "2".into()));
}
