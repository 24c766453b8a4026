//! A subscriber that does as the standard says that `EventSource` does: it comes back after an end
//! or an error, after the `retry` that it was told and with the last id that it saw; and it stops
//! for good at any status but 200 and any type but `text/event-stream`.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

use super::CHANNEL;
use crate::{
    chunked::{Broken, Chunked},
    endpoint::Endpoint,
    ledger::{Ids, Position, Step},
    payload,
    sse::{Event, Parser},
};

/// What browsers wait before they were told a `retry`, in milliseconds.
const RETRY_MS: u64 = 3_000;
/// A head that takes more is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes that one read takes at most.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Deaths that are kept, with their reasons.
const DEATHS_MAX: usize = 5;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Room {
    endpoint: Endpoint,
    ids: RefCell<Ids>,
    /// When somebody connected, on the clock of [`payload::now_ns`].
    attempts_ns: RefCell<Vec<u64>>,
    retry_ms_max: Cell<u64>,
    deaths: RefCell<Vec<String>>,
    /// Where sockets are read into.
    buffer: RefCell<Box<[u8]>>,
}

impl Room {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            ids: RefCell::default(),
            attempts_ns: RefCell::default(),
            retry_ms_max: Cell::default(),
            deaths: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()),
        }
    }

    /// The attempts to connect after a moment.
    pub(super) fn attempts_after(&self, moment_ns: u64) -> Vec<u64> {
        let attempts_ns = self.attempts_ns.borrow();
        attempts_ns.iter().copied().filter(|at_ns| *at_ns > moment_ns).collect()
    }

    /// The largest `retry` that anybody was told.
    pub(super) fn retry_ms_max(&self) -> u64 {
        self.retry_ms_max.get()
    }

    /// Why subscribers stopped for good.
    pub(super) fn deaths(&self) -> Vec<String> {
        self.deaths.borrow().clone()
    }

    pub(super) fn has_deaths(&self) -> bool {
        !self.deaths.borrow().is_empty()
    }

    fn died(&self, why: String) {
        let mut deaths = self.deaths.borrow_mut();
        if deaths.len() < DEATHS_MAX {
            deaths.push(why);
        }
    }
}

/// One subscriber, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Client {
    state: RefCell<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Whether the hub has told it that it is subscribed.
    is_open: bool,
    retry_ms: Option<u64>,
    last_id: Vec<u8>,
    position: Position,
    /// The newest event that it had when it was told of the gap.
    newest_before_gap: Option<u64>,
    /// When that was.
    back_ns: Option<u64>,
    /// How many gaps it was told of, and how many of them for the epoch.
    gaps: (u64, u64),
    /// Events that were lost, came twice, or are others than elsewhere.
    faults: u64,
}

