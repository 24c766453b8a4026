//! A bucket of tokens that holds one second's worth, and at least one.
//!
//! Policy: a token is taken when it is there and never ahead of its time, so nobody who waits, or
//! waited and left, stands in the way of others. Who can wait leaves the half of it to those who
//! cannot.
//!
//! It is a single number, the time at which it will be full again (the generic cell rate
//! algorithm), so the rate may be another each time. Time is an argument.

use std::sync::{Mutex, PoisonError};

/// A bucket; full when it is new. Times are nanoseconds of any one clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bucket {
    /// When it is full again, a second ahead at the most.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token, or says in how many nanoseconds there is one.
    pub(crate) fn take(&mut self, per_s: u32, now_ns: u64) -> Result<(), u64> {
        self.take_within(SECOND_NS, per_s, now_ns)
    }

    /// Takes a token of the upper half, or says in how many nanoseconds there is one. The only
    /// token of a bucket is in both halves.
    pub(crate) fn take_of_half(&mut self, per_s: u32, now_ns: u64) -> Result<(), u64> {
        self.take_within((SECOND_NS / 2).max(token_ns(per_s)), per_s, now_ns)
    }

    /// Takes a token if no more is missing then than comes in so many nanoseconds.
    fn take_within(&mut self, missing_ns_max: u64, per_s: u32, now_ns: u64) -> Result<(), u64> {
        let full_at_ns = self.full_at_ns.max(now_ns) + token_ns(per_s);
        match (full_at_ns - now_ns).saturating_sub(missing_ns_max) {
            0 => {
                self.full_at_ns = full_at_ns;
                Ok(())
            }
            wait_ns => Err(wait_ns),
        }
    }

    /// Takes back what was taken and not used.
    pub(crate) fn put_back(&mut self, per_s: u32) {
        self.full_at_ns = self.full_at_ns.saturating_sub(token_ns(per_s));
    }

    /// Whether it holds all that it can.
    pub(crate) fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns <= now_ns
    }

    /// Tokens that are missing.
    pub(crate) fn used(&self, per_s: u32, now_ns: u64) -> u64 {
        self.full_at_ns.saturating_sub(now_ns).div_ceil(token_ns(per_s)).min(per_s.into())
    }
}

/// A bucket that many take from.
#[derive(Debug, Default)]
pub(crate) struct SharedBucket(Mutex<Bucket>);

impl SharedBucket {
    /// Does something with it.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut Bucket) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long a token takes to come. A rate of 0 is no limit and asks nobody for tokens.
fn token_ns(per_s: u32) -> u64 {
    SECOND_NS / u64::from(per_s.max(1))
}

const SECOND_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_second_of_tokens_then_one_at_a_time() {
        for per_s in [1, 3, 7, 1_000, 1_000_000] {
            let mut bucket = Bucket::default();
            let now = 5_000 * MS;
            for token in 0..per_s {
                assert_eq!(bucket.take(per_s, now), Ok(()), "{token} of {per_s}");
            }
            let wait = bucket.take(per_s, now).unwrap_err();
            assert!(wait <= SECOND_NS / u64::from(per_s), "{wait}");
            assert_eq!(bucket.take(per_s, now + wait - 1), Err(1));
            assert_eq!(bucket.take(per_s, now + wait), Ok(()));
            assert!(bucket.take(per_s, now + wait).is_err());
        }
    }

    #[test]
    fn it_fills_up_and_not_beyond() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            bucket.take(10, 0).unwrap();
        }
        assert_eq!((bucket.used(10, 0), bucket.used(10, 500 * MS)), (10, 5));
        assert!(!bucket.is_full(999 * MS) && bucket.is_full(1_000 * MS));
        for _ in 0..10 {
            bucket.take(10, 60_000 * MS).unwrap();
        }
        assert!(bucket.take(10, 60_000 * MS).is_err());
    }

    #[test]
    fn who_can_wait_leaves_the_half_and_has_the_whole_rate() {
        for (per_s, half) in [(1, 1), (2, 1), (3, 1), (10, 5), (1_000, 500)] {
            let (mut bucket, mut taken, mut now_ns) = (Bucket::default(), 0, 0);
            while now_ns < 10 * SECOND_NS {
                match bucket.take_of_half(per_s, now_ns) {
                    Ok(()) => taken += 1,
                    Err(wait_ns) if now_ns == 0 => {
                        assert_eq!(taken, half);
                        let mut others = bucket;
                        let left = (0..per_s).filter(|_| others.take(per_s, 0).is_ok()).count();
                        assert_eq!(left as u32, per_s - half);
                        now_ns += wait_ns;
                    }
                    Err(wait_ns) => now_ns += wait_ns,
                }
            }
            assert!((10 * per_s..=11 * per_s).contains(&taken), "{taken} at {per_s} a second");
        }
    }

    #[test]
    fn asking_in_vain_costs_nobody_anything() {
        let mut bucket = Bucket::default();
        let taken = (0..1_000).filter(|_| bucket.take_of_half(5, 0).is_ok()).count();
        assert_eq!(taken + (0..1_000).filter(|_| bucket.take(5, 0).is_ok()).count(), 5);
        assert_eq!(bucket.take(5, 0), Err(200 * MS));
        bucket.put_back(5);
        assert_eq!(bucket.take(5, 0), Ok(()));
    }

    #[test]
    fn the_rate_may_change() {
        let mut bucket = Bucket::default();
        bucket.take(1, 0).unwrap();
        assert!(bucket.take(1, 0).is_err());
        assert!(bucket.take(100, 10 * MS).is_ok(), "a second is worth more now");
    }
}
