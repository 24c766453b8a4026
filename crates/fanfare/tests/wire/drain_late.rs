//! Drains that something holds up, and drains that operators begin.

use crate::{
    NDJSON,
    ndjson::streaming,
    peers::{flood, number, slow},
    support::{
        eventually,
        http::{Client, get, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn a_streaming_publish_without_end_does_not_hold_the_drain_up() {
    let mut hub = Hub::start(&["--drain-period", "500ms"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    assert_eq!(stream.event().data, "1");
    hub.terminate();
    let answer = publisher.answer();
    assert_eq!(crate::problem(&answer, 503, "draining")["accepted"], 1);
    let told = stream.event();
    assert_eq!(told.kind(), "fanfare.reconnect");
    assert_eq!(stream.end(), End::Cut);
    drop((stream, publisher));
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn idle_and_half_open_connections_do_not_hold_the_drain_up() {
    let mut hub = Hub::start(&["--drain-period", "200ms"]);
    let mut idle = Client::connect(hub.public());
    idle.request("POST", "/channels/a", &[], b"x");
    idle.answer();
    let silent = Client::connect(hub.public());
    let mut half = Client::connect(hub.public());
    half.send("GET /channels/a HTTP/1.1\r\n");
    hub.terminate();
    assert_eq!(hub.wait().code, Some(0));
    drop((idle, silent, half));
}

#[test]
fn a_subscriber_that_never_reads_does_not_hold_the_drain_up() {
    let mut hub = Hub::start(&["--drain-period", "300ms", "--socket-unsent-bytes-max", "4KiB"]);
    let stream = Stream::over(slow(&hub, "/channels/a"));
    flood(&mut Client::connect(hub.public()), 0..20);
    hub.terminate();
    let exit = hub.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    drop(stream);
}

#[test]
fn who_reads_late_is_brought_to_the_watermark_first() {
    let mut hub = Hub::start(&["--drain-period", "5s", "--socket-unsent-bytes-max", "4KiB"]);
    let mut late = Stream::over(slow(&hub, "/channels/a?open=0"));
    flood(&mut Client::connect(hub.public()), 0..30);
    hub.terminate();
    eventually("the drain", || (get(hub.admin(), "/readyz").status() == 503).then_some(()));
    let events = late.events(31);
    let numbers: Vec<_> = events[..30].iter().map(number).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    assert_eq!((events[30].kind(), events[30].id()), ("fanfare.reconnect", events[29].id()));
    assert_eq!(late.end(), End::Cut);
    drop(late);
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn operators_can_begin_a_drain() {
    let mut hub = Hub::start(&["--drain-period", "300ms"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let answer = post(hub.admin(), "/api/drain", "");
    assert!(matches!(answer.status(), 200 | 202), "{answer:?}");
    assert_eq!(get(hub.admin(), "/readyz").status(), 503, "at once");
    assert_ne!(get(hub.admin(), "/api/stats").json()["state"], "running");
    assert_eq!(stream.event().kind(), "fanfare.reconnect");
    assert_eq!(stream.end(), End::Cut);
    drop(stream);
    // It answers until it is told to stop, or has gone by itself.
    eventually("no subscriber", || {
        (crate::metric(&hub, "fanfare_subscribers") == 0.0).then_some(())
    });
    hub.terminate();
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn a_killed_hub_cuts_without_a_last_chunk() {
    let mut hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a");
    stream.event();
    hub.kill();
    assert_eq!(stream.end(), End::Cut);
}
