//! How a subscription begins and ends: interest first, then the position.
//!
//! Policy: whoever comes back is told what it missed. Only who has seen the last event of every
//! channel that it asks for, all of them closed, is told that nothing will ever come.

use std::sync::Arc;

use crate::{
    channel::Channel,
    control::{CloseReason, GapReason},
    doorbell::WorkerIndex,
    feed::Feed,
    hub::{Hub, Limit, Order, Removal},
    id::EventId,
    registry::RegistryFull,
    ring::Closed,
    subscription::{Opening, Replay, Request, Start, Subscribed, Subscription},
    sync::{Ordering, fence, lock, write},
    tombstones::Tombstone,
};

impl Hub {
    /// Subscribes on behalf of a worker. `retry_ms` is for an end that is told at once.
    ///
    /// Interest is taken before the position is read, so whatever is published from here on
    /// either is found by the first read or marks the worker.
    pub fn subscribe(
        self: &Arc<Self>,
        request: &Request,
        worker: WorkerIndex,
        retry_ms: u32,
    ) -> Result<Subscribed, RegistryFull> {
        let resume = match &request.start {
            Start::After(text) => self.resume(text),
            _ => None,
        };
        let (feed, finished) = if request.selectors.patterns().is_empty() {
            let channels = self.take_channels(request, worker)?;
            let (channels, finished) = self.settle(channels, resume, worker);
            (Feed::of_channels(request, channels), finished)
        } else {
            (Feed::of_patterns(request), false)
        };
        self.enter(&feed, worker);
        let mut subscription =
            Subscription::new(Arc::clone(self), feed, worker, self.drops(), request.control);
        if finished {
            return Ok(Subscribed::Finished);
        }
        let (cursor, forgives) = self.begin(&request.start, resume, subscription.feed());
        subscription.begin(cursor, forgives);
        Ok(self.open(request, subscription, resume, retry_ms))
    }

    /// Counts a subscription in, after its interest in channels was taken.
    fn enter(&self, feed: &Feed, worker: WorkerIndex) {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        if feed.follows_journal() {
            write(&self.audience).add(feed.selectors());
            self.patterns.fetch_add(1, Ordering::AcqRel);
            self.journal_interest[worker].fetch_add(1, Ordering::AcqRel);
        }
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
    }

