//! When deltas that are published now go out: the first of a burst at once, those that follow it
//! together when a window has passed.
//!
//! Policy: nothing waits but deltas that can be put together with the one that went out last, so
//! there is at most one event for each window, and anything else takes what waits along at once.
//! Nor does anything wait that a ring may drop meanwhile. Time is an argument.

use crate::{
    coalesce::Coalesce,
    feed::Feed,
    hub::Hub,
    limits::{BATCH_BYTES_MAX, HELD_SHARE_OF_RING},
};

/// The window of those who read one feed together.
#[derive(Debug)]
pub struct Window {
    coalesce: Coalesce,
    /// The kind of the delta that went out last, unless something else came after it.
    kind: Option<u64>,
    /// When others of that kind may go out.
    ends_ms: u64,
    /// What is before this was looked at.
    looked: u64,
    /// Events that wait, and what they count in their ring.
    held: (usize, usize),
}

impl Window {
    /// The window of a feed whose readers begin at `head`, if it has one.
    pub fn of(feed: &Feed, head: u64) -> Option<Self> {
        let coalesce = feed.coalesce().filter(|coalesce| coalesce.window_ms() > 0)?.clone();
        Some(Self { coalesce, kind: None, ends_ms: 0, looked: head, held: (0, 0) })
    }

    /// Until when what has come waits; none if it goes out now, which it then must. Readers have
    /// got what is before `head`.
    pub fn holds(&mut self, feed: &Feed, hub: &Hub, head: u64, now_ms: u64) -> Option<u64> {
        if head > self.looked {
            self.looked = head;
            self.held = (0, 0);
        }
        let found = feed.look_at(hub, self.looked, BATCH_BYTES_MAX)?;
        self.looked = found.end;
        self.held.0 += found.frames.len();
        self.held.1 += found.bytes;
        if self.held.0 == 0 && !found.is_cut {
            return None;
        }
        let mut kinds = found.frames.iter().map(|(_, frame)| self.coalesce.kind(frame));
        let goes_on = self.kind.is_some() && !found.is_cut && kinds.all(|kind| kind == self.kind);
        let (events, bytes) = self.held;
        let fits = events <= found.ring_events_max / HELD_SHARE_OF_RING
            && bytes <= BATCH_BYTES_MAX.min(found.ring_bytes_max / HELD_SHARE_OF_RING);
        if goes_on && fits && now_ms < self.ends_ms {
            return Some(self.ends_ms);
        }
        if let Some((_, last)) = found.frames.last() {
            self.kind = self.coalesce.kind(last);
        }
        self.ends_ms = now_ms + u64::from(self.coalesce.window_ms());
        self.held = (0, 0);
        None
    }
}
