//! The baselines over loopback: every byte that they send.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::bare::Baseline;

#[test]
fn two_subscribers_get_each_event_once() {
    let address = start(Baseline::Loop);
    let mut both = [Client::subscribe(address, "/a", ""), Client::subscribe(address, "/a", "")];
    let mut other = Client::subscribe(address, "/b", "");
    let mut publisher = Client::connect(address);
    for number in 1..=100 {
        let data = "x".repeat(number);
        publisher.publish("/a", &data, number, 2);
        both.iter_mut().for_each(|client| client.expect(&frame(number, &data)));
    }
    publisher.publish("/b", "", 101, 1);
    other.expect(&frame(101, ""));
    both.into_iter().chain([other]).for_each(Client::expect_nothing);
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let address = start(Baseline::Loop);
    let requests = "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nx1\
                    POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nx2";
    let mut number = 0;
    for cut in 0..requests.len() {
        let mut subscriber = Client::subscribe(address, "/a", "");
        let mut publisher = Client::connect(address);
        for piece in [&requests[..cut], &requests[cut..]] {
            publisher.send(piece);
            // A server answers in the order of its peers' turns, so this piece has been read.
            let mut next = Client::subscribe(address, "/other", "");
            next.socket.shutdown(Shutdown::Write).unwrap();
            next.expect_end();
        }
        for data in ["x1", "x2"] {
            number += 1;
            subscriber.expect(&frame(number, data));
            publisher.expect(&answer(number, 1));
        }
        subscriber.socket.shutdown(Shutdown::Write).unwrap();
        subscriber.expect_end();
    }
}

#[test]
fn a_subscriber_that_departs_does_not_stop_the_others() {
    let address = start(Baseline::Loop);
    let mut clients: Vec<_> = (0..5).map(|_| Client::subscribe(address, "/a", "")).collect();
    let mut publisher = Client::connect(address);
    publisher.publish("/a", "x", 1, 5);
    clients.iter_mut().for_each(|client| client.expect(&frame(1, "x")));
    for (number, leaver) in [(2, 0), (3, 3), (4, 1)] {
        // The second is the one that got the place of the first. Each has been taken out by the
        // time that its own socket is closed.
        let mut leaver = clients.remove(leaver);
        leaver.socket.shutdown(Shutdown::Write).unwrap();
        leaver.expect_end();
        publisher.publish("/a", "y", number, clients.len());
        clients.iter_mut().for_each(|client| client.expect(&frame(number, "y")));
    }
    clients.push(Client::subscribe(address, "/a", ""));
    publisher.publish("/a", "z", 5, 3);
    clients.iter_mut().for_each(|client| client.expect(&frame(5, "z")));
}

#[test]
fn who_hangs_up_after_a_request_is_answered_and_let_go() {
    let address = start(Baseline::Loop);
    // Often, because it matters whether the server sees both at once.
    for number in 1..=200 {
        let mut publisher = Client::connect(address);
        publisher.send(&post("/a", "x"));
        publisher.socket.shutdown(Shutdown::Write).unwrap();
        publisher.expect(&answer(number, 0));
        publisher.expect_nothing();
        let subscriber = Client::subscribe(address, "/a", "");
        subscriber.expect_nothing();
    }
}

#[test]
fn a_subscriber_that_is_full_is_dropped_and_the_others_get_everything() {
    let address = start(Baseline::Loop);
    let _full = Client::subscribe(address, "/a", "");
    let mut other = Client::subscribe(address, "/a", "");
    let mut publisher = Client::connect(address);
    let data = "x".repeat(8 * 1024);
    for number in 1..100_000 {
        publisher.send(&post("/a", &data));
        other.expect(&frame(number, &data));
        if publisher.expect_one_of(&[&answer(number, 2), &answer(number, 1)]) == 1 {
            return;
        }
    }
    panic!("the full one was never dropped");
}

