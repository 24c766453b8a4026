//! A body of many events that is itself an event stream.

use serde_json::json;

use crate::{
    SSE, kept,
    ndjson::streaming,
    problem, send,
    support::{
        http::{Client, chunk},
        hub::Hub,
        sse::Stream,
    },
};

/// Blocks with every line end, and what they are published as.
const BODY: &str = "\u{feff}: a comment\r\nevent: t\r\nid: 7\r\nretry: 1\r\ndata: a\r\n\r\n\
                    data: b\rdata:c\rdata:  d\r\r\
                    data: größe\n\n\n\
                    event: none\n\n\
                    data\n\n\
                    event:u\nevent: v\ndata: e\nother: x\nDATA: x\n\n\
                    data: unfinished";
const EVENTS: [(&str, &str); 5] =
    [("t", "a"), ("", "b\nc\n d"), ("", "größe"), ("", ""), ("v", "e")];

#[test]
fn blocks_are_read_as_a_browser_reads_them() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let answer = send(&hub, "/channels/a", SSE, BODY);
    let events = stream.events(EVENTS.len());
    let said: Vec<_> = events.iter().map(|event| (event.kind(), event.data.as_str())).collect();
    assert_eq!(said, EVENTS);
    let told = json!({"first_id": events[0].id(), "last_id": events[4].id(), "accepted": 5});
    assert_eq!((answer.status(), answer.json()), (200, told));
    assert!(events.iter().all(|event| event.retry.is_none() && event.id() != "7"));
}

#[test]
fn borders_between_chunks_do_not_matter() {
    let hub = Hub::start(&[]);
    for size in [1, 2, 3, 7] {
        let channel = format!("/channels/by/{size}");
        let mut publisher = streaming(&hub, &channel, SSE);
        let chunks: Vec<u8> = BODY.as_bytes().chunks(size).flat_map(chunk).collect();
        publisher.send(chunks);
        publisher.send_chunk("");
        assert_eq!(publisher.answer().json()["accepted"], 5, "chunks of {size}");
        assert_eq!(kept(&hub, &format!("by/{size}")), EVENTS.map(|(_, data)| data));
    }
}

#[test]
fn each_event_is_published_as_its_block_ends() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a", SSE);
    // A CR alone may be an empty line: nothing is waited for after it.
    for (part, data) in
        [("data: 1\n\n", "1"), ("data: 2\r\r", "2"), ("\n", ""), ("data: 3\r\n\r\n", "3")]
    {
        publisher.send_chunk(part);
        if !data.is_empty() {
            assert_eq!(stream.event().data, data);
        }
    }
    publisher.send_chunk(": only to stay open\n");
    publisher.send_chunk("");
    assert_eq!(publisher.answer().json()["accepted"], 3);
}

#[test]
fn event_is_the_type_of_blocks_that_name_none() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    send(&hub, "/channels/a?event=t", SSE, "data: 1\n\nevent: own\ndata: 2\n\ndata: 3\n\n");
    let events = stream.events(3);
    assert_eq!(events.iter().map(|event| event.kind()).collect::<Vec<_>>(), ["t", "own", "t"]);
}

#[test]
fn a_wrong_block_ends_the_request_and_those_before_stay() {
    let hub = Hub::start(&["--event-data-bytes-max", "100"]);
    let big = format!("data: {}\ndata: {}\n\n", "x".repeat(60), "x".repeat(60));
    let long = format!(": {}\n\n", "x".repeat(3_000));
    let wrong: [(&[u8], u16, &str); 4] = [
        (b"data: \xff\n\n", 400, "not-utf-8"),
        (b"event: fanfare.end\ndata: x\n\n", 400, "event-type"),
        (big.as_bytes(), 413, "event-too-large"),
        (long.as_bytes(), 413, "line-too-long"),
    ];
    for (index, (block, status, slug)) in wrong.into_iter().enumerate() {
        let body = [b"data: a\n\ndata: b\n\n", block, b"data: c\n\n"].concat();
        let answer = send(&hub, &format!("/channels/wrong/{index}"), SSE, body);
        let told = problem(&answer, status, slug);
        assert_eq!(told["accepted"], 2, "{told}");
        assert!(told["line"].as_u64().unwrap() >= 5, "{told}");
        assert_eq!(kept(&hub, &format!("wrong/{index}")), ["a", "b"]);
    }
}

#[test]
fn the_body_of_a_stream_can_be_published_again() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    send(&hub, "/channels/a", SSE, BODY);
    stream.events(EVENTS.len());
    let answer = send(&hub, "/channels/b", SSE, stream.raw());
    assert_eq!(answer.json()["accepted"], EVENTS.len());
    assert_eq!(kept(&hub, "b"), kept(&hub, "a"));
}

#[test]
fn the_body_needs_no_length() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let body = "data: x\n\n";
    client.request("POST", "/channels/a", &[("Content-Type", SSE)], body.as_bytes());
    assert_eq!(client.answer().json()["accepted"], 1);
}
