//! A channel: a name, a ring, and who wants to know of it.

use std::fmt;

use crate::{
    doorbell::WorkerIndex,
    name::ChannelName,
    ring::{Retention, Ring},
    sync::{AtomicBool, AtomicU32, Mutex, Ordering},
};

/// A channel of the hub. Made and removed by the registry.
pub struct Channel {
    /// Its name.
    name: ChannelName,
    /// Tells apart the lives of a name; never used twice.
    instance: u64,
    /// What it keeps.
    pub(crate) retention: Retention,
    /// Its recent events. Held for a push, or for cloning at most a batch of handles.
    pub(crate) ring: Mutex<Ring>,
    /// One per worker.
    slots: Box<[Slot]>,
    /// Streaming publishes that are open on it.
    publishing: AtomicU32,
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
    pub(crate) fn new(
        name: ChannelName,
        instance: u64,
        retention: Retention,
        ring: Ring,
        workers: usize,
    ) -> Self {
        let slot = |_| Slot { interest: AtomicU32::new(0), dirty: AtomicBool::new(false) };
        Self {
            name,
            instance,
            retention,
            ring: Mutex::new(ring),
            slots: (0..workers).map(slot).collect(),
            publishing: AtomicU32::new(0),
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
