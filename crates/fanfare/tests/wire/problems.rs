//! Every error is a problem of RFC 9457, with what was wrong and what is allowed.

use std::fs;

use crate::{
    problem,
    support::{
        http::{Client, call, get, post},
        hub::Hub,
    },
};

#[test]
fn paths_and_methods_that_there_are_not() {
    let hub = Hub::start(&[]);
    for target in ["/nothing", "/channels", "/Channels/a", "/events/", "/channel/a", "//"] {
        problem(&get(hub.public(), target), 404, "not-found");
    }
    // What there is, is what the documentation has.
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let document = fs::read_to_string(document).unwrap();
    let paths = document.lines().filter_map(|line| line.strip_prefix("| `/")?.split('`').next());
    let told = get(hub.public(), "/nothing").json();
    let missing: Vec<_> = paths
        .filter(|path| !told["detail"].as_str().unwrap().contains(&format!("`/{path}`")))
        .collect();
    assert_eq!(missing, [""; 0], "{told}");
    assert!(document.contains("\n| `/client.js` |"), "the table has a row for each");
    for (method, target, allowed) in [
        ("PUT", "/channels/a", "POST"),
        ("PATCH", "/channels/a", "DELETE"),
        ("DELETE", "/events", "GET"),
        ("POST", "/", "GET"),
        ("BREW", "/channels/a", "GET"),
    ] {
        let answer = call(hub.public(), method, target, &[], b"");
        problem(&answer, 405, "method-not-allowed");
        assert!(answer.get("allow").unwrap().contains(allowed), "{method} {target}");
    }
}

#[test]
fn a_problem_says_what_was_wrong_and_what_is_allowed() {
    let hub = Hub::start(&["--event-data-bytes-max", "10"]);
    let answer = post(hub.public(), "/channels/a", "x".repeat(11));
    let told = problem(&answer, 413, "event-too-large");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("11") && detail.contains("10"), "{detail}");
    assert_eq!(told["limit"]["value"], 10, "{told}");
    let members: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(["type", "title", "status", "detail", "limit"].iter().all(|m| members.contains(m)));
    let told = problem(&get(hub.public(), "/channels/a?heartbeat=61"), 400, "query");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("61") && detail.contains("60"), "{detail}");
    assert_eq!(told.get("limit"), None, "no limit was met: {told}");
}

#[test]
fn a_problem_repeats_no_more_of_a_request_than_it_should() {
    let hub = Hub::start(&[]);
    let long = "x".repeat(20_000);
    let answer = get(hub.public(), &format!("/channels/a?from={long}"));
    problem(&answer, 400, "query");
    assert!(answer.body.len() < 1_000, "{}", answer.body.len());
    let answer = get(hub.public(), "/channels/a?from=%3Cscript%3E%0D%0A");
    problem(&answer, 400, "query");
    assert_eq!(answer.get("cache-control"), Some("no-store"));
}

#[test]
fn too_many_parameters_are_refused() {
    let hub = Hub::start(&[]);
    let answer = get(hub.public(), &format!("/channels/a?{}", "x=1&".repeat(1_000)));
    assert!(problem(&answer, 400, "query")["limit"]["value"].is_u64());
}

#[test]
fn a_head_that_is_too_big_is_refused() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let big = "x".repeat(1_000_000);
    // It may be refused before all of it is sent.
    drop(
        client.try_send(format!("GET /channels/a HTTP/1.1\r\nHost: localhost\r\nX: {big}\r\n\r\n")),
    );
    let (rest, _) = client.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"), "{rest:?}");
    crate::publish(&hub, "a", "the hub goes on");
}