impl Client {
    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().is_open
    }

    /// Whether it has been told of the gap of the new hub.
    pub(super) fn is_back(&self) -> bool {
        self.back_ns().is_some()
    }

    pub(super) fn back_ns(&self) -> Option<u64> {
        self.state.borrow().back_ns
    }

    pub(super) fn newest(&self) -> u64 {
        self.state.borrow().position.newest()
    }

    pub(super) fn newest_before_gap(&self) -> Option<u64> {
        self.state.borrow().newest_before_gap
    }

    pub(super) fn gaps(&self) -> (u64, u64) {
        self.state.borrow().gaps
    }

    pub(super) fn faults(&self) -> u64 {
        self.state.borrow().faults
    }

    /// Subscribes, and again whenever that ends.
    pub(super) async fn run(self: Rc<Self>, room: Rc<Room>, connecting: Rc<Semaphore>) {
        let mut permit = connecting.acquire().await.ok();
        // Whoever subscribes before anything is published gets the first event.
        self.state.borrow_mut().position.expect(1);
        loop {
            room.attempts_ns.borrow_mut().push(payload::now_ns());
            if let Err(why) = self.listen(&room, &mut permit).await {
                return room.died(why);
            }
            let retry_ms = self.state.borrow().retry_ms.unwrap_or(RETRY_MS);
            sleep(Duration::from_millis(retry_ms)).await;
        }
    }

    /// Connects and reads to the end; an error is why it never comes back.
    async fn listen(
        &self,
        room: &Room,
        permit: &mut Option<SemaphorePermit<'_>>,
    ) -> Result<(), String> {
        let Ok((stream, head)) = self.open(room).await else { return Ok(()) };
        // Whoever is connected does not hold others back any more.
        drop(permit.take());
        let (mut body, length) = Body::of(&head)?;
        let mut goes_on = self.read(&mut body, &head[length..], room);
        while goes_on && stream.readable().await.is_ok() {
            let mut buffer = room.buffer.borrow_mut();
            goes_on = match stream.try_read(&mut buffer) {
                Ok(0) => false,
                Ok(read) => self.read(&mut body, &buffer[..read], room),
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
        }
        Ok(())
    }

    /// Connects and asks; returns what came until the head of the answer was whole.
    async fn open(&self, room: &Room) -> io::Result<(TcpStream, Vec<u8>)> {
        let socket = TcpSocket::new_v4()?;
        // The port is free again at once when the socket is closed.
        socket.set_zero_linger()?;
        let mut stream = socket.connect(room.endpoint.address).await?;
        let last_id = self.state.borrow().last_id.clone();
        let request = room.endpoint.subscribe(CHANNEL..CHANNEL + 1, &last_id);
        stream.write_all(&request).await?;
        let mut head = Vec::new();
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
            if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok((stream, head))
    }

    /// Reads a piece of a body; whether more has to come.
    fn read(&self, body: &mut Body, mut piece: &[u8], room: &Room) -> bool {
        loop {
            let run = match body.next(&mut piece) {
                Ok(Some(run)) => run,
                Ok(None) => return !body.is_whole(),
                Err(Broken) => break,
            };
            if body.parser.feed(run, |event| self.take(event, room)).is_err() {
                break;
            }
        }
        self.state.borrow_mut().faults += 1;
        false
    }

    fn take(&self, event: Event<'_>, room: &Room) {
        let mut state = self.state.borrow_mut();
        if let Some(retry_ms) = event.retry_ms {
            state.retry_ms = Some(retry_ms);
            room.retry_ms_max.set(room.retry_ms_max.get().max(retry_ms));
        }
        if !event.id.is_empty() {
            state.last_id = event.id.to_vec();
        }
        match event.kind {
            b"fanfare.open" => state.is_open = true,
            b"fanfare.gap" => {
                state.gaps.0 += 1;
                if memchr::memmem::find(event.data, br#""reason":"epoch""#).is_some() {
                    state.gaps.1 += 1;
                    state.newest_before_gap = Some(state.position.newest());
                    state.back_ns = Some(payload::now_ns());
                }
            }
            kind if kind.starts_with(b"fanfare.") => {}
            _ => state.publication(event, &mut room.ids.borrow_mut()),
        }
    }
}

