//! The head of a stream, byte for byte, and streams over HTTP/1.0.

use crate::{
    publish,
    support::{
        http::{Client, Closed, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn the_head_is_byte_for_byte_as_promised() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    let stream = Stream::open(hub.public(), "/channels/a");
    let head = stream.head().raw.to_lowercase();
    let date = stream.head().get("date").unwrap().to_lowercase();
    assert!(date.len() == 29 && date.ends_with(" gmt"), "{date}");
    let expected = format!(
        "http/1.1 200 ok\r\n\
         content-type: text/event-stream\r\n\
         cache-control: no-cache, no-store, no-transform\r\n\
         x-accel-buffering: no\r\n\
         x-content-type-options: nosniff\r\n\
         fanfare-last-event-id: {id}\r\n\
         vary: origin\r\n\
         date: {date}\r\n\
         connection: close\r\n\
         transfer-encoding: chunked\r\n\
         \r\n"
    );
    assert_eq!(head, expected);
}

#[test]
fn the_content_type_comes_first_on_every_stream() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    let page = [("Origin", "https://app.example")];
    for (target, headers) in [("/events?channel=a", &[][..]), ("/channels/a", &page)] {
        let stream = Stream::open_with(hub.public(), target, headers);
        let (name, value) = &stream.head().headers[0];
        assert!(name.eq_ignore_ascii_case("content-type"), "{name}");
        assert_eq!(value, "text/event-stream");
    }
}

#[test]
fn the_head_names_where_the_stream_begins() {
    let hub = Hub::start(&[]);
    let first = publish(&hub, "a", "1");
    let second = publish(&hub, "a", "2");
    for (query, begins) in [("from=now", &second), (&format!("from={first}"), &first)] {
        let mut stream = Stream::open(hub.public(), &format!("/channels/a?{query}"));
        assert_eq!(stream.head().get("fanfare-last-event-id"), Some(begins.as_str()));
        assert_eq!(stream.event().id(), begins, "the open stands there too");
    }
}

#[test]
fn http_1_0_gets_bare_events() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    client.send("GET /channels/a HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
    let mut stream = Stream::over(client);
    let head = stream.head().clone();
    assert!(head.raw.starts_with("HTTP/1.0 200 OK\r\n"), "{}", head.raw);
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(head.get("content-length"), None);
    assert_eq!(head.get("connection"), Some("close"));
    assert_eq!(stream.event().kind(), "fanfare.open");
    let id = publish(&hub, "a", "1\n2");
    assert_eq!(stream.event().raw, format!("id: {id}\ndata: 1\ndata: 2\n\n"));
    post(hub.public(), "/channels/a?close", "");
    assert_eq!(stream.event().kind(), "fanfare.end");
    assert_eq!(stream.end(), End::Cut, "the close is the end");
}

#[test]
fn both_framings_of_a_channel_get_the_same_bytes() {
    let hub = Hub::start(&[]);
    let mut bare = Client::connect(hub.public());
    bare.send("GET /channels/a?open=0 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut bare = Stream::over(bare);
    let mut chunked = Stream::open(hub.public(), "/channels/a?open=0");
    for n in 0..50 {
        publish(&hub, "a", format!("{n}\n{n}"));
    }
    assert_eq!(bare.events(50), chunked.events(50));
    assert_eq!(bare.raw(), chunked.raw());
}

#[test]
fn http_1_0_publishes_too() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    client.send("POST /channels/a HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.json()["subscribers"].as_u64()), (200, Some(0)));
    assert_eq!(client.closed(), Closed::Fin);
}
