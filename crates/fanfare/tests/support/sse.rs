//! A strict reader of event streams: it keeps the raw bytes and fails on everything that the
//! hub's wire does not have, however little a browser would mind it.

use std::{net::SocketAddr, time::Instant};

use super::{
    DEADLINE,
    http::{Chunk, Client, Head},
};

/// One event of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// Its type, if it has one.
    pub(crate) kind: Option<String>,
    pub(crate) retry: Option<u64>,
    /// The `data` lines, joined by LF.
    pub(crate) data: String,
    /// Its bytes, the empty line included.
    pub(crate) raw: String,
}

/// What a stream goes on with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    Event(Event),
    /// `:\n`
    Heartbeat,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// With the last chunk.
    Clean,
    /// Without it, between two pieces. A stream without chunks has no other end.
    Cut,
    /// Inside a piece.
    Torn,
}

/// The bytes of a stream, without their framing.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    raw: Vec<u8>,
    parsed: usize,
}

/// A subscriber over HTTP/1.
pub(crate) struct Stream {
    client: Client,
    head: Head,
    sse: Sse,
    /// Whether the body is chunked.
    chunked: bool,
    /// The bytes of each chunk so far.
    chunks: Vec<Vec<u8>>,
}

impl Event {
    /// The data as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The id, which every event of the hub's log has.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"))
    }

    /// Its type; empty if it has none.
    pub(crate) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }

    fn parse(raw: &str) -> Self {
        let mut event =
            Self { id: None, kind: None, retry: None, data: String::new(), raw: raw.to_owned() };
        let mut lines = raw.strip_suffix("\n\n").unwrap().split('\n').peekable();
        event.id = lines.next_if(|line| line.starts_with("id: ")).map(|line| line[4..].to_owned());
        let kind = lines.next_if(|line| line.starts_with("event: "));
        event.kind = kind.map(|line| line[7..].to_owned());
        let retry = lines.next_if(|line| line.starts_with("retry: "));
        event.retry = retry.map(|line| line[7..].parse().unwrap());
        let data = |line: &str| {
            let data = line.strip_prefix("data: ");
            data.unwrap_or_else(|| panic!("a line that is none of the hub's: {raw:?}")).to_owned()
        };
        let data: Vec<_> = lines.map(data).collect();
        assert!(!data.is_empty(), "an event without data: {raw:?}");
        event.data = data.join("\n");
        event.check();
        event
    }

    /// What holds for every event.
    fn check(&self) {
        let raw = &self.raw;
        if let Some(id) = &self.id {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
            assert!((1..=32).contains(&id.len()) && id.bytes().all(allowed), "{raw:?}");
        }
        if let Some(retry) = self.retry {
            assert!(retry <= 86_400_000, "{raw:?}");
            assert!(self.kind().starts_with("fanfare."), "{raw:?}");
        }
        assert_ne!(self.kind.as_deref(), Some(""), "an empty type: {raw:?}");
        if self.kind().starts_with("fanfare.") {
            assert!(self.json().is_object(), "{raw:?}");
        }
    }
}

impl Sse {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        assert!(!bytes.contains(&b'\r'), "a CR: {:?}", String::from_utf8_lossy(bytes));
        self.raw.extend_from_slice(bytes);
        assert!(!self.raw.starts_with("\u{feff}".as_bytes()), "a BOM");
    }

    /// All bytes so far.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The bytes that are no whole piece yet.
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.raw[self.parsed..]
    }

    /// The next piece, if it is there whole.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        let rest = self.unparsed();
        if rest.starts_with(b":") {
            if rest.len() == 1 {
                return None;
            }
            assert_eq!(rest[1], b'\n', "a comment that is no heartbeat: {rest:?}");
            self.parsed += 2;
            return Some(Piece::Heartbeat);
        }
        assert_ne!(rest.first(), Some(&b'\n'), "an empty line without an event");
        let end = rest.windows(2).position(|bytes| bytes == b"\n\n")? + 2;
        let event = Event::parse(std::str::from_utf8(&rest[..end]).unwrap());
        self.parsed += end;
        Some(Piece::Event(event))
    }
}

impl Stream {
    /// Subscribes on a connection of its own.
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::open_with(address, target, &[])
    }

    /// The same with headers.
    pub(crate) fn open_with(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut client = Client::connect(address);
        client.request("GET", target, headers, b"");
        Self::over(client)
    }

    /// Takes a connection on which a subscribe was sent.
    pub(crate) fn over(mut client: Client) -> Self {
        let head = client.head();
        if head.status != 200 {
            let body = client.body(&head);
            panic!("no stream: {} {}", head.raw, String::from_utf8_lossy(&body));
        }
        assert_eq!(head.get("content-type"), Some("text/event-stream"), "{}", head.raw);
        let chunked = head.get("transfer-encoding").is_some();
        Self { client, head, sse: Sse::default(), chunked, chunks: Vec::new() }
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// The connection.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// All bytes so far, without their framing.
    pub(crate) fn raw(&self) -> &[u8] {
        self.sse.raw()
    }

    /// The bytes of each chunk so far.
    pub(crate) fn chunks(&self) -> &[Vec<u8>] {
        &self.chunks
    }

    /// The next piece, or how the stream ended.
    pub(crate) fn next(&mut self) -> Result<Piece, End> {
        loop {
            if let Some(piece) = self.sse.next() {
                return Ok(piece);
            }
            let (bytes, end) = self.more();
            self.sse.push(&bytes);
            if let Some(end) = end {
                return Err(if self.sse.unparsed().is_empty() { end } else { End::Torn });
            }
            if self.chunked {
                self.chunks.push(bytes);
            }
        }
    }

    fn more(&mut self) -> (Vec<u8>, Option<End>) {
        if !self.chunked {
            return self.client.bytes().map_or((Vec::new(), Some(End::Cut)), |bytes| (bytes, None));
        }
        match self.client.chunk() {
            Chunk::Data(bytes) => (bytes, None),
            Chunk::Last => (Vec::new(), Some(End::Clean)),
            Chunk::Cut(rest) if rest.is_empty() => (rest, Some(End::Cut)),
            Chunk::Cut(_) => (Vec::new(), Some(End::Torn)),
        }
    }

    /// The next event; heartbeats before it are passed over.
    pub(crate) fn event(&mut self) -> Event {
        let began = Instant::now();
        loop {
            match self.next() {
                Ok(Piece::Event(event)) => return event,
                Ok(Piece::Heartbeat) => self.check_patience(began),
                Err(end) => panic!("the stream ended ({end:?}) after {}", self.shown()),
            }
        }
    }

    /// The next events.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.event()).collect()
    }

    /// Waits for a heartbeat; no event may come before.
    pub(crate) fn heartbeat(&mut self) {
        assert_eq!(self.next(), Ok(Piece::Heartbeat), "after {}", self.shown());
    }

    /// Waits for the end; no event may come before.
    pub(crate) fn end(&mut self) -> End {
        let began = Instant::now();
        loop {
            match self.next() {
                Ok(Piece::Heartbeat) => self.check_patience(began),
                Ok(Piece::Event(event)) => panic!("one more event: {event:?}"),
                Err(end) => return end,
            }
        }
    }

    /// Heartbeats alone are not what is waited for, however many come.
    fn check_patience(&self, began: Instant) {
        assert!(began.elapsed() < DEADLINE, "only heartbeats came after {}", self.shown());
    }

    fn shown(&self) -> String {
        let raw = self.raw();
        let from = raw.len().saturating_sub(500);
        format!("{:?}", String::from_utf8_lossy(&raw[from..]))
    }
}
