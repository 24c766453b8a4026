//! Names of channels, and tricks with percent-encoding.

use crate::{
    history, problem,
    support::{
        http::{Client, call, get, post},
        hub::Hub,
    },
};

#[test]
fn good_names_are_decoded_once() {
    let hub = Hub::start(&[]);
    let longest = "x".repeat(255);
    let deepest = ["s"; 16].join("/");
    for (path, name) in [
        ("news", "news"),
        ("orders/42", "orders/42"),
        ("gr%C3%B6%c3%9fe/a%20b", "größe/a b"),
        ("a%2525", "a%25"),
        ("100%25", "100%"),
        ("a+b;c=d@e:f", "a+b;c=d@e:f"),
        ("a..b/.c/d.", "a..b/.c/d."),
        ("x$/$y", "x$/$y"),
        ("%6e%65ws2", "news2"),
        (&longest, &longest),
        (&"%61".repeat(255), &"a".repeat(255)),
        (&deepest, &deepest),
    ] {
        assert_eq!(post(hub.public(), &format!("/channels/{path}"), "x").status(), 200, "{path}");
        let page = history(&hub, path);
        assert_eq!(page["channel"], name, "{path}");
        let told = get(hub.admin(), &format!("/api/channels/{path}")).json();
        assert_eq!(told["channel"], name, "{path}");
    }
}

#[test]
fn wrong_names_are_refused_for_every_method() {
    let hub = Hub::start(&[]);
    let long = "x".repeat(256);
    let long_decoded = "%C3%A4".repeat(128);
    let deep = ["s"; 17].join("/");
    let json = [("Accept", "application/json")];
    for (path, slug) in [
        ("", "channel-name"),
        ("/", "channel-name"),
        ("/a", "channel-name"),
        ("a/", "channel-name"),
        ("a//b", "channel-name"),
        (".", "channel-name"),
        ("..", "channel-name"),
        ("a/../b", "channel-name"),
        ("%2e%2e/b", "channel-name"),
        ("a/%2E", "channel-name"),
        ("a%2Fb", "channel-name"),
        ("a%2fb", "channel-name"),
        ("a%00", "channel-name"),
        ("a%0Ab", "channel-name"),
        ("a%0D%0AX-Evil:%20y", "channel-name"),
        ("a%7F", "channel-name"),
        ("a%C2%85b", "channel-name"),
        ("*", "channel-name"),
        ("a/%2A", "channel-name"),
        ("a*", "channel-name"),
        ("$hub", "channel-name"),
        ("%24hub/x", "channel-name"),
        ("%", "path"),
        ("%2", "path"),
        ("a%zz", "path"),
        ("%+1", "path"),
        ("%ff", "path"),
        ("%c3", "path"),
        ("%ed%a0%80", "path"),
        (&long, "channel-name"),
        (&long_decoded, "channel-name"),
        (&deep, "channel-name"),
    ] {
        let target = format!("/channels/{path}");
        problem(&post(hub.public(), &target, "x"), 400, slug);
        problem(&get(hub.public(), &target), 400, slug);
        problem(&call(hub.public(), "GET", &target, &json, b""), 400, slug);
        problem(&call(hub.public(), "DELETE", &target, &[], b""), 400, slug);
    }
    let told = problem(&post(hub.public(), &format!("/channels/{long}"), "x"), 400, "channel-name");
    assert_eq!(told["limit"]["value"], 255, "{told}");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("256") && detail.contains("255"), "{detail}");
    let told = problem(&get(hub.public(), &format!("/channels/{deep}")), 400, "channel-name");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("17") && detail.contains("16"), "{detail}");
    assert_eq!(crate::metric(&hub, "fanfare_channels"), 0.0);
}

#[test]
fn the_same_rules_hold_in_a_query() {
    let hub = Hub::start(&[]);
    for name in ["a%2F%2Fb", "%2Fa", "..", "a%2F..", "a%00", "%24hub", &"x".repeat(256)] {
        let answer = get(hub.public(), &format!("/events?channel={name}"));
        problem(&answer, 400, "channel-name");
    }
    problem(&get(hub.public(), "/events?channel=%ff"), 400, "query");
    // A query's slash may be encoded: it is a value, not a path.
    let stream = crate::support::sse::Stream::open(hub.public(), "/events?channel=a%2Fb&open=0");
    assert_eq!(post(hub.public(), "/channels/a/b", "x").json()["subscribers"], 1);
    drop(stream);
}

#[test]
fn a_fragment_or_raw_bytes_in_a_target_do_no_harm() {
    let hub = Hub::start(&[]);
    for target in ["/channels/a b", "channels/a", "", "\\a", "/channels/a\u{0}", "/channels/\t"] {
        let mut client = Client::connect(hub.public());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let said = client.bytes().unwrap_or_default();
        let is_fine = said.is_empty() || said.starts_with(b"HTTP/1.1 4");
        assert!(is_fine, "{target:?}: {:?}", String::from_utf8_lossy(&said));
    }
    // A fragment is no part of the name, and UTF-8 that is not encoded is taken as it is.
    for (target, name) in [("/channels/a#b", "a"), ("/channels/\u{e4}", "\u{e4}")] {
        let mut stream = crate::support::sse::Stream::open(hub.public(), target);
        assert_eq!(stream.event().json()["channels"][0], name);
    }
    crate::publish(&hub, "b", "the hub goes on");
}
