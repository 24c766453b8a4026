//! Limits per address behind proxies: whose a request is, by headers and by the PROXY protocol.

use crate::{
    h2_client::Connection,
    limits::{from, is_let_in, reached, subscribe},
    problem, publish,
    support::{
        eventually,
        http::{Client, request},
        hub::Hub,
        sse::Stream,
    },
};

const ONE_EACH: [&str; 4] = ["--connections-per-address-max", "1", "--trusted-proxy", "127.0.0.1"];

#[test]
fn subscriptions_through_a_proxy_count_for_its_clients() {
    let hub = Hub::start(&ONE_EACH);
    let open =
        |name: &str, value: &str| Stream::open_with(hub.public(), "/channels/a", &[(name, value)]);
    let mut one = open("X-Forwarded-For", "203.0.113.66, 192.0.2.1");
    assert!(is_let_in(&mut one));
    for (name, value) in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.1:4711, 127.0.0.1"),
        ("Forwarded", "for=203.0.113.66, for=\"192.0.2.1:4711\";proto=https"),
        ("X-Forwarded-For", "::ffff:192.0.2.1"),
    ] {
        assert!(!is_let_in(&mut open(name, value)), "{name}: {value}");
    }
    assert_eq!(reached(&hub, "connections_per_address"), 4.0);
    let mut other = open("Forwarded", "for=\"[2001:db8::1]\"");
    assert!(is_let_in(&mut other));
    assert!(!is_let_in(&mut open("X-Forwarded-For", "2001:db8::2")), "the same /64");
    // Its publishes do not count, on as many connections as it likes.
    let publishers: Vec<_> = (0..3).map(|_| Client::connect(hub.public())).collect();
    publish(&hub, "a", "x");
    drop(publishers);
    assert_eq!((one.event().data, other.event().data), ("x".into(), "x".into()));
    drop(one);
    eventually("room", || is_let_in(&mut open("X-Forwarded-For", "192.0.2.1")).then_some(()));
}

#[test]
fn who_is_not_trusted_speaks_for_nobody() {
    let hub = Hub::start(&ONE_EACH);
    let mut one = subscribe(from(&hub, 2), "/channels/a", &[("X-Forwarded-For", "192.0.2.1")]);
    assert!(is_let_in(&mut one));
    let mut two = subscribe(from(&hub, 2), "/channels/a", &[("X-Forwarded-For", "192.0.2.2")]);
    assert!(!is_let_in(&mut two), "it is 127.0.0.2 both times");
}

#[tokio::test]
async fn streams_of_one_connection_count_for_their_clients() {
    let hub = Hub::start(&ONE_EACH);
    let h2 = Connection::open(&hub).await;
    let kind = async |client: &str| {
        let mut stream = h2.subscribe("/channels/a", &[("x-forwarded-for", client)]).await;
        let kind = stream.event().await.kind().to_owned();
        (kind, stream)
    };
    let (told, one) = kind("192.0.2.1").await;
    assert_eq!(told, "fanfare.open");
    assert_eq!(kind("192.0.2.1").await.0, "fanfare.reconnect");
    assert_eq!(kind("192.0.2.2").await.0, "fanfare.open");
    drop(one);
    let mut told = String::new();
    for _ in 0..1_000 {
        told = kind("192.0.2.1").await.0;
        if told == "fanfare.open" {
            break;
        }
    }
    assert_eq!(told, "fanfare.open", "it has its stream back");
}

