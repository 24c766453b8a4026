//! Which `Host` a request may name.

use crate::{
    problem,
    support::{
        http::{Client, call},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn on_loopback_only_loopback_names_are_let_in() {
    let hub = Hub::start(&["--allowed-host", "hub.example"]);
    for host in [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1",
        "127.0.0.1:65535",
        "[::1]",
        "[::1]:8080",
        "hub.example",
        "Hub.Example:443",
    ] {
        for (address, target) in [(hub.public(), "/"), (hub.admin(), "/metrics")] {
            let answer = call(address, "GET", target, &[("Host", host)], b"");
            assert_eq!(answer.status(), 200, "{host} {target}");
        }
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
    ] {
        for (address, target) in [
            (hub.public(), "/"),
            (hub.public(), "/channels/a"),
            (hub.public(), "/none"),
            (hub.admin(), "/metrics"),
            (hub.admin(), "/api/stats"),
        ] {
            let answer = call(address, "GET", target, &[("Host", host)], b"");
            problem(&answer, 403, "host-not-allowed");
        }
        let answer = call(hub.public(), "POST", "/channels/a", &[("Host", host)], b"x");
        problem(&answer, 403, "host-not-allowed");
        let answer = call(hub.public(), "DELETE", "/channels/a", &[("Host", host)], b"");
        problem(&answer, 403, "host-not-allowed");
    }
}

#[test]
fn no_host_two_hosts_or_nonsense_are_refused() {
    let hub = Hub::start(&[]);
    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host:\r\n",
        "Host: localhost:x\r\n",
        "Host: [::1\r\n",
    ] {
        let mut client = Client::connect(hub.public());
        client.send(format!("GET /channels/a HTTP/1.1\r\n{hosts}\r\n"));
        let answer = client.answer();
        assert!(matches!(answer.status(), 400 | 403), "{hosts:?}: {answer:?}");
    }
    // An absolute target names a host, too.
    for (target, host, status) in [
        ("http://localhost/", "localhost", 200),
        ("http://evil.example/", "localhost", 403),
        ("http://localhost/", "evil.example", 403),
    ] {
        let mut client = Client::connect(hub.public());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status(), status, "{target} {host}");
    }
}

#[test]
fn a_star_lets_every_host_in() {
    let hub = Hub::start(&["--allowed-host", "*"]);
    let stream = Stream::open_with(hub.public(), "/channels/a", &[("Host", "any.example:1")]);
    assert_eq!(stream.head().status, 200);
}

#[test]
fn probes_are_answered_whatever_host_they_name() {
    let hub = Hub::start(&[]);
    for target in ["/livez", "/readyz"] {
        let answer = call(hub.admin(), "GET", target, &[("Host", "10.1.2.3:8081")], b"");
        assert_eq!(answer.status(), 200, "{target}");
    }
}