impl State {
    /// Takes an event of the publisher's. Its numbers go on from the old hub to the new one.
    fn publication(&mut self, event: Event<'_>, ids: &mut Ids) {
        let Some((_, number)) = payload::read(event.data) else {
            self.faults += 1;
            return;
        };
        let is_next = self.position.advance(number) == Step::Next;
        if !is_next || !ids.agree(number, event.id, event.data) {
            self.faults += 1;
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
struct Body {
    framing: Framing,
    parser: Parser,
}

/// How its end is told.
#[derive(Debug)]
enum Framing {
    Chunked(Chunked),
    Close,
    Length(usize),
}

impl Body {
    /// The body after a whole head, and how long that is; an error is what `EventSource` takes for
    /// the end of everything.
    fn of(head: &[u8]) -> Result<(Self, usize), String> {
        let mut fields = [httparse::EMPTY_HEADER; 48];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = response.parse(head) else {
            return Err("an answer that is no HTTP".to_owned());
        };
        let field = |name: &str| {
            let mut fields = response.headers.iter();
            let found = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| String::from_utf8_lossy(field.value).to_ascii_lowercase())
        };
        let status = response.code.unwrap_or(0);
        let kind = field("content-type").unwrap_or_default();
        if status != 200 || kind.split(';').next() != Some("text/event-stream") {
            return Err(format!("status {status} of type {kind:?}"));
        }
        let framing = match (field("transfer-encoding"), field("content-length")) {
            (Some(coding), _) if coding == "chunked" => Framing::Chunked(Chunked::default()),
            (_, Some(text)) => Framing::Length(text.parse().map_err(|_| "no length".to_owned())?),
            _ => Framing::Close,
        };
        Ok((Self { framing, parser: Parser::default() }, length))
    }

    /// Takes the next run of bytes of the event stream off `piece`; none if it has no more.
    fn next<'a>(&mut self, piece: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        let taken = match &mut self.framing {
            Framing::Chunked(chunked) => return chunked.next(piece),
            Framing::Close => piece.len(),
            Framing::Length(left) => {
                let taken = piece.len().min(*left);
                *left -= taken;
                taken
            }
        };
        let (run, rest) = piece.split_at(taken);
        *piece = rest;
        Ok((taken > 0).then_some(run))
    }

    /// Whether its end was told.
    fn is_whole(&self) -> bool {
        matches!(self.framing, Framing::Chunked(Chunked::Done) | Framing::Length(0))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::endpoint::Kind;

    fn room() -> Room {
        Room::new(Endpoint {
            kind: Kind::Fanfare,
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            token: None,
            prefix: "test".to_owned(),
            query: String::new(),
        })
    }

    fn event(number: u64) -> Vec<u8> {
        let mut event = format!("id: e-{number}\ndata: ").into_bytes();
        payload::write(&mut event, 5, number, 60);
        event.extend_from_slice(b"\n\n");
        event
    }

    fn subscribed() -> Client {
        let client = Client::default();
        client.state.borrow_mut().position.expect(1);
        client
    }

    fn body(fields: &str) -> Result<Body, String> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields}\r\n");
        Body::of(head.as_bytes()).map(|(body, length)| {
            assert_eq!(length, head.len());
            body
        })
    }

    #[test]
    fn only_an_event_stream_goes_on() {
        assert!(body("").is_ok());
        let head = b"HTTP/1.1 503 X\r\nContent-Type: text/event-stream\r\n\r\n";
        assert!(Body::of(head).unwrap_err().contains("503"));
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
        assert!(Body::of(head).unwrap_err().contains("html"));
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        let (client, room) = (subscribed(), room());
        let text = b"event: fanfare.reconnect\nretry: 1234\ndata: {}\n\n";
        let mut body = body(&format!("Content-Length: {}\r\n", text.len())).unwrap();
        assert!(client.read(&mut body, &text[..10], &room));
        assert!(!client.read(&mut body, &text[10..], &room));
        assert_eq!((client.state.borrow().retry_ms, room.retry_ms_max()), (Some(1_234), 1_234));
        assert_eq!(client.faults(), 0);
    }

    #[test]
    fn what_was_lost_over_a_restart_is_found() {
        let gap = b"id: f-0\nevent: fanfare.gap\ndata: {\"reason\":\"epoch\"}\n\n".to_vec();
        let streams = [
            (vec![event(1), event(2), gap.clone(), event(3)], (Some(2), 0, 3)),
            (vec![event(1), gap.clone(), event(3)], (Some(1), 1, 3)),
            (vec![event(1), event(2), gap, event(2), event(3)], (Some(2), 1, 3)),
            (vec![event(1), event(2)], (None, 0, 2)),
        ];
        for (stream, expected) in streams {
            let (client, room) = (subscribed(), room());
            assert!(client.read(&mut body("").unwrap(), &stream.concat(), &room));
            let found = (client.newest_before_gap(), client.faults(), client.newest());
            assert_eq!(found, expected);
            assert_eq!(client.is_back(), expected.0.is_some());
        }
    }
}
