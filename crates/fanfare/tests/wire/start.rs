//! Starts off loopback: refused, with what is missing and what to do, unless it was said.

use std::net::SocketAddr;

use crate::{
    problem,
    support::{
        http::call,
        hub::{Hub, run},
    },
};

#[test]
fn a_start_off_loopback_is_refused_and_says_what_to_do() {
    for (flags, named) in [
        (&["--listen", "0.0.0.0:0"][..], &["--allowed-host", "--insecure-open"][..]),
        (&["--listen", "0.0.0.0:0", "--allowed-host", "hub.example"], &["--insecure-open"]),
        (&["--listen", "0.0.0.0:0", "--insecure-open"], &["--allowed-host"]),
        (&["--listen", "[::]:0"], &["--allowed-host", "--insecure-open"]),
        (&["--admin-listen", "0.0.0.0:0"], &["--allowed-host", "--insecure-open-admin"]),
        (
            &["--admin-listen", "0.0.0.0:0", "--allowed-host", "x", "--insecure-open"],
            &["--insecure-open-admin"],
        ),
    ] {
        for command in [&["serve"][..], &["check"], &[]] {
            let exit = run(&[command, flags].concat());
            assert_eq!(exit.code, Some(64), "{flags:?}: {}", exit.said);
            assert!(named.iter().all(|flag| exit.said.contains(flag)), "{flags:?}: {}", exit.said);
        }
    }
}

#[test]
fn a_start_off_loopback_that_was_meant_serves() {
    let flags = ["--listen", "0.0.0.0:0", "--allowed-host", "hub.example", "--insecure-open"];
    let hub = Hub::start(&flags);
    let public = SocketAddr::from(([127, 0, 0, 1], hub.public().port()));
    let publish = |host| call(public, "POST", "/channels/a", &[("Host", host)], b"x");
    assert_eq!(publish("hub.example").status(), 200);
    problem(&publish("evil.example"), 403, "host-not-allowed");
    let evil = [("Host", "hub.example"), ("Origin", "https://evil.example")];
    let answer = call(public, "POST", "/channels/a", &evil, b"x");
    problem(&answer, 403, "origin-not-allowed");
}

#[test]
fn every_host_off_loopback_is_allowed_and_warned_about() {
    let flags = ["--listen", "0.0.0.0:0", "--allowed-host", "*", "--insecure-open"];
    let hub = Hub::start(&flags);
    let public = SocketAddr::from(([127, 0, 0, 1], hub.public().port()));
    let answer = call(public, "POST", "/channels/a", &[("Host", "any.example")], b"x");
    assert_eq!(answer.status(), 200);
    let warned = |said: &String| said.contains("--allowed-host");
    crate::eventually("a warning", || Some(hub.said()).filter(warned));
}
