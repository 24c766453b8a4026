//! HTTP/2 by prior knowledge, on the port of HTTP/1.

use bytes::Bytes;
use h2::Reason;
use http_body_util::{BodyExt, Full};
use hyper::header::HeaderMap;
use serde_json::json;

use crate::{
    NDJSON,
    h2_client::{Connection, End, Sender, soon},
    kept, metric_becomes, publish, publish_many,
    support::{
        http::Client,
        hub::Hub,
        sse::{Piece, Stream as Http1},
    },
};

#[tokio::test]
async fn publishes_and_subscribes_share_a_connection() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let mut stream = h2.subscribe("/channels/a", &[]).await;
    let told = h2.publish("a", "1\n2").await;
    assert_eq!(told["subscribers"], 1);
    let open = stream.event().await;
    assert_eq!((open.kind(), open.json()), ("fanfare.open", json!({"channels": ["a"]})));
    let event = stream.event().await;
    assert_eq!(event.raw, format!("id: {}\ndata: 1\ndata: 2\n\n", told["id"].as_str().unwrap()));
    // The other protocol sees the same bytes, and both count.
    let mut other = Http1::open(hub.public(), "/channels/a?from=start&open=0");
    assert_eq!(other.event(), event);
    assert_eq!(h2.publish("a", "3").await["subscribers"], 2);
    assert_eq!((other.event().data, stream.event().await.data), ("3".into(), "3".into()));
}

#[tokio::test]
async fn the_head_is_that_of_http_1_without_its_framing() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "1");
    let h2 = Connection::open(&hub).await;
    let mut stream = h2.subscribe("/channels/a", &[]).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("vary", "Origin"),
        ("fanfare-last-event-id", &id),
    ] {
        assert_eq!(stream.headers[name], value, "{name}");
    }
    let page = [("origin", "http://localhost:3000")];
    let read = h2.subscribe("/channels/a", &page).await.headers;
    assert_eq!(read["access-control-allow-origin"], "http://localhost:3000");
    assert!(stream.headers.contains_key("date"));
    assert!(!stream.headers.contains_key("connection"));
    assert!(!stream.headers.contains_key("transfer-encoding"));
    assert_eq!(stream.next().await, Ok(Piece::Heartbeat), "at once");
}

#[tokio::test]
async fn many_streams_on_one_connection_get_everything_in_order() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let mut streams = Vec::new();
    for n in 0..300 {
        let target = ["/channels/a?open=0", "/events?channel=*&open=0"][n % 2];
        streams.push(h2.subscribe(target, &[]).await);
    }
    assert_eq!(h2.publish("a", "0").await["subscribers"], 300);
    for (name, value) in [
        ("fanfare_subscribers{protocol=\"http2\"}", 300.0),
        ("fanfare_subscribers{protocol=\"http1\"}", 0.0),
        ("fanfare_connections{protocol=\"http2\"}", 1.0),
        ("fanfare_connections_opened_total{protocol=\"http2\"}", 1.0),
    ] {
        assert_eq!(crate::metric(&hub, name), value, "{name}");
    }
    publish_many(&hub, "a", 100);
    let expected: Vec<_> = (0..=100).map(|n: usize| n.to_string()).collect();
    for stream in &mut streams {
        let data: Vec<_> = stream.events(101).await.into_iter().map(|event| event.data).collect();
        assert_eq!(data, expected);
    }
    drop(streams);
    // Each stream that is reset leaves by itself: the connection stays.
    let gone = tokio::task::spawn_blocking(move || {
        metric_becomes(&hub, "fanfare_subscribers", 0.0);
        metric_becomes(&hub, "fanfare_disconnects_total{reason=\"client\"}", 300.0);
        hub
    });
    let hub = gone.await.unwrap();
    assert_eq!(h2.publish("a", "on").await["subscribers"], 0);
    drop(hub);
}

#[tokio::test]
async fn a_finished_stream_ends_cleanly() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let mut live = h2.subscribe("/channels/a?open=0", &[]).await;
    let id = h2.publish("a", "1").await["id"].as_str().unwrap().to_owned();
    assert_eq!(h2.call("POST", "/channels/a?close=error", &[], "").await.0, 200);
    assert_eq!(live.event().await.data, "1");
    let end = live.event().await;
    crate::close::is_end(&end, &["a"], "error");
    assert_eq!(live.end().await, End::Clean);
    let mut replay = h2.subscribe("/channels/a?open=0&from=start", &[]).await;
    assert_eq!(replay.events(2).await[1].kind(), "fanfare.end");
    assert_eq!(replay.end().await, End::Clean);
    for id in [id.as_str(), end.id()] {
        let header = [("last-event-id", id)];
        assert_eq!(h2.call("GET", "/channels/a", &header, "").await, (204, String::new()));
    }
}

