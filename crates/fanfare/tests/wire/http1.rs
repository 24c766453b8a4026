//! Connections of HTTP/1: kept alive, pipelined, handed over, and what is no HTTP at all.

use std::time::{Duration, Instant};

use crate::{
    kept, publish,
    support::{
        http::{Client, Closed, request},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn a_connection_is_kept_for_many_requests() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    for n in 0..50 {
        client.request("POST", "/channels/a", &[], n.to_string().as_bytes());
        assert_eq!(client.answer().status(), 200);
        // Errors do not end it either.
        client.request("POST", "/channels/a?close=x", &[], b"refused");
        assert_eq!(client.answer().status(), 400);
        client.request("GET", "/channels/a", &[("Accept", "application/json")], b"");
        assert_eq!(client.answer().json()["events"].as_array().unwrap().len(), n + 1);
    }
    client.request("POST", "/channels/a", &[("Connection", "close")], b"last");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(client.closed(), Closed::Fin);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let posts =
        (0..40).map(|n: usize| request("POST", "/channels/a", &[], n.to_string().as_bytes()));
    client.send(posts.collect::<Vec<_>>().concat());
    let mut id = || crate::seq(client.answer().json()["id"].as_str().unwrap());
    let ids: Vec<_> = (0..40).map(|_| id()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let expected: Vec<_> = (0..40).map(|n: usize| n.to_string()).collect();
    assert_eq!(kept(&hub, "a"), expected);
}

#[test]
fn a_subscribe_may_be_the_second_request() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    for request in ["POST", "GET"] {
        client.request(request, "/channels/b?close", &[("Accept", "application/json")], b"");
        assert_eq!(client.answer().status(), 200);
    }
    client.request("GET", "/channels/a?open=0", &[], b"");
    let mut stream = Stream::over(client);
    publish(&hub, "a", "1");
    assert_eq!(stream.event().data, "1");
}

#[test]
fn publish_then_subscribe_in_one_segment() {
    let hub = Hub::start(&[]);
    for n in 0..20 {
        let channel = format!("/channels/{n}");
        let mut client = Client::connect(hub.public());
        let both = [
            request("POST", &channel, &[], b"1"),
            request("POST", &channel, &[], b"2"),
            request("GET", &format!("{channel}?from=start&open=0"), &[], b""),
        ];
        client.send(both.concat());
        let first = client.answer();
        let second = client.answer();
        let mut stream = Stream::over(client);
        let ids: Vec<_> = stream.events(2).iter().map(|event| event.id().to_owned()).collect();
        let told = [first, second].map(|a| a.json()["id"].as_str().unwrap().to_owned());
        assert_eq!(ids, told);
    }
}

#[test]
fn a_large_answer_before_a_subscribe_is_sent_whole() {
    let hub = Hub::start(&[]);
    let big = "x".repeat(50_000);
    for _ in 0..40 {
        publish(&hub, "big", &big);
    }
    let mut client = Client::connect(hub.public());
    let history = request("GET", "/channels/big", &[("Accept", "application/json")], b"");
    client.send([history, request("GET", "/channels/a?open=0", &[], b"")].concat());
    // More than the sockets hold: the answer is under way when the subscribe is read.
    crate::metric_becomes(&hub, "fanfare_events_published_total", 40.0);
    let page = client.answer().json();
    let events = page["events"].as_array().unwrap();
    assert!(events.len() > 10 && events.iter().all(|event| event["data"] == big));
    let mut stream = Stream::over(client);
    publish(&hub, "a", "1");
    assert_eq!(stream.event().data, "1");
}

#[test]
fn a_subscribe_may_have_a_body_or_ask_for_an_upgrade() {
    let hub = Hub::start(&[]);
    for headers in [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        // What curl sends with `--http2`.
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ] {
        let mut client = Client::connect(hub.public());
        client.send(format!("GET /channels/a?open=0 HTTP/1.1\r\nHost: localhost\r\n{headers}"));
        let mut stream = Stream::over(client);
        publish(&hub, "a", "1");
        assert_eq!(stream.event().data, "1", "{headers:?}");
    }
}

#[test]
fn a_connection_goes_on_after_204() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    crate::support::http::post(hub.public(), "/channels/a?close", "");
    let mut client = Client::connect(hub.public());
    for _ in 0..3 {
        client.request("GET", &format!("/channels/a?from={id}"), &[], b"");
        assert_eq!(client.answer().status(), 204);
    }
    client.request("POST", "/channels/b", &[], b"x");
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn what_follows_a_subscribe_is_not_a_request() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let smuggled = request("POST", "/channels/a", &[], b"smuggled");
    client.send([request("GET", "/channels/a?open=0", &[], b""), smuggled].concat());
    let mut stream = Stream::over(client);
    publish(&hub, "a", "real");
    assert_eq!(stream.event().data, "real");
    assert_eq!(kept(&hub, "a"), ["real"]);
    crate::support::http::post(hub.public(), "/channels/a?close", "");
    assert_eq!(stream.event().kind(), "fanfare.end");
    assert_eq!((stream.end(), stream.client().closed()), (End::Clean, Closed::Fin));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    for byte in request("POST", "/channels/a", &[], b"x") {
        client.send([byte]);
    }
    assert_eq!(client.answer().status(), 200);
    // `P` also begins the preface of HTTP/2, as far as `PR`.
    let mut client = Client::connect(hub.public());
    for byte in b"PRI /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status(), 405);
}