#[test]
fn lines_are_relayed_however_they_are_cut() {
    let address = start(Baseline::Relay);
    let numbers = [17, 3, 4_999];
    let mut clients =
        numbers.map(|number| Client::subscribe(address, &format!("/channels/narrow/{number}"), ""));
    let lines: Vec<_> = numbers
        .iter()
        .map(|number| format!("{{\"channel\":\"narrow/{number}\",\"data\":\"d{number}\"}}\n"))
        .collect();
    // The last line ends with the body, and one names a channel without subscribers.
    let nobody = "{\"channel\":\"narrow/5\",\"data\":\"\"}\n";
    let body = format!("{}{nobody}{}", lines.concat(), lines[0].trim_end());
    let mut first = 1;
    for chunk_bytes in [1, 7, 40, 41, body.len()] {
        let mut publisher = Client::connect(address);
        publisher.send("POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunked = chunked(&body, chunk_bytes);
        for piece in chunked.as_bytes().chunks(13) {
            publisher.socket.write_all(piece).unwrap();
        }
        for (place, number) in numbers.iter().enumerate() {
            clients[place].expect(&frame(first + place, &format!("d{number}")));
        }
        clients[0].expect(&frame(first + 4, "d17"));
        let last = first + 4;
        let ids = format!("\"first_id\":\"bare-{first}\",\"last_id\":\"bare-{last}\"");
        publisher.expect(&ok(&format!("{{{ids},\"accepted\":5}}")));
        // The connection is good for more.
        publisher.publish("/channels/narrow/3", "single", last + 1, 1);
        clients[1].expect(&frame(last + 1, "single"));
        first = last + 2;
    }
}

#[test]
fn a_stream_to_one_channel_is_relayed() {
    let address = start(Baseline::Relay);
    let mut both = [7, 7].map(|number| Client::subscribe(address, &streams(number), ""));
    let mut other = Client::subscribe(address, &streams(8), "");
    let mut publisher = Client::connect(address);
    publisher.send(&format!(
        "POST {}?close=done HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        streams(7),
        chunked("data: {\"a\":1}\n\ndata: b\n\n", 5)
    ));
    for (number, data) in [(1, "{\"a\":1}"), (2, "b")] {
        both.iter_mut().for_each(|client| client.expect(&frame(number, data)));
    }
    publisher.expect(&ok("{\"first_id\":\"bare-1\",\"last_id\":\"bare-2\",\"accepted\":2}"));
    let line = "{\"channel\":\"streams/8\",\"data\":{\"c\":[]}}\n";
    let request = "POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    publisher.send(&format!("{request}{}", chunked(line, 9)));
    other.expect(&frame(3, "{\"c\":[]}"));
    both.into_iter().for_each(Client::expect_nothing);
}

fn streams(number: usize) -> String {
    format!("/channels/streams/{number}")
}

#[test]
fn a_stream_longer_than_any_buffer_is_relayed_whole() {
    let address = start(Baseline::Relay);
    let mut client = Client::subscribe(address, "/channels/narrow/1", "");
    let lines = "{\"channel\":\"narrow/1\",\"data\":\"0123456789\"}\n".repeat(20_000);
    let request = "POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let stream = format!("{request}{}", chunked(&lines, 10_007));
    let mut publisher = Client::connect(address);
    let mut sender = publisher.socket.try_clone().unwrap();
    let sent = thread::spawn(move || sender.write_all(stream.as_bytes()).unwrap());
    for number in 1..=20_000 {
        client.expect(&frame(number, "0123456789"));
    }
    sent.join().unwrap();
    let ids = "\"first_id\":\"bare-1\",\"last_id\":\"bare-20000\"";
    publisher.expect(&ok(&format!("{{{ids},\"accepted\":20000}}")));
}

#[test]
fn what_is_no_event_is_refused() {
    for request in [
        "POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
        "POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n: a\n\r\n",
        "DELETE /a HTTP/1.1\r\n\r\n",
    ] {
        let mut client = Client::connect(start(Baseline::Relay));
        client.send(request);
        client.expect("HTTP/1.1 400 Bad Request\r\n");
        client.expect_end();
    }
}

#[test]
fn who_comes_back_gets_what_was_missed_and_then_what_is_new() {
    let address = start(Baseline::Accept);
    let mut publisher = Client::connect(address);
    for number in 1..=100 {
        publisher.publish("/a", &format!("d{number}"), number, 0);
    }
    let missed = |last: usize| {
        (last + 1..=100).map(|number| frame(number, &format!("d{number}"))).collect::<String>()
    };
    let mut clients: Vec<_> = [0, 1, 50, 99, 100]
        .into_iter()
        .map(|last| {
            let id = format!("Last-Event-ID: bare-{last}\r\n");
            let mut client = Client::subscribe(address, "/a", &id);
            client.expect(&missed(last));
            client
        })
        .collect();
    clients.push(Client::subscribe(address, "/a", ""));
    publisher.publish("/a", "new", 101, 6);
    clients.iter_mut().for_each(|client| client.expect(&frame(101, "new")));
    clients.into_iter().for_each(Client::expect_nothing);
}

#[test]
fn what_is_not_kept_is_not_passed_over_in_silence() {
    let address = start(Baseline::Accept);
    let mut publisher = Client::connect(address);
    for number in 1..=1_025 {
        publisher.publish("/a", "x", number, 0);
    }
    let mut late = Client::connect(address);
    late.send("GET /a HTTP/1.1\r\nLast-Event-ID: bare-0\r\n\r\n");
    late.expect("HTTP/1.1 400 Bad Request\r\n");
    let mut client = Client::subscribe(address, "/a", "Last-Event-ID: bare-1\r\n");
    (2..=1_025).for_each(|number| client.expect(&frame(number, "x")));
}

#[test]
fn a_replay_that_a_socket_does_not_take_at_once_is_whole() {
    let address = start(Baseline::Accept);
    let mut publisher = Client::connect(address);
    let data = "x".repeat(512 * 1024);
    for number in 1..=64 {
        publisher.publish("/a", &data, number, 0);
    }
    let mut client = Client::connect(address);
    SockRef::from(&client.socket).set_recv_buffer_size(64 * 1024).unwrap();
    client.send("GET /a HTTP/1.1\r\nLast-Event-ID: bare-0\r\n\r\n");
    client.expect(HEAD);
    // Nobody is live: what is published now reaches it behind the replay.
    publisher.publish("/a", "after", 65, 0);
    (1..=64).for_each(|number| client.expect(&frame(number, &data)));
    client.expect(&frame(65, "after"));
    publisher.publish("/a", "live", 66, 1);
    client.expect(&frame(66, "live"));
    client.expect_nothing();
}

#[test]
fn accepted_sockets_inherit_that_nothing_is_held_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(listener.accept().unwrap().0.nodelay().unwrap());
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Runs a baseline until the test process ends.
fn start(baseline: Baseline) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || baseline.run(listener).unwrap());
    address
}

