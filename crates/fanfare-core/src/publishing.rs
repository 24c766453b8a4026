//! Streaming publishes that are open on a channel.
//!
//! Policy: who streams to a channel keeps it, from before its first event. A channel whose producer
//! broke off waits for it a while; a producer that comes back a moment before the end is not cut.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    broker::Refusal, channel::Channel, extras::time, hub::Hub, name::ChannelName, sync::lock,
};

/// Says, while it lives, that a streaming publish is open on a channel.
#[derive(Debug)]
pub struct Publishing {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    has_ended: bool,
}

impl Publishing {
    /// The channel.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Ends it. If it was to close the channel at its end and broke off before, the channel waits
    /// for another one, unless there is one already. Returns whether the channel is to be closed
    /// right now: a [`CloseIfDue`](crate::Change::CloseIfDue) does that.
    pub fn end(mut self, broke_off: bool, now_ms: u64) -> bool {
        self.has_ended = true;
        self.hub.end_publishing(&self.channel, broke_off, Some(now_ms))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        if !self.has_ended {
            self.hub.end_publishing(&self.channel, false, None);
        }
    }
}

impl Hub {
    /// Opens a streaming publish to one channel, which is made if need be and no longer waits for
    /// its producer; none if the channel is closed.
    pub fn begin_publishing(
        self: &Arc<Self>,
        name: &ChannelName,
        now_ms: u64,
    ) -> Result<Option<Publishing>, Refusal> {
        // The order lock keeps the channel from being removed meanwhile.
        let mut order = lock(&self.order);
        let channel = self.find_or_create(name)?;
        let mut ring = lock(&channel.ring);
        if ring.closed().is_some() {
            return Ok(None);
        }
        ring.begin(&channel, now_ms);
        let is_first = channel.publishing().fetch_add(1, Ordering::Relaxed) == 0;
        if let Some(extras) = ring.extras_if_any() {
            // A stream of its own, unless it goes on with one: only who watches it counts.
            extras.was_watched &= !is_first || extras.grace_ends_ms.is_some();
            (extras.grace_ends_ms, extras.unwatched_since_ms) = (None, None);
            ring.trim();
        }
        order.schedule.look(&mut ring, &channel, now_ms);
        drop(ring);
        let hub = Arc::clone(self);
        Ok(Some(Publishing { hub, channel, has_ended: false }))
    }

    /// Notes that a streaming publish to many channels is open on this one; none if the channel is
    /// gone.
    pub fn publishing_on(self: &Arc<Self>, channel: &Arc<Channel>) -> Option<Publishing> {
        let _order = lock(&self.order);
        let found = self.registry.find(channel.name())?;
        if !Arc::ptr_eq(&found, channel) {
            return None;
        }
        channel.publishing().fetch_add(1, Ordering::Relaxed);
        Some(Publishing { hub: Arc::clone(self), channel: found, has_ended: false })
    }

    /// One streaming publish less; returns whether the channel is to be closed.
    fn end_publishing(&self, channel: &Arc<Channel>, broke_off: bool, now_ms: Option<u64>) -> bool {
        let mut order = lock(&self.order);
        let is_last = channel.publishing().fetch_sub(1, Ordering::Relaxed) == 1;
        let mut ring = lock(&channel.ring);
        let Some(now_ms) = now_ms.filter(|_| is_last && ring.closed().is_none()) else {
            drop(ring);
            self.remove_unused(&mut order, channel);
            return false;
        };
        if broke_off {
            let grace_ends_ms = now_ms.saturating_add(ring.retention.producer_grace_ms);
            ring.extras_mut().grace_ends_ms = time(grace_ends_ms);
        }
        if ring.retention.channel_idle_ms_max > 0 {
            ring.extras_mut().published_until_ms = now_ms;
        }
        if ring.is_pristine() {
            ring.trim();
            drop(ring);
            self.remove_unused(&mut order, channel);
            return false;
        }
        order.schedule.look(&mut ring, channel, now_ms);
        ring.is_due(false, now_ms).is_some()
    }
}
