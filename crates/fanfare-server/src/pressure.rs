//! When subscribers that are refused come back.
//!
//! Policy: each is told a time of its own, so that they do not come in step, and the more of them
//! wait the longer it is, so that together they knock no faster than room becomes free. How many
//! wait follows from how many were refused lately, and how much room there is from how many were
//! let in meanwhile. Where each has a room of its own, those who are let in elsewhere are no sign
//! of any.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::limits::{
    KNOCKS_PER_S_MIN, OVERLOAD_RETRY_MS, OVERLOAD_RETRY_MS_MAX, OVERLOAD_WINDOW_MS,
};

/// What refuses a subscribe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wall {
    /// A limit of one address.
    Address,
    /// A limit of one channel.
    Channel,
    /// The number of channels.
    Channels,
    /// The number of connections.
    Connections,
    /// A drain that is over: there is room when the hub's operators want it back.
    Drained,
    /// The rate of subscribes.
    Rate,
    /// The memory of connections and streams.
    Sockets,
}

impl Wall {
    /// Those whose room is the same for all: whoever is let in found some.
    const OF_ALL: [Self; 4] = [Self::Channels, Self::Connections, Self::Rate, Self::Sockets];
}

/// The pressure on each wall.
#[derive(Debug, Default)]
pub(crate) struct Pressures {
    walls: [Mutex<Pressure>; 7],
    /// Until when it is of interest who is let in, because somebody was refused.
    watches_until_ms: AtomicU64,
}

/// Who met a wall lately, in two windows of time.
#[derive(Clone, Copy, Debug, Default)]
struct Pressure {
    began_ms: u64,
    now: Counts,
    before: Counts,
    /// The mean time that was told last.
    mean_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    refused: u64,
    admitted: u64,
}

impl Pressures {
    /// Notes that a subscribe is refused and says after how many milliseconds it may come back.
    /// `per_s` is how many are let in, if a setting says so.
    pub(crate) fn refuse(&self, wall: Wall, per_s: Option<u32>, now_ms: u64) -> u32 {
        self.watches_until_ms.store(now_ms + 2 * OVERLOAD_WINDOW_MS, Relaxed);
        let range = lock(&self.walls[wall as usize]).refuse(per_s, now_ms);
        fastrand::u32(range)
    }

    /// Notes that a subscribe is let in, past all walls.
    pub(crate) fn admit(&self, now_ms: u64) {
        if now_ms < self.watches_until_ms.load(Relaxed) {
            for wall in Wall::OF_ALL {
                lock(&self.walls[wall as usize]).at(now_ms).admitted += 1;
            }
        }
    }
}

impl Pressure {
    /// The counts of the window that a moment is in.
    fn at(&mut self, now_ms: u64) -> &mut Counts {
        let age_ms = now_ms.saturating_sub(self.began_ms);
        if age_ms >= OVERLOAD_WINDOW_MS {
            let follows = age_ms < 2 * OVERLOAD_WINDOW_MS && self.now.refused > 0;
            self.before = if follows { self.now } else { Counts::default() };
            self.began_ms = now_ms - if follows { age_ms - OVERLOAD_WINDOW_MS } else { 0 };
            self.now = Counts::default();
        }
        &mut self.now
    }

    fn refuse(&mut self, per_s: Option<u32>, now_ms: u64) -> RangeInclusive<u32> {
        self.at(now_ms).refused += 1;
        let before_ms = if self.before.refused > 0 { OVERLOAD_WINDOW_MS } else { 0 };
        // Another thread may have read the clock later and been here before.
        let span_ms = (now_ms.saturating_sub(self.began_ms) + before_ms).max(1_000);
        let refused = self.now.refused + self.before.refused;
        // Whoever waits less long than this looks back was refused several times meanwhile.
        let waiting = match self.mean_ms {
            0 => refused,
            mean_ms => refused * mean_ms.min(span_ms) / span_ms,
        };
        let admitted = self.now.admitted + self.before.admitted;
        let per_s = per_s.map_or(admitted * 1_000 / span_ms, u64::from);
        let range = retry_ms(waiting, per_s);
        self.mean_ms = u64::from(*range.start() / 2 + *range.end() / 2);
        range
    }
}

/// After how many milliseconds each of those who wait comes back, so that a little less than so
/// many come per second.
fn retry_ms(waiting: u64, per_s: u64) -> RangeInclusive<u32> {
    let (least, most) = (OVERLOAD_RETRY_MS.start, OVERLOAD_RETRY_MS.end);
    // A quarter more, because others come for the first time.
    let spread_ms = waiting.saturating_mul(1_250) / per_s.max(KNOCKS_PER_S_MIN);
    let most_ms = u64::from(least).saturating_add(spread_ms);
    least..=most_ms.clamp(most.into(), OVERLOAD_RETRY_MS_MAX.into()) as u32
}

