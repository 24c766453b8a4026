//! The floor against which a hub is measured: servers that speak just enough HTTP/1.1 for the
//! generator that drives the hub, and do nothing that the kernel does not ask for.
//!
//! One thread, one poll, no queues. A subscriber whose socket does not take a frame whole is
//! dropped, and standard error says so: nothing is skipped in silence.

mod channel;
mod chunked;
mod history;
mod lines;
mod peer;
mod request;
mod server;

use std::{io, net::TcpListener};

use crate::bare::server::Server;

/// What is measured against. All of them answer any GET with a stream and take events as POST
/// with a `Content-Length` to the subscribers' path; the data of an event is one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Baseline {
    /// One `send` of the same frame per subscriber, then the publisher's answer.
    Loop,
    /// One `send` per line of a chunked POST, to the channel that the line names; [`lines`] says
    /// which lines. It is the loop's server, with many channels of one subscriber each.
    Relay,
    /// The loop, and the last [`FRAMES_KEPT`] frames of each path for those who come back with
    /// `Last-Event-ID`.
    Accept,
}

impl Baseline {
    /// Serves whoever connects, until the process is killed or accepting fails. The backlog is
    /// the caller's.
    pub(crate) fn run(self, listener: TcpListener) -> io::Result<()> {
        let frames_kept = match self {
            Self::Loop | Self::Relay => 0,
            Self::Accept => FRAMES_KEPT,
        };
        Server::new(listener, frames_kept)?.run()
    }
}

/// Frames of a path that [`Baseline::Accept`] replays: ten times what the storm asks for.
const FRAMES_KEPT: usize = 1_024;

#[cfg(test)]
mod tests;
