//! A subscriber as a worker holds it: a socket, a position, and at most one piece of bytes that
//! the socket has not taken yet.

use std::{
    any::Any,
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
};

use bytes::Bytes;
use fanfare_core::{Batch, Begun, Framing, Met, ReconnectReason, Subscription};
use mio::net::TcpStream;

use crate::{
    fanout::Seat,
    limits::DISCARDED_BYTES_MAX,
    pins::Pin,
    totals::{Disconnect, Totals},
};

/// One subscriber's connection. In this order, what each delivery looks at stands together: a pass
/// over many members costs a miss of the cache for every line of memory that it touches.
#[repr(C)]
pub(crate) struct Member {
    /// Its socket, non-blocking.
    pub(crate) socket: TcpStream,
    /// Tells this member from others that had its slab key.
    pub(crate) generation: u32,
    /// Whether the socket took no more, so that only its readiness brings it back.
    pub(crate) blocked: bool,
    /// Whether it waits in the queue of those that are served alone.
    pub(crate) queued: bool,
    /// Set when the stream ends as soon as nothing is pending.
    pub(crate) closing: Option<Disconnect>,
    /// Why it is to be sent away once it has everything, if it is.
    pub(crate) leaving: Option<ReconnectReason>,
    /// Its group and its index there.
    pub(crate) group: u32,
    pub(crate) place: u32,
    /// Milliseconds of silence after which a heartbeat is sent.
    pub(crate) heartbeat_ms: u32,
    /// When its socket last took a byte or began to refuse them, in the worker's milliseconds.
    pub(crate) sent_at_ms: u64,
    /// Its position; none once the stream has ended and only the peer's close is awaited.
    pub(crate) subscription: Option<Subscription>,
    /// What goes out before anything else: private bytes (head, control events, heartbeats) or
    /// the rest of a frame that was begun. Never both, because either is put here only when
    /// nothing is pending.
    pub(crate) pending: Bytes,
    /// The frame that `pending` is the rest of, if it is one.
    pub(crate) begun: Option<Begun>,
    /// That `begun` counts, while the socket is full.
    pub(crate) pin: Option<Pin>,
    /// When the wheel will look at it.
    pub(crate) look_at_ms: u64,
    /// When it is as old as it may be, in the worker's milliseconds.
    pub(crate) leaves_at_ms: u64,
    /// Bytes it sent after its request.
    discarded_bytes: u32,
    /// Its place on the worker, and its shares of limits on connections.
    _seat: Seat,
    _permit: Option<Box<dyn Any + Send>>,
}

/// What became of bytes that were offered to a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    /// All were taken.
    All,
    /// The socket is full; the rest waits.
    Blocked,
    /// The peer is gone.
    Gone,
}

impl Member {
    pub(crate) fn new(
        socket: TcpStream,
        subscription: Subscription,
        pending: Bytes,
        heartbeat_ms: u32,
        seat: Seat,
        permit: Option<Box<dyn Any + Send>>,
    ) -> Self {
        Self {
            socket,
            subscription: Some(subscription),
            pending,
            begun: None,
            pin: None,
            closing: None,
            leaving: None,
            leaves_at_ms: u64::MAX,
            blocked: false,
            queued: false,
            generation: 0,
            group: 0,
            place: 0,
            heartbeat_ms,
            discarded_bytes: 0,
            sent_at_ms: 0,
            look_at_ms: 0,
            _seat: seat,
            _permit: permit,
        }
    }

    /// Whether frames may be written now.
    pub(crate) fn is_open(&self) -> bool {
        !self.blocked && self.pending.is_empty() && self.closing.is_none()
    }

    /// Sends what is pending.
    pub(crate) fn flush(&mut self, now_ms: u64, totals: &mut Totals) -> Sent {
        if self.pending.is_empty() {
            return Sent::All;
        }
        match write(&mut self.socket, &self.pending, &[]) {
            Ok(sent) => {
                self.sent_at_ms = now_ms;
                totals.bytes_sent += sent as u64;
                if sent == self.pending.len() {
                    self.clear();
                    return Sent::All;
                }
                self.pending = self.pending.split_off(sent);
                self.block()
            }
            Err(error) => self.failed(&error, now_ms),
        }
    }

