//! A channel: a name, a ring, and who wants to know of it.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU32 as Count},
};

use crate::{
    doorbell::WorkerIndex,
    name::ChannelName,
    ring::Ring,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering},
};

/// A channel of the hub. Made and removed by the registry.
pub struct Channel {
    /// Its name.
    name: ChannelName,
    /// Tells apart the lives of a name; never used twice.
    instance: u64,
    /// Its recent events. Held for a push, or for cloning at most a batch of handles.
    pub(crate) ring: Mutex<Ring>,
    /// One per worker.
    slots: Box<[Slot]>,
    /// Streaming publishes that are open on it.
    publishing: AtomicU32,
    /// Pairs of the journal that keep it; changes under the order lock.
    pairs: Count,
    /// Bytes that they keep of it once it was removed; changes under the order lock.
    removed_bytes: Count,
}

/// What a channel knows of one worker.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Subscriptions of the worker that name the channel.
    interest: AtomicU32,
    /// Whether the worker's doorbell holds a mark of the channel.
    dirty: AtomicBool,
}

impl Channel {
    pub(crate) fn new(name: ChannelName, instance: u64, ring: Ring, workers: usize) -> Self {
        let slot = |_| Slot { interest: AtomicU32::new(0), dirty: AtomicBool::new(false) };
        Self {
            name,
            instance,
            ring: Mutex::new(ring),
            slots: (0..workers).map(slot).collect(),
            publishing: AtomicU32::new(0),
            pairs: Count::new(0),
            removed_bytes: Count::new(0),
        }
    }

    /// The channel's name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// A number that no other life of this or another name has.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Subscriptions that name the channel, over all workers.
    pub fn subscribers(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.interest.load(Ordering::Acquire))).sum()
    }

    /// Whether a streaming publish is open on it.
    pub fn is_publishing(&self) -> bool {
        self.publishing.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn publishing(&self) -> &AtomicU32 {
        &self.publishing
    }

    /// Counts a pair of the journal that keeps it.
    pub(crate) fn hold(&self) {
        self.pairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a pair less; returns the bytes that the last one kept of a removed channel.
    pub(crate) fn let_go(&self) -> usize {
        let is_last = self.pairs.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last { self.removed_bytes.swap(0, Ordering::Relaxed) as usize } else { 0 }
    }

    /// Notes that it was removed; returns the bytes of it that pairs of the journal keep.
    pub(crate) fn keep_removed(&self) -> usize {
        if self.pairs.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let bytes = size_of::<Arc<Self>>() * 2
            + size_of::<Self>()
            + size_of_val(&*self.slots)
            + self.name.as_str().len();
        self.removed_bytes.store(bytes as u32, Ordering::Relaxed);
        bytes
    }

    pub(crate) fn slot(&self, worker: WorkerIndex) -> &Slot {
        &self.slots[worker]
    }

    /// The workers that have subscriptions which name the channel.
    pub(crate) fn interested(&self) -> impl Iterator<Item = WorkerIndex> {
        let interested = |slot: &Slot| slot.interest.load(Ordering::Acquire) > 0;
        self.slots.iter().enumerate().filter(move |(_, slot)| interested(slot)).map(|(at, _)| at)
    }
}

impl Slot {
    /// Sets the mark; returns whether it was set already.
    pub(crate) fn mark(&self) -> bool {
        self.dirty.swap(true, Ordering::AcqRel)
    }

    /// Clears the mark, and sees everything that was published before it was set.
    pub(crate) fn clear(&self) {
        self.dirty.swap(false, Ordering::AcqRel);
    }

    /// Adds a subscription. Only the registry calls it, under the lock of its map.
    pub(crate) fn add_interest(&self) {
        self.interest.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes one away; returns whether it was the worker's last.
    pub(crate) fn remove_interest(&self) -> bool {
        self.interest.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}
