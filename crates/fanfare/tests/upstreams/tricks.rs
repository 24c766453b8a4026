//! What a request could try: other hosts, other paths, other pages.

use crate::{
    SECRET, error, fetch, fetch_path, hub, problem,
    scripted::{Upstream, stream},
    support::{
        http::{Client, call, get},
        hub::Hub,
    },
    table,
};

#[test]
fn only_what_is_allowed_is_asked_for() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&upstream.url(), "");
    for (target, status, slug) in [
        ("/upstreams/u/v2/chat", 403, "upstream-path"),
        ("/upstreams/u/v1", 403, "upstream-path"),
        ("/upstreams/u/V1/chat", 403, "upstream-path"),
        ("/upstreams/u/v1/../v2", 400, "path"),
        ("/upstreams/u/v1/./x", 400, "path"),
        ("/upstreams/u/v1/%2e%2e/v2", 400, "path"),
        ("/upstreams/u/v1/%2E%2E%2Fv2", 400, "path"),
        ("/upstreams/u/v1//x", 400, "path"),
        ("/upstreams/u//v1/x", 400, "path"),
        ("/upstreams/u/v1/x%00", 400, "path"),
        ("/upstreams/u/v1/x%0d%0aHost:evil", 400, "path"),
        ("/upstreams/u/@evil.example/", 400, "path"),
        ("/upstreams/u/v1/@evil.example", 400, "path"),
        ("/upstreams/u/http://evil.example/", 400, "path"),
        ("/upstreams/u/v1/a\\b", 400, "path"),
        ("/upstreams/u/v1/a;b", 400, "path"),
        ("/upstreams/u/", 400, "path"),
        ("/upstreams/u", 404, "not-found"),
        ("/upstreams/", 404, "not-found"),
        ("/upstreams/other/v1/chat", 404, "upstream-not-found"),
        ("/upstreams/u%2f../v1/chat", 404, "not-found"),
        ("/upstreams/U/v1/chat", 404, "not-found"),
        ("/upstreams/u/v1/chat?channel=..", 400, "channel-name"),
        ("/upstreams/u/v1/chat?channel=$hub", 400, "channel-name"),
        ("/upstreams/u/v1/chat?channel=a&channel=b", 400, "query"),
        ("/upstreams/u/v1/chat?must_be_new=maybe", 400, "query"),
    ] {
        let answer = fetch_path(&hub, target);
        assert_eq!(answer.status(), status, "{target}: {}", answer.text());
        problem(&answer, status, slug);
    }
    assert!(upstream.was_not_asked());
}

#[test]
fn a_request_for_a_whole_url_is_one_for_its_path() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&upstream.url(), "");
    let target = "http://evil.example/upstreams/u/v1/chat";
    problem(&fetch_path(&hub, target), 403, "host-not-allowed");
    let target = "http://localhost/upstreams/u/v1/chat?channel=a";
    assert_eq!(fetch_path(&hub, target).status(), 202);
    let asked = upstream.asked();
    assert!(asked.starts_with("POST /v1/chat HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains(&format!("host: 127.0.0.1:{}", upstream.port())));
}

#[test]
fn pages_of_others_start_nothing() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&upstream.url(), "");
    // A simple request: a browser sends it without asking first.
    let headers = [("Origin", "https://evil.example"), ("Content-Type", "text/plain")];
    let target = "/upstreams/u/v1/chat?channel=a";
    let answer = call(hub.public(), "POST", target, &headers, b"{}");
    problem(&answer, 403, "origin-not-allowed");
    let headers = [("Host", "evil.example")];
    let answer = call(hub.public(), "POST", target, &headers, b"{}");
    problem(&answer, 403, "host-not-allowed");
    assert!(upstream.was_not_asked());
    for method in ["GET", "PUT", "DELETE"] {
        let answer = call(hub.public(), method, target, &[], b"");
        problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.get("allow"), Some("POST, OPTIONS"));
    }
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let port = upstream.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "0",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
    ] {
        let hub = Hub::configured(&table(&format!("http://{host}:{port}"), ""), &[]);
        assert_eq!(fetch(&hub, "a").status(), 202);
        let (told, _) = error(&hub, "a");
        assert_eq!(told["type"], "upstream_address", "{host}: {told}");
    }
    assert!(upstream.was_not_asked());
}

#[test]
fn a_redirect_to_a_private_address_is_not_followed() {
    let inside = Upstream::answering(stream(&["data: 1\n\n"]));
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}/v1/chat\r\nContent-Length: 0\r\n\r\n",
        inside.url()
    );
    let upstream = Upstream::answering(answer);
    let hub = hub(&upstream.url(), "");
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_redirect");
    assert!(inside.was_not_asked());
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let proxy = Upstream::answering(stream(&["data: of the proxy\n\n"]));
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let settings = table(&upstream.url(), "allow_private = true");
    let path = std::env::temp_dir().join(format!("fanfare-proxy-{}.toml", std::process::id()));
    std::fs::write(&path, settings).unwrap();
    let url = proxy.url();
    let variables = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"];
    let variables = variables.map(|name| (name, url.as_str()));
    let hub = Hub::with_variables(&["--config", path.to_str().unwrap()], &variables);
    fetch(&hub, "a");
    assert_eq!(crate::data(&crate::closed(&hub, "a")), ["1"]);
    assert!(proxy.was_not_asked());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_body_is_bounded_and_whole() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let settings = table(&upstream.url(), "allow_private = true");
    let hub = Hub::configured(&settings, &["--upstream-body-bytes-max", "1KiB"]);
    let target = "/upstreams/u/v1/chat?channel=a";
    let post = |body: &[u8]| call(hub.public(), "POST", target, &[], body);
    problem(&post(&[b'x'; 1_025]), 413, "upstream-body-too-large");
    let mut client = Client::connect(hub.public());
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc");
    client.send(head);
    client.finish();
    drop(client);
    let gzip = [("Content-Encoding", "gzip")];
    problem(&call(hub.public(), "POST", target, &gzip, b"x"), 415, "media-type");
    assert_eq!(post(&[b'x'; 1_024]).status(), 202);
    assert!(upstream.asked().ends_with(&"x".repeat(1_024)));
    assert!(upstream.was_not_asked(), "half a body is not handed on");
}

#[test]
fn no_secret_is_anywhere() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let hub = hub(&format!("{}?key={SECRET}", upstream.url()), "");
    fetch(&hub, "a");
    assert!(upstream.asked().contains(&format!("?key={SECRET}")));
    crate::closed(&hub, "a");
    for path in ["/metrics", "/api/stats", "/api/channels", "/api/channels/a", "/"] {
        let answer = get(hub.admin(), path);
        assert!(!answer.text().contains("hunter2"), "{path}");
    }
    assert!(!hub.said().contains("hunter2"), "{}", hub.said());
    assert!(!hub.printed().contains("hunter2"));
}