#[test]
fn a_head_that_never_ends_is_cut() {
    let hub = Hub::start(&[]);
    let half = ["G", "P", "PRI * HTTP/2.0\r\n", "GET /channels/a HTTP/1.1\r\nHost: localhost\r\n"];
    let mut clients: Vec<_> = half
        .iter()
        .map(|half| {
            let mut client = Client::connect(hub.public());
            client.send(half);
            client
        })
        .collect();
    // One more after a request that was answered.
    let mut second = Client::connect(hub.public());
    second.request("POST", "/channels/a", &[], b"x");
    second.answer();
    second.send("GET / HT");
    clients.push(second);
    // And one that keeps dripping, each byte soon after the last.
    let mut dripping = Client::connect(hub.public());
    dripping.set_patience(Duration::from_millis(300));
    let began = Instant::now();
    dripping.send("GET /channels/a HTTP/1.1\r\nX: ");
    while dripping.try_send("x").is_ok() && !is_over(&dripping) {
        assert!(began.elapsed() < crate::support::DEADLINE, "a head that drips is never cut");
    }
    assert!(began.elapsed() > Duration::from_secs(4), "5 s are allowed: {:?}", began.elapsed());
    for mut client in clients {
        let (rest, _) = client.rest();
        let said = String::from_utf8_lossy(&rest);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    publish(&hub, "a", "the hub goes on");
}

#[test]
fn tls_and_other_bytes_on_the_plain_port_do_no_harm() {
    let hub = Hub::start(&[]);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xde\xad\xbe\xef\x00\r\n\r\n\x00\x20";
    let junk: [&[u8]; 6] = [
        hello,
        b"\x00\x00\x00\x00\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    for bytes in junk {
        let mut client = Client::connect(hub.public());
        client.send(bytes);
        let (rest, _) = client.rest();
        let said = String::from_utf8_lossy(&rest);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{bytes:?}: {said}");
    }
    publish(&hub, "a", "the hub goes on");
}

#[test]
fn ambiguous_lengths_are_refused() {
    let hub = Hub::start(&[]);
    for headers in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: x\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
    ] {
        let mut client = Client::connect(hub.public());
        client.send(format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n{headers}\r\nxx"));
        let (rest, _) = client.rest();
        let said = String::from_utf8_lossy(&rest);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{headers:?}: {said}");
    }
    assert_eq!(kept(&hub, "a"), [""; 0]);
    // A chunk whose length is a lie ends the body there.
    let mut client = Client::connect(hub.public());
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}5\r\nab\r\n0\r\n\r\nzzz\r\n"));
    client.finish();
    client.rest();
    assert_eq!(kept(&hub, "a"), [""; 0]);
}

/// Whether the peer has closed, looked at for a moment: this is also the pause between two bytes.
fn is_over(client: &Client) -> bool {
    let mut byte = [0];
    client.socket().peek(&mut byte).is_ok()
        || client.socket().take_error().is_ok_and(|error| error.is_some())
}
