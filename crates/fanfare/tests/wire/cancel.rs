//! `/cancel/{channel}`: a wish is stored, reaches whoever produces, and ends with the channel.

use http_body_util::BodyExt;
use serde_json::json;

use crate::{
    NDJSON,
    close::is_end,
    h2_client::{Connection, Sender, soon},
    metric, metric_becomes,
    ndjson::streaming,
    problem, publish, send,
    status::status,
    support::{
        eventually,
        http::{Chunk, Client, call, get, post},
        hub::Hub,
        sse::Stream,
    },
};

const CANCEL: &str = "{\"cancel\":true}\n";

/// A client that waits for a wish, and is known to.
fn waiting(hub: &Hub, target: &str) -> Client {
    let before = metric(hub, "fanfare_cancel_waiters");
    let mut client = Client::connect(hub.public());
    client.request("GET", target, &[], b"");
    metric_becomes(hub, "fanfare_cancel_waiters", before + 1.0);
    client
}

#[test]
fn a_wish_is_stored_and_told_until_the_end() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for _twice in 0..2 {
        let answer = post(hub.public(), "/cancel/a", "any body");
        let told = json!({"channel": "a", "state": "cancelling", "reason": null});
        assert_eq!((answer.status(), answer.json()), (202, told));
        assert_eq!(answer.get("cache-control"), Some("no-store"));
    }
    assert_eq!(status(&hub, "a")["state"], "cancelling");
    // The producer has the last word.
    post(hub.public(), "/channels/a?close=cancelled", "usage");
    assert_eq!(stream.event().data, "usage");
    is_end(&stream.event(), &["a"], "cancelled");
    assert_eq!(status(&hub, "a")["state"], "closed");
    let answer = post(hub.public(), "/cancel/a", "");
    let told = json!({"channel": "a", "state": "closed", "reason": "cancelled"});
    assert_eq!((answer.status(), answer.json()), (200, told));
    assert_eq!(metric(&hub, "fanfare_cancels_total{cause=\"request\"}"), 1.0);
}

#[test]
fn acks_tell_of_it_at_once() {
    let hub = Hub::start(&[]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    publisher.send_chunk("{\"data\":1}\n");
    let Chunk::Data(_ack) = publisher.chunk() else { panic!("no ack") };
    assert_eq!(post(hub.public(), "/cancel/a", "").status(), 202);
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
    // Once; and the body goes on as its producer likes.
    post(hub.public(), "/cancel/a", "");
    publisher.send_chunk("{\"data\":2}\n");
    publisher.send_chunk("");
    let Chunk::Data(ack) = publisher.chunk() else { panic!("no ack") };
    assert!(ack.starts_with(b"{\"id\""));
    assert_eq!(publisher.chunk(), Chunk::Last);
}

#[test]
fn a_wish_that_comes_first_waits_for_the_producer() {
    let hub = Hub::start(&[]);
    assert_eq!(post(hub.public(), "/cancel/a", "").status(), 202);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream&close=on-end", NDJSON);
    publisher.head();
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
    publisher.send_chunk("");
    assert_eq!(publisher.chunk(), Chunk::Last);
    assert_eq!(status(&hub, "a")["reason"], "cancelled");
    post(hub.public(), "/cancel/b", "");
    let told = json!({"channel": "b", "state": "cancelling", "reason": null});
    assert_eq!(get(hub.public(), "/cancel/b").json(), told);
}

#[test]
fn a_new_life_is_wished_anew() {
    let hub = Hub::start(&[]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    post(hub.public(), "/cancel/a", "");
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
    assert_eq!(call(hub.public(), "DELETE", "/channels/a", &[], b"").status(), 204);
    assert_eq!(get(hub.public(), "/cancel/a?wait=0").json()["state"], "open");
    post(hub.public(), "/cancel/a", "");
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
}

#[test]
fn a_long_poll_waits_for_a_wish_or_an_end() {
    let hub = Hub::start(&[]);
    publish(&hub, "there", "1");
    for channel in ["there", "not/there"] {
        let mut client = waiting(&hub, &format!("/cancel/{channel}?wait=60"));
        assert_eq!(status(&hub, "not/there"), json!(null), "nothing is made by waiting");
        post(hub.public(), &format!("/cancel/{channel}"), "");
        let answer = client.answer();
        assert_eq!((answer.status(), answer.json()["state"].as_str()), (200, Some("cancelling")));
        assert_eq!(answer.get("cache-control"), Some("no-store"));
    }
    for (form, reason) in [("done", "done"), ("error", "error"), ("cancelled", "cancelled")] {
        let mut client = waiting(&hub, &format!("/cancel/{reason}?wait=60"));
        publish(&hub, reason, "an event is no end");
        post(hub.public(), &format!("/channels/{reason}?close={form}"), "last");
        let told = json!({"channel": reason, "state": "closed", "reason": reason});
        assert_eq!(client.answer().json(), told);
        assert_eq!(get(hub.public(), &format!("/cancel/{reason}")).json(), told);
    }
    publish(&hub, "deleted", "1");
    let mut client = waiting(&hub, "/cancel/deleted");
    call(hub.public(), "DELETE", "/channels/deleted", &[], b"");
    assert_eq!(client.answer().json()["reason"], "deleted");
}

#[test]
fn a_long_poll_ends_when_its_time_is_over() {
    let hub = Hub::start(&[]);
    let told = json!({"channel": "a", "state": "open", "reason": null});
    for wait in ["0", "1"] {
        assert_eq!(get(hub.public(), &format!("/cancel/a?wait={wait}")).json(), told);
    }
    for wait in ["61", "-1", "x", ""] {
        problem(&get(hub.public(), &format!("/cancel/a?wait={wait}")), 400, "query");
    }
    assert_eq!(metric(&hub, "fanfare_cancel_waiters"), 0.0);
}

#[test]
fn those_who_wait_are_bounded_and_those_who_leave_make_room() {
    let hub = Hub::start(&[]);
    let mut waiting: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Client::connect(hub.public());
            client.request("GET", "/cancel/a?wait=60", &[], b"");
            client
        })
        .collect();
    metric_becomes(&hub, "fanfare_cancel_waiters", 64.0);
    let full = get(hub.public(), "/cancel/a");
    let told = problem(&full, 503, "cancel-waiters-full");
    assert_eq!(told["limit"], json!({"name": "cancel_waiters_max", "value": 64}));
    assert!(full.get("retry-after").is_some());
    assert_eq!(metric(&hub, "fanfare_limit_reached_total{limit=\"cancel_waiters\"}"), 1.0);
    assert_eq!(get(hub.public(), "/cancel/b?wait=0").status(), 200);
    drop(waiting.pop());
    metric_becomes(&hub, "fanfare_cancel_waiters", 63.0);
    assert_eq!(get(hub.public(), "/cancel/a?wait=0").status(), 200);
    // A producer with acks is told whoever else waits.
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    post(hub.public(), "/cancel/a", "");
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
    for mut client in waiting {
        assert_eq!(client.answer().json()["state"], "cancelling");
    }
}

