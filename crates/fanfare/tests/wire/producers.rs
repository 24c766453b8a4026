//! `Producer-Id`, `Producer-Epoch`, `Producer-Seq`: what is sent again is there once.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{
    NDJSON, SSE,
    h2_client::{Connection, Sender, soon},
    history, kept,
    limits::reached,
    problem, publish,
    support::{
        eventually,
        http::{Answer, Chunk, Client, call, get},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn an_event_that_is_sent_again_is_answered_and_there_once() {
    let hub = Hub::start(&[]);
    let first = one(&hub, "/channels/a", (0, 0), "x");
    assert_eq!((first.status(), told(&first)), (200, (Some("0"), Some("0"))));
    assert_eq!(first.json()["id"], history(&hub, "a")["events"][0]["id"]);
    one(&hub, "/channels/a", (0, 1), "y");
    for seq in [0, 1] {
        let again = one(&hub, "/channels/a", (0, seq), "whatever");
        assert_eq!((again.status(), told(&again)), (204, (Some("0"), Some("1"))));
        assert_eq!(again.text(), "");
    }
    let other = [("Producer-Id", "q"), ("Producer-Epoch", "7"), ("Producer-Seq", "0")];
    let other = call(hub.public(), "POST", "/channels/a", &other, b"z");
    assert_eq!((other.status(), told(&other)), (200, (Some("7"), Some("0"))));
    assert_eq!(one(&hub, "/channels/b", (0, 0), "b").status(), 200, "a channel has its own");
    assert_eq!((kept(&hub, "a"), kept(&hub, "b")), (strings(["x", "y", "z"]), strings(["b"])));
}

#[test]
fn a_gap_is_refused_with_what_was_expected() {
    let hub = Hub::start(&[]);
    for (seq, expected) in [(3, 0), (0, 0), (5, 1)] {
        let answer = one(&hub, "/channels/a", (2, seq), "x");
        if seq == expected {
            assert_eq!(answer.status(), 200);
            continue;
        }
        let body = problem(&answer, 409, "producer-gap");
        assert_eq!(body["expected_seq"], expected, "{body}");
        assert_eq!(answer.get("producer-expected-seq"), Some(&*expected.to_string()));
        assert_eq!(answer.get("producer-received-seq"), Some(&*seq.to_string()));
    }
    // Of many events it is the first that is missing.
    for query in ["", "?acks=stream"] {
        let answer = many(&hub, &format!("/channels/a{query}"), NDJSON, (2, 2), &lines(2..4));
        assert_eq!(problem(&answer, 409, "producer-gap")["expected_seq"], 1);
    }
    assert_eq!(kept(&hub, "a"), ["x"]);
}

#[test]
fn a_newer_epoch_fences_the_older_ones() {
    let hub = Hub::start(&[]);
    one(&hub, "/channels/a", (4, 0), "old");
    let late = one(&hub, "/channels/a", (5, 1), "x");
    let detail = problem(&late, 400, "producer")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("a new epoch begins at 0"), "{detail}");
    let new = one(&hub, "/channels/a", (5, 0), "new");
    assert_eq!((new.status(), told(&new)), (200, (Some("5"), Some("0"))));
    for target in ["/channels/a", "/channels/a?close=error"] {
        let zombie = one(&hub, target, (4, 1), "x");
        assert_eq!(problem(&zombie, 403, "producer-fenced")["epoch"], 5);
        assert_eq!(told(&zombie), (Some("5"), None));
    }
    problem(&one(&hub, "/channels/a?close=error", (4, 1), ""), 403, "producer-fenced");
    assert_eq!(kept(&hub, "a"), ["old", "new"]);
    assert_eq!(history(&hub, "a")["closed"], Value::Null, "nor does a zombie close it");
}

