//! What a worker counts: plain integers on its own thread, reported once per tick.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a subscriber's connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disconnect {
    /// The peer closed it, or is gone.
    Client,
    /// The hub drains.
    Drain,
    /// All its channels were closed.
    Ended,
    /// It lost events and wants no control events.
    Gap,
    /// It took no byte for too long.
    Stalled,
    /// The hub stops.
    Stop,
}

impl Disconnect {
    /// All of them, for counters.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::Drain, Self::Ended, Self::Gap, Self::Stalled, Self::Stop];

    /// The reason as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Drain => "drain",
            Self::Ended => "ended",
            Self::Gap => "gap",
            Self::Stalled => "stalled",
            Self::Stop => "stop",
        }
    }
}

/// Counts since the start. They only rise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Events written to subscribers.
    pub events_delivered: u64,
    /// Bytes written to subscribers, heads and heartbeats included.
    pub bytes_sent: u64,
    /// Connections that ended, by [`Disconnect`].
    pub disconnects: [u64; Disconnect::ALL.len()],
}

impl Totals {
    /// Counts one connection that ended.
    pub fn count(&mut self, reason: Disconnect) {
        self.disconnects[reason as usize] += 1;
    }

    /// The sums of both.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.events_delivered += other.events_delivered;
        self.bytes_sent += other.bytes_sent;
        for (sum, more) in self.disconnects.iter_mut().zip(other.disconnects) {
            *sum += more;
        }
        self
    }
}

/// The totals that a worker reported last.
#[derive(Debug, Default)]
pub(crate) struct Report {
    events_delivered: AtomicU64,
    bytes_sent: AtomicU64,
    disconnects: [AtomicU64; Disconnect::ALL.len()],
}

impl Report {
    pub(crate) fn store(&self, totals: &Totals) {
        self.events_delivered.store(totals.events_delivered, Relaxed);
        self.bytes_sent.store(totals.bytes_sent, Relaxed);
        for (cell, total) in self.disconnects.iter().zip(totals.disconnects) {
            cell.store(total, Relaxed);
        }
    }

    pub(crate) fn load(&self) -> Totals {
        Totals {
            events_delivered: self.events_delivered.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            disconnects: std::array::from_fn(|reason| self.disconnects[reason].load(Relaxed)),
        }
    }
}