    /// Counts it out, and lets channels go that only it kept.
    pub(crate) fn leave(&self, feed: &Feed, worker: WorkerIndex) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        if feed.follows_journal() {
            self.journal_interest[worker].fetch_sub(1, Ordering::AcqRel);
            self.patterns.fetch_sub(1, Ordering::AcqRel);
            write(&self.audience).remove(feed.selectors());
        }
        for channel in feed.channels() {
            self.release(channel, worker);
        }
    }

    /// Takes one interest in a channel back. A channel that never had an event goes with its last
    /// subscriber; the order lock keeps a publisher from finding it meanwhile.
    fn release(&self, channel: &Arc<Channel>, worker: WorkerIndex) {
        let last = channel.slot(worker).remove_interest();
        // Of two workers that take their last interests back at once, one sees that both are
        // gone: without the fence each might still see the other's.
        fence(Ordering::SeqCst);
        if !last || channel.subscribers() > 0 {
            return;
        }
        let is_pristine = {
            let mut ring = lock(&channel.ring);
            if ring.watch_interval_ms(channel.is_publishing()).is_some() {
                // Who came and went between two looks has watched, too.
                ring.extras_mut().was_watched = true;
            }
            ring.is_pristine()
        };
        if is_pristine {
            self.remove_unused(&mut lock(&self.order), channel);
        }
    }

    /// Lets a channel go that never had an event and that nobody uses.
    pub(crate) fn remove_unused(&self, order: &mut Order, channel: &Arc<Channel>) {
        if !lock(&channel.ring).is_pristine() {
            return;
        }
        let bury = |found: &Channel| {
            let mut ring = lock(&found.ring);
            order.schedule.remove(&mut ring, found);
            ring.past()
        };
        if self.registry.remove_idle(channel, bury) {
            self.count_removed(Removal::Unused, false);
        }
    }

    /// The place of a last event id: none if it is no place in this life of the log.
    pub(crate) fn resume(&self, text: &str) -> Option<u64> {
        let id: EventId = text.parse().ok()?;
        (id.epoch == self.epoch() && id.seq <= self.watermark()).then_some(id.seq)
    }

    /// Interest in every channel, or in none.
    fn take_channels(
        &self,
        request: &Request,
        worker: WorkerIndex,
    ) -> Result<Vec<Arc<Channel>>, RegistryFull> {
        let mut taken = Vec::with_capacity(request.selectors.channels().len());
        for name in request.selectors.channels() {
            match self.registry.take_interest(name, worker) {
                Ok(channel) => taken.push(channel),
                Err(full) => {
                    taken.iter().for_each(|channel| self.release(channel, worker));
                    self.count_limit(Limit::Channels);
                    return Err(full);
                }
            }
        }
        Ok(taken)
    }

    /// For a client that resumes: whether it saw the end of everything, and in place of channels
    /// that ended, were removed and have begun anew since, what it has not seen of them.
    fn settle(
        &self,
        mut channels: Vec<Arc<Channel>>,
        resume: Option<u64>,
        worker: WorkerIndex,
    ) -> (Vec<Arc<Channel>>, bool) {
        let Some(seen) = resume else { return (channels, false) };
        if channels.iter().all(|channel| has_seen_all(channel, seen)) {
            return (channels, true);
        }
        for channel in &mut channels {
            let past = lock(&channel.ring).past();
            let unseen = |past: &Tombstone| past.closed.is_some_and(|closed| closed.seq > seen);
            if let Some(past) = past.filter(unseen) {
                let ghost = self.registry.ghost(channel.name(), past, worker);
                let live = std::mem::replace(channel, ghost);
                self.release(&live, worker);
            }
        }
        (channels, false)
    }

    /// The first cursor, and whether what was dropped before is not lost to the subscriber.
    fn begin(&self, start: &Start, resume: Option<u64>, feed: &Feed) -> (u64, bool) {
        match start {
            Start::After(_) => match resume {
                Some(seen) => (seen + 1, false),
                None => (feed.beginning(self), true),
            },
            Start::Beginning => (feed.beginning(self), true),
            Start::Last(count) => (self.last(*count, feed), true),
            Start::Now => (self.watermark() + 1, true),
        }
    }

    fn last(&self, count: u64, feed: &Feed) -> u64 {
        if feed.follows_journal() {
            return self.look_back(count, |channel, seq| {
                feed.selectors().matches(channel.name()) && lock(&channel.ring).at(seq).is_some()
            });
        }
        let watermark = self.watermark();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut seqs = Vec::new();
        for channel in feed.channels() {
            let ring = lock(&channel.ring);
            seqs.extend(ring.entries().rev().take(count).map(|entry| entry.seq));
        }
        seqs.retain(|seq| *seq <= watermark);
        seqs.sort_unstable();
        let skipped = seqs.len().saturating_sub(count);
        seqs.get(skipped).copied().unwrap_or(watermark + 1)
    }

    /// The control events that stand at the start.
    fn open(
        &self,
        request: &Request,
        mut subscription: Subscription,
        resume: Option<u64>,
        retry_ms: u32,
    ) -> Subscribed {
        let (feed, cursor) = (subscription.feed(), subscription.cursor);
        let lost_epoch = matches!(request.start, Start::After(_)) && resume.is_none();
        // Who must not be told in band is refused for a gap anywhere on the way: cut off there
        // instead, it would come back to the same place for ever.
        let gap = || feed.has_gap_at(self, cursor) || (!request.control && feed.gaps(self, cursor));
        let replay = match resume {
            _ if lost_epoch => Replay::Gap,
            Some(_) if gap() => Replay::Gap,
            Some(_) => Replay::Exact,
            None => Replay::Live,
        };
        if lost_epoch {
            self.count_gap(GapReason::Epoch);
        }
        if replay == Replay::Gap && !request.control {
            if !lost_epoch {
                self.count_gap(GapReason::Evicted);
            }
            return Subscribed::Gap;
        }
        let mut events = Vec::new();
        if request.open {
            events.push(subscription.opened());
        }
        if let (true, Start::After(requested)) = (lost_epoch, &request.start) {
            events.push(subscription.epoch_gap(requested));
        }
        if resume.is_none() {
            for (name, closed) in ended_before(&subscription) {
                events.push(subscription.ended(&name, closed.reason, retry_ms));
            }
        }
        let finished = subscription.has_ended();
        if request.live && request.control && !finished {
            subscription.tell_when_live();
            events.extend(subscription.tell_live());
        }
        if !request.control {
            events.clear();
        }
        Subscribed::Live(Opening { subscription, events, finished, replay })
    }
}

/// Whether a client that saw `seen` has nothing to expect of a channel any more.
fn has_seen_all(channel: &Channel, seen: u64) -> bool {
    let ring = lock(&channel.ring);
    // An event or an end in this life has cleared what is remembered of an earlier one.
    let past = ring.past().and_then(|past| past.closed);
    let ended = ring.closed().or(past);
    ended.is_some_and(|end| end.reason == CloseReason::Deleted || seen >= ring.newest())
}

/// The channels that ended before a first connection begins.
fn ended_before(subscription: &Subscription) -> Vec<(String, Closed)> {
    let ended = |channel: &Arc<Channel>| {
        let closed = lock(&channel.ring).closed()?;
        (closed.seq < subscription.cursor).then(|| (channel.name().to_string(), closed))
    };
    subscription.feed().channels().iter().filter_map(ended).collect()
}
