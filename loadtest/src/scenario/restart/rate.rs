//! How evenly moments are spread: the most of them in any one second, beside their mean rate.

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) count: usize,
    /// A second, from the first to the last of them, and at least over one second.
    pub(super) mean: f64,
    /// In the second that has most, wherever it begins.
    pub(super) most: f64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Rate {
    /// Looks at moments in nanoseconds, in any order.
    pub(super) fn of(mut moments_ns: Vec<u64>) -> Self {
        moments_ns.sort_unstable();
        let (Some(first), Some(last)) = (moments_ns.first(), moments_ns.last()) else {
            return Self { count: 0, mean: 0.0, most: 0.0 };
        };
        let mut begin = 0;
        let mut most = 0;
        for (end, moment_ns) in moments_ns.iter().enumerate() {
            while moments_ns[begin] + SECOND_NS <= *moment_ns {
                begin += 1;
            }
            most = most.max(end + 1 - begin);
        }
        let count = moments_ns.len();
        let seconds = ((last - first) as f64 / SECOND_NS as f64).max(1.0);
        Self { count, mean: count as f64 / seconds, most: most as f64 }
    }

    /// How many times the mean the fullest second had.
    pub(super) fn crowding(self) -> f64 {
        if self.mean > 0.0 { self.most / self.mean } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_second_is_found_wherever_it_begins() {
        let even = Rate::of((0..100).map(|n| n * SECOND_NS / 10).collect());
        assert_eq!((even.count, even.most), (100, 10.0));
        assert!((0.9..1.1).contains(&even.crowding()), "{even:?}");
        let mut crowd: Vec<u64> = (0..=10).map(|n| n * SECOND_NS).collect();
        crowd.extend((0..40).map(|n| 4 * SECOND_NS + SECOND_NS / 2 + n));
        let crowd = Rate::of(crowd);
        assert_eq!((crowd.mean, crowd.most), (5.1, 41.0));
    }

    #[test]
    fn few_moments_have_a_rate() {
        assert_eq!(Rate::of(Vec::new()).crowding(), 0.0);
        assert_eq!(Rate::of(vec![7]), Rate { count: 1, mean: 1.0, most: 1.0 });
    }
}
