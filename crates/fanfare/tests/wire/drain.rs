//! SIGTERM: who is connected is sent away, spread over the period, and loses nothing.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    NDJSON, beside,
    ndjson::streaming,
    problem, publish,
    support::{
        eventually,
        http::{Closed, call, get, post},
        hub::Hub,
        sse::{End, Piece, Stream},
    },
};

#[test]
fn everybody_is_sent_away_in_order_and_the_exit_is_0() {
    let mut hub = Hub::start(&["--drain-period", "1s"]);
    let targets =
        ["/channels/a", "/channels/a", "/events?channel=a&channel=b", "/events?channel=**"];
    let mut streams = targets.map(|target| {
        let separator = if target.contains('?') { '&' } else { '?' };
        Stream::open(hub.public(), &format!("{target}{separator}open=0"))
    });
    let last = publish(&hub, "a", "1");
    hub.terminate();
    for stream in &mut streams {
        assert_eq!(stream.event().data, "1");
        let told = stream.event();
        assert_eq!((told.kind(), told.id()), ("fanfare.reconnect", last.as_str()));
        let retry = told.retry.unwrap();
        let raw = format!(
            "id: {last}\nevent: fanfare.reconnect\nretry: {retry}\n\
             data: {{\"reason\":\"drain\"}}\n\n"
        );
        assert_eq!(told.raw, raw);
        assert!((1..=60_000).contains(&retry), "{retry}");
        assert_eq!((stream.end(), stream.client().closed()), (End::Cut, Closed::Fin));
    }
    drop(streams);
    let exit = hub.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert!(exit.said.contains("all in time"), "{}", exit.said);
}

#[test]
fn departures_are_spread_over_the_period() {
    let mut hub = Hub::start(&["--drain-period", "2s", "--workers", "2"]);
    let mut streams: Vec<_> =
        (0..20).map(|_| Stream::open(hub.public(), "/channels/a?open=0")).collect();
    let began = Instant::now();
    hub.terminate();
    let mut departures: Vec<_> = streams
        .iter_mut()
        .map(|stream| {
            let told = stream.event();
            assert_eq!(told.kind(), "fanfare.reconnect");
            (told.retry.unwrap(), stream.end())
        })
        .collect();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_200), "not all at once: {took:?}");
    departures.sort_unstable_by_key(|(retry, _)| *retry);
    assert!(departures[19].0 > departures[0].0 + 1_000, "jittered: {departures:?}");
    assert!(departures.iter().all(|(_, end)| *end == End::Cut));
    drop(streams);
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn nobody_comes_back_before_the_drain_is_over() {
    let hub = Hub::start(&["--drain-period", "60s"]);
    let (sender, departures) = mpsc::channel();
    for _ in 0..3 {
        let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
        let sender = sender.clone();
        // The others end with the hub, and nobody listens to them any more.
        thread::spawn(move || {
            while let Ok(piece) = stream.next() {
                if let Piece::Event(event) = piece {
                    drop(sender.send(event));
                }
            }
        });
    }
    hub.terminate();
    // One goes at once, each after it 20 s later.
    let first = departures.recv_timeout(crate::support::DEADLINE).unwrap();
    let retry = first.retry.unwrap();
    assert!((50_000..=70_000).contains(&retry), "at least what is left of it: {retry}");
    let retry = Stream::open(hub.public(), "/channels/a").event().retry.unwrap();
    assert!((50_000..=70_000).contains(&retry), "{retry}");
    let refused = post(hub.public(), "/channels/a", "x");
    let wait: u32 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((50..=61).contains(&wait), "{wait}");
}