#[test]
fn the_three_headers_come_together_and_say_what_is_wrong() {
    let hub = Hub::start(&[]);
    let (id, epoch, seq) = (("Producer-Id", "p"), ("Producer-Epoch", "0"), ("Producer-Seq", "0"));
    let long = "p".repeat(129);
    let big = (1_u64 << 53).to_string();
    for headers in [
        &[id][..],
        &[id, epoch],
        &[epoch, seq],
        &[id, epoch, seq, seq],
        &[("Producer-Id", ""), epoch, seq],
        &[("Producer-Id", "a b"), epoch, seq],
        &[("Producer-Id", "\u{e9}"), epoch, seq],
        &[("Producer-Id", &long), epoch, seq],
        &[id, ("Producer-Epoch", "-1"), seq],
        &[id, ("Producer-Epoch", "+1"), seq],
        &[id, ("Producer-Epoch", "x"), seq],
        &[id, ("Producer-Epoch", &big), seq],
        &[id, epoch, ("Producer-Seq", "")],
        &[id, epoch, ("Producer-Seq", "0.0")],
        &[id, epoch, ("Producer-Seq", "99999999999999999999999")],
        &[id, epoch, seq, ("Idempotency-Key", "k")],
    ] {
        let answer = call(hub.public(), "POST", "/channels/a", headers, b"x");
        problem(&answer, 400, "producer");
    }
    let wrong = [id, ("Producer-Epoch", "x"), seq];
    let told = call(hub.public(), "POST", "/channels/a", &wrong, b"x").json();
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.starts_with("`Producer-Epoch` is"), "spelled as it is documented: {detail}");
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    problem(&many(&hub, "/events", NDJSON, (0, 0), line), 400, "producer");
    let keyed = "{\"data\":1}\n{\"data\":2,\"key\":\"k\"}\n";
    let told = problem(&many(&hub, "/channels/a", NDJSON, (0, 0), keyed), 400, "producer");
    assert_eq!((&told["line"], &told["accepted"]), (&json!(2), &json!(1)));
    // The largest numbers are allowed, and none comes after them.
    let max = (1 << 53) - 1;
    assert_eq!(one(&hub, "/channels/b", (max, 0), "x").status(), 200);
    let gap = one(&hub, "/channels/b", (max, max), "x");
    assert_eq!(problem(&gap, 409, "producer-gap")["received_seq"], max);
    assert_eq!((kept(&hub, "a"), kept(&hub, "b")), (strings(["1"]), strings(["x"])));
}

#[test]
fn many_events_count_up_from_the_first() {
    let hub = Hub::start(&[]);
    let first = many(&hub, "/channels/a", NDJSON, (0, 0), &lines(0..3));
    let producer = |seq: u64| json!({"id": "p", "epoch": 0, "seq": seq, "events": seq + 1});
    assert_eq!((first.status(), told(&first)), (200, (Some("0"), Some("2"))));
    assert_eq!((&first.json()["accepted"], &first.json()["duplicates"]), (&json!(3), &json!(0)));
    assert_eq!(first.json()["producer"], producer(2));
    // Half of this is there already.
    let second = many(&hub, "/channels/a", NDJSON, (0, 1), &lines(1..5)).json();
    assert_eq!((&second["accepted"], &second["duplicates"]), (&json!(2), &json!(2)));
    assert_eq!(second["producer"], producer(4));
    assert_eq!(second["first_id"], history(&hub, "a")["events"][3]["id"]);
    let blocks: String = (4..7).map(|n| format!("data: {n}\n\n")).collect();
    let third = many(&hub, "/channels/a", SSE, (0, 4), &blocks).json();
    assert_eq!((&third["accepted"], &third["duplicates"]), (&json!(2), &json!(1)));
    let nothing = many(&hub, "/channels/a", NDJSON, (0, 7), "");
    assert_eq!((&nothing.json()["producer"], told(&nothing).1), (&producer(6), Some("6")));
    assert_eq!(kept(&hub, "a"), strings(["0", "1", "2", "3", "4", "5", "6"]));
}

#[test]
fn acks_say_which_event_they_are_of() {
    let hub = Hub::start(&[]);
    many(&hub, "/channels/a", NDJSON, (0, 0), &lines(0..2));
    let answer = many(&hub, "/channels/a?acks=stream", NDJSON, (0, 1), &lines(1..3));
    assert_eq!(told(&answer), (Some("0"), Some("1")), "where it was when it came back");
    let id = history(&hub, "a")["events"][2]["id"].as_str().unwrap().to_owned();
    let expected = format!(
        "{{\"id\":null,\"duplicate\":true,\"seq\":1}}\n\
         {{\"id\":\"{id}\",\"subscribers\":0,\"seq\":2}}\n"
    );
    assert_eq!(answer.text(), expected);
}

