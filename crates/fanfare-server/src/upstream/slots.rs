//! The fetches that are open: how many, on which channels, and what they share.
//!
//! Policy: a channel has one fetch at a time, and a hub as many as its settings say; who comes
//! after that is refused and disturbs nobody.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fanfare_core::ChannelName;

use super::lookups::Lookups;
use crate::limit_log::Throttle;

/// What all fetches share.
#[derive(Default)]
pub(crate) struct Slots {
    open: Arc<Mutex<HashSet<ChannelName>>>,
    /// Finds the addresses of names.
    pub(super) lookups: Lookups,
    /// Failures, for the log.
    pub(crate) failures: Throttle,
}

/// A place for one fetch on one channel; dropped when it is over.
pub(crate) struct Slot {
    open: Arc<Mutex<HashSet<ChannelName>>>,
    channel: ChannelName,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// The channel has a fetch.
    Channel,
    /// The hub has as many as it may.
    All,
}

impl Slots {
    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.open).len()
    }

    /// How many names are being looked up, for whoever does not wait any more too.
    pub(crate) fn lookups(&self) -> usize {
        self.lookups.taken()
    }

    /// Takes a place if `is_free` says so of the channel, which nobody else takes meanwhile.
    pub(super) fn take<E: From<Taken>>(
        &self,
        channel: &ChannelName,
        slots_max: usize,
        is_free: impl FnOnce() -> Result<(), E>,
    ) -> Result<Slot, E> {
        let mut open = lock(&self.open);
        if open.contains(channel) {
            return Err(Taken::Channel.into());
        }
        if open.len() >= slots_max {
            return Err(Taken::All.into());
        }
        is_free()?;
        open.insert(channel.clone());
        drop(open);
        Ok(Slot { open: Arc::clone(&self.open), channel: channel.clone() })
    }
}

impl Slot {
    pub(super) fn channel(&self) -> &ChannelName {
        &self.channel
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.channel);
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("taken", &self.taken()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_one_and_the_hub_so_many() {
        let slots = Slots::default();
        let name = |text| ChannelName::parse(text).unwrap();
        let take = |text| slots.take(&name(text), 2, || Ok::<_, Taken>(()));
        let a = take("a").unwrap();
        assert_eq!(take("a").err(), Some(Taken::Channel));
        assert_eq!(slots.take(&name("b"), 2, || Err(Taken::Channel)).err(), Some(Taken::Channel));
        let _b = take("b").unwrap();
        assert_eq!((take("c").err(), slots.taken()), (Some(Taken::All), 2));
        drop(a);
        assert_eq!(slots.taken(), 1);
        take("a").unwrap();
    }
}
