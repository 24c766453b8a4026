//! What each client's address has of what is limited per address.
//!
//! Policy: an address is remembered while it has connections or has used up tokens, so at most for
//! a second longer than it does something. The table is bounded. When it is full a new address is
//! refused where a limit would count it: one that was forgotten instead would begin anew, and then
//! whoever has many addresses had no limit. Connections are counted whether they are limited or
//! not, so that a limit that is set later counts those that are there.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Mutex as Queue;

use crate::{address::Address, bucket::Bucket, limits::ADDRESS_BYTES};

/// The addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// Each address is in one of them, by its hash: each has its own lock.
    shards: Vec<Mutex<Shard>>,
    /// At most so many addresses in one of them.
    shard_max: usize,
    /// Secret, so that nobody can aim at one of them.
    hasher: RandomState,
    /// How many there are in all.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Address, Entry>,
    /// When those that are not needed were last let go.
    swept_at_ns: u64,
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Entry {
    /// Connections, or subscriptions through proxies.
    connections: usize,
    /// For subscribes.
    connects: Bucket,
    /// For events.
    publishes: Bucket,
    /// Those of its publishes that wait; each has a handle to it.
    queue: Weak<Queue<()>>,
}

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    addresses: Arc<Addresses>,
    address: Address,
}

/// Why an address does not get what it asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// It has all that it may have; holds the nanoseconds after which a token comes, if one does.
    Met(u64),
    /// There is no room to remember it.
    TableFull,
}

impl Addresses {
    /// Room for so many addresses.
    pub(crate) fn new(addresses_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_max: addresses_max.div_ceil(SHARDS),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }

    /// How many there is room for.
    pub(crate) fn max(&self) -> usize {
        self.shard_max * SHARDS
    }

    /// Counts a connection of an address that may have so many, 0 for no limit. Without a limit
    /// one for which there is no room is not counted.
    pub(crate) fn connect(
        self: &Arc<Self>,
        address: Address,
        connections_max: usize,
        now_ns: u64,
    ) -> Result<Option<Share>, Refused> {
        let counted = self.with(address, now_ns, |entry| {
            if connections_max > 0 && entry.connections >= connections_max {
                return Err(Refused::Met(0));
            }
            entry.connections += 1;
            Ok(())
        });
        match counted {
            Ok(()) => Ok(Some(Share { addresses: Arc::clone(self), address })),
            Err(Refused::TableFull) if connections_max == 0 => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    /// Takes a token for a subscribe.
    pub(crate) fn subscribe(
        &self,
        address: Address,
        per_s: u32,
        now_ns: u64,
    ) -> Result<(), Refused> {
        self.with(address, now_ns, |entry| entry.connects.take(per_s, now_ns).map_err(Refused::Met))
    }

    /// Takes a token for a subscribe back.
    pub(crate) fn put_back_subscribe(&self, address: Address, per_s: u32) {
        if let Some(entry) = self.shard(address).entries.get_mut(&address) {
            entry.connects.put_back(per_s);
        }
    }

    /// Takes a token for an event.
    pub(crate) fn publish(&self, address: Address, per_s: u32, now_ns: u64) -> Result<(), Refused> {
        self.with(address, now_ns, |entry| {
            entry.publishes.take(per_s, now_ns).map_err(Refused::Met)
        })
    }

    /// Takes a token for an event that can wait.
    pub(crate) fn publish_of_many(
        &self,
        address: Address,
        per_s: u32,
        now_ns: u64,
    ) -> Result<(), Refused> {
        self.with(address, now_ns, |entry| {
            entry.publishes.take_of_half(per_s, now_ns).map_err(Refused::Met)
        })
    }

    /// Where publishes of an address wait, if there is room to remember it.
    pub(crate) fn queue(&self, address: Address, now_ns: u64) -> Option<Arc<Queue<()>>> {
        let queue = self.with(address, now_ns, |entry| {
            Ok(entry.queue.upgrade().unwrap_or_else(|| {
                let queue = Arc::default();
                entry.queue = Arc::downgrade(&queue);
                queue
            }))
        });
        queue.ok()
    }

    /// Whether publishes of an address wait.
    pub(crate) fn is_queued(&self, address: Address) -> bool {
        let shard = self.shard(address);
        shard.entries.get(&address).is_some_and(Entry::is_queued)
    }

    /// Takes a token for an event back.
    pub(crate) fn put_back_publish(&self, address: Address, per_s: u32) {
        if let Some(entry) = self.shard(address).entries.get_mut(&address) {
            entry.publishes.put_back(per_s);
        }
    }

    /// How many addresses are remembered.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Lets those go that are not needed.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.shards.iter().for_each(|shard| self.sweep_shard(&mut lock(shard), now_ns));
    }

    fn sweep_shard(&self, shard: &mut Shard, now_ns: u64) {
        let before = shard.entries.len();
        shard.entries.retain(|_, entry| entry.is_needed(now_ns));
        self.count.fetch_sub(before - shard.entries.len(), Relaxed);
        shard.swept_at_ns = now_ns;
        // A crowd that is gone leaves no memory behind.
        if shard.entries.len() < shard.entries.capacity() / 4 {
            shard.entries.shrink_to_fit();
        }
    }

    /// Does something with what is known of an address.
    fn with<T>(
        &self,
        address: Address,
        now_ns: u64,
        ask: impl FnOnce(&mut Entry) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut shard = self.shard(address);
        let is_full = shard.entries.len() >= self.shard_max;
        if is_full && !shard.entries.contains_key(&address) {
            // However often this happens, the whole of it is looked at now and then only.
            if now_ns.saturating_sub(shard.swept_at_ns) < SWEEP_INTERVAL_NS {
                return Err(Refused::TableFull);
            }
            self.sweep_shard(&mut shard, now_ns);
            if shard.entries.len() >= self.shard_max {
                return Err(Refused::TableFull);
            }
        }
        match shard.entries.entry(address) {
            Slot::Occupied(mut slot) => ask(slot.get_mut()),
            Slot::Vacant(slot) => {
                self.count.fetch_add(1, Relaxed);
                ask(slot.insert(Entry::default()))
            }
        }
    }

    fn shard(&self, address: Address) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(address) as usize;
        lock(&self.shards[hash % self.shards.len()])
    }
}