#[tokio::test]
async fn ids_gaps_and_errors_are_as_over_http_1() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "a", "0");
    publish_many(&hub, "a", 6);
    let h2 = Connection::open(&hub).await;
    let mut evicted = h2.subscribe("/channels/a?open=0", &[("last-event-id", &first)]).await;
    assert_eq!(evicted.event().await.json()["reason"], "evicted");
    assert_eq!(evicted.event().await.data, "4");
    for id in ["x", "zzzzzzzz-1", &"x".repeat(5_000)] {
        let mut garbage = h2.subscribe("/channels/a?open=0", &[("last-event-id", id)]).await;
        assert_eq!(garbage.event().await.json()["reason"], "epoch");
    }
    for (target, status) in [
        ("/channels/a?heartbeat=0", 400),
        ("/channels/..", 400),
        ("/nothing", 404),
        ("/channels/a?control=off&last_event_id=x", 410),
    ] {
        let (got, body) = h2.call("GET", target, &[], "").await;
        assert!(got == status && body.contains("\"type\":\"/problems/"), "{target}: {got} {body}");
    }
    let evil = hyper::Request::builder().uri("http://evil.example/channels/a");
    assert_eq!(evil.body(()).unwrap().uri().host(), Some("evil.example"));
    let (status, _) = h2.call("GET", "/channels/a", &[("host", "evil.example")], "").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_heartbeat_keeps_a_silent_stream() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let mut stream = h2.subscribe("/channels/a?open=0&heartbeat=1", &[]).await;
    for _ in 0..3 {
        assert_eq!(stream.next().await, Ok(Piece::Heartbeat));
    }
}

#[tokio::test]
async fn a_stalled_stream_does_not_hold_the_others_up() {
    let hub = Hub::configured("ring_events = 20\n", &[]);
    let h2 = Connection::with_window(&hub, 65_535).await;
    let mut stalled = h2.subscribe("/channels/a?open=0", &[]).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(h2.subscribe("/channels/a?open=0", &[]).await);
    }
    let big = "x".repeat(20_000);
    for n in 0..60 {
        h2.publish("a", &format!("{n} {big}")).await;
        for other in &mut others {
            assert!(other.event().await.data.starts_with(&format!("{n} ")));
        }
    }
    // It read nothing meanwhile; now it gets what was begun, a gap, and what is kept.
    h2.call("POST", "/channels/a?close", &[], "").await;
    let (mut before, mut after, mut gaps) = (0, 0, 0);
    loop {
        let event = stalled.event().await;
        match event.kind() {
            "fanfare.gap" => {
                assert_eq!(event.json()["reason"], "lagged");
                gaps += 1;
            }
            "fanfare.end" => break,
            _ if gaps == 0 => before += 1,
            _ => after += 1,
        }
    }
    assert_eq!(stalled.end().await, End::Clean);
    assert!(gaps == 1 && before > 0 && after == 20, "{before} {gaps} {after}");
}

#[tokio::test]
async fn a_stream_that_takes_nothing_loses_its_subscription_however_busy_the_hub_is() {
    let hub = Hub::start(&["--write-stall-max", "1s"]);
    let h2 = Connection::with_window(&hub, 65_535).await;
    let stalled = h2.subscribe("/channels/a?open=0", &[]).await;
    let mut other = h2.subscribe("/channels/a?open=0", &[]).await;
    let big = "x".repeat(20_000);
    soon(async {
        while h2.publish("a", &big).await["subscribers"] == 2 {
            assert_eq!(other.event().await.data, big);
        }
    })
    .await;
    metric_becomes(&hub, "fanfare_disconnects_total{reason=\"stalled\"}", 1.0);
    assert_eq!(other.event().await.data, big);
    drop(stalled);
}

#[tokio::test]
async fn a_drain_resets_streams_after_the_reconnect_arrived() {
    let mut hub = Hub::start(&["--drain-period", "500ms"]);
    let h2 = Connection::open(&hub).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(h2.subscribe("/channels/a?open=0", &[]).await);
    }
    let mut quiet = h2.subscribe("/channels/a?control=off", &[]).await;
    let id = h2.publish("a", "1").await["id"].as_str().unwrap().to_owned();
    hub.terminate();
    let mut retries = Vec::new();
    for stream in &mut streams {
        assert_eq!(stream.event().await.data, "1");
        let told = stream.event().await;
        assert_eq!((told.kind(), told.id()), ("fanfare.reconnect", id.as_str()));
        assert_eq!(told.json(), json!({"reason": "drain"}));
        retries.push(told.retry.unwrap());
        assert_eq!(stream.end().await, End::Reset, "no clean end: it is to come back");
    }
    assert_eq!(quiet.event().await.data, "1");
    assert_eq!(quiet.end().await, End::Reset);
    retries.dedup();
    assert!(retries.len() > 10, "{retries:?}");
    drop((streams, quiet, h2));
    let exit = tokio::task::spawn_blocking(move || hub.wait()).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
}

