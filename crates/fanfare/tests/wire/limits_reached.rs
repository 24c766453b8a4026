//! Limits of requests, of what is kept and of the process: each is reached, shows in its metric,
//! and lets go.

use std::fmt::Write as _;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{
    NDJSON,
    limits::reached,
    ndjson::streaming,
    peers::{narrow, slow},
    problem, publish, publish_many, send,
    support::{
        eventually,
        http::{Client, call, get},
        hub::Hub,
        sse::Stream,
    },
};

/// Waits until a limit was reached.
fn becomes_reached(hub: &Hub, limit: &str) {
    eventually(limit, || (reached(hub, limit) > 0.0).then_some(()));
}

#[test]
fn idempotency_keys() {
    let hub = Hub::start(&["--idempotency-keys-max", "1"]);
    let keyed =
        |key: &str| call(hub.public(), "POST", "/channels/a", &[("Idempotency-Key", key)], b"");
    assert_eq!(keyed("one").status(), 200);
    problem(&keyed("two"), 503, "idempotency-keys-full");
    assert_eq!(reached(&hub, "idempotency_keys"), 1.0);
    assert_eq!(keyed("one").status(), 200, "who has a key keeps it");
    publish(&hub, "a", "and who needs none goes on");
}

#[test]
fn events_of_the_journal() {
    let hub = Hub::start(&["--journal-events-max", "1024", "--ring-events", "1024"]);
    publish_many(&hub, "a", 1_024);
    assert_eq!(reached(&hub, "journal_events"), 0.0);
    publish(&hub, "b", "one more");
    assert_eq!(reached(&hub, "journal_events"), 1.0);
    let mut all = Stream::open(hub.public(), "/events?channel=**&open=0&from=start");
    assert_eq!(all.event().data, "2", "the oldest made room");
}

#[test]
fn what_requests_hold() {
    // 4 MiB: a body that is not whole holds up to twice what it has.
    let hub = Hub::start(&["--memory-max", "64MiB", "--rings-bytes-max", "36MiB"]);
    let line = [b"{\"data\":\"".as_slice(), &[b'x'; 250_000]].concat();
    let mut begun = Vec::new();
    eventually("refused", || {
        let mut client = streaming(&hub, "/channels/a", NDJSON);
        client.send_chunk(&line);
        begun.push(client);
        (reached(&hub, "requests_bytes") > 0.0).then_some(())
    });
    let mut first = begun.swap_remove(0);
    first.send_chunk("\"}\n");
    first.send_chunk("");
    assert_eq!(first.answer().json()["accepted"], 1, "who has begun may end");
    drop(begun);
    eventually("room", || {
        let mut client = streaming(&hub, "/channels/a", NDJSON);
        client.send_chunk(&line);
        client.send_chunk("\"}\n");
        client.send_chunk("");
        (client.answer().status() == 200).then_some(())
    });
}

#[test]
fn bytes_of_a_line() {
    let hub = Hub::start(&["--event-data-bytes-max", "100"]);
    let long = format!("{{\"data\":\"{}\"}}\n", "x".repeat(10_000));
    problem(&send(&hub, "/channels/a", NDJSON, &long), 413, "line-too-long");
    assert_eq!(reached(&hub, "line_bytes"), 1.0);
    assert_eq!(send(&hub, "/channels/a", NDJSON, "{\"data\":\"x\"}\n").status(), 200);
}

#[test]
fn parameters_and_channels_of_a_subscription() {
    let hub = Hub::start(&[]);
    let target = |count: usize, what: &str| {
        let mut target = String::from("/events?");
        (0..count).for_each(|n| write!(target, "{what}={n}&").unwrap());
        target
    };
    problem(&get(hub.public(), &target(65, "channel")), 400, "query");
    assert_eq!(reached(&hub, "channels_per_subscription"), 1.0);
    problem(&get(hub.public(), &target(129, "channel")), 400, "query");
    assert_eq!(reached(&hub, "query_parameters"), 1.0);
    let mut most = Stream::open(hub.public(), &target(64, "channel"));
    assert_eq!(most.event().kind(), "fanfare.open");
}

