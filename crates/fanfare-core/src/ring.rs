//! A channel's recent events, bounded by count, bytes and age.
//!
//! Policy: a full ring drops its oldest events, never the newest one, and remembers the newest
//! `seq` that it dropped, so "gap or not" is exact. Nobody waits for a reader.

use std::{collections::VecDeque, num::NonZeroU64, sync::Arc};

use crate::{
    control::CloseReason,
    extras::{Extras, time},
    frame::Frame,
    limits,
    limits::RATE_WINDOW_MS,
    tombstones::Tombstone,
};

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
    /// Milliseconds without an event or an open streaming publish after which an open channel is
    /// closed, with `error` or, if that is wished, `cancelled`; 0 for never.
    pub channel_idle_ms_max: u64,
    /// Milliseconds after which an open channel is closed likewise, however busy it is; 0 for
    /// never.
    pub channel_age_ms_max: u64,
    /// Milliseconds that a channel waits for a streaming publish that broke off to be taken up
    /// again, before it is closed with `error`; only for those that are to close it at their end.
    pub producer_grace_ms: u64,
    /// Milliseconds without a subscriber, after there was one, after which a channel that is being
    /// streamed to is cancelled; 0 for never.
    pub unwatched_ms_max: u64,
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
            channel_idle_ms_max: 0,
            channel_age_ms_max: 0,
            producer_grace_ms: limits::PRODUCER_GRACE_MS,
            unwatched_ms_max: 0,
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
        cost(&self.frame)
    }
}

/// What an event counts against the bounds in bytes.
pub(crate) fn cost(frame: &Frame) -> usize {
    frame.memory_bytes() + limits::EVENT_OVERHEAD_BYTES
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

/// How many events came in a window of time and in the one before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    /// The window that counts now, in windows since 1970.
    window: u64,
    /// Events in it.
    current: u32,
    /// Events in the one before.
    before: u32,
}

impl Rate {
    /// Counts an event.
    fn count(&mut self, now_ms: u64) {
        let window = now_ms / RATE_WINDOW_MS;
        if window != self.window {
            self.before = self.in_last_window(now_ms) as u32;
            self.current = 0;
            self.window = window;
        }
        self.current = self.current.saturating_add(1);
    }

    /// Events in the last window that is over.
    pub(crate) fn in_last_window(&self, now_ms: u64) -> u64 {
        match (now_ms / RATE_WINDOW_MS).checked_sub(self.window) {
            Some(0) => self.before.into(),
            Some(1) => self.current.into(),
            _ => 0,
        }
    }

    /// Events a second, over the last window that is over.
    pub fn per_s(&self, now_ms: u64) -> f64 {
        self.in_last_window(now_ms) as f64 * 1_000.0 / RATE_WINDOW_MS as f64
    }
}

/// The ring itself; the channel's lock guards it.
#[derive(Debug)]
pub(crate) struct Ring {
    /// What it keeps; a change of the hub's limits changes it.
    pub(crate) retention: Arc<Retention>,
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
    /// What few channels have.
    extras: Option<Box<Extras>>,
    /// When the hub's schedule has the channel's next look, if it has one.
    pub(crate) due_ms: Option<NonZeroU64>,
    /// When this life of the channel began, in Unix milliseconds; only if it did.
    pub(crate) began_at_ms: u64,
    /// Events that this life of the channel had.
    events_total: u64,
    /// Their bytes on the wire.
    bytes_total: u64,
    /// When the newest of them was published, in Unix milliseconds.
    last_published_at_ms: u64,
    /// How many there are a second.
    rate: Rate,
}

/// What a look at the ring found beside events.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Set if events at or after the cursor are gone.
    pub(crate) gap: Option<(Dropped, SlowPolicy)>,
    /// Set if the end stands at or after the cursor.
    pub(crate) end: Option<Closed>,
    /// Whether the bound on bytes ended the look before the ring did.
    pub(crate) cut: bool,
}