fn frame(number: usize, data: &str) -> String {
    let event = format!("id: bare-{number}\ndata: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

fn post(path: &str, data: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{data}", data.len())
}

fn ok(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
    format!("{head}: {}\r\n\r\n{body}", body.len())
}

fn answer(number: usize, subscribers: usize) -> String {
    ok(&format!("{{\"id\":\"bare-{number}\",\"subscribers\":{subscribers}}}"))
}

/// A body in chunks of at most so many bytes.
fn chunked(body: &str, chunk_bytes: usize) -> String {
    let mut chunked = String::new();
    for chunk in body.as_bytes().chunks(chunk_bytes) {
        let text = str::from_utf8(chunk).unwrap();
        write!(chunked, "{:x}\r\n{text}\r\n", chunk.len()).unwrap();
    }
    chunked + "0\r\n\r\n"
}

/// A connection of a test, which waits for bytes but not forever.
struct Client {
    socket: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket }
    }

    fn subscribe(address: SocketAddr, path: &str, header: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n"));
        client.expect(HEAD);
        client
    }

    fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    fn publish(&mut self, path: &str, data: &str, number: usize, subscribers: usize) {
        self.send(&post(path, data));
        self.expect(&answer(number, subscribers));
    }

    /// The next bytes are these.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let mut found = vec![0; text.len()];
        self.socket.read_exact(&mut found).unwrap();
        assert!(found == text.as_bytes(), "{:?} for {text:?}", String::from_utf8_lossy(&found));
    }

    /// The next bytes are one of these, all as long; returns which.
    fn expect_one_of(&mut self, texts: &[&str]) -> usize {
        let mut found = vec![0; texts[0].len()];
        self.socket.read_exact(&mut found).unwrap();
        texts.iter().position(|text| text.as_bytes() == found).unwrap()
    }

    /// The server closes, and nothing comes before that but what is no concern here.
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).unwrap();
    }

    /// Nothing has come beyond what was expected: the server closes, and that is all.
    fn expect_nothing(self) {
        let mut rest = Vec::new();
        // It may have been shut down before.
        drop(self.socket.shutdown(Shutdown::Write));
        (&self.socket).read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}
