//! All channels by name. No guard of the map leaves this file.
//!
//! A channel is removed only under the map's lock and with no interest in it, and interest is
//! taken under that same lock: nobody is left on a channel that is no longer found.

use std::sync::{Arc, atomic::AtomicUsize as Count};

use crate::{
    channel::Channel,
    doorbell::WorkerIndex,
    hub::HubLimits,
    name::{ChannelName, Pattern},
    ring::{Retention, Ring},
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering, RwLock, lock, read, write},
    tombstones::{Tombstone, Tombstones},
};

/// The channels, and the tombstones of those that were removed.
pub(crate) struct Registry {
    /// The live ones.
    map: Map,
    /// How many `map` holds.
    count: AtomicUsize,
    /// At most so many.
    channels_max: Count,
    /// The removed ones. Locked inside the map's lock, never around it.
    tombstones: Mutex<Tombstones>,
    /// What channels keep.
    retentions: RwLock<Retentions>,
    /// Workers per channel.
    workers: usize,
    /// The next channel's instance.
    instances: AtomicU64,
}

/// What channels keep.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Retentions {
    /// The first pattern that matches counts.
    patterns: Vec<(Pattern, Arc<Retention>)>,
    /// What the others keep.
    default: Arc<Retention>,
}

impl Retentions {
    pub(crate) fn of(limits: &HubLimits) -> Self {
        let shared =
            |(pattern, retention): &(Pattern, Retention)| (pattern.clone(), Arc::new(*retention));
        let patterns = limits.retentions.iter().map(shared).collect();
        Self { patterns, default: Arc::new(limits.retention) }
    }

    /// One for all channels that keep the same: a million of them do.
    fn find(&self, name: &ChannelName) -> Arc<Retention> {
        let matching = self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        Arc::clone(matching.map_or(&self.default, |(_, retention)| retention))
    }
}

/// As many channels as the hub may hold exist already; holds how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RegistryFull(pub usize);

impl Registry {
    pub(crate) fn new(
        workers: usize,
        channels_max: usize,
        tombstones_max: usize,
        retentions: Retentions,
    ) -> Self {
        Self {
            map: Map::default(),
            count: AtomicUsize::new(0),
            channels_max: Count::new(channels_max),
            tombstones: Mutex::new(Tombstones::new(tombstones_max)),
            retentions: RwLock::new(retentions),
            workers,
            instances: AtomicU64::new(1),
        }
    }

