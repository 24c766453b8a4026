//! `GET /status/{channel}`: all that is known of a channel, in each of its states.

use serde_json::{Value, json};

use crate::{
    NDJSON, history,
    ndjson::streaming,
    problem, publish,
    support::{
        eventually,
        http::{call, get, post},
        hub::Hub,
        sse::Stream,
    },
};

/// The status of a channel; null if there is none.
pub(crate) fn status(hub: &Hub, channel: &str) -> Value {
    let answer = get(hub.public(), &format!("/status/{channel}"));
    if answer.status() == 404 {
        problem(&answer, 404, "channel-not-found");
        return Value::Null;
    }
    assert_eq!((answer.status(), answer.get("cache-control")), (200, Some("no-store")));
    answer.json()
}

#[test]
fn an_open_channel_says_what_it_had_and_has() {
    let hub = Hub::start(&["--ring-events", "2"]);
    let _watching = [
        Stream::open(hub.public(), "/channels/a/b"),
        Stream::open(hub.public(), "/events?channel=a/*"),
    ];
    let mut ids = Vec::new();
    for n in ["one", "two", "three"] {
        ids.push(publish(&hub, "a/b", n));
    }
    let told = status(&hub, "a/b");
    let page = history(&hub, "a/b");
    let at = |index: usize| page["events"][index]["published_at"].clone();
    let (created, updated) = (told["created_at"].as_u64().unwrap(), at(1));
    assert!(created <= at(0).as_u64().unwrap() && created > 1_600_000_000_000);
    let bytes = told["bytes"].as_u64().unwrap();
    assert!(bytes > 3 * "id: \ndata: \n\n".len() as u64, "{told}");
    let expected = json!({
        "channel": "a/b", "state": "open", "reason": null,
        "first_id": ids[1], "last_id": ids[2], "events": 3, "bytes": bytes,
        "kept": {"events": 2, "bytes": told["kept"]["bytes"]},
        "subscribers": 2, "publishing": 0,
        "created_at": created, "updated_at": updated, "closed_at": null,
    });
    assert_eq!(told, expected);
}

#[test]
fn a_closed_channel_says_how_and_when() {
    let hub = Hub::start(&[]);
    for (form, reason) in [("done", "done"), ("error", "error"), ("cancelled", "cancelled")] {
        let id = publish(&hub, reason, "1");
        post(hub.public(), &format!("/channels/{reason}?close={form}"), "");
        let told = status(&hub, reason);
        assert_eq!((&told["state"], &told["reason"]), (&json!("closed"), &json!(reason)));
        assert_eq!((&told["last_id"], &told["events"]), (&json!(id), &json!(1)));
        assert!(told["closed_at"].as_u64() >= told["created_at"].as_u64(), "{told}");
        assert_eq!(told["updated_at"], told["closed_at"]);
    }
    post(hub.public(), "/channels/only?close", "");
    let told = status(&hub, "only");
    assert_eq!((&told["state"], &told["first_id"]), (&json!("closed"), &Value::Null));
    assert_eq!((&told["last_id"], &told["events"]), (&Value::Null, &json!(0)));
}

#[test]
fn what_is_wished_and_what_is_streamed_to_is_there_before_its_first_event() {
    let hub = Hub::start(&[]);
    post(hub.public(), "/cancel/wished", "");
    let told = status(&hub, "wished");
    assert_eq!((&told["state"], &told["publishing"]), (&json!("cancelling"), &json!(0)));
    assert_eq!(told["updated_at"], told["created_at"]);
    let mut publisher = streaming(&hub, "/channels/streamed", NDJSON);
    let told = eventually("the head is there", || {
        Some(status(&hub, "streamed")).filter(|told| !told.is_null())
    });
    assert_eq!((&told["state"], &told["publishing"]), (&json!("open"), &json!(1)));
    // Without an event it leaves nothing behind.
    publisher.send_chunk("");
    assert_eq!(publisher.answer().status(), 200);
    assert_eq!(status(&hub, "streamed"), Value::Null);
}

#[test]
fn what_never_was_and_who_only_waits_is_404() {
    let hub = Hub::start(&[]);
    assert_eq!(status(&hub, "never"), Value::Null);
    let _waiting = Stream::open(hub.public(), "/channels/waited");
    assert_eq!(status(&hub, "waited"), Value::Null);
    publish(&hub, "gone", "1");
    assert_eq!(call(hub.public(), "DELETE", "/channels/gone", &[], b"").status(), 204);
    assert_eq!(status(&hub, "gone"), Value::Null);
    problem(&get(hub.public(), "/status/a*"), 400, "channel-name");
    problem(&post(hub.public(), "/status/a", ""), 405, "method-not-allowed");
}

#[test]
fn a_producer_learns_where_it_was() {
    let hub = Hub::start(&[]);
    let producer =
        |epoch, seq| [("Producer-Id", "p+1"), ("Producer-Epoch", epoch), ("Producer-Seq", seq)];
    for (epoch, seq) in [("0", "0"), ("0", "1"), ("1", "0")] {
        let answer = call(hub.public(), "POST", "/channels/a", &producer(epoch, seq), b"x");
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let told = get(hub.public(), "/status/a?producer=p%2B1").json();
    let last = &told["last_id"];
    let expected = json!({"id": "p+1", "epoch": 1, "seq": 0, "events": 3, "last_id": last});
    assert_eq!(told["producer"], expected);
    assert_eq!(get(hub.public(), "/status/a?producer=q").json()["producer"], Value::Null);
    assert_eq!(status(&hub, "a").get("producer"), None);
    // One that claims its life is known before its first event, and refused ones leave nothing.
    let mut lines = producer("0", "0").to_vec();
    lines.push(("Content-Type", NDJSON));
    assert_eq!(call(hub.public(), "POST", "/channels/b", &lines, b"").status(), 200);
    let told = get(hub.public(), "/status/b?producer=p%2B1").json();
    assert_eq!((&told["producer"]["seq"], &told["events"]), (&Value::Null, &json!(0)));
    lines[2].1 = "7";
    let refused = call(hub.public(), "POST", "/channels/c?close=on-end", &lines, b"");
    problem(&refused, 409, "producer-gap");
    assert_eq!(status(&hub, "c"), Value::Null);
}

#[test]
fn pages_may_read_it() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    publish(&hub, "a", "1");
    let origin = [("Origin", "https://app.example")];
    for target in ["/status/a", "/status/none", "/cancel/a?wait=0"] {
        let answer = call(hub.public(), "GET", target, &origin, b"");
        assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example"));
    }
    let foreign = [("Origin", "https://evil.example")];
    let refused = call(hub.public(), "POST", "/cancel/a", &foreign, b"");
    problem(&refused, 403, "origin-not-allowed");
    assert_eq!(status(&hub, "a")["state"], "open");
}
