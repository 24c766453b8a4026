//! A timing wheel: one entry per member, looked at lazily, no timer per subscriber.
//!
//! An entry says only that a member wants to be looked at; the member's own fields say whether
//! something is due. A deadline that moves back costs nothing: the look comes too early and asks
//! for another.

use crate::limits::{WHEEL_SLOTS, WHEEL_TICK_MS};

/// Who wants to be looked at: a slab key, and its generation because keys are reused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Handle {
    pub(crate) key: u32,
    pub(crate) generation: u32,
}

/// The wheel. Time is given in milliseconds since its start.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Entries by their tick, modulo the number of slots.
    slots: Vec<Vec<Handle>>,
    /// The tick whose slot is being emptied.
    tick: u64,
    /// How many entries there are.
    len: usize,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Vec::new(); WHEEL_SLOTS], tick: 0, len: 0 }
    }

    /// Asks for a look at `due_ms` or a little later; one beyond the wheel's horizon comes early.
    /// Returns the time that has come when it does.
    pub(crate) fn schedule(&mut self, due_ms: u64, handle: Handle) -> u64 {
        let earliest = self.tick + 1;
        let latest = self.tick + WHEEL_SLOTS as u64 - 1;
        let tick = due_ms.div_ceil(WHEEL_TICK_MS).clamp(earliest, latest);
        self.slots[tick as usize % WHEEL_SLOTS].push(handle);
        self.len += 1;
        due_ms.min(tick * WHEEL_TICK_MS)
    }

    /// Takes at most `looks_max` entries whose time has come; returns whether there may be more.
    pub(crate) fn advance(&mut self, now_ms: u64, looks_max: usize, out: &mut Vec<Handle>) -> bool {
        let now_tick = now_ms / WHEEL_TICK_MS;
        out.clear();
        if self.len == 0 {
            self.tick = now_tick;
            return false;
        }
        while self.tick <= now_tick {
            let slot = &mut self.slots[self.tick as usize % WHEEL_SLOTS];
            let take = slot.len().min(looks_max - out.len());
            out.extend(slot.drain(slot.len() - take..));
            if !slot.is_empty() {
                self.len -= out.len();
                return true;
            }
            // A slot keeps no memory: a crowd that moves through them would leave it in each.
            *slot = Vec::new();
            if self.tick == now_tick {
                break;
            }
            self.tick += 1;
        }
        self.len -= out.len();
        false
    }

    /// Milliseconds until the next entry; none if there is no entry.
    pub(crate) fn next_in_ms(&self, now_ms: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let filled = |tick: &u64| !self.slots[*tick as usize % WHEEL_SLOTS].is_empty();
        let tick = (self.tick..self.tick + WHEEL_SLOTS as u64).find(filled)?;
        Some((tick * WHEEL_TICK_MS).saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(key: u32) -> Handle {
        Handle { key, generation: 0 }
    }

    #[test]
    fn an_entry_is_never_early_within_the_horizon_and_late_by_a_tick_at_most() {
        let mut wheel = Wheel::new();
        let mut out = Vec::new();
        let dues = [0, 1, 64, 65, 1_000, 15_000, 59_999];
        for (key, due) in dues.iter().enumerate() {
            wheel.schedule(*due, handle(key as u32));
        }
        let mut seen = vec![None; dues.len()];
        for now in 0..61_000 {
            wheel.advance(now, 10, &mut out);
            out.iter().for_each(|h| seen[h.key as usize] = Some(now));
        }
        for (due, seen) in dues.iter().zip(seen) {
            let late = seen.unwrap() - due.max(&0);
            assert!(late <= 2 * WHEEL_TICK_MS, "due {due} seen {seen:?}");
        }
        assert_eq!(wheel.next_in_ms(61_000), None);
    }

    #[test]
    fn looks_are_bounded_and_none_is_lost() {
        let mut wheel = Wheel::new();
        (0..10).for_each(|key| assert_eq!(wheel.schedule(500, handle(key)), 500));
        let (mut out, mut seen) = (Vec::new(), Vec::new());
        assert!(wheel.next_in_ms(0).is_some_and(|ms| ms >= 500));
        while wheel.advance(600, 3, &mut out) {
            assert!(out.len() <= 3);
            seen.append(&mut out);
        }
        seen.append(&mut out);
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn a_far_deadline_comes_early_rather_than_wrapped() {
        let mut wheel = Wheel::new();
        let look_at_ms = wheel.schedule(u64::MAX / 2, handle(1));
        let mut out = Vec::new();
        wheel.advance(look_at_ms - 1, 10, &mut out);
        assert!(out.is_empty());
        wheel.advance(look_at_ms, 10, &mut out);
        assert_eq!(out, [handle(1)]);
    }

    #[test]
    fn a_wheel_that_stood_still_says_when_the_look_comes() {
        let mut wheel = Wheel::new();
        let mut out = Vec::new();
        // The worker slept for an hour and was not told to advance before this.
        let now_ms = 3_600_000;
        let look_at_ms = wheel.schedule(now_ms + 15_000, handle(1));
        wheel.advance(now_ms, 10, &mut out);
        assert_eq!(out, [handle(1)]);
        assert!(look_at_ms <= now_ms, "the look is not taken for one of an earlier deadline");
        assert_eq!(wheel.schedule(now_ms + 15_000, handle(1)), now_ms + 15_000);
    }
}
