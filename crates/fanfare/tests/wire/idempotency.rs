//! Idempotency keys: the same key on the same channel publishes once.

use crate::{
    NDJSON,
    close::is_end,
    kept, problem, send,
    status::status,
    support::{
        http::{Answer, Client, call},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn a_key_publishes_once_and_answers_the_first_id_again() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let first = keyed(&hub, "/channels/a", "k", "x");
    let again = keyed(&hub, "/channels/a", "k", "x");
    assert_eq!((first.status(), again.status()), (200, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(stream.event().id(), first.json()["id"].as_str().unwrap());
    let other = keyed(&hub, "/channels/a", "l", "x");
    assert_eq!(stream.event().id(), other.json()["id"].as_str().unwrap(), "and nothing between");
    assert_eq!(keyed(&hub, "/channels/b", "k", "y").status(), 200, "a channel has its own keys");
    assert_eq!((kept(&hub, "a").len(), kept(&hub, "b").len()), (2, 1));
}

#[test]
fn a_key_with_other_data_is_refused() {
    let hub = Hub::start(&[]);
    keyed(&hub, "/channels/a", "k", "x");
    problem(&keyed(&hub, "/channels/a", "k", "y"), 422, "idempotency-key-reused");
    problem(&keyed(&hub, "/channels/a?event=t", "k", "x"), 422, "idempotency-key-reused");
    assert_eq!(kept(&hub, "a"), ["x"]);
}

#[test]
fn keys_are_bounded() {
    let hub = Hub::start(&[]);
    assert_eq!(keyed(&hub, "/channels/a", &"k".repeat(255), "x").status(), 200);
    problem(&keyed(&hub, "/channels/a", &"k".repeat(256), "x"), 400, "idempotency-key");
    problem(&keyed(&hub, "/channels/a", "", "x"), 400, "idempotency-key");
    let mut client = Client::connect(hub.public());
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    client.request("POST", "/channels/a", &two, b"x");
    problem(&client.answer(), 400, "idempotency-key");
    assert_eq!(kept(&hub, "a").len(), 1);
}

#[test]
fn a_key_in_a_line_does_the_same() {
    let hub = Hub::start(&[]);
    let lines =
        "{\"data\":\"1\",\"key\":\"k\"}\n{\"data\":\"1\",\"key\":\"k\"}\n{\"data\":\"2\"}\n";
    let first = send(&hub, "/channels/a", NDJSON, lines).json();
    assert_eq!(first["accepted"], 3, "a line that was there already is accepted");
    assert_eq!(kept(&hub, "a"), ["1", "2"]);
    let again = send(&hub, "/channels/a", NDJSON, "{\"data\":\"1\",\"key\":\"k\"}\n").json();
    assert_eq!(again["first_id"], first["first_id"]);
    let header = keyed(&hub, "/channels/a", "k", "1").json();
    assert_eq!(header["id"], first["first_id"], "the header's keys are the same keys");
    let reused = send(&hub, "/channels/a", NDJSON, "{\"data\":\"3\",\"key\":\"k\"}\n");
    let told = problem(&reused, 422, "idempotency-key-reused");
    assert_eq!((&told["line"], &told["accepted"]), (&1.into(), &0.into()));
    let line = "{\"channel\":\"a\",\"data\":\"1\",\"key\":\"k\"}\n";
    assert_eq!(send(&hub, "/events", NDJSON, line).json()["first_id"], first["first_id"]);
}

#[test]
fn a_lost_answer_can_be_asked_for_again() {
    let hub = Hub::start(&[]);
    let mut lost = Client::connect(hub.public());
    lost.request("POST", "/channels/a", &[("Idempotency-Key", "k")], b"x");
    drop(lost);
    // Whether or not the first one came through, this one is the last that may publish.
    assert_eq!(keyed(&hub, "/channels/a", "k", "x").status(), 200);
    assert_eq!(keyed(&hub, "/channels/a", "k", "x").status(), 200);
    assert_eq!(kept(&hub, "a"), ["x"]);
}

#[test]
fn a_hub_full_of_keys_refuses_and_does_not_forget() {
    let hub = Hub::start(&["--idempotency-keys-max", "2"]);
    let first = keyed(&hub, "/channels/a", "1", "x").json();
    keyed(&hub, "/channels/a", "2", "x");
    let refused = keyed(&hub, "/channels/a", "3", "x");
    assert_eq!(problem(&refused, 503, "idempotency-keys-full")["limit"]["value"], 2);
    assert!(refused.get("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(keyed(&hub, "/channels/a", "1", "x").json()["id"], first["id"]);
    assert_eq!(crate::publish(&hub, "a", "unkeyed").len(), first["id"].as_str().unwrap().len());
    assert_eq!(kept(&hub, "a"), ["x", "x", "unkeyed"]);
}

#[test]
fn a_key_works_with_a_close() {
    let hub = Hub::start(&[]);
    let first = keyed(&hub, "/channels/a?close", "k", "x");
    let again = keyed(&hub, "/channels/a?close", "k", "x");
    assert_eq!((again.status(), &again.json()["id"]), (200, &first.json()["id"]));
    assert_eq!(kept(&hub, "a"), ["x"]);
}

#[test]
fn a_key_sent_again_may_close_behind_its_event() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let first = keyed(&hub, "/channels/a", "k", "x");
    let again = keyed(&hub, "/channels/a?close=done", "k", "x");
    assert_eq!((again.status(), &again.json()["id"]), (200, &first.json()["id"]));
    assert_eq!(stream.event().data, "x");
    is_end(&stream.event(), &["a"], "done");
    // With a newer event behind it, it is the answer alone.
    keyed(&hub, "/channels/b", "k", "x");
    crate::publish(&hub, "b", "y");
    assert_eq!(keyed(&hub, "/channels/b?close=done", "k", "x").status(), 200);
    assert_eq!(status(&hub, "b")["state"], "open");
}

fn keyed(hub: &Hub, target: &str, key: &str, data: &str) -> Answer {
    call(hub.public(), "POST", target, &[("Idempotency-Key", key)], data.as_bytes())
}
