//! A channel's recent events, bounded by count, bytes and age.
//!
//! Policy: a full ring drops its oldest events, never the newest one, and remembers the newest
//! `seq` that it dropped, so "gap or not" is exact. Nobody waits for a reader.

use std::collections::VecDeque;

use crate::{control::CloseReason, frame::Frame, limits, tombstones::Tombstone};

/// What a channel keeps and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Events in the ring, at least 1.
    pub ring_events_max: usize,
    /// Bytes in the ring, [`limits::EVENT_OVERHEAD_BYTES`] per event included.
    pub ring_bytes_max: usize,
    /// Milliseconds that an event stays; an idle channel goes with its last one.
    pub ring_age_ms: u64,
    /// Milliseconds that a closed channel can be replayed.
    pub closed_retention_ms: u64,
    /// What becomes of a subscriber that falls off the ring.
    pub slow_policy: SlowPolicy,
}

/// What becomes of a subscriber that is too slow, so that events it had not got yet left the ring.
/// Whatever it is, it is told of the gap.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SlowPolicy {
    /// It goes on with the oldest event that is kept.
    #[default]
    Gap,
    /// Its connection is closed.
    Disconnect,
    /// It goes on with the newest event of the channel.
    Latest,
}

impl SlowPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gap, Self::Disconnect, Self::Latest];

    /// The policy as settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Disconnect => "disconnect",
            Self::Latest => "latest",
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            ring_events_max: limits::RING_EVENTS_MAX,
            ring_bytes_max: limits::RING_BYTES_MAX,
            ring_age_ms: limits::RING_AGE_MS_MAX,
            closed_retention_ms: limits::CLOSED_RETENTION_MS,
            slow_policy: SlowPolicy::default(),
        }
    }
}

/// An event that a ring holds.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its place in the hub's sequence.
    pub(crate) seq: u64,
    /// When it was published, in Unix milliseconds.
    pub(crate) published_at_ms: u64,
    /// Its wire bytes.
    pub(crate) frame: Frame,
}

impl Entry {
    /// What it counts against the bounds in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.frame.len() + limits::EVENT_OVERHEAD_BYTES
    }
}

/// The end of a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// The place of the end in the hub's sequence.
    pub seq: u64,
    /// Why.
    pub reason: CloseReason,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// Events that a ring no longer holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Dropped {
    /// The newest `seq` among them; 0 if there are none.
    pub(crate) through: u64,
    /// The hub's count of drops when the newest was dropped.
    pub(crate) tick: u64,
}

/// The ring itself; the channel's lock guards it.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Ascending by `seq`.
    entries: VecDeque<Entry>,
    /// Sum of [`Entry::cost`].
    bytes: usize,
    /// What is gone.
    dropped: Dropped,
    /// The newest event of this life of the channel; 0 if it never had one.
    last_event: u64,
    /// Set once, by the publish or the delete that ends the channel.
    closed: Option<Closed>,
    /// What is remembered of an earlier life of the channel.
    pub(crate) past: Option<Box<Tombstone>>,
    /// When the hub's schedule has the channel's next look, if it has one.
    pub(crate) due_ms: Option<u64>,
}

/// What a look at the ring found beside events.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Set if events at or after the cursor are gone.
    pub(crate) gap: Option<Dropped>,
    /// Set if the end stands at or after the cursor.
    pub(crate) end: Option<Closed>,
    /// Whether the bound on bytes ended the look before the ring did.
    pub(crate) cut: bool,
}