    /// The channel of that name, if it exists.
    pub(crate) fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.map.find(name)
    }

    /// The channel of that name, made if need be.
    pub(crate) fn find_or_create(&self, name: &ChannelName) -> Result<Arc<Channel>, RegistryFull> {
        if let Some(channel) = self.map.find(name) {
            return Ok(channel);
        }
        self.map.find_or_insert(name, || self.create(name), |_| {})
    }

    /// The same for a subscription of `worker`: interest is taken before the map's lock is left.
    pub(crate) fn take_interest(
        &self,
        name: &ChannelName,
        worker: WorkerIndex,
    ) -> Result<Arc<Channel>, RegistryFull> {
        let take = |channel: &Arc<Channel>| channel.slot(worker).add_interest();
        self.map.find_or_insert(name, || self.create(name), take)
    }

    /// Removes a channel if nobody is interested in it or streams to it; `bury` says, under the
    /// map's lock, what to remember of it. Returns whether it was removed.
    pub(crate) fn remove_idle(
        &self,
        channel: &Arc<Channel>,
        bury: impl FnOnce(&Channel) -> Option<Tombstone>,
    ) -> bool {
        let is_idle = |found: &Channel| found.subscribers() == 0 && !found.is_publishing();
        self.remove_where(channel, is_idle, bury)
    }

    /// Removes a channel whoever is interested in it, for a delete.
    pub(crate) fn remove(&self, channel: &Arc<Channel>, tombstone: Tombstone) {
        self.remove_where(channel, |_| true, |_| Some(tombstone));
    }

    /// Changes how many there may be, of channels and of tombstones. Channels beyond a lower number
    /// stay.
    pub(crate) fn set_max(&self, channels_max: usize, tombstones_max: usize) {
        self.channels_max.store(channels_max, Ordering::Relaxed);
        lock(&self.tombstones).set_max(tombstones_max);
    }

    /// Forgets at most so many tombstones beyond a new bound; returns whether more are to go.
    pub(crate) fn shrink_tombstones(&self, steps: usize) -> bool {
        lock(&self.tombstones).shrink(steps)
    }

    /// Changes what new channels keep; returns whether that is something else.
    pub(crate) fn set_retentions(&self, retentions: Retentions) -> bool {
        let mut current = write(&self.retentions);
        let is_other = *current != retentions;
        *current = retentions;
        is_other
    }

    /// What a channel of that name keeps.
    pub(crate) fn retention(&self, name: &ChannelName) -> Arc<Retention> {
        read(&self.retentions).find(name)
    }

    /// How many channels there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many removed ones are remembered, and how many were forgotten.
    pub(crate) fn tombstones(&self) -> (usize, u64) {
        let tombstones = lock(&self.tombstones);
        (tombstones.len(), tombstones.forgotten())
    }

    /// Calls `visit` for every channel, in no order. It must not come back to the registry.
    pub(crate) fn for_each(&self, visit: impl FnMut(&Arc<Channel>)) {
        self.map.for_each(visit);
    }

    /// A channel that is not found by name: it stands for a removed one, so that who has not
    /// seen its end is told of it. Interest in it is taken already.
    pub(crate) fn ghost(
        &self,
        name: &ChannelName,
        tombstone: Tombstone,
        worker: WorkerIndex,
    ) -> Arc<Channel> {
        let floor = crate::ring::Dropped { through: tombstone.last_event, tick: 0 };
        let mut ring = Ring::new(self.retention(name), floor, None);
        if let Some(closed) = tombstone.closed {
            ring.close(closed);
        }
        let channel = self.channel(name, ring);
        channel.slot(worker).add_interest();
        channel
    }

    fn create(&self, name: &ChannelName) -> Result<Arc<Channel>, RegistryFull> {
        let channels_max = self.channels_max.load(Ordering::Relaxed);
        if self.count.fetch_add(1, Ordering::Relaxed) >= channels_max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(RegistryFull(channels_max));
        }
        let (floor, past) = lock(&self.tombstones).exhume(name);
        Ok(self.channel(name, Ring::new(self.retention(name), floor, past)))
    }

    fn channel(&self, name: &ChannelName, ring: Ring) -> Arc<Channel> {
        let instance = self.instances.fetch_add(1, Ordering::Relaxed);
        Arc::new(Channel::new(name.clone(), instance, ring, self.workers))
    }

    fn remove_where(
        &self,
        channel: &Arc<Channel>,
        condition: impl FnOnce(&Channel) -> bool,
        bury: impl FnOnce(&Channel) -> Option<Tombstone>,
    ) -> bool {
        self.map.remove_if(channel.name(), |found| {
            if !Arc::ptr_eq(found, channel) || !condition(found) {
                return false;
            }
            if let Some(tombstone) = bury(found) {
                lock(&self.tombstones).bury(found.name().clone(), tombstone);
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
            true
        })
    }
}

/// The map itself, behind the few operations that the registry needs.
#[cfg(not(loom))]
#[derive(Default)]
struct Map(dashmap::DashMap<ChannelName, Arc<Channel>>);

#[cfg(not(loom))]
impl Map {
    fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.0.get(name).map(|entry| Arc::clone(entry.value()))
    }

    fn find_or_insert<E>(
        &self,
        name: &ChannelName,
        create: impl FnOnce() -> Result<Arc<Channel>, E>,
        under_lock: impl FnOnce(&Arc<Channel>),
    ) -> Result<Arc<Channel>, E> {
        let entry = self.0.entry(name.clone()).or_try_insert_with(create)?;
        under_lock(entry.value());
        Ok(Arc::clone(entry.value()))
    }

    fn remove_if(&self, name: &ChannelName, condition: impl FnOnce(&Arc<Channel>) -> bool) -> bool {
        self.0.remove_if(name, |_, channel| condition(channel)).is_some()
    }

    fn for_each(&self, mut visit: impl FnMut(&Arc<Channel>)) {
        self.0.iter().for_each(|entry| visit(entry.value()));
    }
}

/// Its twin for loom, which cannot look into a `DashMap`: one lock around an ordinary map.
#[cfg(loom)]
#[derive(Default)]
struct Map(Mutex<std::collections::HashMap<ChannelName, Arc<Channel>>>);

#[cfg(loom)]
impl Map {
    fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        lock(&self.0).get(name).cloned()
    }

    fn find_or_insert<E>(
        &self,
        name: &ChannelName,
        create: impl FnOnce() -> Result<Arc<Channel>, E>,
        under_lock: impl FnOnce(&Arc<Channel>),
    ) -> Result<Arc<Channel>, E> {
        let mut map = lock(&self.0);
        if !map.contains_key(name) {
            map.insert(name.clone(), create()?);
        }
        under_lock(&map[name]);
        Ok(Arc::clone(&map[name]))
    }

    fn remove_if(&self, name: &ChannelName, condition: impl FnOnce(&Arc<Channel>) -> bool) -> bool {
        let mut map = lock(&self.0);
        let remove = map.get(name).is_some_and(condition);
        if remove {
            map.remove(name);
        }
        remove
    }

    fn for_each(&self, visit: impl FnMut(&Arc<Channel>)) {
        lock(&self.0).values().for_each(visit);
    }
}
