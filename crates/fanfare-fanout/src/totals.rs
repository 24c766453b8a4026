//! What a worker counts: plain integers on its own thread, reported once per tick.

use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// It was too slow for a channel that keeps no slow subscribers.
    Lagged,
    /// It was as old as connections may be.
    MaxAge,
    /// Slow subscribers held as many bytes as they may.
    Memory,
    /// It took no byte for too long.
    Stalled,
    /// The hub stops.
    Stop,
}

impl Disconnect {
    /// All of them, for counters.
    pub const ALL: [Self; 9] = [
        Self::Client,
        Self::Drain,
        Self::Ended,
        Self::Gap,
        Self::Lagged,
        Self::MaxAge,
        Self::Memory,
        Self::Stalled,
        Self::Stop,
    ];

    /// The reason as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Drain => "drain",
            Self::Ended => "ended",
            Self::Gap => "gap",
            Self::Lagged => "lagged",
            Self::MaxAge => "max_age",
            Self::Memory => "memory",
            Self::Stalled => "stalled",
            Self::Stop => "stop",
        }
    }
}

/// Upper bounds of [`Totals::delivery`], in microseconds: from what an idle hub takes to what only
/// a subscriber takes that is far behind, about three to a decade.
pub const DELIVERY_BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
/// Upper bounds of [`Totals::turns`], in nanoseconds: from one write to what others must not wait.
pub const TURN_BOUNDS_NS: [u64; 13] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
];
/// Upper bounds of [`Totals::events_per_write`]: powers of two.
pub const EVENTS_PER_WRITE_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// Upper bounds of [`Totals::backlog`], in events: powers of four.
pub const BACKLOG_BOUNDS: [u64; 11] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/// How often values fell between bounds. The last cell is for those above all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Histogram<const CELLS: usize> {
    /// Values by the first bound that they do not exceed; not cumulative.
    pub counts: [u64; CELLS],
    /// Sum of the values, in the unit of the bounds.
    pub sum: u64,
}

impl<const CELLS: usize> Default for Histogram<CELLS> {
    fn default() -> Self {
        Self { counts: [0; CELLS], sum: 0 }
    }
}

impl<const CELLS: usize> Histogram<CELLS> {
    /// Counts a value; `bounds` are those of this histogram.
    pub fn add(&mut self, bounds: &[u64], value: u64) {
        debug_assert_eq!(bounds.len() + 1, CELLS, "a cell per bound and one above");
        self.counts[bounds.partition_point(|bound| *bound < value)] += 1;
        // A clock that was set may make a time of any length.
        self.sum = self.sum.saturating_add(value);
    }

    /// The same for bounds that are the powers of two from 1 on, and a value that is not 0: cheap
    /// enough for every write.
    pub fn add_by_powers(&mut self, value: usize) {
        let cell = (usize::BITS - (value - 1).leading_zeros()) as usize;
        self.counts[cell.min(CELLS - 1)] += 1;
        self.sum += value as u64;
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds the values of another one.
    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, more)| *sum += more);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Counts since the start. They only rise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Events written to subscribers.
    pub events_delivered: u64,
    /// Those of them that were placed before their subscriber's subscription began.
    pub events_replayed: u64,
    /// Bytes written to subscribers, heads and heartbeats included.
    pub bytes_sent: u64,
    /// Connections that ended, by [`Disconnect`].
    pub disconnects: [u64; Disconnect::ALL.len()],
    /// Events of each write that carried any, by [`EVENTS_PER_WRITE_BOUNDS`]: its count is that of
    /// such writes, its sum `events_delivered`.
    pub events_per_write: Histogram<{ EVENTS_PER_WRITE_BOUNDS.len() + 1 }>,
    /// Microseconds from publish to socket, by [`DELIVERY_BOUNDS_US`]: of one event of each write
    /// that is sampled, replayed ones left out.
    pub delivery: Histogram<{ DELIVERY_BOUNDS_US.len() + 1 }>,
    /// Nanoseconds of each turn that had work, by [`TURN_BOUNDS_NS`]: its sum is the time that
    /// workers were busy.
    pub turns: Histogram<{ TURN_BOUNDS_NS.len() + 1 }>,
    /// Events that a blocked subscriber was behind when its socket took bytes again, by
    /// [`BACKLOG_BOUNDS`]. For one with a pattern, events and ends of the whole hub.
    pub backlog: Histogram<{ BACKLOG_BOUNDS.len() + 1 }>,
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
        self.events_replayed += other.events_replayed;
        self.bytes_sent += other.bytes_sent;
        for (sum, more) in self.disconnects.iter_mut().zip(other.disconnects) {
            *sum += more;
        }
        self.events_per_write.merge(&other.events_per_write);
        self.delivery.merge(&other.delivery);
        self.turns.merge(&other.turns);
        self.backlog.merge(&other.backlog);
        self
    }
}

