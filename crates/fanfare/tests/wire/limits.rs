//! Limits on clients, each set low: it is reached, shows in its metric, and lets go.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::{
    NDJSON, metric, metric_becomes, problem, publish,
    support::{
        eventually,
        http::{Answer, Client},
        hub::Hub,
        sse::{End, Stream},
    },
};

/// A client with this last byte of its address: each is another one.
pub(crate) fn from(hub: &Hub, last: u8) -> Client {
    let raw = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&raw, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    connect(&raw, &hub.public()).unwrap();
    Client::over(TcpStream::from(raw))
}

/// How often a limit was reached.
pub(crate) fn reached(hub: &Hub, limit: &str) -> f64 {
    metric(hub, &format!("fanfare_limit_reached_total{{limit=\"{limit}\"}}"))
}

/// Subscribes on a connection.
pub(crate) fn subscribe(mut client: Client, target: &str, headers: &[(&str, &str)]) -> Stream {
    client.request("GET", target, headers, b"");
    Stream::over(client)
}

/// Whether a subscribe is let in; who is not is sent away as the wire's rule 8 wants it.
pub(crate) fn is_let_in(stream: &mut Stream) -> bool {
    let event = stream.event();
    if event.kind() == "fanfare.open" {
        return true;
    }
    let told = (event.kind(), event.json()["reason"].as_str().map(str::to_owned));
    assert_eq!(told, ("fanfare.reconnect", Some("overload".to_owned())));
    assert!((5_000..=120_000).contains(&event.retry.unwrap()), "{event:?}");
    assert_eq!(stream.end(), End::Cut, "without its last chunk");
    false
}

/// Publishes one event on a connection of its own.
fn post_from(hub: &Hub, last: u8) -> Answer {
    let mut client = from(hub, last);
    client.request("POST", "/channels/a", &[], b"x");
    client.answer()
}

#[test]
fn connections_of_one_address() {
    let hub = Hub::start(&["--connections-per-address-max", "2"]);
    let target = "/channels/a";
    let mut one = subscribe(from(&hub, 2), target, &[]);
    let mut two = subscribe(from(&hub, 2), target, &[]);
    assert!(is_let_in(&mut one) && is_let_in(&mut two));
    assert!(!is_let_in(&mut subscribe(from(&hub, 2), target, &[])));
    let refused = problem(&post_from(&hub, 2), 503, "connections-full");
    assert_eq!(refused["limit"]["name"], "connections_per_address_max");
    assert_eq!(reached(&hub, "connections_per_address"), 2.0);
    // Others have theirs, and those who are there go on.
    assert!(is_let_in(&mut subscribe(from(&hub, 3), target, &[])));
    assert_eq!(post_from(&hub, 4).status(), 200);
    assert_eq!((one.event().data, two.event().data), ("x".into(), "x".into()));
    drop(one);
    eventually("room", || is_let_in(&mut subscribe(from(&hub, 2), target, &[])).then_some(()));
}

#[test]
fn a_connection_counts_while_it_only_publishes_too() {
    let hub = Hub::start(&["--connections-per-address-max", "1"]);
    let mut publisher = from(&hub, 2);
    for _ in 0..3 {
        publisher.request("POST", "/channels/a", &[], b"x");
        assert_eq!(publisher.answer().status(), 200);
    }
    problem(&post_from(&hub, 2), 503, "connections-full");
    drop(publisher);
    eventually("room", || (post_from(&hub, 2).status() == 200).then_some(()));
}

#[test]
fn who_comes_in_masses_is_not_answered_in_masses() {
    let hub = Hub::start(&["--connections-per-address-max", "1"]);
    let _silent: Vec<_> = (0..200).map(|_| from(&hub, 2)).collect();
    eventually("refused", || (reached(&hub, "refused_connections") > 0.0).then_some(()));
    assert!(is_let_in(&mut subscribe(from(&hub, 3), "/channels/a", &[])), "others get in");
}

#[test]
fn subscribers_of_one_channel() {
    let hub = Hub::start(&["--subscribers-per-channel-max", "2"]);
    let open = |target: &str| Stream::open(hub.public(), target);
    let mut held: Vec<_> = (0..2).map(|_| open("/channels/a")).collect();
    assert!(held.iter_mut().all(is_let_in));
    for target in ["/channels/a", "/events?channel=b&channel=a", "/channels/a?from=start"] {
        assert!(!is_let_in(&mut open(target)), "{target}");
    }
    assert_eq!(reached(&hub, "subscribers_per_channel"), 3.0);
    for target in ["/channels/b", "/events?channel=*"] {
        assert!(is_let_in(&mut open(target)), "{target}");
    }
    publish(&hub, "a", "x");
    assert!(held.iter_mut().all(|stream| stream.event().data == "x"));
    held.pop();
    eventually("room", || is_let_in(&mut open("/channels/a")).then_some(()));
}

