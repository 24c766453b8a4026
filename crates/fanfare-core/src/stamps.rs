//! When the newest places were given: what delivery times are measured from.
//!
//! Policy: exact or nothing. A slot holds one place at a time and says which; a reader that meets
//! the writer, or another place, gets nothing. The writer, of which there is one at a time, never
//! waits.

use crate::{
    limits::STAMPS,
    sync::{AtomicU64, Ordering, fence},
};

/// The times of the last [`STAMPS`] places, each in the slot of its `seq`.
pub(crate) struct Stamps(Box<[Stamp]>);

/// One place and its time.
struct Stamp {
    /// The place; 0 while the time changes.
    seq: AtomicU64,
    /// When it was published, in Unix microseconds.
    at_us: AtomicU64,
}

impl Stamps {
    pub(crate) fn new() -> Self {
        let stamp = |_| Stamp { seq: AtomicU64::new(0), at_us: AtomicU64::new(0) };
        Self((0..STAMPS).map(stamp).collect())
    }

    /// Notes the time of a place, in place of an older one. One writer at a time.
    pub(crate) fn note(&self, seq: u64, at_us: u64) {
        let stamp = self.slot(seq);
        stamp.seq.store(0, Ordering::Relaxed);
        // Whoever sees the new time also sees that the old place is gone.
        fence(Ordering::Release);
        stamp.at_us.store(at_us, Ordering::Relaxed);
        stamp.seq.store(seq, Ordering::Release);
    }

    /// The time of exactly this place, if it is still noted.
    pub(crate) fn at_us(&self, seq: u64) -> Option<u64> {
        let stamp = self.slot(seq);
        if seq == 0 || stamp.seq.load(Ordering::Acquire) != seq {
            return None;
        }
        let at_us = stamp.at_us.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (stamp.seq.load(Ordering::Relaxed) == seq).then_some(at_us)
    }

    fn slot(&self, seq: u64) -> &Stamp {
        &self.0[seq as usize % STAMPS]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_its_own_time_or_none() {
        let stamps = Stamps::new();
        let (first, last) = (5, 5 + 3 * STAMPS as u64);
        assert_eq!(stamps.at_us(first), None, "nothing was placed");
        for seq in first..=last {
            stamps.note(seq, seq * 10);
        }
        for seq in 1..2 * last {
            let is_noted = (last - STAMPS as u64 + 1..=last).contains(&seq);
            assert_eq!(stamps.at_us(seq), is_noted.then_some(seq * 10), "{seq}");
        }
    }
}