#[test]
fn who_sends_all_again_too_late_is_told_how_the_channel_was_closed() {
    let hub = Hub::start(&[]);
    let target = "/channels/a?close=on-end";
    assert_eq!(many(&hub, "/channels/a", NDJSON, (0, 0), &lines(0..2)).json()["accepted"], 2);
    assert_eq!(call(hub.public(), "POST", "/channels/a?close=error", &[], b"").status(), 200);
    let told = many(&hub, target, NDJSON, (0, 0), &lines(0..2)).json();
    assert_eq!((&told["accepted"], &told["duplicates"]), (&json!(0), &json!(2)), "{told}");
    assert_eq!(told["closed"], "error", "{told}");
    // One that comes in time closes it as it meant to, and one that does not close is told nothing.
    let told = many(&hub, "/channels/b", NDJSON, (0, 0), &lines(0..1)).json();
    assert_eq!(told.get("closed"), None, "{told}");
    let told = many(&hub, "/channels/b?close=on-end", NDJSON, (0, 0), &lines(0..2)).json();
    assert_eq!(told["closed"], "done", "{told}");
}

#[test]
fn a_zombie_is_cut_off_in_the_middle() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for query in ["?acks=stream&close=done", "?close=done"] {
        let epoch = if query.len() > 12 { 0 } else { 2 };
        let mut zombie = streaming(&hub, &format!("/channels/a{query}"), (epoch, 0));
        zombie.send_chunk(lines(0..2));
        stream.events(2);
        // Its successor has nothing to say yet.
        let mut next = streaming(&hub, "/channels/a", (epoch + 1, 0));
        eventually("fenced", || {
            (one(&hub, "/channels/a", (epoch, 1), "").status() == 403).then_some(())
        });
        zombie.send_chunk(lines(2..4));
        let last = match epoch {
            0 => {
                zombie.head();
                last_line(&mut zombie)
            }
            _ => {
                let answer = zombie.answer();
                assert_eq!(told(&answer), (Some("3"), None));
                problem(&answer, 403, "producer-fenced")
            }
        };
        assert_eq!(last["type"], "/problems/producer-fenced", "{last}");
        assert_eq!((&last["epoch"], &last["accepted"]), (&json!(epoch + 1), &json!(2)));
        next.send_chunk(lines(2..3));
        next.send_chunk("");
        assert_eq!(next.answer().json()["accepted"], 1);
        assert_eq!(stream.event().data, "2", "and nothing of the zombie came before");
    }
    assert_eq!(kept(&hub, "a"), ["0", "1", "2", "0", "1", "2"]);
}

#[test]
fn a_zombie_that_ends_well_closes_nothing() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut zombie = streaming(&hub, "/channels/a?close=done", (0, 0));
    zombie.send_chunk(lines(0..1));
    stream.event();
    assert_eq!(one(&hub, "/channels/a", (1, 0), "new").status(), 200);
    zombie.send_chunk("");
    problem(&zombie.answer(), 403, "producer-fenced");
    publish(&hub, "a", "it is open");
    assert_eq!(stream.events(2)[1].data, "it is open");
}

