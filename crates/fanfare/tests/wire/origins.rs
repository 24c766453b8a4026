//! Which pages may read and publish, and `OPTIONS`.

use crate::{
    kept, problem, publish,
    support::{
        http::{Answer, call},
        hub::Hub,
        sse::{End, Stream},
    },
};

const OWN: [&str; 3] = ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]"];
const FOREIGN: [&str; 6] = [
    "https://evil.example",
    "http://localhost.evil.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "null",
    "",
];

#[test]
fn own_and_named_origins_may_publish_delete_and_read() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    for origin in [&OWN[..], &["https://app.example"]].concat() {
        for (method, body) in [("POST", "x"), ("DELETE", "")] {
            let answer = from(&hub, method, "/channels/a", origin, body);
            assert!(answer.status() < 300, "{origin} {method}");
            may_read(&answer, origin);
        }
        publish(&hub, "a", "1");
        let page = [("Origin", origin), ("Accept", "application/json")];
        may_read(&call(hub.public(), "GET", "/channels/a", &page, b""), origin);
        // Errors can be read by it as well.
        may_read(&from(&hub, "GET", "/none", origin, ""), origin);
        let mut stream =
            Stream::open_with(hub.public(), "/channels/a?from=start", &[("Origin", origin)]);
        assert_eq!(stream.head().get("access-control-allow-origin"), Some(origin));
        assert_eq!(stream.events(2)[1].data, "1");
    }
}

#[test]
fn a_foreign_page_may_neither_publish_nor_read() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    let id = publish(&hub, "a", "1");
    for origin in FOREIGN {
        for (method, target) in
            [("POST", "/channels/a"), ("DELETE", "/channels/a"), ("POST", "/events")]
        {
            let answer = from(&hub, method, target, origin, "x");
            problem(&answer, 403, "origin-not-allowed");
            assert_eq!(answer.get("access-control-allow-origin"), None);
        }
        let stream = Stream::open_with(hub.public(), "/channels/a", &[("Origin", origin)]);
        assert_eq!(stream.head().get("access-control-allow-origin"), None, "{origin}");
        assert_eq!(stream.head().get("vary"), Some("Origin"));
        let answer = from(&hub, "OPTIONS", "/channels/a", origin, "");
        assert_eq!(answer.get("access-control-allow-origin"), None, "{origin}");
    }
    assert_eq!(kept(&hub, "a"), ["1"]);
    // The admin listener takes no foreign page at all.
    for origin in FOREIGN {
        let header = [("Origin", origin)];
        problem(&call(hub.admin(), "POST", "/api/drain", &header, b""), 403, "origin-not-allowed");
    }
    assert_eq!(call(hub.admin(), "GET", "/readyz", &[], b"").status(), 200);
    assert_eq!(crate::beside(&id, 1), publish(&hub, "a", "2"), "nothing came between");
}

#[test]
fn two_origins_are_foreign() {
    let hub = Hub::start(&[]);
    let two = [("Origin", "http://localhost"), ("Origin", "https://evil.example")];
    problem(&call(hub.public(), "POST", "/channels/a", &two, b"x"), 403, "origin-not-allowed");
}

#[test]
fn a_star_accepts_every_origin() {
    let hub = Hub::start(&["--cors-origin", "*"]);
    for origin in ["https://evil.example", "null"] {
        let answer = from(&hub, "POST", "/channels/a", origin, "x");
        assert_eq!(answer.status(), 200);
        let allowed = answer.get("access-control-allow-origin").unwrap();
        assert!(allowed == "*" || allowed == origin, "{allowed}");
        assert_eq!(answer.get("access-control-allow-credentials"), None);
    }
}

#[test]
fn options_is_answered() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    for target in ["/channels/a", "/events", "*"] {
        let headers = [
            ("Origin", "https://app.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type, idempotency-key, last-event-id"),
        ];
        let answer = call(hub.public(), "OPTIONS", target, &headers, b"");
        assert_eq!((answer.status(), answer.text()), (204, ""), "{target}");
        may_read(&answer, "https://app.example");
        let methods = answer.get("access-control-allow-methods").unwrap();
        assert!(methods.contains("POST") && methods.contains("DELETE"), "{methods}");
        let allowed = answer.get("access-control-allow-headers").unwrap().to_lowercase();
        for header in ["last-event-id", "content-type", "idempotency-key", "cache-control"] {
            assert!(allowed.split(", ").any(|name| name == header), "{header}: {allowed}");
        }
        let plain = call(hub.public(), "OPTIONS", target, &[], b"");
        assert_eq!(plain.status(), 204, "{target}");
        assert!(plain.get("allow").unwrap().contains("GET"), "{target}");
        assert_eq!(plain.get("access-control-allow-origin"), None);
    }
}

#[test]
fn answers_with_204_can_be_read_by_pages() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    crate::support::http::post(hub.public(), "/channels/a?close", "");
    let page = [("Origin", OWN[0]), ("Last-Event-ID", id.as_str())];
    let answer = call(hub.public(), "GET", "/channels/a", &page, b"");
    assert_eq!(answer.status(), 204, "without the header a browser takes it for an error");
    may_read(&answer, OWN[0]);
    // The same for what is refused in the subscribe itself.
    let page = [("Origin", OWN[0]), ("Last-Event-ID", "x")];
    let answer = call(hub.public(), "GET", "/channels/a?control=off", &page, b"");
    problem(&answer, 410, "gap");
    may_read(&answer, OWN[0]);
    let answer = call(hub.public(), "GET", "/channels/a?heartbeat=0", &page, b"");
    problem(&answer, 400, "query");
    may_read(&answer, OWN[0]);
}

#[test]
fn pages_are_sent_away_with_headers_that_let_them_read_it() {
    let hub = Hub::start(&["--connections-max", "1"]);
    let first = Stream::open(hub.public(), "/channels/a");
    let mut away = Stream::open_with(hub.public(), "/channels/a", &[("Origin", OWN[0])]);
    assert_eq!(away.head().get("access-control-allow-origin"), Some(OWN[0]));
    assert_eq!(away.event().kind(), "fanfare.reconnect");
    assert_eq!(away.end(), End::Cut);
    drop(first);
}

fn from(hub: &Hub, method: &str, target: &str, origin: &str, body: &str) -> Answer {
    call(hub.public(), method, target, &[("Origin", origin)], body.as_bytes())
}

#[track_caller]
fn may_read(answer: &Answer, origin: &str) {
    assert_eq!(answer.get("access-control-allow-origin"), Some(origin), "{}", answer.head.raw);
    assert_eq!(answer.get("vary"), Some("Origin"));
}