#[test]
fn a_wish_nobody_takes_up_goes_like_an_event() {
    let hub = Hub::start(&["--ring-age", "1s"]);
    post(hub.public(), "/cancel/a", "");
    assert_eq!(status(&hub, "a")["state"], "cancelling");
    eventually("it has expired", || status(&hub, "a").is_null().then_some(()));
    publish(&hub, "a", "1");
    assert_eq!(status(&hub, "a")["state"], "open");
}

#[test]
fn a_wish_outlives_the_events_while_somebody_streams() {
    let hub = Hub::start(&["--ring-age", "1s"]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    publisher.send_chunk("{\"data\":1}\n");
    publisher.chunk();
    post(hub.public(), "/cancel/a", "");
    eventually("the event is too old", || (status(&hub, "a")["kept"]["events"] == 0).then_some(()));
    assert_eq!(status(&hub, "a")["state"], "cancelling");
}

#[test]
fn a_drain_takes_wishes_for_those_who_still_stream() {
    let hub = Hub::start(&["--drain-period", "10s"]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    publisher.send_chunk("{\"data\":1}\n");
    publisher.chunk();
    hub.terminate();
    let other = || post(hub.public(), "/cancel/other", "");
    eventually("it drains", || (other().status() == 503).then_some(()));
    problem(&other(), 503, "draining");
    assert_eq!(post(hub.public(), "/cancel/a", "").status(), 202);
    assert_eq!(publisher.chunk(), Chunk::Data(CANCEL.into()));
}

#[test]
fn a_drain_lets_those_who_wait_go() {
    let hub = Hub::start(&["--drain-period", "1s"]);
    let mut client = waiting(&hub, "/cancel/a?wait=60");
    // Somebody streams, so the drain takes its time.
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.head();
    hub.terminate();
    assert_eq!(client.answer().json()["state"], "open");
}

#[test]
fn names_and_methods_are_checked() {
    let hub = Hub::start(&[]);
    for target in ["/cancel/a*", "/cancel/", "/cancel/a%2Fb", "/cancel/$hub"] {
        problem(&post(hub.public(), target, ""), 400, "channel-name");
        problem(&get(hub.public(), target), 400, "channel-name");
    }
    let refused = call(hub.public(), "DELETE", "/cancel/a", &[], b"");
    problem(&refused, 405, "method-not-allowed");
    assert_eq!(refused.get("allow"), Some("GET, POST, OPTIONS"));
    // A channel may be called as the path is.
    publish(&hub, "cancel/a", "1");
    assert_eq!(status(&hub, "cancel/a")["events"], 1);
    let full = Hub::start(&["--channels-max", "1"]);
    send(&full, "/channels/a", "text/plain", "x");
    problem(&post(full.public(), "/cancel/b", ""), 503, "channels-full");
    assert_eq!(get(full.public(), "/cancel/b?wait=0").json()["state"], "open");
}

#[tokio::test]
async fn over_http2_it_is_the_same() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let (sender, body) = Sender::new();
    let headers = [("content-type", NDJSON)];
    let target = "/channels/a?acks=stream&close=on-end";
    let mut acks = h2.ask("POST", target, &headers, body).await.into_body();
    sender.send("{\"data\":1}\n").await;
    let wait = h2.call("GET", "/cancel/b?wait=60", &[], "");
    let wish = async {
        let frame = next(&mut acks).await;
        assert!(frame.starts_with("{\"id\""), "{frame}");
        for channel in ["a", "b"] {
            let told = h2.call("POST", &format!("/cancel/{channel}"), &[], "").await;
            assert_eq!(told.0, 202);
        }
    };
    let ((answer, told), ()) = tokio::join!(wait, wish);
    assert_eq!(answer, 200);
    assert!(told.contains("\"cancelling\""), "{told}");
    assert_eq!(next(&mut acks).await, CANCEL);
    drop(sender);
    let rest = soon(acks.collect()).await.unwrap().to_bytes();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(status(&hub, "a")["reason"], "cancelled");
}

async fn next(body: &mut hyper::body::Incoming) -> String {
    let frame = soon(body.frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}
