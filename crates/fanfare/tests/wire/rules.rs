//! The rules of the wire, by their numbers in API.md.

use crate::{
    NDJSON, SSE, beside, publish, publish_many, send,
    support::{
        http::{Client, call, post},
        hub::Hub,
        sse::{End, Piece, Stream},
    },
};

#[test]
fn rule_1_only_lf_goes_out() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let id = publish(&hub, "a", "\u{feff}a\r\nb\rc\nd\n\re\u{2028}f\u{85}g\u{b}h\r\n");
    let expected = format!(
        "id: {id}\ndata: \u{feff}a\ndata: b\ndata: c\ndata: d\ndata: \n\
         data: e\u{2028}f\u{85}g\u{b}h\ndata: \n\n"
    );
    assert_eq!(stream.event().raw, expected);
    let body = b"\xef\xbb\xbfevent: t\r\ndata: a\r\rdata: b\r\n\r\n";
    assert_eq!(send(&hub, "/channels/a", SSE, body).status(), 200);
    let id = beside(&id, 1);
    assert_eq!(stream.event().raw, format!("id: {id}\nevent: t\ndata: a\n\n"));
    assert_eq!(stream.event().data, "b");
    // The reader refuses a CR anywhere; here are all the bytes once more.
    assert!(!stream.raw().contains(&b'\r') && stream.raw().starts_with(b":\nid: "));
}

#[test]
fn rule_2_a_heartbeat_is_two_bytes_without_an_empty_line() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0&heartbeat=1");
    (0..3).for_each(|_| stream.heartbeat());
    let id = publish(&hub, "a", "x");
    assert_eq!(stream.event().data, "x");
    let beats = stream.chunks().len() - 1;
    assert!(beats >= 3);
    assert!(stream.chunks()[..beats].iter().all(|chunk| chunk == b":\n"));
    let expected = format!("{}id: {id}\ndata: x\n\n", ":\n".repeat(beats));
    assert_eq!(String::from_utf8_lossy(stream.raw()), expected);
}

#[test]
fn rule_3_a_comment_follows_the_head_at_once() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "x");
    for target in ["/channels/a?open=0", "/channels/a", "/channels/a?from=start&control=off"] {
        let mut stream = Stream::open(hub.public(), target);
        assert_eq!(stream.next(), Ok(Piece::Heartbeat), "{target}");
        assert_eq!(stream.chunks()[0], b":\n");
    }
    let mut client = Client::connect(hub.public());
    client.send("GET /channels/a?open=0 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client.head();
    assert_eq!(client.bytes().unwrap(), b":\n");
}

#[test]
fn rule_4_every_event_has_an_id_and_retry_is_never_alone() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "a", "1");
    publish_many(&hub, "a", 5);
    let body = "retry: 99999999999\n\nid: 7\nretry: 1\ndata: x\n\nretry: 5\n\n";
    assert_eq!(send(&hub, "/channels/a?close", SSE, body).json()["accepted"], 1);
    let target = format!("/channels/a?last_event_id={first}");
    let mut stream = Stream::open(hub.public(), &target);
    let events = stream.events(6);
    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, ["fanfare.open", "fanfare.gap", "", "", "", "fanfare.end"]);
    assert!(events.iter().all(|event| event.id.is_some()));
    let retries: Vec<_> = events.iter().filter_map(|event| event.retry).collect();
    assert_eq!(retries.len(), 1, "only the end says when to come back");
    assert_eq!(stream.end(), End::Clean);
}

#[test]
fn rule_5_data_is_empty_only_if_the_publisher_sent_it_so() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0&heartbeat=1");
    stream.heartbeat();
    stream.heartbeat();
    let id = publish(&hub, "a", "");
    assert_eq!(stream.event().raw, format!("id: {id}\ndata: \n\n"));
    let lines = "{\"data\":\"\"}\n{\"data\":\" \"}\n";
    assert_eq!(send(&hub, "/channels/a", NDJSON, lines).status(), 200);
    assert_eq!(stream.event().raw, format!("id: {}\ndata: \n\n", beside(&id, 1)));
    assert_eq!(stream.event().raw, format!("id: {}\ndata:  \n\n", beside(&id, 2)));
    // Blocks without data are none, as in a browser; one with an empty line of data is.
    assert_eq!(send(&hub, "/channels/a", SSE, "event: x\n\nid: 1\n\ndata\n\n").status(), 200);
    assert_eq!(stream.event().raw, format!("id: {}\ndata: \n\n", beside(&id, 3)));
    publish(&hub, "a", "end");
    assert_eq!(stream.event().data, "end");
}

#[test]
fn rule_6_chunks_hold_whole_pieces() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a");
    let big = "x".repeat(200_000);
    for _ in 0..8 {
        publish(&hub, "a", &big);
        publish_many(&hub, "a", 20);
    }
    post(hub.public(), "/channels/a?close", "");
    let count = stream.events(1 + 8 * 21 + 1).len();
    assert_eq!((count, stream.end()), (170, End::Clean));
    for chunk in stream.chunks() {
        let whole = chunk == b":\n" || (chunk.starts_with(b"id: ") && chunk.ends_with(b"\n\n"));
        assert!(whole, "{:?}", String::from_utf8_lossy(&chunk[..chunk.len().min(80)]));
    }
}

#[test]
fn rule_10_ids_are_lower_case_letters_digits_and_hyphens() {
    let hub = Hub::start(&[]);
    let answered = publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start");
    let begins = stream.head().get("fanfare-last-event-id").unwrap().to_owned();
    let told = [answered, begins, stream.event().id().to_owned(), stream.event().id().to_owned()];
    for id in &told {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(id.len() <= 32 && id.chars().all(allowed), "{id}");
        assert_eq!(id.split_once('-').unwrap().0.len(), 8, "{id}");
    }
    let another = Hub::start(&[]);
    let epoch = |id: &str| id.split_once('-').unwrap().0.to_owned();
    assert_ne!(epoch(&publish(&another, "a", "1")), epoch(&told[0]), "a life has its own epoch");
    // A preflight that some clients send for the header anyway.
    let headers = [
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "last-event-id"),
    ];
    let answer = call(hub.public(), "OPTIONS", "/channels/a", &headers, b"");
    assert_eq!(answer.status(), 204);
    let allowed = answer.get("access-control-allow-headers").unwrap().to_lowercase();
    assert!(allowed.split(", ").any(|name| name == "last-event-id"), "{allowed}");
}
