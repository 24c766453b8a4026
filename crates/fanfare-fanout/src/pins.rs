//! The frames that slow members have begun: what they keep in memory beyond the rings.
//!
//! Policy: a frame counts once, however many members of a worker wait with a rest of it; it is the
//! memory that counts. All workers share one bound. Past it the members go that have been blocked
//! longest, on a worker that has more than its even part: those who take nothing, and not who
//! blocks for a moment while they hold everything. Only a member that blocks comes here. The one
//! who passes the bound wakes the other workers: it may be a sleeping one that holds too much.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use fanfare_core::Begun;

/// What slow subscribers keep in memory, over all workers of a hub, and how much it may be.
#[derive(Debug)]
pub struct Pinned {
    /// Nothing else hangs on it: it is a count.
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    /// How many workers there are, each with an even part.
    workers: usize,
}

impl Pinned {
    /// Nothing yet, of so much, for so many workers.
    pub fn new(bytes_max: usize, workers: usize) -> Arc<Self> {
        let bytes_max = AtomicUsize::new(bytes_max);
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max, workers })
    }

    /// Adds to what is kept; returns whether this is what makes it too much. Then all workers are
    /// to be woken.
    #[must_use]
    pub fn add(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let bytes_max = self.bytes_max.load(Relaxed);
        before <= bytes_max && before + bytes > bytes_max
    }

    /// Takes from what is kept.
    pub fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Whether all workers keep too much, and one that keeps `own` more than its part.
    pub fn is_excess(&self, own: usize) -> bool {
        let bytes_max = self.bytes_max.load(Relaxed);
        self.bytes.load(Relaxed) > bytes_max && own > bytes_max / self.workers
    }

    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }
}

/// What the members of one worker keep.
#[derive(Debug)]
pub(crate) struct Pins {
    /// Bytes and holders of each frame, by its address: while it is held no other has it.
    frames: HashMap<NonZeroUsize, (usize, u32)>,
    /// The holders, in the order in which they blocked.
    holders: BTreeMap<u64, u32>,
    /// The place of the next one in that order.
    next: u64,
    /// Bytes of this worker.
    bytes: usize,
    /// Those of all workers.
    shared: Arc<Pinned>,
}

/// That a member holds a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pin {
    /// Of the frame.
    address: NonZeroUsize,
    place: u64,
}

impl Pins {
    pub(crate) fn new(shared: Arc<Pinned>) -> Self {
        let (frames, holders) = (HashMap::new(), BTreeMap::new());
        Self { frames, holders, next: 0, bytes: 0, shared }
    }

    /// Counts a member as one more holder of a frame; returns whether this makes it too much.
    pub(crate) fn add(&mut self, frame: Begun, key: u32) -> (Pin, bool) {
        let mut too_much = false;
        match self.frames.entry(frame.address) {
            Entry::Occupied(mut entry) => entry.get_mut().1 += 1,
            Entry::Vacant(entry) => {
                let bytes = frame.bytes as usize;
                entry.insert((bytes, 1));
                self.bytes += bytes;
                too_much = self.shared.add(bytes);
            }
        }
        let place = self.next;
        self.next += 1;
        self.holders.insert(place, key);
        (Pin { address: frame.address, place }, too_much)
    }

    /// Counts one holder less.
    pub(crate) fn remove(&mut self, pin: Pin) {
        self.holders.remove(&pin.place);
        let Entry::Occupied(mut entry) = self.frames.entry(pin.address) else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            let (bytes, _) = entry.remove();
            self.bytes -= bytes;
            self.shared.remove(bytes);
        }
    }

    /// The holder that has to go because all workers hold too much and this one more than its
    /// part: the one that has been blocked longest.
    pub(crate) fn excess(&self) -> Option<u32> {
        let is_over = self.shared.is_excess(self.bytes);
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
        let shared = Pinned::new(60, 2);
        let mut workers = [Pins::new(Arc::clone(&shared)), Pins::new(Arc::clone(&shared))];
        let frame = |address, bytes| Begun { address: NonZeroUsize::new(address).unwrap(), bytes };
        let (first, _) = workers[0].add(frame(1, 60), 11);
        let (second, _) = workers[0].add(frame(1, 60), 12);
        assert_eq!((workers[0].bytes(), workers[0].excess()), (60, None));
        // It has more than half, but all of it fits.
        shared.set_bytes_max(100);
        let (other, too_much) = workers[1].add(frame(2, 40), 21);
        assert!(!too_much);
        assert_eq!((workers[0].excess(), workers[1].excess()), (None, None));
        let (another, too_much) = workers[1].add(frame(3, 10), 22);
        assert!(too_much);
        let (more, too_much) = workers[1].add(frame(4, 1), 23);
        assert!(!too_much, "it was already");
        workers[1].remove(more);
        assert_eq!(shared.bytes.load(Relaxed), 110);
        // The one with more than its half gives room, although it was there first.
        assert_eq!((workers[0].excess(), workers[1].excess()), (Some(11), None));
        workers[0].remove(first);
        assert_eq!(workers[0].excess(), Some(12), "the frame is held still");
        workers[0].remove(second);
        assert_eq!((workers[0].excess(), shared.bytes.load(Relaxed)), (None, 50));
        [other, another].into_iter().for_each(|pin| workers[1].remove(pin));
        assert_eq!((workers[1].bytes(), shared.bytes.load(Relaxed)), (0, 0));
    }
}