#[test]
fn readyz_fails_at_once_and_the_listeners_stay_open() {
    let mut hub = Hub::start(&["--drain-period", "3s"]);
    let id = publish(&hub, "a", "1");
    let waiting: Vec<_> = (0..4).map(|_| Stream::open(hub.public(), "/channels/a")).collect();
    hub.terminate();
    let answer = eventually("an unready hub", || {
        Some(get(hub.admin(), "/readyz")).filter(|answer| answer.status() != 200)
    });
    problem(&answer, 503, "draining");
    assert_eq!(get(hub.admin(), "/livez").status(), 200);
    assert_eq!(get(hub.admin(), "/metrics").status(), 200);
    // New publishes are refused and told when to try again.
    for (target, body) in [("/channels/a", "2"), ("/channels/a?close", "")] {
        let refused = post(hub.public(), target, body);
        problem(&refused, 503, "draining");
        let wait: u32 = refused.get("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
    }
    let refused = crate::send(&hub, "/channels/a", NDJSON, "{\"data\":2}\n");
    problem(&refused, 503, "draining");
    problem(&call(hub.public(), "DELETE", "/channels/a", &[], b""), 503, "draining");
    // New subscribers are sent away with 200, and keep their place.
    let header = [("Last-Event-ID", id.as_str())];
    let mut away = Stream::open_with(hub.public(), "/channels/a", &header);
    let told = away.event();
    assert_eq!((told.kind(), told.json()), ("fanfare.reconnect", json!({"reason": "drain"})));
    assert_eq!(told.id(), id);
    assert!(told.retry.unwrap() >= 1_000);
    assert_eq!(away.end(), End::Cut);
    assert_eq!(Stream::open(hub.public(), "/channels/a?control=off").end(), End::Cut);
    drop(waiting);
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn without_control_events_the_stream_is_only_cut() {
    let mut hub = Hub::start(&["--drain-period", "200ms"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?control=off");
    publish(&hub, "a", "1");
    hub.terminate();
    assert_eq!(stream.event().data, "1");
    assert_eq!(stream.end(), End::Cut);
    drop(stream);
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn a_publish_in_flight_finishes() {
    let mut hub = Hub::start(&["--drain-period", "3s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    assert_eq!(stream.event().data, "1");
    hub.terminate();
    eventually("the drain", || (get(hub.admin(), "/readyz").status() == 503).then_some(()));
    publisher.send_chunk("{\"data\":\"2\"}\n{\"data\":\"3\"}\n");
    publisher.send_chunk("");
    let answer = publisher.answer();
    assert_eq!((answer.status(), &answer.json()["accepted"]), (200, &json!(3)));
    // What was acknowledged reaches those who are sent away after it.
    assert_eq!((stream.event().data, stream.event().data), ("2".into(), "3".into()));
    let told = stream.event();
    assert_eq!(
        (told.kind(), told.id()),
        ("fanfare.reconnect", answer.json()["last_id"].as_str().unwrap())
    );
    drop((stream, publisher));
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn those_with_an_open_streaming_publish_leave_last() {
    let mut hub = Hub::start(&["--drain-period", "2s"]);
    let mut with: Vec<_> =
        (0..2).map(|_| Stream::open(hub.public(), "/channels/live?open=0")).collect();
    let mut without: Vec<_> =
        (0..6).map(|_| Stream::open(hub.public(), "/channels/idle?open=0")).collect();
    let mut publisher = streaming(&hub, "/channels/live", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    with.iter_mut().for_each(|stream| assert_eq!(stream.event().data, "1"));
    hub.terminate();
    // Each retry is what is left of the drain plus at least 1 s and less than 6 s.
    let gone = Instant::now();
    without.iter_mut().for_each(|stream| drop((stream.event(), stream.end())));
    publisher.send_chunk("{\"data\":\"2\"}\n");
    for stream in &mut with {
        assert_eq!(stream.event().data, "2", "it is still there when the others have left");
        assert_eq!(stream.event().kind(), "fanfare.reconnect");
    }
    assert!(gone.elapsed() > Duration::from_millis(1_000));
    drop((with, without, publisher));
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn who_was_sent_away_resumes_exactly() {
    let mut hub = Hub::start(&["--drain-period", "5s"]);
    let mut first = Stream::open(hub.public(), "/channels/a?open=0");
    let waiting = Stream::open(hub.public(), "/channels/a");
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    assert_eq!(first.event().data, "1");
    hub.terminate();
    let told = first.event();
    assert_eq!(told.kind(), "fanfare.reconnect");
    assert_eq!(beside(told.id(), 0), told.id());
    // What it has seen is named by the id of the reconnect: nothing between is unaccounted for.
    let json = [("Accept", "application/json")];
    let target = format!("/channels/a?from={}", told.id());
    let page = call(hub.public(), "GET", &target, &json, b"").json();
    assert_eq!(page["gap"], json!(null));
    assert_eq!(page["events"].as_array().unwrap().len(), 0);
    drop((first, waiting, publisher));
    assert_eq!(hub.wait().code, Some(0));
}