impl Entry {
    fn is_needed(&self, now_ns: u64) -> bool {
        let is_full = self.connects.is_full(now_ns) && self.publishes.is_full(now_ns);
        self.connections > 0 || !is_full || self.is_queued()
    }

    fn is_queued(&self) -> bool {
        self.queue.strong_count() > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shard = self.addresses.shard(self.address);
        let Slot::Occupied(mut slot) = shard.entries.entry(self.address) else { return };
        slot.get_mut().connections -= 1;
        // No clock here: one whose buckets are not like new is left to the next sweep.
        if !slot.get().is_needed(0) {
            slot.remove();
            self.addresses.count.fetch_sub(1, Relaxed);
        }
    }
}

/// A thread that panicked leaves nothing half done here that another could see.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parts of the table, so that the threads of the runtime seldom meet at a lock and a sweep holds
/// up a few only.
const SHARDS: usize = 16;
/// Nanoseconds between two looks for addresses that are not needed while the table is full: as
/// long as it takes a bucket to fill.
const SWEEP_INTERVAL_NS: u64 = 1_000_000_000;
// A table that has just grown is not half full: 7 of 16 slots, each with a byte beside.
const _: () = assert!((size_of::<(Address, Entry)>() + 1) * 16 / 7 <= ADDRESS_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn addresses(count: u32) -> impl Iterator<Item = Address> {
        (0..count).map(Address::V4)
    }

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let table = Arc::new(Addresses::new(100));
        let (one, other) = (Address::V4(1), Address::V6(1));
        let first = table.connect(one, 2, 0).unwrap();
        let second = table.connect(one, 2, 0).unwrap();
        assert_eq!(table.connect(one, 2, 0).unwrap_err(), Refused::Met(0));
        assert!(table.connect(other, 2, 0).is_ok());
        drop(first);
        assert!(table.connect(one, 2, 0).unwrap().is_some());
        // One that is lowered cuts nobody and counts those who are there.
        assert_eq!(table.connect(one, 1, 0).unwrap_err(), Refused::Met(0));
        drop(second);
        assert_eq!(table.len(), 0, "nobody is left");
    }

    #[test]
    fn tokens_are_per_address() {
        let table = Addresses::new(100);
        let (one, other) = (Address::V4(1), Address::V4(2));
        table.subscribe(one, 1, 0).unwrap();
        assert_eq!(table.subscribe(one, 1, 0), Err(Refused::Met(SECOND)));
        table.subscribe(other, 1, 0).unwrap();
        table.publish(one, 1, 0).unwrap();
        assert_eq!(table.publish(one, 1, 0), Err(Refused::Met(SECOND)));
        table.put_back_publish(one, 1);
        table.publish(one, 1, 0).unwrap();
        assert_eq!(table.publish_of_many(one, 1, SECOND / 2), Err(Refused::Met(SECOND / 2)));
        table.sweep(SECOND / 2);
        assert_eq!(table.len(), 2);
        table.sweep(SECOND);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn an_address_is_remembered_while_one_of_its_publishes_waits() {
        let table = Addresses::new(100);
        let queue = table.queue(Address::V4(1), 0).unwrap();
        assert!(table.is_queued(Address::V4(1)) && !table.is_queued(Address::V4(2)));
        table.sweep(9 * SECOND);
        assert!(Arc::ptr_eq(&queue, &table.queue(Address::V4(1), 9 * SECOND).unwrap()));
        drop(queue);
        assert!(!table.is_queued(Address::V4(1)));
        table.sweep(9 * SECOND);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_full_table_refuses_the_new_and_forgets_nobody() {
        let table = Arc::new(Addresses::new(1_000));
        let held: Vec<_> =
            addresses(10_000).filter_map(|address| table.connect(address, 1, 0).ok()).collect();
        assert!((900..=1_100).contains(&table.len()), "{}", table.len());
        assert_eq!(held.len(), table.len());
        let new = addresses(20_000).skip(10_000);
        for address in new.take(100) {
            assert_eq!(table.connect(address, 1, 9 * SECOND).unwrap_err(), Refused::TableFull);
            assert_eq!(table.subscribe(address, 1, 9 * SECOND), Err(Refused::TableFull));
            // Without a limit there is nothing to count for.
            assert!(table.connect(address, 0, 9 * SECOND).unwrap().is_none());
        }
        drop(held);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_table_full_of_those_who_are_gone_has_room_a_second_later() {
        let table = Addresses::new(1_000);
        let admitted = |from: u32, now| {
            let asks = |address: &Address| table.subscribe(*address, 1, now).is_ok();
            addresses(from + 10_000).skip(from as usize).filter(asks).count()
        };
        let first = admitted(0, 0);
        assert_eq!(admitted(20_000, SECOND / 2), 0);
        assert_eq!(admitted(40_000, SECOND + 1), first, "and no more than before");
    }
}
