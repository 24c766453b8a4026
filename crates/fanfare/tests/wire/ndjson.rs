//! A body of many events as lines of JSON.

use serde_json::{Value, json};

use crate::{
    NDJSON, beside, history, kept, problem, publish, send,
    support::{
        http::{Client, call},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn every_line_is_an_event() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let lines = "{\"data\":\"one\"}\n\
                 {\"data\":{\"b\":1,\t\"a\": [1, 2.50, null]},\"event\":\"t\"}\r\n\
                 \n  \n\
                 { \"data\" : \"x\\r\\ny\" , \"key\" : \"k\" }\n\
                 {\"data\":null}\n{\"data\":true}\n{\"data\":1e400}";
    let answer = send(&hub, "/channels/a", NDJSON, lines);
    let events = stream.events(6);
    let said: Vec<_> = events.iter().map(|event| (event.kind(), event.data.as_str())).collect();
    let compact = "{\"b\":1,\"a\":[1,2.50,null]}";
    let expected =
        [("", "one"), ("t", compact), ("", "x\ny"), ("", "null"), ("", "true"), ("", "1e400")];
    assert_eq!(said, expected);
    let told = json!({"first_id": events[0].id(), "last_id": events[5].id(), "accepted": 6});
    assert_eq!((answer.status(), answer.json()), (200, told));
    assert_eq!(answer.get("content-type"), Some("application/json"));
}

#[test]
fn each_event_is_published_as_it_arrives() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n{\"data\":");
    assert_eq!(stream.event().data, "1");
    publisher.send_chunk("\"2\"}");
    publisher.send_chunk("\n{\"data\":\"3\"}");
    assert_eq!(stream.event().data, "2");
    assert_eq!(kept(&hub, "a"), ["1", "2"], "a line without its end is none yet");
    publisher.send_chunk("");
    assert_eq!(stream.event().data, "3");
    assert_eq!(publisher.answer().json()["accepted"], 3);
}

#[test]
fn a_body_without_lines_publishes_nothing() {
    let hub = Hub::start(&[]);
    for body in ["", "\n\r\n \n"] {
        let answer = send(&hub, "/channels/a", NDJSON, body);
        let none = json!({"first_id": null, "last_id": null, "accepted": 0});
        assert_eq!((answer.status(), answer.json()), (200, none));
    }
    assert_eq!(kept(&hub, "a"), [""; 0]);
}

#[test]
fn event_is_the_type_of_lines_that_name_none() {
    let hub = Hub::start(&[]);
    let lines = "{\"data\":1}\n{\"data\":2,\"event\":\"own\"}\n{\"data\":3,\"event\":\"\"}\n";
    assert_eq!(send(&hub, "/channels/a?event=t", NDJSON, lines).status(), 200);
    let page = history(&hub, "a");
    let kinds: Vec<_> = page["events"].as_array().unwrap().iter().map(|e| &e["event"]).collect();
    assert_eq!(kinds[..2], [&json!("t"), &json!("own")]);
}