#[test]
fn a_zombie_that_ends_well_leaves_the_channel_waiting_for_its_successor() {
    let hub = Hub::start(&["--producer-grace", "0s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut zombie = streaming(&hub, "/channels/a?close=on-end", (0, 0));
    zombie.send_chunk(lines(0..1));
    stream.event();
    // The successor is none that streams, so nobody else would ever close the channel.
    assert_eq!(one(&hub, "/channels/a", (1, 0), "new").status(), 200);
    zombie.send_chunk("");
    problem(&zombie.answer(), 403, "producer-fenced");
    assert_eq!(stream.event().data, "new");
    assert_eq!(stream.event().json()["reason"], "error");
}

#[test]
fn a_zombie_that_breaks_off_does_not_end_what_its_successor_streams() {
    let hub = Hub::start(&["--producer-grace", "0s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut zombie = streaming(&hub, "/channels/a?close=on-end", (0, 0));
    zombie.send_chunk(lines(0..1));
    stream.event();
    let mut next = streaming(&hub, "/channels/a?close=on-end", (1, 0));
    next.send_chunk(lines(1..2));
    stream.event();
    zombie.send_chunk(lines(1..2));
    problem(&zombie.answer(), 403, "producer-fenced");
    drop(zombie);
    next.send_chunk(lines(2..3));
    assert_eq!(stream.event().data, "2");
    next.send_chunk("");
    assert_eq!(next.answer().json()["producer"]["events"], 3);
    assert_eq!(stream.event().json()["reason"], "done");
    // Its successor gone before it, nobody is left who would close the channel.
    let mut zombie = streaming(&hub, "/channels/b?close=on-end", (0, 0));
    zombie.send_chunk(lines(0..1));
    let status = |name: &str| get(hub.public(), "/status/b?producer=p").json()[name].clone();
    eventually("published", || (status("events") == 1).then_some(()));
    let next = streaming(&hub, "/channels/b?close=on-end", (1, 0));
    eventually("claimed", || (status("producer")["epoch"] == 1).then_some(()));
    eventually("both", || (status("publishing") == 2).then_some(()));
    drop(next);
    eventually("one gone", || (status("publishing") == 1).then_some(()));
    assert_eq!(status("state"), "open");
    zombie.send_chunk(lines(1..2));
    problem(&zombie.answer(), 403, "producer-fenced");
    eventually("closed", || (status("reason") == "error").then_some(()));
}

#[test]
fn what_is_sent_again_is_answered_after_the_end_too() {
    let hub = Hub::start(&[]);
    one(&hub, "/channels/a", (0, 0), "x");
    assert_eq!(one(&hub, "/channels/a?close=done", (0, 1), "last").status(), 200);
    for target in ["/channels/a?close=done", "/channels/a", "/channels/a?close=error"] {
        assert_eq!(one(&hub, target, (0, 1), "last").status(), 204, "{target}");
        assert_eq!(one(&hub, target, (0, 0), "x").status(), 204, "{target}");
    }
    problem(&one(&hub, "/channels/a", (0, 2), "more"), 409, "channel-closed");
    problem(&one(&hub, "/channels/a", (1, 0), "more"), 409, "channel-closed");
    problem(&one(&hub, "/channels/a", (0, 3), "more"), 409, "producer-gap");
    let again = many(&hub, "/channels/a?close=done", NDJSON, (0, 0), &lines(0..2));
    assert_eq!((again.status(), &again.json()["duplicates"]), (200, &json!(2)));
    let claim = many(&hub, "/channels/a", NDJSON, (1, 0), "");
    problem(&claim, 409, "channel-closed");
    assert_eq!(
        (kept(&hub, "a"), &history(&hub, "a")["closed"]),
        (strings(["x", "last"]), &json!("done"))
    );
    // A last event that was sent without its close is sent again with it: who waits is told.
    let mut stream = Stream::open(hub.public(), "/channels/b?open=0");
    one(&hub, "/channels/b", (0, 0), "last");
    assert_eq!(stream.event().data, "last");
    assert_eq!(one(&hub, "/channels/b?close=done", (0, 0), "last").status(), 204);
    assert_eq!(stream.event().kind(), "fanfare.end");
    assert_eq!(history(&hub, "b")["closed"], "done");
    // So is a close without an event, which has no number of its own.
    for _ in 0..2 {
        assert_eq!(one(&hub, "/channels/c?close=done", (0, 0), "").status(), 200);
    }
    assert_eq!(history(&hub, "c")["closed"], "done");
}

#[test]
fn a_deleted_channel_knows_nobody() {
    let hub = Hub::start(&[]);
    one(&hub, "/channels/a", (0, 0), "x");
    assert_eq!(call(hub.public(), "DELETE", "/channels/a", &[], b"").status(), 204);
    problem(&one(&hub, "/channels/a", (0, 1), "y"), 409, "producer-gap");
    let history = call(hub.public(), "GET", "/channels/a", &[("Accept", "application/json")], b"");
    assert_eq!(history.status(), 404, "a refused event makes no channel");
}

#[test]
fn a_channel_has_a_bounded_number_of_producers() {
    let hub = Hub::start(&[]);
    let publish = |n: usize| {
        let id = n.to_string();
        let headers = [("Producer-Id", &*id), ("Producer-Epoch", "0"), ("Producer-Seq", "0")];
        call(hub.public(), "POST", "/channels/a", &headers, b"x")
    };
    assert!((0..64).all(|n| publish(n).status() == 200));
    let refused = publish(64);
    let body = problem(&refused, 503, "producers-full");
    assert_eq!(body["limit"], json!({"name": "producers_per_channel_max", "value": 64}));
    assert!(refused.get("retry-after").is_some());
    assert_eq!(reached(&hub, "producers_per_channel"), 1.0);
    assert_eq!(publish(0).status(), 204, "who is known goes on");
}

#[test]
fn pages_may_send_and_read_the_headers() {
    let hub = Hub::start(&["--cors-origin", "https://app.example"]);
    let origin = ("Origin", "https://app.example");
    let asked = ("Access-Control-Request-Headers", "producer-id");
    let preflight = call(hub.public(), "OPTIONS", "/channels/a", &[origin, asked], b"");
    let allowed = preflight.get("access-control-allow-headers").unwrap();
    let headers = [origin, ("Producer-Id", "p"), ("Producer-Epoch", "0"), ("Producer-Seq", "0")];
    let answer = call(hub.public(), "POST", "/channels/a", &headers, b"x");
    let exposed = answer.get("access-control-expose-headers").unwrap();
    let names = |text: &str| text.split(", ").map(str::to_lowercase).collect::<Vec<_>>();
    for name in ["producer-id", "producer-epoch", "producer-seq"] {
        assert!(names(allowed).iter().any(|allowed| allowed == name), "{allowed}");
    }
    for name in ["producer-epoch", "producer-seq", "producer-expected-seq", "producer-received-seq"]
    {
        assert!(names(exposed).iter().any(|exposed| exposed == name), "{exposed}");
    }
}

#[tokio::test]
async fn over_http_2_it_is_the_same() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let of = |epoch: &'static str, seq: &'static str| {
        let id = ("producer-id", "p");
        [id, ("producer-epoch", epoch), ("producer-seq", seq), ("content-type", NDJSON)]
    };
    let mut stream = h2.subscribe("/channels/a?open=0", &[]).await;
    let (zombie, body) = Sender::new();
    let answer = h2.ask("POST", "/channels/a?acks=stream&close=done", &of("0", "0"), body).await;
    let mut acks = answer.into_body();
    zombie.send("{\"data\":\"0\"}\n").await;
    assert_eq!(stream.event().await.data, "0");
    let (status, _) = h2.call("POST", "/channels/a", &of("1", "0"), "").await;
    assert_eq!(status, 200);
    zombie.send("{\"data\":\"zombie\"}\n").await;
    let mut told = Vec::new();
    while let Some(frame) = soon(acks.frame()).await {
        told.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let told = String::from_utf8(told).unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((told.lines().count(), &last["epoch"]), (2, &json!(1)), "{told}");
    let (status, told) = h2.call("POST", "/channels/a", &of("1", "2"), "{\"data\":1}").await;
    assert_eq!(status, 409, "{told}");
    let (status, told) =
        h2.call("POST", "/channels/a?close", &of("1", "0"), "{\"data\":\"1\"}").await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(stream.event().await.data, "1");
    assert_eq!(kept(&hub, "a"), ["0", "1"]);
}

/// Publishes one event of `p`.
fn one(hub: &Hub, target: &str, (epoch, seq): (u64, u64), data: &str) -> Answer {
    let (epoch, seq) = (epoch.to_string(), seq.to_string());
    let headers = [("Producer-Id", "p"), ("Producer-Epoch", &*epoch), ("Producer-Seq", &*seq)];
    call(hub.public(), "POST", target, &headers, data.as_bytes())
}

/// Publishes many of them.
fn many(hub: &Hub, target: &str, media_type: &str, (epoch, seq): (u64, u64), body: &str) -> Answer {
    let (epoch, seq) = (epoch.to_string(), seq.to_string());
    let headers = [
        ("Content-Type", media_type),
        ("Producer-Id", "p"),
        ("Producer-Epoch", &*epoch),
        ("Producer-Seq", &*seq),
    ];
    call(hub.public(), "POST", target, &headers, body.as_bytes())
}

/// Begins to publish many of them.
fn streaming(hub: &Hub, target: &str, (epoch, seq): (u64, u64)) -> Client {
    let mut client = Client::connect(hub.public());
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NDJSON}\r\n\
         Producer-Id: p\r\nProducer-Epoch: {epoch}\r\nProducer-Seq: {seq}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    ));
    client
}

/// Lines with these numbers as data.
fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect()
}

/// What a producer is told of how far it is: its epoch and its newest event.
fn told(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.get("producer-epoch"), answer.get("producer-seq"))
}

/// The last line of a chunked answer.
fn last_line(client: &mut Client) -> Value {
    let mut text = Vec::new();
    loop {
        match client.chunk() {
            Chunk::Data(data) => text.extend_from_slice(&data),
            Chunk::Last => break,
            Chunk::Cut(_) => panic!("cut after {text:?}"),
        }
    }
    let text = String::from_utf8(text).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
