//! What a connection can be.

use std::io::Write;

use mio::net::TcpStream;

use crate::bare::lines::Lines;

/// Somebody who is connected.
#[derive(Default)]
pub(super) enum Peer {
    /// On its way from one of the others to the next; so only while it is looked at.
    #[default]
    Moving,
    /// Sends requests.
    Talking(Talk),
    /// Subscribed, but its socket has not taken all that it is owed.
    Behind(Behind),
    /// Subscribed and up to date: its socket is at this place of this channel.
    Live { channel: usize, place: usize },
}

/// A connection that may bring more requests.
pub(super) struct Talk {
    pub(super) socket: TcpStream,
    /// The front of a request that has not come whole.
    pub(super) input: Vec<u8>,
    /// The streaming publish that is going on.
    pub(super) lines: Option<Box<Lines>>,
}

/// A subscriber that is brought up to date.
pub(super) struct Behind {
    pub(super) socket: TcpStream,
    pub(super) owed: Owed,
    /// Whether the poll says when the socket takes more.
    pub(super) is_watched: bool,
}

/// What a subscriber has to get before it is live.
pub(super) struct Owed {
    pub(super) channel: usize,
    pub(super) bytes: Vec<u8>,
    /// The number of the last event in them or before them.
    pub(super) newest: u64,
}

impl Talk {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, input: Vec::new(), lines: None }
    }

    /// Answers a request. A publisher who does not even take answers is not worth waiting for.
    pub(super) fn respond(&mut self, status: &str, body: &str) -> Result<(), &'static str> {
        let head = "Content-Type: application/json\r\nContent-Length";
        let response = format!("HTTP/1.1 {status}\r\n{head}: {}\r\n\r\n{body}", body.len());
        match self.socket.write(response.as_bytes()) {
            Ok(sent) if sent == response.len() => Ok(()),
            _ => Err("an answer was not taken"),
        }
    }
}

/// What a subscriber is answered; the chunks of its events follow.
pub(super) const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\
    Connection: close\r\n\r\n";
