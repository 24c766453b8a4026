//! What a fleet of subscribers counts, readable from any thread while it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many classes of subscribers a scenario may tell apart.
pub(crate) const CLASSES_MAX: usize = 4;

/// The counters of all classes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: [Class; CLASSES_MAX],
}

/// The counters of one class of subscribers.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// Subscribers whose stream is open now.
    pub(crate) connected: AtomicU64,
    /// Streams that were opened.
    pub(crate) connects: AtomicU64,
    /// Attempts that failed: no connection, or another answer than an event stream.
    pub(crate) refused: AtomicU64,
    /// Streams that the server ended, or cut, without having told of the end of their channel.
    pub(crate) ended: AtomicU64,
    /// Streams that came to an end, whole, after `fanfare.end` had told that their channel is done.
    pub(crate) finished: AtomicU64,
    /// Events.
    pub(crate) events: AtomicU64,
    /// Those of them that came in one with others, apart from the last of each.
    pub(crate) merged: AtomicU64,
    /// Bytes from the server, heads and framing included.
    pub(crate) bytes: AtomicU64,
    /// Events that did not come.
    pub(crate) lost: AtomicU64,
    /// Events that came again, or out of order.
    pub(crate) doubled: AtomicU64,
    /// Events whose id is not the one that others were given, or not of a load test, and streams
    /// that are no event streams.
    pub(crate) wrong: AtomicU64,
    /// Gaps that the hub told of.
    pub(crate) gaps: AtomicU64,
    /// When the newest event came, in nanoseconds since the generator began.
    pub(crate) newest_ns: AtomicU64,
}

/// The counters at one moment, summed over classes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connected: u64,
    pub(crate) connects: u64,
    pub(crate) refused: u64,
    pub(crate) ended: u64,
    pub(crate) finished: u64,
    pub(crate) events: u64,
    pub(crate) merged: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) wrong: u64,
    pub(crate) gaps: u64,
    pub(crate) newest_ns: u64,
}

impl Tally {
    /// The counters of one class.
    pub(crate) fn class(&self, class: usize) -> &Class {
        &self.classes[class]
    }

    /// What one class has counted so far.
    pub(crate) fn of(&self, class: usize) -> Counts {
        let class = self.class(class);
        Counts {
            connected: class.connected.load(Relaxed),
            connects: class.connects.load(Relaxed),
            refused: class.refused.load(Relaxed),
            ended: class.ended.load(Relaxed),
            finished: class.finished.load(Relaxed),
            events: class.events.load(Relaxed),
            merged: class.merged.load(Relaxed),
            bytes: class.bytes.load(Relaxed),
            lost: class.lost.load(Relaxed),
            doubled: class.doubled.load(Relaxed),
            wrong: class.wrong.load(Relaxed),
            gaps: class.gaps.load(Relaxed),
            newest_ns: class.newest_ns.load(Relaxed),
        }
    }

    /// What all classes have counted so far.
    pub(crate) fn all(&self) -> Counts {
        (0..CLASSES_MAX).map(|class| self.of(class)).fold(Counts::default(), |sum, one| Counts {
            connected: sum.connected + one.connected,
            connects: sum.connects + one.connects,
            refused: sum.refused + one.refused,
            ended: sum.ended + one.ended,
            finished: sum.finished + one.finished,
            events: sum.events + one.events,
            merged: sum.merged + one.merged,
            bytes: sum.bytes + one.bytes,
            lost: sum.lost + one.lost,
            doubled: sum.doubled + one.doubled,
            wrong: sum.wrong + one.wrong,
            gaps: sum.gaps + one.gaps,
            newest_ns: sum.newest_ns.max(one.newest_ns),
        })
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}
