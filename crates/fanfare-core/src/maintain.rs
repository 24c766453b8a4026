//! What time does to channels: events grow too old, ends have been told long enough, idle
//! channels go.
//!
//! Policy: no channel has a timer. Each that ever had an event or an end has one entry in the
//! schedule, and whoever keeps the time calls [`Hub::maintain`], in steps as small as it likes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    channel::Channel,
    hub::{Hub, Order},
    ring::Ring,
    sync::lock,
    tombstones::Tombstone,
};

/// Channels by when they want to be looked at; the hub's order lock guards it.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// By Unix milliseconds and the channel's instance; a channel's ring knows its own entry.
    due: BTreeMap<(u64, u64), Arc<Channel>>,
}

impl Schedule {
    /// Schedules a channel's next look, in place of the one that it may have.
    pub(crate) fn put(&mut self, ring: &mut Ring, channel: &Arc<Channel>, due_ms: u64) {
        self.remove(ring, channel);
        ring.due_ms = Some(due_ms);
        self.due.insert((due_ms, channel.instance()), Arc::clone(channel));
    }

    /// Takes a channel out.
    pub(crate) fn remove(&mut self, ring: &mut Ring, channel: &Channel) {
        if let Some(due_ms) = ring.due_ms.take() {
            self.due.remove(&(due_ms, channel.instance()));
        }
    }

    /// How many channels are in it.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// The channel whose look has been due for longest. Its entry stays.
    fn first_due(&self, now_ms: u64) -> Option<Arc<Channel>> {
        let ((due_ms, _), channel) = self.due.first_key_value()?;
        (*due_ms <= now_ms).then(|| Arc::clone(channel))
    }
}

impl Hub {
    /// Looks at channels whose time has come, at most `channels_max` of them: drops what is too
    /// old and removes what is idle. Returns whether more are due.
    pub fn maintain(&self, now_ms: u64, channels_max: usize) -> bool {
        let mut order = lock(&self.order);
        order.keys.expire(now_ms);
        for _ in 0..channels_max {
            let Some(channel) = order.schedule.first_due(now_ms) else { return false };
            self.look_after(&mut order, &channel, now_ms);
        }
        order.schedule.first_due(now_ms).is_some()
    }

    /// One look at a channel: what is too old goes, then the channel itself if it is idle.
    fn look_after(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64) {
        if let Some(due_ms) = self.keep(order, channel, now_ms) {
            return order.schedule.put(&mut lock(&channel.ring), channel, due_ms);
        }
        let removed = self.registry.remove_idle(channel, |found| {
            let mut ring = lock(&found.ring);
            order.bytes -= ring.clear(self.next_tick());
            order.schedule.remove(&mut ring, found);
            Some(Tombstone { last_event: ring.newest(), closed: ring.closed() })
        });
        if !removed {
            let due_ms = now_ms.saturating_add(LOOK_IDLE_MS);
            order.schedule.put(&mut lock(&channel.ring), channel, due_ms);
        }
    }

    /// Drops a channel's events that are too old; returns when to look again if its retention
    /// keeps it.
    fn keep(&self, order: &mut Order, channel: &Channel, now_ms: u64) -> Option<u64> {
        let retention = channel.retention;
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            let due_ms = closed.at_ms.saturating_add(retention.closed_retention_ms);
            return (due_ms > now_ms).then_some(due_ms);
        }
        let horizon_ms = now_ms.saturating_sub(retention.ring_age_ms);
        order.bytes -= ring.drop_aged(horizon_ms, self.next_tick());
        let due_ms = ring.oldest()?.published_at_ms.saturating_add(retention.ring_age_ms);
        Some(due_ms.max(now_ms.saturating_add(LOOK_MS_MIN)))
    }
}

/// The least milliseconds between two looks at a channel with events.
const LOOK_MS_MIN: u64 = 250;
/// Milliseconds between two looks at a channel that only its subscribers keep.
const LOOK_IDLE_MS: u64 = 30_000;
