//! The other end of a subscriber's socket: it keeps every byte and takes the stream apart.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use fanfare_core::Framing;

use crate::rig::{DEADLINE, HEAD};

/// A subscriber's end of its connection.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    /// The newest `seq` that it is not to be sent.
    pub(crate) position: u64,
    /// What it subscribed to.
    pub(crate) selectors: Vec<String>,
    framing: Framing,
    /// Every byte that came.
    pub(crate) raw: Vec<u8>,
    /// How many of them were taken apart.
    taken: usize,
    /// What they held.
    pub(crate) pieces: Vec<Piece>,
}

/// What a stream is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// A control event: position, type without `fanfare.`, data, `retry`.
    Control { seq: u64, kind: String, data: String, retry: Option<u64> },
    /// An event.
    Event { seq: u64, data: String },
    /// A comment.
    Heartbeat,
    /// The last chunk.
    Last,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Fin,
    Reset,
}

impl Peer {
    pub(crate) fn new(
        socket: TcpStream,
        framing: Framing,
        position: u64,
        selectors: &[&str],
    ) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let selectors = selectors.iter().map(|text| (*text).to_owned()).collect();
        let (raw, pieces) = (Vec::new(), Vec::new());
        Self { socket, position, selectors, framing, raw, taken: 0, pieces }
    }

    /// Reads once, at most `bytes_max` bytes; says so if there was an end instead.
    pub(crate) fn read(&mut self, bytes_max: usize) -> Option<End> {
        let start = self.raw.len();
        self.raw.resize(start + bytes_max, 0);
        let read = self.socket.read(&mut self.raw[start..]);
        self.raw.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Some(End::Fin),
            Ok(_) => {
                while let Some(piece) = self.take() {
                    self.pieces.push(piece);
                }
                None
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("nothing came ({error}) after {:?}", self.pieces.last()),
        }
    }

    /// Reads until a piece has come that `is` it.
    pub(crate) fn read_until(&mut self, is: impl Fn(&Piece) -> bool) {
        assert!(self.reads_until(is), "it ended after {:?}", self.pieces.last());
    }

    /// The same; returns whether one came before the end.
    fn reads_until(&mut self, is: impl Fn(&Piece) -> bool) -> bool {
        let mut from = 0;
        loop {
            if self.pieces[from..].iter().any(&is) {
                return true;
            }
            from = self.pieces.len();
            if self.read(64 * 1024).is_some() {
                return false;
            }
        }
    }

    /// Reads until the event at `seq` has come; returns whether it came before the end.
    pub(crate) fn reads_to(&mut self, seq: u64) -> bool {
        self.reads_until(|piece| matches!(piece, Piece::Event { seq: it, .. } if *it == seq))
    }

    /// Reads until the event at `seq` has come.
    pub(crate) fn read_to(&mut self, seq: u64) {
        self.read_until(|piece| matches!(piece, Piece::Event { seq: it, .. } if *it == seq));
    }

    /// Reads until its first bytes have come, so that a worker has it.
    pub(crate) fn read_first(&mut self) {
        self.read_until(|piece| *piece == Piece::Heartbeat);
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> End {
        loop {
            if let Some(end) = self.read(64 * 1024) {
                return end;
            }
        }
    }

    /// Control events of a kind: position, data, `retry`.
    pub(crate) fn controls(&self, wanted: &str) -> Vec<(u64, serde_json::Value, Option<u64>)> {
        let of_kind = |piece: &Piece| match piece {
            Piece::Control { seq, kind, data, retry } if kind == wanted => {
                Some((*seq, serde_json::from_str(data).unwrap(), *retry))
            }
            _ => None,
        };
        self.pieces.iter().filter_map(of_kind).collect()
    }

    /// How many events came.
    pub(crate) fn events(&self) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece, Piece::Event { .. })).count()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection at once, as a crash would: with a reset.
    pub(crate) fn cut(self) {
        let socket = socket2::Socket::from(self.socket);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Takes the next whole piece out of the bytes.
    fn take(&mut self) -> Option<Piece> {
        let rest = &self.raw[self.taken..];
        if self.taken == 0 {
            if rest.len() < HEAD.len() {
                return None;
            }
            assert!(rest.starts_with(HEAD.as_bytes()), "another head");
            self.taken = HEAD.len();
            return self.take();
        }
        let (sse, whole) = match self.framing {
            Framing::Bare => {
                let len = if rest.starts_with(b":") { 2 } else { event_len(rest)? };
                (rest.get(..len)?, len)
            }
            Framing::Chunked => {
                let line = rest.iter().position(|byte| *byte == b'\n')?;
                let digits = std::str::from_utf8(rest[..line].strip_suffix(b"\r").unwrap());
                let len = usize::from_str_radix(digits.unwrap(), 16).unwrap();
                let end = line + 1 + len;
                assert_eq!(rest.get(end..end + 2)?, b"\r\n", "a chunk has its length");
                (&rest[line + 1..end], end + 2)
            }
        };
        let piece = Piece::parse(std::str::from_utf8(sse).unwrap());
        self.taken += whole;
        Some(piece)
    }
}

impl Piece {
    fn parse(sse: &str) -> Self {
        if sse == ":\n" || sse.is_empty() {
            return if sse.is_empty() { Self::Last } else { Self::Heartbeat };
        }
        let (mut seq, mut kind, mut retry, mut data) = (None, None, None, Vec::new());
        for line in sse.strip_suffix("\n\n").unwrap_or_else(|| panic!("{sse:?}")).split('\n') {
            match line.split_once(": ").unwrap_or_else(|| panic!("{sse:?}")) {
                ("id", id) => seq = Some(id.split_once('-').unwrap().1.parse().unwrap()),
                ("event", text) => kind = text.strip_prefix("fanfare.").map(str::to_owned),
                ("retry", ms) => retry = Some(ms.parse().unwrap()),
                ("data", text) => data.push(text),
                _ => panic!("{sse:?}"),
            }
        }
        let (seq, data) = (seq.unwrap(), data.join("\n"));
        match kind {
            Some(kind) => Self::Control { seq, kind, data, retry },
            None => Self::Event { seq, data },
        }
    }
}

fn event_len(rest: &[u8]) -> Option<usize> {
    rest.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}
