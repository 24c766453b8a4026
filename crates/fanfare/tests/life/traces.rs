//! Traces of publishes, as a collector gets them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

use crate::support::{
    DEADLINE, eventually,
    http::{Client, call, get, post},
    hub::Hub,
    metric,
    sse::Stream,
};

/// A collector that answers each request with this head, or never; and the bodies that it got.
fn collector(answer: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, bodies) = mpsc::channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for socket in listener.incoming().map(Result::unwrap) {
            let mut socket = BufReader::new(socket);
            let (mut head, mut length) = (String::new(), 0);
            while head.lines().last() != Some("") {
                let line = head.len();
                if socket.read_line(&mut head).unwrap() == 0 {
                    return;
                }
                let name = head[line..].to_ascii_lowercase();
                if let Some(value) = name.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
            assert!(head.contains("application/x-protobuf"), "{head}");
            let mut body = vec![0; length];
            socket.read_exact(&mut body).unwrap();
            match answer {
                Some(head) => drop(socket.get_mut().write_all(head.as_bytes())),
                None => silent.push(socket),
            }
            if sender.send(body).is_err() {
                return;
            }
        }
    });
    (address, bodies)
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// Spans that wait at most, and some more than that.
const QUEUE: u32 = 4_096;
const PUBLISHES: u32 = QUEUE + 1_904;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Bytes of hexadecimal digits.
fn bytes(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn a_publish_is_part_of_the_trace_of_its_publisher() {
    let (address, bodies) = collector(Some(TAKEN));
    let url = format!("http://{address}");
    let hub = Hub::start(&["--otlp-endpoint", &url, "--otlp-percent", "0"]);
    let publish = |trace: &str, flags: &str| {
        let parent = format!("00-{trace}-{PARENT}-{flags}");
        let headers = [("Traceparent", parent.as_str())];
        call(hub.public(), "POST", "/channels/nowhere?event=querymark", &headers, b"datamark")
    };
    let other = TRACE.replace("0af7", "1af7");
    assert_eq!(publish(&other, "00").status(), 200, "its sender does not want it traced");
    assert_eq!(post(hub.public(), "/channels/a", "x").status(), 200, "nor does chance");
    assert_eq!(publish(TRACE, "01").status(), 200);
    let body = bodies.recv_timeout(DEADLINE).unwrap();
    assert!(has(&body, &bytes(TRACE)) && has(&body, &bytes(PARENT)));
    assert!(!has(&body, &bytes(&other)));
    for part in [
        "service.name",
        "service.version",
        "service.instance.id",
        "publish",
        "fanfare.events",
        "accepted",
    ] {
        assert!(has(&body, part.as_bytes()), "{part}");
    }
    for part in ["datamark", "querymark", "nowhere"] {
        assert!(!has(&body, part.as_bytes()), "{part}");
    }
    counted(&hub, "fanfare_spans_exported_total", 1.0);
}

/// Waits until the hub has counted so many spans, or more.
fn counted(hub: &Hub, name: &str, least: f64) {
    eventually(name, || {
        let scrape = get(hub.admin(), "/metrics");
        metric(scrape.text(), name).filter(|count| *count >= least)
    });
}

#[test]
fn a_batch_that_is_refused_is_dropped_and_told() {
    let (address, bodies) = collector(Some(REFUSED));
    let url = format!("http://{address}");
    let mut hub = Hub::start(&["--otlp-endpoint", &url, "--drain-period", "100ms"]);
    assert_eq!(post(hub.public(), "/channels/a", "x").status(), 200);
    drop(bodies.recv_timeout(DEADLINE).unwrap());
    counted(&hub, "fanfare_spans_dropped_total", 1.0);
    hub.terminate();
    let exit = hub.wait();
    assert!(exit.said.contains("the collector takes no spans"), "{}", exit.said);
    assert!(exit.said.contains("400 Bad Request"), "{}", exit.said);
    assert_eq!(bodies.try_iter().count(), 0, "it is not sent again");
}

#[test]
fn a_drain_ends_with_the_last_spans() {
    let (address, bodies) = collector(Some(TAKEN));
    let url = format!("http://{address}");
    let mut hub = Hub::start(&["--otlp-endpoint", &url, "--drain-period", "100ms"]);
    let mut publisher = Client::connect(hub.public());
    for _ in 0..20 {
        publisher.request("POST", "/channels/a", &[], b"x");
        assert_eq!(publisher.answer().status(), 200);
    }
    drop(publisher);
    hub.terminate();
    assert_eq!(hub.wait().code, Some(0));
    let got: Vec<_> = bodies.try_iter().collect();
    let spans = |body: &Vec<u8>| body.windows(9).filter(|w| *w == b"\x2a\x07publish").count();
    assert_eq!(got.iter().map(spans).sum::<usize>(), 20);
}

#[test]
fn a_collector_that_is_slow_or_gone_holds_nothing_up() {
    let (silent, _bodies) = collector(None);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent, gone] {
        let url = format!("http://{address}");
        let mut hub = Hub::start(&["--otlp-endpoint", &url, "--drain-period", "100ms"]);
        let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
        let mut publisher = Client::connect(hub.public());
        for number in 0..PUBLISHES {
            publisher.request("POST", "/channels/a", &[], number.to_string().as_bytes());
            assert_eq!(publisher.answer().status(), 200);
            assert_eq!(stream.event().data, number.to_string());
        }
        drop((stream, publisher));
        // Those that had no place, and then those that were on their way.
        counted(&hub, "fanfare_spans_dropped_total", f64::from(PUBLISHES - QUEUE));
        hub.terminate();
        let exit = hub.wait();
        assert_eq!(exit.code, Some(0), "{}", exit.said);
        assert!(exit.said.contains("the collector takes no spans"), "{}", exit.said);
        assert!(exit.said.contains("the last spans are lost"), "{}", exit.said);
    }
}
