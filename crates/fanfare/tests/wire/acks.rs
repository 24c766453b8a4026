//! `?acks=stream`: an ack a line, as the events are accepted.

use http_body_util::BodyExt;
use serde_json::Value;

use crate::{
    NDJSON, SSE, beside,
    h2_client::{Connection, Sender, soon},
    kept, metric,
    ndjson::streaming,
    problem, publish, send,
    support::{
        http::{Chunk, Client, get, post},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn each_event_is_acknowledged_before_the_body_ends() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    publisher.send_chunk("{\"data\":\"1\"}\n");
    let head = publisher.head();
    assert_eq!((head.status, head.get("content-type")), (200, Some(NDJSON)));
    for n in 2..=4 {
        let id = stream.event().id().to_owned();
        assert_eq!(lines(&mut publisher, 1), [format!("{{\"id\":\"{id}\",\"subscribers\":1}}")]);
        publisher.send_chunk(format!("{{\"data\":\"{n}\"}}\n"));
    }
    lines(&mut publisher, 1);
    publisher.send_chunk("{\"data\":\"5\"}");
    publisher.send_chunk("");
    let last = lines(&mut publisher, 1);
    assert_eq!(stream.events(2)[1].data, "5");
    assert!(last[0].contains("\"id\""), "{last:?}");
    assert_eq!(publisher.chunk(), Chunk::Last);
}

#[test]
fn blocks_of_sse_and_lines_of_events_are_acknowledged_too() {
    let hub = Hub::start(&[]);
    let answer = send(&hub, "/channels/a?acks=stream", SSE, "data: 1\n\ndata: 2\n\n");
    let first = told(&answer.body);
    assert_eq!(first.len(), 2);
    let body = "{\"channel\":\"a\",\"data\":3}\n{\"channel\":\"b\",\"data\":4}\n";
    let answer = send(&hub, "/events?acks=stream", NDJSON, body);
    let ids: Vec<_> = told(&answer.body).iter().map(|ack| ack["id"].clone()).collect();
    let before = first[1]["id"].as_str().unwrap();
    assert_eq!(ids, [beside(before, 1), beside(before, 2)]);
}

#[test]
fn a_wrong_line_is_the_last_that_is_told() {
    let hub = Hub::start(&[]);
    let body = "{\"data\":1}\n{\"data\":2}\nwrong\n{\"data\":3}\n";
    let answer = send(&hub, "/channels/a?acks=stream", NDJSON, body);
    assert_eq!(answer.status(), 200, "the head was sent before");
    let told = told(&answer.body);
    assert_eq!(told.len(), 3);
    assert_eq!((&told[2]["type"], &told[2]["status"]), (&"/problems/line".into(), &400.into()));
    assert_eq!((&told[2]["line"], &told[2]["accepted"]), (&3.into(), &2.into()));
    assert_eq!(kept(&hub, "a"), ["1", "2"]);
}

#[test]
fn one_event_has_no_stream_of_acks() {
    let hub = Hub::start(&[]);
    problem(&send(&hub, "/channels/a?acks=stream", "text/plain", "x"), 400, "query");
    assert_eq!(kept(&hub, "a"), [""; 0]);
}

#[test]
fn acks_follow_a_close_and_a_closed_channel_refuses() {
    let hub = Hub::start(&[]);
    let answer = send(&hub, "/channels/a?acks=stream&close", NDJSON, "{\"data\":1}\n");
    assert_eq!(told(&answer.body).len(), 1);
    let answer = send(&hub, "/channels/a?acks=stream", NDJSON, "{\"data\":2}\n");
    let refused = told(&answer.body);
    assert_eq!(refused.last().unwrap()["type"], "/problems/channel-closed");
}

#[test]
fn who_waits_for_an_event_is_told_that_the_channel_ends() {
    let hub = Hub::start(&[]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream&close=on-end", NDJSON);
    publisher.head();
    publisher.send_chunk("{\"data\":1}\n");
    lines(&mut publisher, 1);
    assert_eq!(post(hub.public(), "/channels/a?close=error", "").status(), 200);
    let refused: Value = serde_json::from_str(&lines(&mut publisher, 1)[0]).unwrap();
    assert_eq!(refused["type"], "/problems/channel-closed");
    assert_eq!(refused["accepted"], 1, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("(error)"), "{refused}");
    assert_eq!(publisher.chunk(), Chunk::Last);
    // So is who begins too late.
    let mut late = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    late.head();
    assert!(lines(&mut late, 1)[0].contains("channel-closed"));
    assert_eq!(late.chunk(), Chunk::Last);
    let closes = send(&hub, "/channels/a?acks=stream&close", NDJSON, "");
    assert_eq!(closes.text(), "", "closing it again is fine");
}

#[test]
fn a_publisher_that_reads_no_acks_is_not_read_on() {
    let hub = Hub::start(&["--socket-unsent-bytes-max", "4KiB"]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream", NDJSON);
    rustix::net::sockopt::set_socket_recv_buffer_size(publisher.socket(), 4_096).unwrap();
    publisher.socket().set_nonblocking(true).unwrap();
    let chunk = crate::support::http::chunk("{\"data\":1}\n".repeat(1_000).as_bytes());
    // Far more than all buffers on the way hold: without the brake this would never block.
    let sent = (0..20_000).take_while(|_| publisher.try_send(&chunk).is_ok()).count();
    assert!(sent < 20_000, "{sent} chunks were taken without an ack being read");
    drop(publisher);
    publish(&hub, "b", "the hub goes on");
}

#[tokio::test]
async fn a_publisher_without_a_window_for_acks_is_given_up() {
    let hub = Hub::start(&["--write-stall-max", "1s"]);
    // Its connection is alive, and answers pings.
    let h2 = Connection::with_window(&hub, 0).await;
    let (sender, body) = Sender::new();
    let target = "/channels/a?acks=stream&close=on-end";
    let answer = h2.ask("POST", target, &[("content-type", NDJSON)], body).await;
    sender.send("{\"data\":1}\n").await;
    soon(answer.into_body().frame()).await.unwrap().unwrap_err();
    assert_eq!(metric(&hub, "fanfare_limit_reached_total{limit=\"write_stall\"}"), 1.0);
    let status = get(hub.public(), "/status/a").json();
    assert_eq!((&status["state"], &status["publishing"]), (&"open".into(), &0.into()), "{status}");
    let goes_on = h2.ask("POST", "/channels/b", &[], String::from("x")).await;
    assert_eq!(goes_on.status(), 200, "only the stream was reset");
    drop(sender);
}

/// The acks of a whole body.
fn told(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The next lines of a chunked answer, whole.
fn lines(client: &mut Client, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.lines().count() < count || !text.ends_with('\n') {
        let Chunk::Data(data) = client.chunk() else { panic!("the acks end after {text:?}") };
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    text.lines().map(str::to_owned).collect()
}
