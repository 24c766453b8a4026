//! A body that is one event.

use serde_json::json;

use crate::{
    kept, problem, publish, send,
    support::{
        http::{Client, call, post},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn a_body_of_any_other_type_is_one_event() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/orders/42?open=0");
    let types = [
        "text/plain; charset=utf-8",
        "application/json",
        "application/x-www-form-urlencoded",
        "application/x-ndjsonx",
        "text/event-streams",
        "nonsense",
    ];
    for media_type in types {
        let answer = send(&hub, "/channels/orders/42", media_type, "{\"data\": 1}\n\n");
        assert_eq!(answer.status(), 200, "{media_type}");
        assert_eq!(stream.event().data, "{\"data\": 1}\n\n", "{media_type}");
    }
    assert_eq!(post(hub.public(), "/channels/orders/42", "typeless").status(), 200);
    assert_eq!(stream.event().data, "typeless");
}

#[test]
fn the_answer_names_the_id_and_the_subscribers() {
    let hub = Hub::start(&[]);
    let answer = post(hub.public(), "/channels/a", "x");
    assert_eq!(answer.get("content-type"), Some("application/json"));
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start&open=0");
    let event = stream.event();
    assert_eq!(answer.json(), json!({"id": event.id(), "subscribers": 0}));
    assert_eq!(event.raw, format!("id: {}\ndata: x\n\n", event.id()));
}

#[test]
fn subscribers_counts_every_connection_that_the_channel_matches() {
    let hub = Hub::start(&["--workers", "2"]);
    let targets = [
        "/channels/orders/1",
        "/channels/orders/1",
        "/events?channel=orders/*",
        "/events?channel=**&channel=orders/1",
        "/events?channel=orders/1&channel=orders/2",
    ];
    let streams: Vec<_> = targets.map(|target| Stream::open(hub.public(), target)).into();
    let others = ["/channels/orders/2", "/events?channel=orders", "/events?channel=orders/*/*"];
    let others: Vec<_> = others.map(|target| Stream::open(hub.public(), target)).into();
    let answer = post(hub.public(), "/channels/orders/1", "x").json();
    assert_eq!(answer["subscribers"], streams.len());
    drop(others);
    drop(streams);
    crate::metric_becomes(&hub, "fanfare_subscribers", 0.0);
    assert_eq!(post(hub.public(), "/channels/orders/1", "x").json()["subscribers"], 0);
}

#[test]
fn event_names_the_type() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let longest = "t".repeat(255);
    let queries = [
        ("tick", "tick"),
        ("a%20b", "a b"),
        ("gr%C3%B6%C3%9Fe", "größe"),
        ("fanfare", "fanfare"),
        ("Fanfare.open", "Fanfare.open"),
        (longest.as_str(), longest.as_str()),
    ];
    for (encoded, kind) in queries {
        post(hub.public(), &format!("/channels/a?event={encoded}"), "x");
        let event = stream.event();
        assert_eq!(event.raw, format!("id: {}\nevent: {kind}\ndata: x\n\n", event.id()));
    }
    post(hub.public(), "/channels/a?event=", "x");
    assert_eq!(stream.event().kind, None, "an empty type is none");
}

#[test]
fn unknown_query_parameters_are_ignored() {
    let hub = Hub::start(&[]);
    let answer = post(hub.public(), "/channels/a?evnt=x&utm_source=y&&=", "x");
    assert_eq!(answer.status(), 200);
}

#[test]
fn wrong_parameters_are_refused_and_nothing_is_published() {
    let hub = Hub::start(&[]);
    for (query, slug) in [
        ("close=deleted", "query"),
        ("close=later", "query"),
        ("acks=all", "query"),
        ("acks=stream", "query"),
        ("event=a&event=b", "query"),
        ("event=%ff", "query"),
    ] {
        problem(&post(hub.public(), &format!("/channels/a?{query}"), "x"), 400, slug);
    }
    let gzip = [("Content-Encoding", "gzip")];
    problem(&call(hub.public(), "POST", "/channels/a", &gzip, b"x"), 415, "media-type");
    assert_eq!(kept(&hub, "a"), [""; 0]);
}

#[test]
fn a_body_may_come_in_chunks_of_any_size() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    // The cuts go through characters.
    "größer 😀 ist".as_bytes().iter().for_each(|byte| client.send_chunk([*byte]));
    client.send_chunk("");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(kept(&hub, "a"), ["größer 😀 ist"]);
}

#[test]
fn who_expects_100_is_told_to_continue() {
    let hub = Hub::start(&["--event-data-bytes-max", "10"]);
    let head = |length| {
        format!(
            "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let mut client = Client::connect(hub.public());
    client.send(head(1));
    assert_eq!(client.head().status, 100);
    client.send("x");
    assert_eq!(client.answer().status(), 200);
    // A body that is refused anyway is not asked for.
    let mut client = Client::connect(hub.public());
    client.send(head(11));
    problem(&client.answer(), 413, "event-too-large");
}

#[test]
fn the_longest_data_fits_and_one_more_byte_does_not() {
    let hub = Hub::start(&[]);
    let max = 256 * 1024;
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let data = "x".repeat(max);
    publish(&hub, "a", &data);
    assert_eq!(stream.event().data, data);
    let body = problem(&post(hub.public(), "/channels/a", data + "x"), 413, "event-too-large");
    assert_eq!(body["limit"]["value"], max, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("262144") && detail.contains("262145"), "{detail}");
    assert_eq!(crate::metric(&hub, "fanfare_limit_reached_total{limit=\"event_data_bytes\"}"), 1.0);
}

#[test]
fn data_over_the_limit_is_refused_however_it_comes() {
    let hub = Hub::start(&["--event-data-bytes-max", "100"]);
    // Announced: it is refused before it is sent.
    let mut client = Client::connect(hub.public());
    client.send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n");
    problem(&client.answer(), 413, "event-too-large");
    // In chunks: as soon as it is too long.
    let mut client = Client::connect(hub.public());
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    client.send_chunk("x".repeat(60));
    client.send_chunk("x".repeat(60));
    problem(&client.answer(), 413, "event-too-large");
    // A peer that sends all before it reads gets to the answer, too.
    let answer = post(hub.public(), "/channels/a", "x".repeat(4 << 20));
    problem(&answer, 413, "event-too-large");
    assert_eq!(kept(&hub, "a"), [""; 0]);
}

#[test]
fn data_that_is_not_utf_8_is_refused() {
    let hub = Hub::start(&[]);
    let wrong: [&[u8]; 4] = [b"ok\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"];
    for body in wrong {
        let told = problem(&post(hub.public(), "/channels/a", body), 400, "not-utf-8");
        assert!(told["detail"].as_str().unwrap().contains("UTF-8"));
    }
    assert_eq!(kept(&hub, "a"), [""; 0]);
}