/// What a worker has to do and to hold at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Subscribers.
    pub subscribers: u64,
    /// Those whose sockets take no more bytes.
    pub blocked: u64,
    /// Bytes that those keep in memory: each frame that one of them has begun counts once.
    pub blocked_bytes: u64,
    /// Groups that wait for a turn.
    pub queue_groups: u64,
    /// Members that wait to be served alone.
    pub queue_members: u64,
    /// Sockets that wait to be taken over, and other commands.
    pub queue_attach: u64,
    /// Nanoseconds that it was busy since the start.
    pub busy_ns: u64,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Subscribers that it has sent away.
    pub departed: u64,
    /// Subscribers that are still there.
    pub left: u64,
}

impl Progress {
    /// The sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { departed: self.departed + other.departed, left: self.left + other.left }
    }
}

/// What a worker tells of itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    pub(crate) totals: Totals,
    pub(crate) load: Load,
    /// Subscribers sent away by the drain that is under way, or was the last.
    pub(crate) departed: u64,
}

/// What a worker told last. It takes the lock once per tick.
#[derive(Debug, Default)]
pub(crate) struct Report(Mutex<Told>);

impl Report {
    pub(crate) fn store(&self, told: &Told) {
        *self.lock() = *told;
    }

    pub(crate) fn load(&self) -> Told {
        *self.lock()
    }

    /// Numbers are never half written in a way that matters: the next tick writes all of them.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_below_the_first_bound_that_it_does_not_exceed() {
        let mut slow = Histogram::<{ EVENTS_PER_WRITE_BOUNDS.len() + 1 }>::default();
        let mut fast = slow;
        for value in 1..3_000 {
            slow.add(&EVENTS_PER_WRITE_BOUNDS, value as u64);
            fast.add_by_powers(value);
        }
        assert_eq!(slow, fast);
        assert_eq!(slow.counts, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2_999 - 1_024]);
        assert_eq!((slow.count(), slow.sum), (2_999, 2_999 * 1_500));
    }

    #[test]
    fn times_that_a_clock_made_up_do_not_overflow() {
        let mut totals = Totals::default();
        totals.delivery.add(&DELIVERY_BOUNDS_US, u64::MAX);
        totals.delivery.add(&DELIVERY_BOUNDS_US, 1);
        let sum = totals.plus(&totals).delivery;
        assert_eq!((sum.count(), sum.sum), (4, u64::MAX));
    }

    #[test]
    fn bounds_rise() {
        let bounds: [&[u64]; 4] =
            [&DELIVERY_BOUNDS_US, &TURN_BOUNDS_NS, &EVENTS_PER_WRITE_BOUNDS, &BACKLOG_BOUNDS];
        assert!(bounds.iter().all(|bounds| bounds.is_sorted_by(|a, b| a < b)));
    }

    #[test]
    fn everything_is_summed() {
        let mut one =
            Totals { events_delivered: 1, events_replayed: 2, bytes_sent: 3, ..Totals::default() };
        one.count(Disconnect::Memory);
        one.events_per_write.add_by_powers(4);
        one.delivery.add(&DELIVERY_BOUNDS_US, 5);
        one.turns.add(&TURN_BOUNDS_NS, 6);
        one.backlog.add(&BACKLOG_BOUNDS, 7);
        let sum = one.plus(&one);
        assert_eq!((sum.events_delivered, sum.events_replayed, sum.bytes_sent), (2, 4, 6));
        assert_eq!(sum.disconnects[Disconnect::Memory as usize], 2);
        let sums = [sum.events_per_write.sum, sum.delivery.sum, sum.turns.sum, sum.backlog.sum];
        assert_eq!(sums, [8, 10, 12, 14]);
        let counts = [sum.events_per_write.count(), sum.delivery.count(), sum.turns.count()];
        assert_eq!((counts, sum.backlog.count()), ([2; 3], 2));
    }
}
