//! A bucket of tokens that holds one second's worth, and at least one.
//!
//! It is a single number, the time at which it will be full again (the generic cell rate
//! algorithm), so the rate may be another each time. Time is an argument.

use std::sync::{Mutex, PoisonError};

/// A bucket; full when it is new. Times are nanoseconds of any one clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bucket {
    /// When it is full again; more than a second ahead if tokens were reserved.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token, or says in how many nanoseconds there is one.
    pub(crate) fn take(&mut self, per_s: u32, now_ns: u64) -> Result<(), u64> {
        let before = *self;
        match self.reserve(per_s, now_ns) {
            0 => Ok(()),
            wait_ns => {
                *self = before;
                Err(wait_ns)
            }
        }
    }

    /// Takes a token, now or ahead of its time; says in how many nanoseconds it may be used.
    pub(crate) fn reserve(&mut self, per_s: u32, now_ns: u64) -> u64 {
        self.full_at_ns = self.full_at_ns.max(now_ns) + token_ns(per_s);
        (self.full_at_ns - now_ns).saturating_sub(SECOND_NS)
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
    fn who_reserves_waits_its_turn() {
        let mut bucket = Bucket::default();
        let waits: Vec<_> = (0..5).map(|_| bucket.reserve(2, 0) / MS).collect();
        assert_eq!(waits, [0, 0, 500, 1_000, 1_500]);
        assert_eq!(bucket.take(2, 0), Err(2_000 * MS), "behind those who wait");
        bucket.put_back(2);
        assert_eq!(bucket.take(2, 0), Err(1_500 * MS));
    }

    #[test]
    fn the_rate_may_change() {
        let mut bucket = Bucket::default();
        bucket.take(1, 0).unwrap();
        assert!(bucket.take(1, 0).is_err());
        assert!(bucket.take(100, 10 * MS).is_ok(), "a second is worth more now");
    }
}
