//! A publisher that keeps its connection and idles a minute: it goes on as if nothing had been.
//! A body that pauses half as long is given up.

use std::time::Duration;

use crate::{
    NDJSON, kept,
    ndjson::streaming,
    problem, publish,
    support::{
        http::Client,
        hub::Hub,
        sse::{Piece, Stream},
    },
};

/// As long as common HTTP clients and proxies keep an idle connection. The heartbeats of a
/// subscriber are the clock, so nothing is slept for, and the subscriber idles as long.
#[test]
fn a_publisher_that_idles_a_minute_goes_on() {
    let hub = Hub::start(&[]);
    let mut fresh = Client::connect(hub.public());
    let mut used = Client::connect(hub.public());
    used.request("POST", "/channels/a", &[], b"1");
    assert_eq!(used.answer().status(), 200);
    let mut usual = Stream::open(hub.public(), "/channels/quiet?open=0");
    let mut clock = Stream::open(hub.public(), "/channels/clock?open=0&heartbeat=60");
    clock.client().set_patience(Duration::from_secs(90));
    assert_eq!(clock.next(), Ok(Piece::Heartbeat), "the one at the start");
    // A body may not pause that long: half a minute is allowed.
    let mut pausing = streaming(&hub, "/channels/b", NDJSON);
    pausing.send_chunk("{\"data\":\"1\"}\n{\"data\":");
    clock.heartbeat();
    let told = problem(&pausing.answer(), 408, "body-idle");
    assert_eq!((&told["accepted"], &told["limit"]["value"]), (&1.into(), &30_000.into()));
    assert_eq!(kept(&hub, "b"), ["1"]);
    assert_eq!(crate::limits::reached(&hub, "body_idle"), 1.0);
    for client in [&mut fresh, &mut used] {
        client.request("POST", "/channels/a", &[], b"2");
        assert_eq!(client.answer().status(), 200);
    }
    publish(&hub, "quiet", "end");
    assert_eq!(usual.event().data, "end");
    let beats = usual.chunks().len() - "the one at the start and the event".split(" and ").count();
    assert!((3..=4).contains(&beats), "one every 15 s: {beats}");
    publish(&hub, "clock", "tick");
    assert_eq!(clock.event().data, "tick");
}
