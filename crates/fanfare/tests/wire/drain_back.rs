//! Drains of operators: their delay, how far they are, and the way back.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    NDJSON,
    h2_client::Connection,
    ndjson::streaming,
    problem, publish, send,
    status::status,
    support::{
        eventually,
        http::{Answer, call, get, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

fn begin(hub: &Hub) {
    assert_eq!(post(hub.admin(), "/api/drain", "").status(), 202);
    assert_eq!(get(hub.admin(), "/readyz").status(), 503, "at once");
}

fn take_back(hub: &Hub) -> Answer {
    call(hub.admin(), "DELETE", "/api/drain", &[], b"")
}

fn drain(hub: &Hub) -> Value {
    get(hub.admin(), "/api/drain").json()
}

/// Checks that a hub is as if there had never been a drain.
fn check_serves(hub: &Hub, channel: &str) {
    assert_eq!(get(hub.admin(), "/readyz").status(), 200);
    let none = json!({"phase": "none", "left_ms": 0, "departed": 0, "subscribers_left": 0});
    assert_eq!(drain(hub), none);
    let mut stream = Stream::open(hub.public(), &format!("/channels/{channel}?open=0"));
    publish(hub, channel, "served");
    assert_eq!(stream.event().data, "served");
    let mut publisher = streaming(hub, &format!("/channels/{channel}"), NDJSON);
    publisher.send_chunk("{\"data\":\"streamed\"}\n");
    assert_eq!(stream.event().data, "streamed");
    publisher.send_chunk("");
    assert_eq!(publisher.answer().status(), 200);
}

#[test]
fn during_the_delay_everybody_is_served_as_before() {
    let mut hub = Hub::start(&["--drain-delay", "60s", "--drain-period", "1s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    begin(&hub);
    let told = drain(&hub);
    assert_eq!((&told["phase"], &told["subscribers_left"]), (&json!("delay"), &json!(1)));
    assert!((50_000..=61_000).contains(&told["left_ms"].as_u64().unwrap()), "{told}");
    publish(&hub, "a", "1");
    assert_eq!(send(&hub, "/channels/a", NDJSON, "{\"data\":\"2\"}\n").status(), 200);
    assert_eq!((stream.event().data, stream.event().data), ("1".into(), "2".into()));
    let mut late = Stream::open(hub.public(), "/channels/a?last=2&open=0");
    assert_eq!(late.event().data, "1");
    assert_eq!(take_back(&hub).status(), 200);
    check_serves(&hub, "b");
    publish(&hub, "a", "3");
    assert_eq!(stream.event().data, "3", "nobody was sent away");
    assert_eq!((late.event().data, late.event().data), ("2".into(), "3".into()));
    drop((stream, late));
    hub.kill();
}

#[test]
fn after_the_delay_the_drain_begins_by_itself() {
    let mut hub = Hub::start(&["--drain-delay", "1s", "--drain-period", "200ms"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let began = Instant::now();
    hub.terminate();
    assert_eq!(stream.event().kind(), "fanfare.reconnect");
    assert!(began.elapsed().as_millis() >= 1_000, "{:?}", began.elapsed());
    assert_eq!(stream.end(), End::Cut);
    drop(stream);
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn a_drain_can_be_taken_back_and_begun_again() {
    let mut hub = Hub::start(&["--drain-period", "60s", "--workers", "1"]);
    let mut streams: Vec<_> =
        (0..4).map(|_| Stream::open(hub.public(), "/channels/a?open=0")).collect();
    for round in 1..=2 {
        // Who only looked whether the hub serves is gone, and the hub knows.
        eventually("only those", || {
            let stats = get(hub.admin(), "/api/stats").json();
            (stats["subscribers"]["http1"] == streams.len()).then_some(())
        });
        begin(&hub);
        // One goes at once, each of the others 15 s or more later. For a moment a worker that has
        // not heard of this drain may tell of the one before.
        let left = 4 - round;
        let told = eventually("a departure", || {
            let told = drain(&hub);
            (told["departed"] == 1 && told["subscribers_left"] == left).then_some(told)
        });
        assert_eq!(told["phase"], "subscribers");
        problem(&post(hub.public(), "/channels/a", "x"), 503, "draining");
        let mut away = Stream::open(hub.public(), "/channels/a?open=0");
        assert_eq!(away.event().kind(), "fanfare.reconnect");
        assert_eq!(take_back(&hub).status(), 200);
        check_serves(&hub, "b");
        publish(&hub, "a", "still there");
        streams.retain_mut(|stream| {
            let event = stream.event();
            if event.kind() == "fanfare.reconnect" {
                assert_eq!(stream.end(), End::Cut);
                return false;
            }
            assert_eq!(event.data, "still there");
            true
        });
        assert_eq!(streams.len(), 4 - round);
    }
    assert_eq!(take_back(&hub).status(), 200, "there is none");
    drop(streams);
    hub.terminate();
    assert_eq!(hub.wait().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_http2_stay_when_a_drain_is_taken_back() {
    let hub = Hub::start(&["--drain-period", "60s"]);
    let h2 = Connection::open(&hub).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(h2.subscribe("/channels/a?open=0", &[]).await);
    }
    for round in 1..=2 {
        begin(&hub);
        eventually("a departure", || (drain(&hub)["departed"] == 1).then_some(()));
        assert_eq!(h2.call("POST", "/channels/a", &[], "x").await.0, 503);
        assert_eq!(take_back(&hub).status(), 200);
        h2.publish("a", "still there").await;
        let mut left = Vec::new();
        for mut stream in streams {
            let event = stream.event().await;
            if event.kind() != "fanfare.reconnect" {
                assert_eq!(event.data, "still there");
                left.push(stream);
            }
        }
        streams = left;
        assert_eq!(streams.len(), 3 - round);
        let mut fresh = h2.subscribe("/channels/b?open=0", &[]).await;
        h2.publish("b", "x").await;
        assert_eq!(fresh.event().await.data, "x");
        drop(fresh);
        eventually("the fresh one to be gone", || {
            (crate::metric(&hub, "fanfare_subscribers") == streams.len() as f64).then_some(())
        });
    }
}

#[test]
fn an_empty_hub_is_taken_back_too() {
    let hub = Hub::start(&["--drain-period", "100ms"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    begin(&hub);
    assert_eq!(stream.event().kind(), "fanfare.reconnect");
    drop(stream);
    let told = eventually("the end", || Some(drain(&hub)).filter(|d| d["phase"] == "done"));
    assert_eq!((&told["departed"], &told["subscribers_left"]), (&json!(1), &json!(0)));
    assert_eq!(get(hub.admin(), "/api/stats").json()["state"], "drained");
    assert_eq!(take_back(&hub).status(), 200);
    check_serves(&hub, "a");
}

#[test]
fn a_producer_that_a_drain_cut_and_that_stays_away_is_an_error() {
    let hub = Hub::start(&["--producer-grace", "0s", "--drain-period", "500ms"]);
    let mut publisher = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    eventually("published", || (status(&hub, "a")["events"] == 1).then_some(()));
    begin(&hub);
    problem(&publisher.answer(), 503, "draining");
    eventually("the end", || (drain(&hub)["phase"] == "done").then_some(()));
    take_back(&hub);
    eventually("closed", || (status(&hub, "a")["reason"] == "error").then_some(()));
}

#[test]
fn the_drain_of_a_process_that_stops_is_not_taken_back() {
    for operators_began in [false, true] {
        let mut hub = Hub::start(&["--drain-period", "2s"]);
        let streams = [(); 2].map(|()| Stream::open(hub.public(), "/channels/a"));
        if operators_began {
            begin(&hub);
        }
        hub.terminate();
        let stops = || problem(&take_back(&hub), 409, "stopping");
        let refused = || hub.said().contains("draining; a second signal").then_some(());
        eventually("the signal", refused);
        stops();
        assert_eq!(post(hub.admin(), "/api/drain", "").status(), 202, "it goes on");
        drop(streams);
        assert_eq!(hub.wait().code, Some(0));
    }
}

#[test]
fn the_log_tells_how_a_drain_goes() {
    let mut hub = Hub::start(&["--drain-period", "9s", "--workers", "1"]);
    let streams = [(); 3].map(|()| Stream::open(hub.public(), "/channels/a"));
    hub.terminate();
    let said = hub.wait().said;
    drop(streams);
    let line = |message: &str| {
        let mut lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {said}"))
    };
    let begins = line("the drain begins");
    assert_eq!((&begins["subscribers"], &begins["by"]), (&json!(3), &json!("a signal")));
    let told = line("the drain goes on");
    let (gone, left) = (told["departed"].as_u64().unwrap(), told["subscribers_left"].as_u64());
    assert!((1..=2).contains(&gone) && left == Some(3 - gone), "{told}");
    let over = line("the drain is over");
    assert_eq!((&over["departed"], &over["in_time"]), (&json!(3), &json!(true)));
}
