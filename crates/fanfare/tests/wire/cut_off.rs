//! Bodies that are cut off in the middle: what came whole before stays, nothing half is published.

use crate::{
    NDJSON, SSE, history, kept, metric_becomes,
    ndjson::streaming,
    publish,
    support::{eventually, http::Client, hub::Hub},
};

#[test]
fn half_an_event_is_never_published() {
    let hub = Hub::start(&[]);
    let mut with_length = Client::connect(hub.public());
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    with_length.send(head);
    with_length.finish();
    let mut chunked = streaming(&hub, "/channels/a", "text/plain");
    chunked.send_chunk("half");
    chunked.finish();
    let mut torn = streaming(&hub, "/channels/a", "text/plain");
    torn.send("ff\r\nhalf");
    torn.finish();
    for mut client in [with_length, chunked, torn] {
        // An answer may still come: it is an error then.
        let (rest, _) = client.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
    }
    nothing_is_open(&hub);
    assert_eq!(kept(&hub, "a"), [""; 0]);
    let id = publish(&hub, "b", "whole");
    assert_eq!(crate::seq(&id), 1, "nothing took a place before");
}

#[test]
fn the_lines_before_the_cut_stay() {
    let hub = Hub::start(&[]);
    // Even a last line that looks whole is not: it might have been cut.
    for (index, rest) in
        ["{\"data\":\"ha", "{\"data\":\"half\"}", "{\"data\":12"].iter().enumerate()
    {
        let channel = format!("lines/{index}");
        let mut publisher = streaming(&hub, &format!("/channels/{channel}"), NDJSON);
        publisher.send_chunk(format!("{{\"data\":\"1\"}}\n{{\"data\":\"2\"}}\n{rest}"));
        drop(publisher);
        eventually("both lines", || (kept(&hub, &channel).len() == 2).then_some(()));
        nothing_is_open(&hub);
        assert_eq!(kept(&hub, &channel), ["1", "2"], "{rest}");
    }
}

#[test]
fn the_blocks_before_the_cut_stay() {
    let hub = Hub::start(&[]);
    for (index, rest) in ["data: ha", "data: half\n", "data: half\r\n"].iter().enumerate() {
        let channel = format!("blocks/{index}");
        let mut publisher = streaming(&hub, &format!("/channels/{channel}"), SSE);
        publisher.send_chunk(format!("data: 1\n\ndata: 2\n\n{rest}"));
        drop(publisher);
        eventually("both blocks", || (kept(&hub, &channel).len() == 2).then_some(()));
        nothing_is_open(&hub);
        assert_eq!(kept(&hub, &channel), ["1", "2"], "{rest:?}");
    }
}

#[test]
fn a_cut_body_does_not_close_the_channel() {
    let hub = Hub::start(&[]);
    let mut publisher = streaming(&hub, "/channels/a?close", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    eventually("the line", || (kept(&hub, "a") == ["1"]).then_some(()));
    drop(publisher);
    nothing_is_open(&hub);
    assert_eq!(history(&hub, "a")["closed"], serde_json::Value::Null);
    publish(&hub, "a", "2");
    metric_becomes(&hub, "fanfare_events_published_total", 2.0);
}

/// Waits until the hub has given up every publish.
fn nothing_is_open(hub: &Hub) {
    eventually("no open publish", || {
        let stats = crate::get(hub.admin(), "/api/stats").json();
        (stats["publishes_open"] == 0).then_some(())
    });
}