#[tokio::test]
async fn a_drain_refuses_what_is_new_on_an_old_connection() {
    let mut hub = Hub::start(&["--drain-period", "3s"]);
    let h2 = Connection::open(&hub).await;
    let mut first = h2.subscribe("/channels/a?open=0", &[]).await;
    let waiting = h2.subscribe("/channels/a", &[]).await;
    h2.publish("a", "1").await;
    hub.terminate();
    assert_eq!(first.events(2).await[1].kind(), "fanfare.reconnect");
    let (status, body) = h2.call("POST", "/channels/a", &[], "x").await;
    assert!(status == 503 && body.contains("/problems/draining"), "{status} {body}");
    let mut away = h2.subscribe("/channels/a", &[]).await;
    assert_eq!(away.event().await.json(), json!({"reason": "drain"}));
    assert_eq!(away.end().await, End::Reset);
    drop((first, waiting, away, h2));
    let exit = tokio::task::spawn_blocking(move || hub.wait()).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
}

#[tokio::test]
async fn a_full_hub_sends_streams_away() {
    let hub = Hub::start(&["--connections-max", "1", "--channels-max", "1"]);
    let established = Connection::open(&hub).await;
    let mut stream = established.subscribe("/channels/a?open=0", &[]).await;
    // One more connection than there is room for.
    let h2 = Connection::open(&hub).await;
    let mut away = h2.subscribe("/channels/a", &[]).await;
    assert_eq!(away.event().await.json(), json!({"reason": "overload"}));
    assert_eq!(away.end().await, End::Reset);
    assert_eq!(h2.call("POST", "/channels/a", &[], "x").await.0, 503);
    // One more channel.
    let mut away = established.subscribe("/channels/b", &[]).await;
    assert_eq!(away.event().await.json(), json!({"reason": "overload"}));
    assert_eq!(away.end().await, End::Reset);
    established.publish("a", "on").await;
    assert_eq!(stream.event().await.data, "on");
}

#[tokio::test]
async fn bodies_of_many_events_stream_in() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let mut stream = h2.subscribe("/channels/a?open=0", &[]).await;
    let (sender, body) = Sender::new();
    let ndjson = [("content-type", NDJSON)];
    let publish = Box::pin(h2.ask("POST", "/channels/a", &ndjson, body));
    let send = async {
        sender.send("{\"data\":\"1\"}\n{\"da").await;
        assert_eq!(stream.event().await.data, "1");
        sender.send("ta\":\"2\"}\n").await;
        assert_eq!(stream.event().await.data, "2");
        drop(sender);
    };
    let (answer, ()) = soon(Box::pin(async { tokio::join!(publish, send) })).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_upload_that_is_reset_publishes_nothing_half() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    // Proxies and libraries reset with NO_ERROR, too, what was not whole.
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR] {
        for (target, media_type, body) in [
            ("/channels/one", "text/plain", "half"),
            ("/channels/one?close=on-end", "text/plain", "half"),
            ("/channels/lines", NDJSON, "{\"data\":\"1\"}\n{\"data\":\"half\"}"),
        ] {
            let (sender, upload) = Sender::new();
            let headers = [("content-type", media_type)];
            let request = Box::pin(h2.try_ask("POST", target, &headers, upload));
            let breaks = async {
                sender.send(body).await;
                open_publishes_become(&hub, 1).await;
                sender.reset(reason).await;
            };
            let (answer, ()) = soon(Box::pin(async { tokio::join!(request, breaks) })).await;
            assert!(answer.is_err() || answer.unwrap().status() == 400);
            open_publishes_become(&hub, 0).await;
        }
    }
    assert_eq!(kept(&hub, "one"), [""; 0]);
    assert_eq!(kept(&hub, "lines"), ["1", "1", "1"]);
    // What has ended is whole, with trailers or without.
    let ended = Full::<Bytes>::from("whole").with_trailers(async { Some(Ok(HeaderMap::new())) });
    assert_eq!(h2.ask("POST", "/channels/one", &[], ended).await.status(), 200);
    assert_eq!(h2.call("POST", "/channels/one", &[], "2").await.0, 200);
    assert_eq!(kept(&hub, "one"), ["whole", "2"]);
}

/// Waits until the hub reads so many bodies.
async fn open_publishes_become(hub: &Hub, count: u64) {
    let wait = async {
        while crate::get(hub.admin(), "/api/stats").json()["publishes_open"] != count {
            tokio::task::yield_now().await;
        }
    };
    soon(wait).await;
}

#[test]
fn the_preface_may_come_byte_by_byte() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    preface.iter().for_each(|byte| client.send([*byte]));
    let mut frame = client.bytes().unwrap();
    while frame.len() < 9 {
        frame.extend(client.bytes().unwrap());
    }
    assert_eq!(frame[3], 4, "the first frame of a server is its SETTINGS: {frame:?}");
}