/// A thread that panicked leaves nothing half done here that another could see.
fn lock(wall: &Mutex<Pressure>) -> MutexGuard<'_, Pressure> {
    wall.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_more_slowly_than_room_becomes_free() {
        for (waiting, per_s, most_s) in [
            (0, 0, 30),
            (1, 0, 30),
            (100, 100, 30),
            (200, 10, 30),
            (400, 10, 55),
            (4_000, 100, 55),
            (800, 10, 105),
            (8_000, 100, 105),
            (800, 0, 105),
            (8_000, 10, 120),
            (u64::MAX, 0, 120),
        ] {
            let range = retry_ms(waiting, per_s);
            assert_eq!(range, 5_000..=most_s * 1_000, "{waiting} wait, {per_s} a second");
            let returns = waiting.saturating_mul(1_000) / u64::from(range.end() - range.start());
            assert!(most_s == 120 || returns <= per_s.max(10), "{returns} a second");
        }
    }

    #[test]
    fn a_crowd_is_counted_once_however_often_it_knocks() {
        // A thousand, each of whom comes back when it was told to, for an hour.
        let pressures = Pressures::default();
        let mut due: Vec<u64> = vec![0; 1_000];
        let mut knocks = 0;
        for now_ms in (0..3_600_000).step_by(500) {
            for due_ms in due.iter_mut().filter(|due_ms| **due_ms <= now_ms) {
                knocks += u64::from(now_ms > 1_800_000);
                *due_ms = now_ms + u64::from(pressures.refuse(Wall::Connections, None, now_ms));
            }
        }
        // In its second half: about the ten a second that knock where nobody is let in.
        let per_s = knocks as f64 / 1_800.0;
        assert!((8.0..20.0).contains(&per_s), "{per_s} a second");
    }

    #[test]
    fn the_faster_they_are_let_in_the_sooner_they_come() {
        let most = |admitted: u64| {
            let pressures = Pressures::default();
            let mut most = 0;
            for second in 0..10 {
                (0..200).for_each(|_| {
                    most = pressures.refuse(Wall::Connections, None, second * 1_000).max(most);
                });
                (0..admitted).for_each(|_| pressures.admit(second * 1_000));
            }
            most
        };
        assert!(most(0) > 100_000 && most(200) < 31_000, "{} {}", most(0), most(200));
    }

    #[test]
    fn who_is_let_in_elsewhere_found_no_room_of_ones_own() {
        for (wall, is_of_all) in [
            (Wall::Address, false),
            (Wall::Channel, false),
            (Wall::Drained, false),
            (Wall::Channels, true),
            (Wall::Connections, true),
            (Wall::Rate, true),
            (Wall::Sockets, true),
        ] {
            let pressures = Pressures::default();
            let mut most = 0;
            for _ in 0..1_000 {
                most = pressures.refuse(wall, None, 1_000).max(most);
                pressures.admit(1_000);
            }
            assert_eq!(most < 40_000, is_of_all, "{wall:?}: {most}");
        }
    }

    #[test]
    fn a_clock_that_was_read_before_does_no_harm() {
        let pressures = Pressures::default();
        for now_ms in [200_000, 199_999, 0, 200_001] {
            assert!(pressures.refuse(Wall::Connections, None, now_ms) >= 5_000);
            pressures.admit(now_ms);
        }
    }

    #[test]
    fn each_wall_has_its_own_crowd_and_forgets_it() {
        let pressures = Pressures::default();
        let most = |wall, now_ms| {
            (0..50).map(|_| pressures.refuse(wall, None, now_ms)).max().unwrap_or_default()
        };
        for _ in 0..5_000 {
            pressures.refuse(Wall::Address, None, 1_000);
        }
        assert!(most(Wall::Address, 2_000) > 60_000);
        assert!(most(Wall::Connections, 2_000) <= 30_000);
        assert!(most(Wall::Address, 600_000) <= 30_000);
    }

    #[test]
    fn no_two_come_in_step() {
        let pressures = Pressures::default();
        let mut told: Vec<_> =
            (0..1_000).map(|_| pressures.refuse(Wall::Rate, Some(1), 0)).collect();
        told.sort_unstable();
        told.dedup();
        assert!(told.len() > 950, "{}", told.len());
    }
}
