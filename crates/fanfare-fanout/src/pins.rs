//! The frames that slow members have begun: what they keep in memory beyond the rings.
//!
//! Policy: a frame counts once, however many members of a worker wait with a rest of it; it is the
//! memory that counts. All workers share one bound. Past it the members go that have been blocked
//! longest, on a worker that has more than its even part: those who take nothing, and not who
//! blocks for a moment while they hold everything. Only a member that blocks comes here.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use fanfare_core::Begun;

/// What the members of one worker keep.
#[derive(Debug)]
pub(crate) struct Pins {
    /// Bytes and holders of each frame, by its address: while it is held no other has it.
    frames: HashMap<usize, (usize, u32)>,
    /// The holders, in the order in which they blocked.
    holders: BTreeMap<u64, u32>,
    /// The place of the next one in that order.
    next: u64,
    /// Bytes of this worker.
    bytes: usize,
    /// Bytes of all workers.
    shared: Arc<AtomicUsize>,
    /// How many they are.
    workers: usize,
}

/// That a member holds a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pin {
    frame: Begun,
    place: u64,
}

impl Pins {
    pub(crate) fn new(shared: Arc<AtomicUsize>, workers: usize) -> Self {
        let (frames, holders) = (HashMap::new(), BTreeMap::new());
        Self { frames, holders, next: 0, bytes: 0, shared, workers }
    }

    /// Counts a member as one more holder of a frame.
    pub(crate) fn add(&mut self, frame: Begun, key: u32) -> Pin {
        match self.frames.entry(frame.address) {
            Entry::Occupied(mut entry) => entry.get_mut().1 += 1,
            Entry::Vacant(entry) => {
                entry.insert((frame.bytes, 1));
                self.bytes += frame.bytes;
                self.shared.fetch_add(frame.bytes, Relaxed);
            }
        }
        let place = self.next;
        self.next += 1;
        self.holders.insert(place, key);
        Pin { frame, place }
    }

    /// Counts one holder less.
    pub(crate) fn remove(&mut self, pin: Pin) {
        self.holders.remove(&pin.place);
        let Entry::Occupied(mut entry) = self.frames.entry(pin.frame.address) else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            let (bytes, _) = entry.remove();
            self.bytes -= bytes;
            self.shared.fetch_sub(bytes, Relaxed);
        }
    }

    /// The holder that has to go because all workers hold too much and this one more than its
    /// part: the one that has been blocked longest.
    pub(crate) fn excess(&self, bytes_max: usize) -> Option<u32> {
        let is_over =
            self.shared.load(Relaxed) > bytes_max && self.bytes > bytes_max / self.workers;
        let (_, key) = self.holders.first_key_value().filter(|_| is_over)?;
        Some(*key)
    }

    /// Bytes that the members of this worker keep.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_once_and_the_longest_holders_go_from_where_there_is_too_much() {
        let shared = Arc::new(AtomicUsize::new(0));
        let mut workers = [Pins::new(Arc::clone(&shared), 2), Pins::new(Arc::clone(&shared), 2)];
        let frame = |address, bytes| Begun { address, bytes };
        let first = workers[0].add(frame(1, 60), 11);
        let second = workers[0].add(frame(1, 60), 12);
        assert_eq!((workers[0].bytes(), workers[0].excess(60)), (60, None));
        // It has more than half, but all of it fits.
        let other = workers[1].add(frame(2, 40), 21);
        assert_eq!((workers[0].excess(100), workers[1].excess(100)), (None, None));
        let another = workers[1].add(frame(3, 10), 22);
        assert_eq!(shared.load(Relaxed), 110);
        // The one with more than its half gives room, although it was there first.
        assert_eq!((workers[0].excess(100), workers[1].excess(100)), (Some(11), None));
        workers[0].remove(first);
        assert_eq!(workers[0].excess(100), Some(12), "the frame is held still");
        workers[0].remove(second);
        assert_eq!((workers[0].excess(100), shared.load(Relaxed)), (None, 50));
        [other, another].into_iter().for_each(|pin| workers[1].remove(pin));
        assert_eq!((workers[1].bytes(), shared.load(Relaxed)), (0, 0));
    }
}