#[test]
fn channels_of_one_streaming_publish() {
    let hub = Hub::start(&[]);
    let lines: String =
        (0..1_025).map(|n| format!("{{\"channel\":\"c/{n}\",\"data\":{n}}}\n")).collect();
    assert_eq!(send(&hub, "/events", NDJSON, &lines).json()["accepted"], 1_025);
    assert_eq!(reached(&hub, "stream_channels"), 1.0);
}

#[test]
fn peers_that_take_nothing_of_their_answer() {
    let hub = Hub::start(&["--write-stall-max", "1s", "--socket-unsent-bytes-max", "4KiB"]);
    let data = "x".repeat(200_000);
    (0..6).for_each(|_| drop(publish(&hub, "a", &data)));
    let mut stuck = narrow(&hub);
    let history = [("Accept", "application/json")];
    for _ in 0..8 {
        stuck.request("GET", "/channels/a", &history, b"");
    }
    becomes_reached(&hub, "write_stall");
    publish(&hub, "a", "on");
}

#[test]
fn frames_that_slow_subscribers_have_begun() {
    let flags = ["--memory-max", "64MiB", "--rings-bytes-max", "36MiB"];
    let hub = Hub::start(&[&flags[..], &["--socket-unsent-bytes-max", "4KiB"]].concat());
    // 2 MiB, and frames of 250 kB that each another one has begun.
    let data = "x".repeat(250_000);
    let slow: Vec<_> =
        (0..16).map(|n| Stream::over(slow(&hub, &format!("/channels/c{n}?open=0")))).collect();
    let memory = "fanfare_disconnects_total{reason=\"memory\"}";
    let mut round = 0;
    eventually("cut", || {
        publish(&hub, &format!("c{}", round % slow.len()), &data);
        round += 1;
        (crate::metric(&hub, memory) > 0.0).then_some(())
    });
    // Who reads is none of them.
    let mut reads = Stream::open(hub.public(), "/channels/c0?open=0");
    publish(&hub, "c0", "on");
    assert_eq!(reads.event().data, "on");
}

#[test]
fn connections_of_operators() {
    let hub = Hub::start(&[]);
    let mut silent: Vec<_> = (0..300).map(|_| Client::connect(hub.admin())).collect();
    becomes_reached(&hub, "admin_connections");
    silent.clear();
    assert_eq!(get(hub.admin(), "/livez").status(), 200);
}

#[test]
fn open_files() {
    let hub = Hub::start(&[]);
    let mut scraper = Client::connect(hub.admin());
    let mut scrape = || {
        scraper.request("GET", "/metrics", &[], b"");
        let text = scraper.answer().text().to_owned();
        let name = "fanfare_limit_reached_total{limit=\"open_files\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok()).unwrap()
    };
    assert_eq!(scrape(), 0.0);
    let pid = Pid::from_raw(i32::try_from(hub.pid()).unwrap());
    let files = |current| {
        let limit = Rlimit { current: Some(current), ..getrlimit(Resource::Nofile) };
        prlimit(pid, Resource::Nofile, limit).unwrap().current.unwrap()
    };
    let before = files(8);
    let waits = Client::connect(hub.public());
    eventually("no file is left", || (scrape() > 0.0).then_some(()));
    files(before);
    // It waited in the kernel's queue.
    let mut served = waits;
    served.request("POST", "/channels/a", &[], b"x");
    assert_eq!(served.answer().status(), 200);
}

#[test]
fn removed_channels_that_are_remembered() {
    let hub = Hub::start(&["--tombstones-max", "1"]);
    let remove = |channel: &str| {
        let id = publish(&hub, channel, "x");
        publish(&hub, channel, "missed");
        assert_eq!(
            call(hub.public(), "DELETE", &format!("/channels/{channel}"), &[], b"").status(),
            204
        );
        id
    };
    let before = remove("a");
    assert_eq!(reached(&hub, "tombstones"), 0.0);
    remove("b");
    assert_eq!(reached(&hub, "tombstones"), 1.0);
    // What it was is not known any more, so who comes back is told of a gap, and goes on.
    let header = [("Last-Event-ID", before.as_str())];
    let mut back = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
    assert_eq!(back.event().kind(), "fanfare.gap");
    publish(&hub, "a", "y");
    assert_eq!(back.event().data, "y");
}