impl Ring {
    /// An empty ring that knows nothing at or before `floor`.
    pub(crate) fn new(retention: Arc<Retention>, floor: Dropped, past: Option<Tombstone>) -> Self {
        let extras = past.map(|past| Box::new(Extras { past: Some(past), ..Extras::default() }));
        Self {
            retention,
            entries: VecDeque::new(),
            bytes: 0,
            dropped: floor,
            last_event: 0,
            closed: None,
            extras,
            due_ms: None,
            began_at_ms: 0,
            events_total: 0,
            bytes_total: 0,
            last_published_at_ms: 0,
            rate: Rate::default(),
        }
    }

    /// Appends an event and drops what no longer fits; returns the bytes that were freed.
    pub(crate) fn push(&mut self, entry: Entry, tick: u64) -> usize {
        assert!(self.closed.is_none(), "a closed channel takes no events");
        assert!(entry.seq > self.newest(), "events come in order");
        self.last_event = entry.seq;
        self.last_published_at_ms = entry.published_at_ms;
        self.events_total += 1;
        self.bytes_total += entry.frame.len() as u64;
        self.rate.count(entry.published_at_ms);
        if let Some(extras) = &mut self.extras {
            extras.past = None;
            let grace_ms = self.retention.producer_grace_ms;
            if let Some(grace_ends_ms) = &mut extras.grace_ends_ms {
                // Whoever publishes one by one is there; it may be on its way to streaming again.
                let ends_ms = entry.published_at_ms.saturating_add(grace_ms);
                *grace_ends_ms = (*grace_ends_ms).max(time(ends_ms).unwrap_or(*grace_ends_ms));
            }
            self.trim();
        }
        // Before it is appended: a full ring of a round number of events would double its memory.
        let freed = self.make_room(entry.published_at_ms, entry.cost(), tick);
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        freed
    }

    /// Drops what the bounds do not allow beside an event of `cost` bytes that comes now; returns
    /// the bytes that were freed.
    fn make_room(&mut self, now_ms: u64, cost: usize, tick: u64) -> usize {
        let mut freed = self.drop_aged(self.horizon_ms(now_ms), tick);
        while self.entries.len() >= self.retention.ring_events_max.max(1)
            || (self.bytes + cost > self.retention.ring_bytes_max && !self.entries.is_empty())
        {
            freed += self.drop_oldest(tick);
        }
        freed
    }

    /// Takes other bounds and drops what they do not allow; returns the bytes that were freed.
    pub(crate) fn retain(&mut self, retention: Arc<Retention>, now_ms: u64, tick: u64) -> usize {
        let Retention { ring_events_max, ring_bytes_max, .. } = *retention;
        self.retention = retention;
        let mut freed = self.drop_aged(self.horizon_ms(now_ms), tick);
        while self.entries.len() > ring_events_max.max(1)
            || (self.bytes > ring_bytes_max && self.entries.len() > 1)
        {
            freed += self.drop_oldest(tick);
        }
        freed
    }