    /// Sends what is pending and, in the same write, the batch's bytes from `cursor` on; the
    /// position follows what the socket took.
    pub(crate) fn send(
        &mut self,
        batch: &Batch,
        cursor: u64,
        now_ms: u64,
        totals: &mut Totals,
    ) -> Sent {
        debug_assert!(!self.blocked && self.closing.is_none(), "frames go out on an open stream");
        let (pending, bytes) = (&self.pending, batch.bytes_from(cursor));
        if pending.is_empty() && bytes.is_empty() {
            return Sent::All;
        }
        let sent = match write(&mut self.socket, pending, bytes) {
            Ok(sent) => sent,
            Err(error) => return self.failed(&error, now_ms),
        };
        self.sent_at_ms = now_ms;
        totals.bytes_sent += sent as u64;
        let Some(sent) = sent.checked_sub(pending.len()) else {
            self.pending = self.pending.split_off(sent);
            return self.block();
        };
        self.clear();
        if sent == bytes.len() {
            totals.events_delivered += batch.events_from(cursor) as u64;
            return Sent::All;
        }
        let partial = batch.partial(cursor, sent);
        let begun = usize::from(!partial.rest.is_empty());
        totals.events_delivered += (batch.events_in(cursor, sent) + begun) as u64;
        if let Some(subscription) = &mut self.subscription {
            subscription.cursor = partial.cursor;
        }
        self.pending = partial.rest;
        self.begun = partial.begun;
        self.block()
    }

    /// Goes past the batch that was sent whole: on to its end, or to what stands there.
    pub(crate) fn pass(&mut self, batch: &Batch, framing: Framing, retry_ms: u32) {
        let Some(subscription) = &mut self.subscription else { return };
        let Some(stop) = batch.stop() else {
            subscription.cursor = subscription.cursor.max(batch.end());
            if subscription.is_live_untold() {
                self.tell_live(framing);
            }
            return;
        };
        let met = subscription.meet(stop, batch.end(), retry_ms);
        let ended = subscription.has_ended();
        let mut out = Vec::new();
        match met {
            Met::Abort => self.closing = Some(Disconnect::Gap),
            Met::Cut(sse) => {
                framing.wrap(&sse, &mut out);
                self.closing = Some(Disconnect::Lagged);
            }
            Met::Nothing => {}
            Met::Tell(sse) => framing.wrap(&sse, &mut out),
        }
        if self.closing.is_none()
            && !ended
            && let Some(sse) = subscription.tell_live()
        {
            framing.wrap(&sse, &mut out);
        }
        if ended && self.closing.is_none() {
            out.extend_from_slice(framing.last());
            self.closing = Some(Disconnect::Ended);
        }
        self.pending = out.into();
    }

    /// Puts up for sending that everything from before the subscription began was sent.
    #[cold]
    fn tell_live(&mut self, framing: Framing) {
        let mut out = Vec::new();
        if let Some(sse) = self.subscription.as_mut().and_then(Subscription::tell_live) {
            framing.wrap(&sse, &mut out);
        }
        self.pending = out.into();
    }

    /// Reads and discards what the peer sent. An error or an end means that it is gone.
    pub(crate) fn discard(&mut self) -> Sent {
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Sent::Gone,
                Ok(read) => {
                    self.discarded_bytes += read as u32;
                    if self.discarded_bytes > DISCARDED_BYTES_MAX {
                        return Sent::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::All,
                Err(_) => return Sent::Gone,
            }
        }
    }

    /// Tells the peer that nothing more comes; its own close is awaited.
    pub(crate) fn shut(&mut self) -> Sent {
        match self.socket.shutdown(Shutdown::Write) {
            Ok(()) => Sent::All,
            Err(_) => Sent::Gone,
        }
    }

    fn failed(&mut self, error: &io::Error, now_ms: u64) -> Sent {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                // Silence before is no stall: there was nothing to take.
                self.sent_at_ms = now_ms;
                self.block()
            }
            _ => Sent::Gone,
        }
    }

    /// Everything that was pending is sent.
    fn clear(&mut self) {
        self.pending = Bytes::new();
        self.begun = None;
    }

    fn block(&mut self) -> Sent {
        self.blocked = true;
        Sent::Blocked
    }
}

/// Writes one after the other, in one call if there are both.
fn write(socket: &mut TcpStream, first: &[u8], then: &[u8]) -> io::Result<usize> {
    loop {
        let result = match (first, then) {
            ([], bytes) | (bytes, []) => socket.write(bytes),
            _ => socket.write_vectored(&[IoSlice::new(first), IoSlice::new(then)]),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
