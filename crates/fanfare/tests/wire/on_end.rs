//! `?close=on-end`: a body of many events whose end is the channel's, and a producer that breaks
//! off and may come back.

use std::net::Shutdown;

use h2::Reason;
use serde_json::json;

use crate::{
    NDJSON, SSE,
    close::is_end,
    h2_client::{Connection, Sender},
    history, kept, metric, metric_becomes,
    ndjson::streaming,
    problem, publish, send,
    status::status,
    support::{
        eventually,
        http::{Chunk, Client, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

/// A hub that waits for its producers for this long.
fn hub(grace: &str) -> Hub {
    Hub::start(&["--producer-grace", grace])
}

/// Waits until a channel is closed, and says how.
fn closed(hub: &Hub, channel: &str) -> String {
    eventually("the end", || history(hub, channel)["closed"].as_str().map(ToOwned::to_owned))
}

/// Waits until nobody streams to a channel.
fn is_left(hub: &Hub, channel: &str) {
    eventually("nobody streams", || (status(hub, channel)["publishing"] == 0).then_some(()));
}

#[test]
fn a_clean_end_is_done() {
    let hub = hub("1h");
    for (channel, media_type, body) in
        [("n", NDJSON, "{\"data\":1}\n{\"data\":2}"), ("s", SSE, "data: 1\n\ndata: 2\n\n")]
    {
        let mut stream = Stream::open(hub.public(), &format!("/channels/{channel}?open=0"));
        let target = format!("/channels/{channel}?close=on-end");
        let mut publisher = streaming(&hub, &target, media_type);
        publisher.send_chunk(body);
        if media_type == SSE {
            assert_eq!(stream.events(2)[1].data, "2");
        }
        eventually("it is streamed to", || {
            (status(&hub, channel)["publishing"] == 1).then_some(())
        });
        publisher.send_chunk("");
        assert_eq!(publisher.answer().json()["accepted"], 2);
        if media_type == NDJSON {
            stream.events(2);
        }
        is_end(&stream.event(), &[channel], "done");
        assert_eq!(stream.end(), End::Clean);
        assert_eq!(status(&hub, channel)["reason"], "done");
    }
    assert_eq!(metric(&hub, "fanfare_channels_closed_total{reason=\"done\"}"), 2.0);
}

#[test]
fn acks_and_an_empty_body_end_it_too() {
    let hub = hub("1h");
    let answer = send(&hub, "/channels/a?close=on-end&acks=stream", NDJSON, "{\"data\":1}\n");
    assert_eq!(answer.text().lines().count(), 1);
    assert_eq!(history(&hub, "a")["closed"], "done");
    send(&hub, "/channels/empty?close=on-end", NDJSON, "");
    assert_eq!(history(&hub, "empty")["closed"], "done");
    // It closes as ever: once, and a channel that is closed takes no more.
    assert_eq!(send(&hub, "/channels/a?close=on-end", NDJSON, "").status(), 200);
    let late = send(&hub, "/channels/a?close=on-end", NDJSON, "{\"data\":2}\n");
    problem(&late, 409, "channel-closed");
}

#[test]
fn one_event_is_its_own_clean_end() {
    let hub = hub("1h");
    assert_eq!(post(hub.public(), "/channels/a?close=on-end", "last").status(), 200);
    assert_eq!((kept(&hub, "a"), closed(&hub, "a")), (vec!["last".into()], "done".into()));
    problem(&post(hub.public(), "/channels/b?close=onend", "x"), 400, "query");
    let lines = "{\"channel\":\"a\",\"data\":1}\n";
    problem(&send(&hub, "/events?close=on-end", NDJSON, lines), 400, "query");
}

#[test]
fn a_producer_that_breaks_off_and_stays_away_is_an_error() {
    let hub = hub("300ms");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    assert_eq!(stream.event().data, "1");
    drop(publisher);
    is_end(&stream.event(), &["a"], "error");
    assert_eq!(stream.end(), End::Clean);
    let told = status(&hub, "a");
    assert_eq!((&told["state"], &told["reason"]), (&json!("closed"), &json!("error")));
    metric_becomes(&hub, "fanfare_channels_overdue_total{cause=\"grace\"}", 1.0);
}

#[test]
fn every_way_to_break_off_counts() {
    let hub = hub("200ms");
    let target = |channel: &str| format!("/channels/{channel}?close=on-end");
    // The body just stops: the last chunk is missing.
    let mut publisher = streaming(&hub, &target("cut"), NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    publisher.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(closed(&hub, "cut"), "error");
    // A line is wrong.
    let wrong = send(&hub, &target("wrong"), NDJSON, "{\"data\":1}\nwrong\n");
    problem(&wrong, 400, "line");
    assert_eq!(closed(&hub, "wrong"), "error");
    // The same with acks, which are not read.
    let mut acked = streaming(&hub, &format!("{}&acks=stream", target("acked")), NDJSON);
    acked.send_chunk("{\"data\":1}\nwrong\n");
    assert_eq!(closed(&hub, "acked"), "error");
    let mut acked = streaming(&hub, &format!("{}&acks=stream", target("gone")), NDJSON);
    acked.send_chunk("{\"data\":1}\n");
    acked.head();
    drop(acked);
    assert_eq!(closed(&hub, "gone"), "error");
    // Before its first event.
    let empty = streaming(&hub, &target("empty"), NDJSON);
    eventually("it is there", || (metric(&hub, "fanfare_channels") >= 5.0).then_some(()));
    drop(empty);
    assert_eq!(closed(&hub, "empty"), "error");
}

#[test]
fn a_body_that_is_wrong_may_be_sent_again() {
    let hub = hub("1h");
    let wrong = send(&hub, "/channels/a?close=on-end", NDJSON, "{\"data\":1}\nwrong\n");
    problem(&wrong, 400, "line");
    assert_eq!(history(&hub, "a")["closed"], json!(null));
    send(&hub, "/channels/a?close=on-end", NDJSON, "{\"data\":2}\n");
    assert_eq!(history(&hub, "a")["closed"], "done");
}

#[test]
fn without_grace_a_break_is_the_end() {
    let hub = hub("0s");
    let wrong = send(&hub, "/channels/a?close=on-end", NDJSON, "{\"data\":1}\nwrong\n");
    problem(&wrong, 400, "line");
    assert_eq!(history(&hub, "a")["closed"], "error");
}

#[test]
fn a_producer_that_comes_back_goes_on() {
    let hub = hub("2s");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut first = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    first.send_chunk("{\"data\":\"1\"}\n");
    assert_eq!(stream.event().data, "1");
    drop(first);
    is_left(&hub, "a");
    // One that comes back has begun before its first event.
    let mut second = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    eventually("it is back", || (status(&hub, "a")["publishing"] == 1).then_some(()));
    // Another channel's whole grace passes meanwhile.
    send(&hub, "/channels/b?close=on-end", NDJSON, "{\"data\":1}\nwrong\n");
    assert_eq!(closed(&hub, "b"), "error");
    second.send_chunk("{\"data\":\"2\"}\n");
    assert_eq!(stream.event().data, "2");
    second.send_chunk("");
    assert_eq!(second.answer().status(), 200);
    is_end(&stream.event(), &["a"], "done");
}

#[test]
fn an_event_begins_the_waiting_anew() {
    let hub = hub("2s");
    for channel in ["a", "b"] {
        let target = format!("/channels/{channel}?close=on-end");
        send(&hub, &target, NDJSON, "{\"data\":1}\nwrong\n");
    }
    // Both have the same time, but one has events meanwhile.
    eventually("the other one has ended", || {
        publish(&hub, "a", "2");
        (history(&hub, "b")["closed"] == "error").then_some(())
    });
    assert_eq!(status(&hub, "a")["state"], "open");
    assert_eq!(closed(&hub, "a"), "error");
}

#[test]
fn the_last_of_two_decides() {
    let hub = hub("200ms");
    let mut one = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    one.send_chunk("{\"data\":1}\n");
    let mut two = streaming(&hub, "/channels/a?close=on-end", NDJSON);
    two.send_chunk("{\"data\":2}\n");
    eventually("both", || (status(&hub, "a")["publishing"] == 2).then_some(()));
    drop(one);
    eventually("one", || (status(&hub, "a")["publishing"] == 1).then_some(()));
    // The other one goes on for longer than the hub waits for anybody.
    send(&hub, "/channels/b?close=on-end", NDJSON, "{\"data\":1}\nwrong\n");
    assert_eq!(closed(&hub, "b"), "error");
    assert_eq!(status(&hub, "a")["state"], "open");
    drop(two);
    assert_eq!(closed(&hub, "a"), "error");
}

#[test]
fn a_wish_makes_the_end_cancelled() {
    let hub = hub("1h");
    // A clean end.
    let mut publisher = streaming(&hub, "/channels/clean?close=on-end", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    assert_eq!(post(hub.public(), "/cancel/clean", "").status(), 202);
    publisher.send_chunk("");
    assert_eq!(publisher.answer().status(), 200);
    assert_eq!(history(&hub, "clean")["closed"], "cancelled");
    // A break: nobody is waited for.
    let mut publisher = streaming(&hub, "/channels/broken?close=on-end", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    assert_eq!(post(hub.public(), "/cancel/broken", "").status(), 202);
    drop(publisher);
    assert_eq!(closed(&hub, "broken"), "cancelled");
    // The wish comes while nobody is there.
    send(&hub, "/channels/late?close=on-end", NDJSON, "{\"data\":1}\nwrong\n");
    let answer = post(hub.public(), "/cancel/late", "");
    let told = json!({"channel": "late", "state": "closed", "reason": "cancelled"});
    assert_eq!((answer.status(), answer.json()), (200, told));
    // What closes for other reasons says so.
    post(hub.public(), "/cancel/other", "");
    post(hub.public(), "/channels/other?close=done", "last");
    assert_eq!(history(&hub, "other")["closed"], "done");
}

#[test]
fn who_did_not_ask_for_it_closes_nothing() {
    let hub = hub("0s");
    send(&hub, "/channels/a", NDJSON, "{\"data\":1}\nwrong\n");
    send(&hub, "/channels/a", NDJSON, "{\"data\":2}\n");
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":3}\n");
    eventually("three", || (kept(&hub, "a").len() == 3).then_some(()));
    drop(publisher);
    is_left(&hub, "a");
    assert_eq!(status(&hub, "a")["state"], "open");
}

#[test]
fn a_drain_that_cuts_a_producer_closes_nothing() {
    let hub = Hub::start(&["--producer-grace", "0s", "--drain-period", "2s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a?close=on-end&acks=stream", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    stream.event();
    hub.terminate();
    // It is sent away, not told of an end.
    assert_eq!(stream.event().kind(), "fanfare.reconnect");
    publisher.head();
    let told = last_line(&mut publisher);
    assert!(told.contains("/problems/draining"), "{told}");
}

/// The last line of a chunked answer.
fn last_line(client: &mut Client) -> String {
    let mut text = String::new();
    while let Chunk::Data(data) = client.chunk() {
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    text.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn over_http2_a_reset_breaks_off_and_an_end_is_an_end() {
    let hub = hub("200ms");
    let h2 = Connection::open(&hub).await;
    for (channel, acks, reason) in [
        ("a", "", Reason::CANCEL),
        ("b", "&acks=stream", Reason::CANCEL),
        ("d", "", Reason::NO_ERROR),
        ("e", "&acks=stream", Reason::NO_ERROR),
    ] {
        let target = format!("/channels/{channel}?close=on-end{acks}");
        let mut stream = h2.subscribe(&format!("/channels/{channel}?open=0"), &[]).await;
        let (sender, body) = Sender::new();
        let headers = [("content-type", NDJSON)];
        let answer = h2.try_ask("POST", &target, &headers, body);
        let publish = async {
            sender.send("{\"data\":\"1\"}\n").await;
            assert_eq!(stream.event().await.data, "1");
            sender.reset(reason).await;
        };
        let (_refused, ()) = tokio::join!(answer, publish);
        is_end(&stream.event().await, &[channel], "error");
    }
    let (status, _) =
        h2.call("POST", "/channels/c?close=on-end", &[("content-type", SSE)], "data: 1\n\n").await;
    assert_eq!((status, closed(&hub, "c").as_str()), (200, "done"));
}
