//! Subscribers that misbehave: that never read, that send bytes, that half-close.

use std::{net::TcpStream, ops::Range};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::{
    metric_becomes, publish,
    support::{
        http::{Client, post},
        hub::Hub,
        sse::{End, Event, Stream},
    },
};

/// Small buffers on the hub's side, and rings that forget soon.
pub(crate) const SLOW: [&str; 6] =
    ["--socket-unsent-bytes-max", "4KiB", "--ring-events", "40", "--ring-bytes", "1MiB"];

#[test]
fn who_never_reads_is_closed_after_the_stall_limit() {
    let hub = Hub::start(&[&SLOW[..], &["--write-stall-max", "1s"]].concat());
    let mut slow = Stream::over(slow(&hub, "/channels/a?open=0"));
    let mut fast = Stream::open(hub.public(), "/channels/a?open=0");
    let mut publisher = Client::connect(hub.public());
    for n in 0..200 {
        flood(&mut publisher, n..n + 1);
        // Nobody waits for the slow one.
        assert_eq!(number(&fast.event()), n);
    }
    metric_becomes(&hub, "fanfare_disconnects_total{reason=\"stalled\"}", 1.0);
    metric_becomes(&hub, "fanfare_subscribers", 1.0);
    let (_, end) = read_to_end(&mut slow);
    assert_ne!(end, End::Clean, "it was cut, and must see that it was");
    assert_eq!(post(hub.public(), "/channels/a", "on").json()["subscribers"], 1);
}

#[test]
fn who_reads_late_gets_whole_events_a_gap_and_the_rest() {
    let hub = Hub::start(&SLOW);
    let mut late = Stream::over(slow(&hub, "/channels/a?open=0"));
    flood(&mut Client::connect(hub.public()), 0..300);
    post(hub.public(), "/channels/a?close", "");
    let (events, end) = read_to_end(&mut late);
    assert_eq!(end, End::Clean);
    let gaps: Vec<_> = events.iter().filter(|event| event.kind() == "fanfare.gap").collect();
    assert_eq!(gaps.len(), 1, "{:?}", kinds(&events));
    assert_eq!(gaps[0].json()["reason"], "lagged");
    assert_eq!(events.last().unwrap().kind(), "fanfare.end");
    let at = events.iter().position(|event| event.kind() == "fanfare.gap").unwrap();
    let before: Vec<_> = events[..at].iter().map(number).collect();
    let after: Vec<_> = events[at + 1..events.len() - 1].iter().map(number).collect();
    assert!(!before.is_empty(), "the event that was begun is sent whole");
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
    assert_eq!(after, (300 - after.len()..300).collect::<Vec<_>>());
    assert!(!after.is_empty() && before.len() + after.len() < 300);
    // The gap is exact: it names the last event that came before it and the last that is lost.
    let told = gaps[0].json();
    assert_eq!(told["requested"], events[at - 1].id());
    assert_eq!(told["resumed_after"], gaps[0].id());
    assert_eq!(crate::beside(gaps[0].id(), 1), events[at + 1].id());
    metric_becomes(&hub, "fanfare_gaps_total{reason=\"lagged\"}", 1.0);
}

#[test]
fn who_wants_no_control_events_and_lags_is_cut() {
    let hub = Hub::start(&SLOW);
    let mut late = Stream::over(slow(&hub, "/channels/a?control=off"));
    flood(&mut Client::connect(hub.public()), 0..300);
    let (events, end) = read_to_end(&mut late);
    assert_eq!(end, End::Cut, "without its last chunk, between two events");
    let numbers: Vec<_> = events.iter().map(number).collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert!(numbers.len() < 300);
}

