//! What time does to channels: events grow too old, ends have been told long enough, idle
//! channels go.
//!
//! Policy: no channel has a timer. Each that ever had an event or an end has one entry in the
//! schedule, and whoever keeps the time calls [`Hub::maintain`], in steps as small as it likes. A
//! change of limits is carried out in the same steps.

use std::{collections::BTreeMap, mem, num::NonZeroU64, sync::Arc};

use crate::{
    channel::Channel,
    hub::{Bounds, Hub, HubLimits, Order, Removal},
    lifecycle::WishedBy,
    limits::{DUE_CHANNELS_MAX, SHRINK_BYTES_MAX, SHRINK_STEPS_MAX},
    name::ChannelName,
    registry::Retentions,
    ring::{Entry, Ring},
    sync::lock,
    tombstones::Tombstone,
    waiters::Standing,
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

    /// Has a channel looked at in time for what may be due next, after something happened to it.
    pub(crate) fn look(&mut self, ring: &mut Ring, channel: &Arc<Channel>, now_ms: u64) {
        let is_publishing = channel.is_publishing();
        let aged_ms = now_ms.saturating_add(ring.retention.ring_age_ms);
        let watch_ms = ring.watch_interval_ms(is_publishing).map(|ms| now_ms.saturating_add(ms));
        let ends_ms = ring.ends(is_publishing).map(|(at_ms, _)| at_ms);
        let kept_ms = (!ring.is_pristine()).then_some(aged_ms);
        let due_ms = [watch_ms, ends_ms, kept_ms].into_iter().flatten().min();
        let scheduled_ms = ring.due_ms.map_or(u64::MAX, NonZeroU64::get);
        if let Some(due_ms) = due_ms.filter(|due_ms| *due_ms < scheduled_ms) {
            self.put(ring, channel, due_ms);
        }
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
        let mut unwatched = Vec::new();
        let mut order = lock(&self.order);
        order.keys.expire(now_ms);
        let mut shrinks = self.shrink(&mut order);
        shrinks |= self.registry.shrink_tombstones(SHRINK_STEPS_MAX);
        for _ in 0..channels_max {
            if let Some(channel) = order.changing.pop() {
                self.change(&mut order, &channel, now_ms);
                continue;
            }
            let Some(channel) = order.schedule.first_due(now_ms) else { break };
            if self.look_after(&mut order, &channel, now_ms) {
                unwatched.push(channel);
            }
        }
        let is_due = order.schedule.first_due(now_ms).is_some();
        let has_more = shrinks || !order.changing.is_empty() || is_due;
        drop(order);
        for channel in unwatched {
            self.count_wish(WishedBy::Unwatched);
            self.waiters.tell(channel.name(), Standing::Cancelling);
        }
        has_more
    }

    /// Channels that [`maintain`](Self::maintain) found to be closed: each with a
    /// [`CloseIfDue`](crate::Change::CloseIfDue).
    pub fn take_due(&self) -> Vec<ChannelName> {
        mem::take(&mut lock(&self.order).due)
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
        // What is streamed to may have had nothing to be looked at for.
        let is_streamed_to = channel.is_publishing() && ring.closed().is_none();
        if ring.due_ms.is_some() || is_streamed_to {
            order.schedule.put(&mut ring, channel, now_ms);
        }
    }

    /// One look at a channel: what is too old goes, then the channel itself if it is idle. Returns
    /// whether it has come to be cancelled because nobody watches it.
    fn look_after(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64) -> bool {
        if let Some(due_ms) = self.keep_due(order, channel, now_ms) {
            order.schedule.put(&mut lock(&channel.ring), channel, due_ms);
            return false;
        }
        let (is_unwatched, next_ms) = self.watch_over(channel, now_ms);
        if let Some(due_ms) = self.keep(order, channel, now_ms) {
            order.schedule.put(&mut lock(&channel.ring), channel, due_ms.min(next_ms));
        } else {
            self.remove(order, channel, now_ms, next_ms);
        }
        is_unwatched
    }

    /// Notes a channel that is to be closed, and says when to look again: whoever is to close it
    /// may fail to.
    fn keep_due(&self, order: &mut Order, channel: &Channel, now_ms: u64) -> Option<u64> {
        lock(&channel.ring).is_due(channel.is_publishing(), now_ms)?;
        if order.due.len() < DUE_CHANNELS_MAX {
            order.due.push(channel.name().clone());
        }
        Some(now_ms.saturating_add(LOOK_DUE_MS))
    }

    /// Finds out whether a channel is cancelled because nobody watches it, and when to look again
    /// at that and at whether it is to be closed.
    fn watch_over(&self, channel: &Channel, now_ms: u64) -> (bool, u64) {
        let is_publishing = channel.is_publishing();
        let mut ring = lock(&channel.ring);
        let ends_ms = ring.ends(is_publishing).map_or(u64::MAX, |(at_ms, _)| at_ms);
        let Some(interval_ms) = ring.watch_interval_ms(is_publishing) else {
            return (false, ends_ms);
        };
        let is_unwatched = ring.watch(self.subscribers_of(channel), now_ms) && ring.wish(now_ms);
        (is_unwatched, ends_ms.min(now_ms.saturating_add(interval_ms)))
    }

    /// Removes a channel that nothing keeps, unless somebody uses it: then it is looked at again.
    fn remove(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64, next_ms: u64) {
        let (mut was_closed, mut was_pristine) = (false, false);
        let removed = self.registry.remove_idle(channel, |found| {
            let mut ring = lock(&found.ring);
            (was_closed, was_pristine) = (ring.closed().is_some(), ring.is_pristine());
            order.bytes -= ring.clear(self.next_tick());
            order.producers_bytes -= ring.forget_producers();
            order.schedule.remove(&mut ring, found);
            if ring.last_event() == 0 && !was_closed {
                return ring.past();
            }
            Some(Tombstone { last_event: ring.newest(), closed: ring.closed() })
        });
        if !removed {
            let mut ring = lock(&channel.ring);
            if ring.is_pristine() && !channel.is_publishing() {
                // It goes with its last subscriber.
                return order.schedule.remove(&mut ring, channel);
            }
            let due_ms = now_ms.saturating_add(LOOK_IDLE_MS).min(next_ms);
            return order.schedule.put(&mut ring, channel, due_ms);
        }
        order.journal.note_removed(channel);
        let removal = match (was_closed, was_pristine) {
            (true, _) => Removal::Closed,
            (false, true) => Removal::Unused,
            (false, false) => Removal::Idle,
        };
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
        let aged_ms = |entry: &Entry| entry.published_at_ms.saturating_add(retention.ring_age_ms);
        let kept_until_ms = Some(ring.kept_until_ms()).filter(|until_ms| *until_ms > now_ms);
        let due_ms = ring.oldest().map(aged_ms).or(kept_until_ms)?;
        Some(due_ms.max(now_ms.saturating_add(LOOK_MS_MIN)))
    }
}

/// Milliseconds between two looks at a channel that is to be closed.
const LOOK_DUE_MS: u64 = 1_000;
/// The least milliseconds between two looks at a channel with events.
const LOOK_MS_MIN: u64 = 250;
/// Milliseconds between two looks at a channel that only its subscribers keep.
const LOOK_IDLE_MS: u64 = 30_000;