    /// Events published before this are too old.
    pub(crate) fn horizon_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.retention.ring_age_ms)
    }

    /// Ends the channel; an event after it is a defect of the caller.
    pub(crate) fn close(&mut self, closed: Closed) {
        self.closed = Some(closed);
        if let Some(extras) = &mut self.extras {
            extras.close();
            self.trim();
        }
    }

    /// What few channels have, if this one has any of it.
    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    /// The same, made if need be. Who may have emptied it calls [`trim`](Self::trim) then.
    pub(crate) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The same, not made.
    pub(crate) fn extras_if_any(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// Gives the memory of empty extras back.
    pub(crate) fn trim(&mut self) {
        if self.extras().is_some_and(Extras::is_empty) {
            self.extras = None;
        }
    }

    /// When its producers last gave a sign of life, in Unix milliseconds.
    pub(crate) fn producers_active_at_ms(&self) -> Option<u64> {
        self.extras()?.producers.active_at_ms()
    }

    /// Forgets its producers; returns the bytes that they took.
    pub(crate) fn forget_producers(&mut self) -> usize {
        let Some(extras) = &mut self.extras else { return 0 };
        let bytes = std::mem::take(&mut extras.producers).bytes();
        self.trim();
        bytes
    }

    /// What is remembered of an earlier life of the channel.
    pub(crate) fn past(&self) -> Option<Tombstone> {
        self.extras().and_then(|extras| extras.past)
    }

    /// Drops the oldest event; returns the bytes that were freed.
    pub(crate) fn drop_oldest(&mut self, tick: u64) -> usize {
        let Some(entry) = self.entries.pop_front() else { return 0 };
        self.dropped = Dropped { through: entry.seq, tick };
        self.bytes -= entry.cost();
        let capacity = self.entries.capacity();
        if capacity > SLOTS_KEPT && self.entries.len() < capacity / 4 {
            // What is no longer counted is no longer held.
            self.entries.shrink_to(capacity / 2);
        }
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
        let lost = self.dropped.through >= cursor && self.dropped.through > 0;
        let gap = lost.then_some((self.dropped, self.retention.slow_policy));
        let end = self.closed.filter(|closed| (cursor..=upto).contains(&closed.seq));
        let mut bytes = 0;
        for entry in
            self.entries.range(self.index_from(cursor)..).take_while(|entry| entry.seq <= upto)
        {
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

    /// How many events there are from `cursor` on.
    pub(crate) fn kept_from(&self, cursor: u64) -> usize {
        self.entries.len() - self.index_from(cursor)
    }

    /// The index of the first event from `cursor` on. It looks near the newest first, because most
    /// who read are live: to search all of a ring touches a cold line of memory at each step, and
    /// with thousands of channels every ring is cold.
    fn index_from(&self, cursor: u64) -> usize {
        let (mut low, mut high) = (self.entries.len(), self.entries.len());
        let mut back = 1;
        while low > 0 && self.entries[low - 1].seq >= cursor {
            high = low - 1;
            low = self.entries.len().saturating_sub(back);
            back *= 2;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.entries[middle].seq < cursor {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
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

    /// Events that this life of the channel had.
    pub(crate) fn events_total(&self) -> u64 {
        self.events_total
    }

    /// Bytes of them on the wire.
    pub(crate) fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// When the newest of them was published, in Unix milliseconds.
    pub(crate) fn last_published_at_ms(&self) -> u64 {
        self.last_published_at_ms
    }

    /// How many events there are a second.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether the channel never had an event, an end or anything else to keep in this life.
    pub(crate) fn is_pristine(&self) -> bool {
        let is_alive = self.extras().is_some_and(Extras::is_alive);
        self.last_event == 0 && self.closed.is_none() && !is_alive
    }
}

/// Entries for which a ring keeps its memory, however few it has.
const SLOTS_KEPT: usize = 16;

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
            let mut ring = Ring::new(Arc::new(retention), NONE, None);
            let mut freed = 0;
            for seq in 1..=9 {
                freed += ring.push(entry(seq, seq), seq);
            }
            assert_eq!(seqs(&ring, 7, 99, usize::MAX).0, [7, 8, 9], "{retention:?}");
            assert_eq!(ring.dropped(), Dropped { through: 6, tick: 9 });
            assert_eq!((freed, ring.bytes()), (6 * cost, 3 * cost));
        }
    }

    #[test]
    fn a_gap_is_exact() {
        let retention = Retention { ring_events_max: 2, ..Retention::default() };
        let mut ring = Ring::new(Arc::new(retention), NONE, None);
        for seq in [10, 20, 30, 40] {
            ring.push(entry(seq, 0), seq);
        }
        let gap = (Dropped { through: 20, tick: 40 }, SlowPolicy::Gap);
        assert_eq!(seqs(&ring, 20, 99, 999).1.gap, Some(gap));
        let (found, look) = seqs(&ring, 21, 99, 999);
        assert_eq!((found, look.gap), (vec![30, 40], None));
    }

    #[test]
    fn a_look_is_bounded_but_never_empty_handed() {
        let mut ring = Ring::new(Arc::default(), NONE, None);
        for seq in 1..=4 {
            ring.push(entry(seq, 0), 0);
        }
        let len = entry(1, 0).frame.len();
        let (found, look) = seqs(&ring, 1, 99, 2 * len);
        assert_eq!((found, look.cut), (vec![1, 2], true));
        let (found, look) = seqs(&ring, 3, 3, 0);
        assert_eq!((found, look.cut), (vec![3], false));
    }

    #[test]
    fn the_end_stands_where_it_was_put() {
        let mut ring = Ring::new(Arc::default(), NONE, None);
        ring.push(entry(1, 0), 0);
        ring.close(Closed { seq: 2, reason: CloseReason::Done, at_ms: 0 });
        assert_eq!(seqs(&ring, 1, 1, 99).1.end, None);
        assert!(seqs(&ring, 1, 2, 99).1.end.is_some());
        assert!(seqs(&ring, 3, 9, 99).1.end.is_none());
    }

    #[test]
    fn a_full_ring_holds_no_more_slots_than_it_has_events_and_an_emptied_one_lets_them_go() {
        let retention = Retention { ring_events_max: 1_024, ..Retention::default() };
        let mut ring = Ring::new(Arc::new(retention), NONE, None);
        for seq in 1..=5_000 {
            ring.push(entry(seq, 0), 0);
        }
        assert_eq!((ring.entries.len(), ring.entries.capacity()), (1_024, 1_024));
        ring.drop_aged(1, 0);
        assert!(ring.entries.capacity() <= SLOTS_KEPT, "{}", ring.entries.capacity());
    }

    #[test]
    fn a_rate_is_of_the_last_window_that_is_over() {
        let mut rate = Rate::default();
        let window = RATE_WINDOW_MS;
        for at_ms in [5 * window, 5 * window + 1, 6 * window - 1, 6 * window] {
            rate.count(at_ms);
        }
        let rates = [5, 6, 7, 8].map(|windows| rate.in_last_window(windows * window));
        assert_eq!(rates, [0, 3, 1, 0]);
        rate.count(9 * window);
        assert_eq!(rate.in_last_window(9 * window), 0, "nothing came in the eighth");
        assert_eq!(rate.per_s(10 * window), 0.1);
    }

    #[test]
    fn other_bounds_hold_at_once() {
        let mut ring = Ring::new(Arc::default(), NONE, None);
        for seq in 1..=9 {
            ring.push(entry(seq, seq), 0);
        }
        let cost = entry(1, 0).cost();
        let keep = |ring_events_max| Retention { ring_events_max, ..Retention::default() };
        assert_eq!(ring.retain(keep(4).into(), 9, 7), 5 * cost);
        assert_eq!(ring.dropped(), Dropped { through: 5, tick: 7 });
        let aged = Retention { ring_age_ms: 1, ..keep(4) };
        assert_eq!(ring.retain(aged.into(), 9, 8), 2 * cost);
        let small = Retention { ring_bytes_max: 1, ..keep(4) };
        assert_eq!((ring.retain(small.into(), 9, 9), ring.entries().len()), (cost, 1));
    }

    #[test]
    fn an_index_is_found_wherever_it_is() {
        for length in (0..40).chain([1_000]) {
            let mut ring = Ring::new(Arc::default(), NONE, None);
            (1..=length).for_each(|n| _ = ring.push(entry(3 * n, 0), 0));
            for cursor in 0..=3 * length + 2 {
                let found = ring.index_from(cursor);
                let right = ring.entries.partition_point(|entry| entry.seq < cursor);
                assert_eq!(found, right, "{cursor} of {length}");
            }
        }
    }
}
