//! What time does to channels: events grow too old, ends have been told long enough, idle
//! channels go.
//!
//! Policy: no channel has a timer. Each that ever had an event or an end has one entry in the
//! schedule, and whoever keeps the time calls [`Hub::maintain`], in steps as small as it likes. A
//! change of limits is carried out in the same steps.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc};

use crate::{
    channel::Channel,
    hub::{Bounds, Hub, HubLimits, Order, Removal},
    limits::{SHRINK_BYTES_MAX, SHRINK_STEPS_MAX},
    registry::Retentions,
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
        // A ring is smaller for never having 0.
        let due_ms = NonZeroU64::new(due_ms).unwrap_or(NonZeroU64::MIN);
        ring.due_ms = Some(due_ms);
        self.due.insert((due_ms.get(), channel.instance()), Arc::clone(channel));
    }

    /// Takes a channel out.
    pub(crate) fn remove(&mut self, ring: &mut Ring, channel: &Channel) {
        if let Some(due_ms) = ring.due_ms.take() {
            self.due.remove(&(due_ms.get(), channel.instance()));
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
    /// Changes the bounds while the hub runs. Higher ones hold at once; what is beyond lower ones
    /// goes with the next calls of [`maintain`](Self::maintain), a bounded number at a time.
    /// Channels that exist keep from then on what new ones keep. Only what is refused for being
    /// too many, channels and idempotency keys, stays until its own time has passed.
    pub fn set_limits(&self, limits: &HubLimits) {
        self.registry.set_max(limits.channels_max, limits.tombstones_max);
        let mut changing = Vec::new();
        if self.registry.set_retentions(Retentions::of(limits)) {
            // A channel that is made meanwhile has the new one already.
            self.registry.for_each(|channel| changing.push(Arc::clone(channel)));
        }
        let mut order = lock(&self.order);
        order.keys.set_keys_max(limits.idempotency_keys_max);
        order.goal = Bounds::from(limits);
        order.bounds = Bounds {
            journal_events_max: limits.journal_events_max.max(order.journal.len()),
            rings_bytes_max: limits.rings_bytes_max.max(order.budgeted_bytes()),
        };
        if !changing.is_empty() {
            order.changing = changing;
        }
    }

    /// Looks at channels whose time has come, at most `channels_max` of them: drops what is too
    /// old and removes what is idle. Returns whether there is more to do.
    pub fn maintain(&self, now_ms: u64, channels_max: usize) -> bool {
        let mut order = lock(&self.order);
        order.keys.expire(now_ms);
        let mut shrinks = self.shrink(&mut order);
        shrinks |= self.registry.shrink_tombstones(SHRINK_STEPS_MAX);
        for _ in 0..channels_max {
            if let Some(channel) = order.changing.pop() {
                self.change(&mut order, &channel, now_ms);
                continue;
            }
            let Some(channel) = order.schedule.first_due(now_ms) else { return shrinks };
            self.look_after(&mut order, &channel, now_ms);
        }
        shrinks || !order.changing.is_empty() || order.schedule.first_due(now_ms).is_some()
    }

    /// Brings the bounds one step nearer to their goal; returns whether they are not there yet.
    fn shrink(&self, order: &mut Order) -> bool {
        let (bounds, goal) = (&mut order.bounds, order.goal);
        let lower = |value: &mut usize, step: usize, goal: usize| {
            *value = value.saturating_sub(step).max(goal);
        };
        lower(&mut bounds.journal_events_max, SHRINK_STEPS_MAX, goal.journal_events_max);
        lower(&mut bounds.rings_bytes_max, SHRINK_BYTES_MAX, goal.rings_bytes_max);
        self.keep_bounds(order);
        order.bounds != goal
    }

    /// Gives a channel what channels of its name keep now, and a look soon.
    fn change(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64) {
        let retention = self.registry.retention(channel.name());
        let tick = self.next_tick();
        let mut ring = lock(&channel.ring);
        order.bytes -= ring.retain(retention, now_ms, tick);
        if ring.due_ms.is_some() {
            order.schedule.put(&mut ring, channel, now_ms);
        }
    }

    /// One look at a channel: what is too old goes, then the channel itself if it is idle.
    fn look_after(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64) {
        if let Some(due_ms) = self.keep(order, channel, now_ms) {
            return order.schedule.put(&mut lock(&channel.ring), channel, due_ms);
        }
        let mut was_closed = false;
        let removed = self.registry.remove_idle(channel, |found| {
            let mut ring = lock(&found.ring);
            was_closed = ring.closed().is_some();
            order.bytes -= ring.clear(self.next_tick());
            order.producers_bytes -= ring.forget_producers();
            order.schedule.remove(&mut ring, found);
            Some(Tombstone { last_event: ring.newest(), closed: ring.closed() })
        });
        if !removed {
            let due_ms = now_ms.saturating_add(LOOK_IDLE_MS);
            return order.schedule.put(&mut lock(&channel.ring), channel, due_ms);
        }
        order.journal.note_removed(channel);
        let removal = if was_closed { Removal::Closed } else { Removal::Idle };
        self.count_removed(removal, was_closed);
    }

    /// Drops a channel's events that are too old; returns when to look again if its retention
    /// keeps it.
    fn keep(&self, order: &mut Order, channel: &Channel, now_ms: u64) -> Option<u64> {
        let mut ring = lock(&channel.ring);
        let retention = *ring.retention;
        if let Some(closed) = ring.closed() {
            let due_ms = closed.at_ms.saturating_add(retention.closed_retention_ms);
            return (due_ms > now_ms).then_some(due_ms);
        }
        let horizon_ms = ring.horizon_ms(now_ms);
        order.bytes -= ring.drop_aged(horizon_ms, self.next_tick());
        // A producer that may still come back keeps its channel like an event.
        let oldest_ms = ring.oldest().map(|entry| entry.published_at_ms);
        let producer_ms = ring.producers_active_at_ms().filter(|at_ms| *at_ms >= horizon_ms);
        let due_ms = oldest_ms.or(producer_ms)?.saturating_add(retention.ring_age_ms);
        Some(due_ms.max(now_ms.saturating_add(LOOK_MS_MIN)))
    }
}

/// The least milliseconds between two looks at a channel with events.
const LOOK_MS_MIN: u64 = 250;
/// Milliseconds between two looks at a channel that only its subscribers keep.
const LOOK_IDLE_MS: u64 = 30_000;
