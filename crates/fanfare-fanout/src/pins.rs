//! The frames that slow members have begun: what they keep in memory beyond the rings.
//!
//! Policy: a frame counts once, however many members of a worker wait with a rest of it; it is the
//! memory that counts. All workers share one bound. Only a member that blocks comes here.

use std::{
    collections::{HashMap, hash_map::Entry},
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
    /// Bytes of this worker.
    bytes: usize,
    /// Bytes of all workers.
    shared: Arc<AtomicUsize>,
}

impl Pins {
    pub(crate) fn new(shared: Arc<AtomicUsize>) -> Self {
        Self { frames: HashMap::new(), bytes: 0, shared }
    }

    /// Counts one more holder of a frame; false, and not counted, if that would be too many bytes.
    pub(crate) fn add(&mut self, frame: Begun, bytes_max: usize) -> bool {
        match self.frames.entry(frame.address) {
            Entry::Occupied(mut entry) => entry.get_mut().1 += 1,
            Entry::Vacant(entry) => {
                if self.shared.fetch_add(frame.bytes, Relaxed) + frame.bytes > bytes_max {
                    self.shared.fetch_sub(frame.bytes, Relaxed);
                    return false;
                }
                entry.insert((frame.bytes, 1));
                self.bytes += frame.bytes;
            }
        }
        true
    }

    /// Counts one holder less.
    pub(crate) fn remove(&mut self, frame: Begun) {
        let Entry::Occupied(mut entry) = self.frames.entry(frame.address) else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            let (bytes, _) = entry.remove();
            self.bytes -= bytes;
            self.shared.fetch_sub(bytes, Relaxed);
        }
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
    fn a_frame_counts_once_and_the_bound_is_of_all_workers() {
        let shared = Arc::new(AtomicUsize::new(0));
        let mut workers = [Pins::new(Arc::clone(&shared)), Pins::new(Arc::clone(&shared))];
        let frame = |address, bytes| Begun { address, bytes };
        assert!(workers[0].add(frame(1, 60), 100) && workers[0].add(frame(1, 60), 100));
        assert!(!workers[1].add(frame(2, 41), 100), "it would be 101");
        assert!(workers[1].add(frame(2, 40), 100));
        assert_eq!((workers[0].bytes(), workers[1].bytes(), shared.load(Relaxed)), (60, 40, 100));
        workers[0].remove(frame(1, 60));
        assert_eq!(shared.load(Relaxed), 100, "one still holds it");
        workers[0].remove(frame(1, 60));
        workers[1].remove(frame(2, 40));
        assert_eq!((workers[0].bytes(), workers[1].bytes(), shared.load(Relaxed)), (0, 0, 0));
    }
}