#[test]
fn rates_behind_a_proxy_are_per_client() {
    let flags = ["--publish-rate-per-address-max", "1", "--trusted-proxy", "127.0.0.0/8"];
    let hub = Hub::start(&flags);
    let mut proxy = Client::connect(hub.public());
    let mut post = |client: &str| {
        proxy.request("POST", "/channels/a", &[("X-Forwarded-For", client)], b"x");
        proxy.answer()
    };
    let refused =
        eventually("refused", || Some(post("192.0.2.1")).filter(|answer| answer.status() != 200));
    problem(&refused, 429, "publish-rate");
    assert_eq!(post("192.0.2.2").status(), 200);
    eventually("taken", || (post("192.0.2.1").status() == 200).then_some(()));
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 that names a client of 192.0.2.
fn binary(last: u8) -> Vec<u8> {
    [V2, &[0x21, 0x11, 0, 12, 192, 0, 2, last, 127, 0, 0, 1, 0x12, 0x67, 0, 80]].concat()
}

fn text(last: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 4711 80\r\n").into_bytes()
}

/// A connection of the proxy that begins with this.
fn proxied(hub: &Hub, header: &[u8]) -> Client {
    let mut client = Client::connect(hub.public());
    client.send(header);
    client
}

#[test]
fn the_proxy_protocol_names_the_client() {
    let hub = Hub::start(&[&ONE_EACH[..], &["--proxy-protocol"]].concat());
    let open = |header: &[u8]| subscribe(proxied(&hub, header), "/channels/a", &[]);
    let mut one = open(&text(1));
    assert!(is_let_in(&mut one));
    assert!(!is_let_in(&mut open(&binary(1))), "the same client");
    assert!(is_let_in(&mut open(&binary(2))), "another one");
    // In one piece with the request, or byte by byte.
    let mut whole = proxied(&hub, &[text(3), request("GET", "/channels/a", &[], b"")].concat());
    assert_eq!(whole.head().status, 200);
    let mut slow = Client::connect(hub.public());
    for byte in [binary(4), request("POST", "/channels/a", &[], b"x")].concat() {
        slow.send([byte]);
    }
    assert_eq!(slow.answer().status(), 200);
    let preface =
        [binary(5), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()].concat();
    let mut h2 = proxied(&hub, &preface);
    assert_eq!(h2.bytes().unwrap()[3], 4, "the hub's own SETTINGS");
    // The client's own words about itself count for nothing.
    let claims = [("X-Forwarded-For", "192.0.2.77")];
    assert!(!is_let_in(&mut subscribe(proxied(&hub, &text(1)), "/channels/a", &claims)));
    drop(one);
    eventually("room", || is_let_in(&mut open(&text(1))).then_some(()));
}

#[test]
fn connections_for_which_the_proxy_names_nobody_are_its_own() {
    let binary = |rest: &[u8]| [V2, rest].concat();
    for header in [
        binary(&[0x20, 0, 0, 0]),
        binary(&[0x21, 0, 0, 0]),
        binary(&[0x21, 0x31, 0, 0]),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ] {
        let hub = Hub::start(&[&ONE_EACH[..], &["--proxy-protocol"]].concat());
        let mut own = proxied(&hub, &header);
        own.request("POST", "/channels/a", &[], b"x");
        assert_eq!(own.answer().status(), 200);
        own.request("GET", "/channels/a", &[("X-Forwarded-For", "192.0.2.9")], b"");
        let mut held = Stream::over(own);
        assert!(is_let_in(&mut held));
        let claims = [("X-Forwarded-For", "192.0.2.10")];
        let mut again = subscribe(proxied(&hub, &header), "/channels/a", &claims);
        assert!(!is_let_in(&mut again), "{header:?}: whoever it is for says so itself");
    }
}

#[test]
fn a_proxy_that_leaves_the_header_out_is_cut_off() {
    let hub = Hub::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.1"]);
    for bytes in [
        request("GET", "/channels/a", &[], b""),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 nonsense\r\n".to_vec(),
        [V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ] {
        let mut client = proxied(&hub, &bytes);
        let (said, _) = client.rest();
        assert_eq!(said, b"", "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(reached(&hub, "proxy_header"), 4.0);
    // Who is no proxy is itself, and a header is none of its words.
    let mut own = from(&hub, 2);
    own.request("POST", "/channels/a", &[], b"x");
    assert_eq!(own.answer().status(), 200);
    let mut claims = from(&hub, 2);
    claims.send([text(1), request("GET", "/channels/a", &[], b"")].concat());
    assert_eq!(claims.answer().status(), 400);
    // A header that never ends holds a connection no longer than a request's head may.
    let mut silent = proxied(&hub, b"PROXY TCP4");
    assert_eq!(silent.rest().0, b"");
    assert_eq!(reached(&hub, "head_read"), 1.0);
    assert_eq!(proxied_post(&hub), 200, "and the next one is served");
}

fn proxied_post(hub: &Hub) -> u16 {
    let mut client = proxied(hub, &binary(1));
    client.request("POST", "/channels/a", &[], b"x");
    client.answer().status()
}