#[test]
fn a_heartbeat_never_comes_inside_an_event() {
    let hub = Hub::start(&SLOW[..2]);
    let mut late = Stream::over(slow(&hub, "/channels/a?open=0&heartbeat=1"));
    let mut clock = Stream::open(hub.public(), "/channels/clock?open=0&heartbeat=1");
    flood(&mut Client::connect(hub.public()), 0..10);
    // Its socket is full of half an event for longer than its heartbeat.
    (0..4).for_each(|_| clock.heartbeat());
    let numbers: Vec<_> = late.events(10).iter().map(number).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    late.heartbeat();
}

#[test]
fn what_a_subscriber_sends_is_thrown_away() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for n in 0..10 {
        stream.client().send("GET /channels/b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        publish(&hub, "a", n.to_string());
        assert_eq!(number(&stream.event()), n);
    }
    // A final event survives that, though bytes of the peer are unread.
    stream.client().send("x".repeat(1_000));
    post(hub.public(), "/channels/a?close", "");
    assert_eq!(stream.event().kind(), "fanfare.end");
    assert_eq!(stream.end(), End::Clean);
}

#[test]
fn who_sends_without_end_is_cut() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a");
    // Bounded: the hub does not read for ever what nobody needs.
    let chunk = vec![b'x'; 64 * 1024];
    let taken = (0..1_000).take_while(|_| stream.client().try_send(&chunk).is_ok()).count();
    assert!(taken < 1_000, "64 MB were taken");
    metric_becomes(&hub, "fanfare_subscribers", 0.0);
    publish(&hub, "a", "the hub goes on");
}

#[test]
fn who_half_closes_is_gone() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a");
    metric_becomes(&hub, "fanfare_subscribers", 1.0);
    stream.client().finish();
    metric_becomes(&hub, "fanfare_subscribers", 0.0);
    metric_becomes(&hub, "fanfare_channels", 0.0);
    stream.event();
    assert_ne!(stream.end(), End::Clean);
}

#[test]
fn who_disconnects_is_noticed_and_every_count_follows() {
    let hub = Hub::start(&["--workers", "2"]);
    let targets = ["/channels/a", "/events?channel=a&channel=b", "/events?channel=a/*"];
    for _ in 0..3 {
        let streams: Vec<_> = targets
            .iter()
            .cycle()
            .take(30)
            .map(|target| Stream::open(hub.public(), target))
            .collect();
        metric_becomes(&hub, "fanfare_subscribers", 30.0);
        drop(streams);
        metric_becomes(&hub, "fanfare_subscribers", 0.0);
        metric_becomes(&hub, "fanfare_channels", 0.0);
    }
    metric_becomes(&hub, "fanfare_disconnects_total{reason=\"client\"}", 90.0);
}

/// A client that has subscribed and whose kernel takes next to nothing.
pub(crate) fn slow(hub: &Hub, target: &str) -> Client {
    let mut client = narrow(hub);
    client.request("GET", target, &[], b"");
    client
}

/// A client whose kernel takes next to nothing.
pub(crate) fn narrow(hub: &Hub) -> Client {
    let raw = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    // Before the connection: the window that is offered follows from it.
    sockopt::set_socket_recv_buffer_size(&raw, 2_048).unwrap();
    connect(&raw, &hub.public()).unwrap();
    Client::over(TcpStream::from(raw))
}

/// Publishes events of 20 kB that begin with these numbers.
pub(crate) fn flood(publisher: &mut Client, numbers: Range<usize>) {
    for n in numbers {
        let data = format!("{n} {}", "x".repeat(20_000));
        publisher.request("POST", "/channels/a", &[], data.as_bytes());
        assert_eq!(publisher.answer().status(), 200);
    }
}

/// The number that an event begins with.
pub(crate) fn number(event: &Event) -> usize {
    event.data.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{}", event.kind()))
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).collect()
}

/// All events, and how the stream ended.
fn read_to_end(stream: &mut Stream) -> (Vec<Event>, End) {
    let mut events = Vec::new();
    loop {
        match stream.next() {
            Ok(crate::support::sse::Piece::Event(event)) => events.push(event),
            Ok(crate::support::sse::Piece::Heartbeat) => {}
            Err(end) => return (events, end),
        }
    }
}
