//! What requests count: atomic integers, one addition each.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use fanfare_fanout::Histogram;

/// Totals by the index of a variant.
#[derive(Debug)]
pub(crate) struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counts<N> {
    /// Counts one.
    pub(crate) fn add(&self, index: usize) {
        self.0[index].fetch_add(1, Relaxed);
    }

    /// One total.
    pub(crate) fn total(&self, index: usize) -> u64 {
        self.0[index].load(Relaxed)
    }

    /// All totals.
    pub(crate) fn totals(&self) -> [u64; N] {
        array::from_fn(|index| self.total(index))
    }
}

/// Upper bounds of the times of publishes, in nanoseconds: from what memory takes to what no
/// publisher waits for, about three to a decade.
pub(crate) const PUBLISH_BOUNDS_NS: [u64; 20] = [
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
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Times of publishes, by [`PUBLISH_BOUNDS_NS`].
pub(crate) type Took = Histogram<{ PUBLISH_BOUNDS_NS.len() + 1 }>;

/// The same, while requests count it.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: Counts<{ PUBLISH_BOUNDS_NS.len() + 1 }>,
    sum_ns: AtomicU64,
}

impl Times {
    /// Counts a time.
    pub(crate) fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts.add(PUBLISH_BOUNDS_NS.partition_point(|bound| *bound < ns));
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn load(&self) -> Took {
        Took { counts: self.counts.totals(), sum: self.sum_ns.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_below_the_first_bound_that_it_does_not_exceed() {
        let times = Times::default();
        for ns in [1, 5_000, 5_001, 10_000_000_001] {
            times.add(Duration::from_nanos(ns));
        }
        let took = times.load();
        assert_eq!((took.counts[0], took.counts[1], took.counts[20]), (2, 1, 1));
        assert_eq!((took.count(), took.sum), (4, 10_000_010_003));
    }
}
