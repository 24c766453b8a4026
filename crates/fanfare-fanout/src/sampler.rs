//! Which writes are sampled for the time from publish to socket.
//!
//! Policy: while there are few writes each is sampled; of many, one in so many, whichever they
//! are. So an idle hub has samples, and a busy one is not slowed by reading the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use fanfare_core::Hub;

use crate::{
    limits::{SAMPLE_STRIDE, SAMPLED_WRITES_MAX},
    totals::{DELIVERY_BOUNDS_US, Totals},
};

/// Counts writes.
#[derive(Debug)]
pub struct Sampler {
    /// Writes until the next sample.
    left: u32,
    /// Writes since the last report.
    writes: u32,
    /// Whether there were many before it.
    many: bool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { left: 1, writes: 0, many: false }
    }
}

impl Sampler {
    /// Counts a write; returns whether it is sampled.
    pub fn is_due(&mut self) -> bool {
        self.writes = self.writes.saturating_add(1);
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        let many = self.many || self.writes > SAMPLED_WRITES_MAX;
        self.left = if many { SAMPLE_STRIDE } else { 1 };
        true
    }

    /// Says that a report was made.
    pub fn tick(&mut self) {
        self.many = self.writes > SAMPLED_WRITES_MAX;
        self.writes = 0;
    }
}

impl Totals {
    /// Notes how long the event at `seq`, which has just been written to a socket, took from its
    /// publish, if that is still known.
    pub fn note_delivery(&mut self, hub: &Hub, seq: u64) {
        let Some(published_at_us) = hub.published_at_us(seq) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let took_us = (now.as_micros() as u64).saturating_sub(published_at_us);
        self.delivery.add(&DELIVERY_BOUNDS_US, took_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_few_writes_is_sampled_and_one_in_so_many_of_many() {
        let mut sampler = Sampler::default();
        let of = |sampler: &mut Sampler, writes| (0..writes).filter(|_| sampler.is_due()).count();
        assert_eq!(of(&mut sampler, SAMPLED_WRITES_MAX), SAMPLED_WRITES_MAX as usize);
        let many = of(&mut sampler, 1_000 * SAMPLE_STRIDE);
        assert!((1_000..=1_001).contains(&many), "{many}");
        sampler.tick();
        let still_many = of(&mut sampler, 3 * SAMPLE_STRIDE);
        assert!((3..=4).contains(&still_many), "{still_many}");
        sampler.tick();
        of(&mut sampler, SAMPLE_STRIDE);
        assert_eq!(of(&mut sampler, 100), 100, "few again");
    }
}