#[test]
fn the_rate_of_subscribes() {
    let hub = Hub::start(&["--connect-rate-max", "2"]);
    let open = || Stream::open(hub.public(), "/channels/a");
    let mut let_in = 0;
    eventually("refused", || {
        let is_let_in = is_let_in(&mut open());
        let_in += usize::from(is_let_in);
        (!is_let_in).then_some(())
    });
    assert!(let_in >= 2, "a second's worth at once");
    assert_eq!(reached(&hub, "connect_rate"), 1.0);
    eventually("let in", || is_let_in(&mut open()).then_some(()));
    // It is no limit on anything else.
    publish(&hub, "a", "x");
}

#[test]
fn the_rate_of_subscribes_of_one_address() {
    let hub = Hub::start(&["--connect-rate-per-address-max", "1"]);
    let open = |last| is_let_in(&mut subscribe(from(&hub, last), "/channels/a", &[]));
    eventually("refused", || (!open(2)).then_some(()));
    assert_eq!(reached(&hub, "connect_rate_per_address"), 1.0);
    assert!(open(3), "another address");
    eventually("let in", || open(2).then_some(()));
}

#[test]
fn the_rate_of_publishes() {
    let hub = Hub::start(&["--publish-rate-max", "2"]);
    let refused = eventually("refused", || {
        let answer = post_from(&hub, 2);
        (answer.status() != 200).then_some(answer)
    });
    let told = problem(&refused, 429, "publish-rate");
    assert_eq!(told["limit"]["name"], "publish_rate_max");
    assert_eq!((&told["limit"]["value"], refused.get("retry-after")), (&2.into(), Some("1")));
    assert_eq!(reached(&hub, "publish_rate"), 1.0);
    // A body of many waits, acks come as it goes on, and nothing of it is lost.
    let lines: String = (0..5).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
    let mut many = from(&hub, 3);
    many.request("POST", "/channels/b?acks=stream", &[("Content-Type", NDJSON)], lines.as_bytes());
    let answer = many.answer();
    assert_eq!(answer.text().lines().filter(|ack| ack.contains("\"id\"")).count(), 5);
    assert_eq!(crate::kept(&hub, "b"), ["0", "1", "2", "3", "4"]);
    assert!(reached(&hub, "publish_rate") >= 4.0, "it waited");
    eventually("taken", || (post_from(&hub, 2).status() == 200).then_some(()));
}

#[test]
fn the_rate_of_publishes_of_one_address() {
    let hub = Hub::start(&["--publish-rate-per-address-max", "1"]);
    eventually("refused", || (post_from(&hub, 2).status() == 429).then_some(()));
    assert_eq!(reached(&hub, "publish_rate_per_address"), 1.0);
    assert_eq!(post_from(&hub, 3).status(), 200, "another address");
    // Operators are none.
    for _ in 0..3 {
        let answer = crate::support::http::post(hub.admin(), "/api/channels/a", "x");
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    eventually("taken", || (post_from(&hub, 2).status() == 200).then_some(()));
}

#[test]
fn the_memory_of_sockets() {
    // The smallest budget has room for a few hundred connections.
    let flags = ["--memory-max", "64MiB", "--connections-max", "10_000"];
    let hub = Hub::start(&[&flags[..], &["--rings-bytes-max", "36MiB"]].concat());
    let mut held = Vec::new();
    eventually("refused", || {
        held.push(Client::connect(hub.public()));
        (held.len() % 50 == 0 && reached(&hub, "sockets_bytes") > 0.0).then_some(())
    });
    let mut away = Stream::open(hub.public(), "/channels/a");
    assert!(!is_let_in(&mut away));
    let mut publisher = held.swap_remove(0);
    publisher.request("POST", "/channels/a", &[], b"x");
    assert_eq!(publisher.answer().status(), 200, "who is there goes on");
    drop(held);
    eventually("room", || is_let_in(&mut Stream::open(hub.public(), "/channels/a")).then_some(()));
}

#[test]
fn the_age_of_a_connection() {
    let hub = Hub::start(&["--connection-age-max", "1s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let id = publish(&hub, "a", "x");
    assert_eq!(stream.event().data, "x");
    let told = stream.event();
    assert_eq!(
        (told.kind(), told.json()["reason"].as_str()),
        ("fanfare.reconnect", Some("max_age"))
    );
    assert_eq!((told.id(), stream.end()), (id.as_str(), End::Cut));
    metric_becomes(&hub, "fanfare_disconnects_total{reason=\"max_age\"}", 1.0);
    let header = [("Last-Event-ID", id.as_str())];
    let mut back = Stream::open_with(hub.public(), "/channels/a?open=0", &header);
    publish(&hub, "a", "y");
    assert_eq!(back.event().data, "y", "and it lost nothing");
}
