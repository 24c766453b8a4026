//! What is remembered of removed channels, so that a gap stays exact.

use std::collections::{BTreeMap, HashMap};

use crate::{
    name::ChannelName,
    ring::{Closed, Dropped},
};

/// A removed channel that had events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tombstone {
    /// Its newest event: a subscriber that saw it lost nothing.
    pub(crate) last_event: u64,
    /// Whether it was closed, and how.
    pub(crate) closed: Option<Closed>,
}

/// The newest tombstones. One that is pushed out raises the floor of every new ring.
#[derive(Debug)]
pub(crate) struct Tombstones {
    /// By name, each with the number of its burial.
    by_name: HashMap<ChannelName, (u64, Tombstone)>,
    /// The same names by that number, so in the order of their burials.
    burials: BTreeMap<u64, ChannelName>,
    /// The number of the next burial.
    next: u64,
    /// At most so many.
    burials_max: usize,
    /// At most so many are to be: a lower number is reached step by step.
    burials_goal: usize,
    /// The newest `seq` of any channel that was forgotten.
    forgotten_through: u64,
    /// How many were pushed out.
    forgotten: u64,
}

impl Tombstones {
    /// None yet.
    pub(crate) fn new(burials_max: usize) -> Self {
        Self {
            by_name: HashMap::new(),
            burials: BTreeMap::new(),
            next: 0,
            burials_max,
            burials_goal: burials_max,
            forgotten_through: 0,
            forgotten: 0,
        }
    }

    /// Remembers a removed channel, and forgets the oldest if there are too many.
    pub(crate) fn bury(&mut self, name: ChannelName, tombstone: Tombstone) {
        if let Some((number, _)) = self.by_name.insert(name.clone(), (self.next, tombstone)) {
            self.burials.remove(&number);
        }
        self.burials.insert(self.next, name);
        self.next += 1;
        self.keep_bound();
    }

    /// Changes how many are remembered at most.
    pub(crate) fn set_max(&mut self, burials_max: usize) {
        self.burials_goal = burials_max;
        self.burials_max = burials_max.max(self.burials.len());
    }

    /// Forgets at most so many of those beyond a new bound; returns whether more are to go.
    pub(crate) fn shrink(&mut self, steps: usize) -> bool {
        self.burials_max = self.burials_max.saturating_sub(steps).max(self.burials_goal);
        self.keep_bound();
        self.burials_max > self.burials_goal
    }

    fn keep_bound(&mut self) {
        while self.burials.len() > self.burials_max {
            let Some((_, name)) = self.burials.pop_first() else { return };
            if let Some((_, tombstone)) = self.by_name.remove(&name) {
                self.forgotten_through = self.forgotten_through.max(tombstone.last_event);
                self.forgotten += 1;
            }
        }
    }

    /// Takes what is known of a channel that comes back, and the floor of its new ring.
    pub(crate) fn exhume(&mut self, name: &ChannelName) -> (Dropped, Option<Tombstone>) {
        let known = self.by_name.remove(name).map(|(number, tombstone)| {
            self.burials.remove(&number);
            tombstone
        });
        let through = known.map_or(self.forgotten_through, |tombstone| tombstone.last_event);
        (Dropped { through, tick: 0 }, known)
    }

    /// How many were pushed out.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u64) -> ChannelName {
        ChannelName::parse(&n.to_string()).unwrap()
    }

    #[test]
    fn a_known_channel_comes_back_exactly_and_a_forgotten_one_raises_the_floor() {
        let mut tombstones = Tombstones::new(2);
        for n in 1..=3 {
            tombstones.bury(name(n), Tombstone { last_event: n * 10, closed: None });
        }
        assert_eq!((tombstones.len(), tombstones.forgotten()), (2, 1));
        let (floor, past) = tombstones.exhume(&name(3));
        assert_eq!((floor.through, past.map(|t| t.last_event)), (30, Some(30)));
        let (floor, past) = tombstones.exhume(&name(99));
        assert_eq!((floor.through, past), (10, None));
    }

    #[test]
    fn coming_and_going_does_not_grow_it() {
        let mut tombstones = Tombstones::new(3);
        tombstones.bury(name(7), Tombstone { last_event: 7, closed: None });
        for round in 1..=100 {
            tombstones.exhume(&name(1));
            tombstones.bury(name(1), Tombstone { last_event: round, closed: None });
            assert_eq!(tombstones.burials.len(), tombstones.by_name.len());
        }
        assert_eq!(tombstones.exhume(&name(7)).0.through, 7);
        assert_eq!(tombstones.exhume(&name(1)).0.through, 100);
        assert_eq!(tombstones.forgotten_through, 0);
    }
}