impl Ring {
    /// An empty ring that knows nothing at or before `floor`.
    pub(crate) fn new(floor: Dropped, past: Option<Box<Tombstone>>) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            dropped: floor,
            last_event: 0,
            closed: None,
            past,
            due_ms: None,
        }
    }

    /// Appends an event and drops what no longer fits; returns the bytes that were freed.
    pub(crate) fn push(&mut self, entry: Entry, retention: &Retention, tick: u64) -> usize {
        assert!(self.closed.is_none(), "a closed channel takes no events");
        assert!(entry.seq > self.newest(), "events come in order");
        self.last_event = entry.seq;
        self.bytes += entry.cost();
        self.past = None;
        let horizon = entry.published_at_ms.saturating_sub(retention.ring_age_ms);
        self.entries.push_back(entry);
        let mut freed = self.drop_aged(horizon, tick);
        while self.entries.len() > retention.ring_events_max.max(1)
            || (self.bytes > retention.ring_bytes_max && self.entries.len() > 1)
        {
            freed += self.drop_oldest(tick);
        }
        freed
    }

    /// Ends the channel; an event after it is a defect of the caller.
    pub(crate) fn close(&mut self, closed: Closed) {
        self.closed = Some(closed);
        self.past = None;
    }

    /// Drops the oldest event; returns the bytes that were freed.
    pub(crate) fn drop_oldest(&mut self, tick: u64) -> usize {
        let Some(entry) = self.entries.pop_front() else { return 0 };
        self.dropped = Dropped { through: entry.seq, tick };
        self.bytes -= entry.cost();
        entry.cost()
    }

    /// Drops the events published before `horizon_ms`; returns the bytes that were freed.
    pub(crate) fn drop_aged(&mut self, horizon_ms: u64, tick: u64) -> usize {
        let mut freed = 0;
        while self.oldest().is_some_and(|entry| entry.published_at_ms < horizon_ms) {
            freed += self.drop_oldest(tick);
        }
        freed
    }

    /// Drops everything; returns the bytes that were freed.
    pub(crate) fn clear(&mut self, tick: u64) -> usize {
        let mut freed = 0;
        while !self.entries.is_empty() {
            freed += self.drop_oldest(tick);
        }
        self.entries = VecDeque::new();
        freed
    }

    /// Clones the handles of events from `cursor` through `upto`, at most `bytes_max` of them but
    /// at least one, and says what else stands there.
    pub(crate) fn look(
        &self,
        cursor: u64,
        upto: u64,
        bytes_max: usize,
        out: &mut Vec<(u64, Frame)>,
    ) -> Look {
        let gap =
            (self.dropped.through >= cursor && self.dropped.through > 0).then_some(self.dropped);
        let end = self.closed.filter(|closed| (cursor..=upto).contains(&closed.seq));
        let mut bytes = 0;
        let start = self.entries.partition_point(|entry| entry.seq < cursor);
        for entry in self.entries.range(start..).take_while(|entry| entry.seq <= upto) {
            if bytes > 0 && bytes + entry.frame.len() > bytes_max {
                return Look { gap, end, cut: true };
            }
            bytes += entry.frame.len();
            out.push((entry.seq, entry.frame.clone()));
        }
        Look { gap, end, cut: false }
    }

    /// The event at exactly `seq`.
    pub(crate) fn at(&self, seq: u64) -> Option<&Entry> {
        let index = self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.entries.get(index)
    }

    /// The events, oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The oldest event.
    pub(crate) fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Sum of what the events cost.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is gone.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// The newest event of this life; 0 if there was none.
    pub(crate) fn last_event(&self) -> u64 {
        self.last_event
    }

    /// The newest event of this and earlier lives: who saw it has seen all that there was.
    pub(crate) fn newest(&self) -> u64 {
        self.last_event.max(self.dropped.through)
    }

    /// The end, if there was one.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// Whether the channel never had an event or an end in this life.
    pub(crate) fn is_pristine(&self) -> bool {
        self.last_event == 0 && self.closed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Draft, id::Epoch};

    const NONE: Dropped = Dropped { through: 0, tick: 0 };

    fn entry(seq: u64, published_at_ms: u64) -> Entry {
        let frame = Draft::new(None, "x").seal(&Epoch::from_random(0), seq);
        Entry { seq, published_at_ms, frame }
    }

    fn seqs(ring: &Ring, cursor: u64, upto: u64, bytes_max: usize) -> (Vec<u64>, Look) {
        let mut out = Vec::new();
        let look = ring.look(cursor, upto, bytes_max, &mut out);
        (out.iter().map(|(seq, _)| *seq).collect(), look)
    }

    #[test]
    fn count_bytes_and_age_each_bound_a_ring() {
        let cost = entry(1, 0).cost();
        let big = Retention::default();
        for retention in [
            Retention { ring_events_max: 3, ..big },
            Retention { ring_bytes_max: 3 * cost, ..big },
            Retention { ring_age_ms: 2, ..big },
        ] {
            let mut ring = Ring::new(NONE, None);
            let mut freed = 0;
            for seq in 1..=9 {
                freed += ring.push(entry(seq, seq), &retention, seq);
            }
            assert_eq!(seqs(&ring, 7, 99, usize::MAX).0, [7, 8, 9], "{retention:?}");
            assert_eq!(ring.dropped(), Dropped { through: 6, tick: 9 });
            assert_eq!((freed, ring.bytes()), (6 * cost, 3 * cost));
        }
    }

    #[test]
    fn a_gap_is_exact() {
        let mut ring = Ring::new(NONE, None);
        let retention = Retention { ring_events_max: 2, ..Retention::default() };
        for seq in [10, 20, 30, 40] {
            ring.push(entry(seq, 0), &retention, seq);
        }
        assert_eq!(seqs(&ring, 20, 99, 999).1.gap, Some(Dropped { through: 20, tick: 40 }));
        let (found, look) = seqs(&ring, 21, 99, 999);
        assert_eq!((found, look.gap), (vec![30, 40], None));
    }

    #[test]
    fn a_look_is_bounded_but_never_empty_handed() {
        let mut ring = Ring::new(NONE, None);
        for seq in 1..=4 {
            ring.push(entry(seq, 0), &Retention::default(), 0);
        }
        let len = entry(1, 0).frame.len();
        let (found, look) = seqs(&ring, 1, 99, 2 * len);
        assert_eq!((found, look.cut), (vec![1, 2], true));
        let (found, look) = seqs(&ring, 3, 3, 0);
        assert_eq!((found, look.cut), (vec![3], false));
    }

    #[test]
    fn the_end_stands_where_it_was_put() {
        let mut ring = Ring::new(NONE, None);
        ring.push(entry(1, 0), &Retention::default(), 0);
        ring.close(Closed { seq: 2, reason: CloseReason::Done, at_ms: 0 });
        assert_eq!(seqs(&ring, 1, 1, 99).1.end, None);
        assert!(seqs(&ring, 1, 2, 99).1.end.is_some());
        assert!(seqs(&ring, 3, 9, 99).1.end.is_none());
    }
}