#[test]
fn a_wrong_line_ends_the_request_and_those_before_stay() {
    let hub = Hub::start(&["--event-data-bytes-max", "1000"]);
    let big = format!("{{\"data\":\"{}\"}}", "x".repeat(1_001));
    let long = format!("{{\"data\":\"{}\"}}", " ".repeat(20_000));
    let name = format!("{{\"data\":1,\"key\":\"{}\"}}", "k".repeat(256));
    for (index, (line, status, slug)) in [
        ("hello", 400, "line"),
        ("\"hello\"", 400, "line"),
        ("[1]", 400, "line"),
        ("{\"data\":1", 400, "line"),
        ("{\"data\":1}}", 400, "line"),
        ("{\"data\":1} {\"data\":2}", 400, "line"),
        ("{}", 400, "line"),
        ("{\"event\":\"x\"}", 400, "line"),
        ("{\"data\":1,\"event\":7}", 400, "line"),
        ("{\"data\":1,\"channel\":\"b\"}", 400, "line"),
        ("{\"data\":\"\\ud800\"}", 400, "line"),
        ("{\"data\":\"a\u{0}b\"}", 400, "line"),
        (&name, 400, "idempotency-key"),
        (&big, 413, "event-too-large"),
        (&long, 413, "line-too-long"),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("wrong/{index}");
        let body =
            format!("{{\"data\":\"a\"}}\n\n{{\"data\":\"b\"}}\n{line}\n{{\"data\":\"c\"}}\n");
        let answer = send(&hub, &format!("/channels/{channel}"), NDJSON, body);
        let told = problem(&answer, status, slug);
        assert_eq!((&told["line"], &told["accepted"]), (&json!(4), &json!(2)), "{told}");
        assert_eq!(told["limit"].is_object(), status == 413, "{told}");
        assert_eq!(kept(&hub, &channel), ["a", "b"], "{line}");
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_refused() {
    let hub = Hub::start(&[]);
    let answer = send(&hub, "/channels/a", NDJSON, b"{\"data\":\"a\"}\n{\"data\":\"\xff\"}\n");
    assert_eq!(problem(&answer, 400, "not-utf-8")["accepted"], 1);
    assert_eq!(kept(&hub, "a"), ["a"]);
}

#[test]
fn a_line_that_never_ends_is_given_up() {
    let hub = Hub::start(&["--event-data-bytes-max", "1000"]);
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":\"a\"}\n");
    for _ in 0..30 {
        publisher.send_chunk("x".repeat(1_000));
    }
    let told = problem(&publisher.answer(), 413, "line-too-long");
    assert_eq!((&told["line"], &told["accepted"]), (&json!(2), &json!(1)));
}

#[test]
fn the_longest_data_fits_a_line_however_it_is_escaped() {
    let hub = Hub::start(&["--event-data-bytes-max", "1000"]);
    let line = format!("{{\"data\":\"{}\"}}\n", "\\u0001".repeat(1_000));
    assert_eq!(send(&hub, "/channels/a", NDJSON, line).json()["accepted"], 1);
    assert_eq!(kept(&hub, "a"), ["\u{1}".repeat(1_000)]);
}

#[test]
fn events_publishes_lines_that_name_their_channels() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/events?channel=**&envelope=json&open=0");
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b/c\",\"data\":2,\"event\":\"t\"}\n\
                 {\"channel\":\"größe\",\"data\":3}\n";
    let answer = send(&hub, "/events", NDJSON, lines);
    let events = stream.events(3);
    let channels: Vec<Value> = events.iter().map(|e| e.json()["channel"].clone()).collect();
    assert_eq!(channels, ["a", "b/c", "größe"]);
    assert_eq!(events[1].kind(), "t");
    assert_eq!(answer.json()["first_id"], events[0].id());
    assert_eq!(answer.json()["last_id"], events[2].id());
    assert_eq!(answer.json()["accepted"], 3);
}

#[test]
fn events_refuses_lines_without_a_good_channel() {
    let hub = Hub::start(&[]);
    let named = "{\"channel\":\"a\",\"data\":1}\n";
    for (line, slug) in [
        ("{\"data\":2}", "line"),
        ("{\"data\":2,\"channel\":null}", "line"),
        ("{\"data\":2,\"channel\":\"\"}", "channel-name"),
        ("{\"data\":2,\"channel\":\"a/*\"}", "channel-name"),
        ("{\"data\":2,\"channel\":\"$hub\"}", "channel-name"),
        ("{\"data\":2,\"channel\":\"a/../b\"}", "channel-name"),
        ("{\"data\":2,\"channel\":\"a%2Fb%00\\u0000\"}", "channel-name"),
    ] {
        let answer = send(&hub, "/events", NDJSON, format!("{named}{line}\n{named}"));
        let told = problem(&answer, 400, slug);
        assert_eq!((&told["line"], &told["accepted"]), (&json!(2), &json!(1)), "{told}");
    }
    problem(&send(&hub, "/events", "text/plain", "x"), 415, "media-type");
    problem(&send(&hub, "/events", crate::SSE, "data: x\n\n"), 415, "media-type");
    problem(&send(&hub, "/events?close", NDJSON, named), 400, "query");
    assert_eq!(kept(&hub, "a").len(), 7);
}

#[test]
fn the_media_type_is_read_as_one() {
    let hub = Hub::start(&[]);
    let first = publish(&hub, "a", "0");
    let answer = send(&hub, "/channels/a", "Application/X-NDJSON; charset=utf-8", "{\"data\":1}");
    assert_eq!(answer.json()["first_id"], beside(&first, 1));
    let header = [("Content-Type", NDJSON), ("Idempotency-Key", "k")];
    let answer = call(hub.public(), "POST", "/channels/a", &header, b"{\"data\":2}\n");
    problem(&answer, 400, "idempotency-key");
    assert_eq!(kept(&hub, "a"), ["0", "1"]);
}

/// A publisher that has sent the head of a chunked body.
pub(crate) fn streaming(hub: &Hub, target: &str, media_type: &str) -> Client {
    let mut client = Client::connect(hub.public());
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    ));
    client
}
