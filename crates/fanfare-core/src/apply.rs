//! How a publication takes effect: its place, its ring, the bounds, and who is told.
//!
//! Policy: one writer at a time, in the order of `seq`. A publication takes effect as a whole
//! under the order lock or is refused without a trace. Telling the workers comes after that lock
//! and never waits for them.

use std::sync::Arc;

use crate::{
    broker::{Change, Placed, Publication, Refusal},
    channel::Channel,
    control::CloseReason,
    frame::Draft,
    hub::{Hub, Limit, Order, Removal},
    keys::{Known, Scoped},
    name::ChannelName,
    ring::{Closed, Entry},
    sync::{Ordering, fence, lock, read},
    tombstones::Tombstone,
    waiters::Standing,
};

impl Hub {
    /// Applies a publication at `seq`, which must be after all that was applied before: there is
    /// one writer at a time. Nobody is told yet; that is [`announce`](Self::announce).
    pub fn apply(&self, seq: u64, publication: Publication) -> Result<Placed, Refusal> {
        let mut order = lock(&self.order);
        assert!(seq > order.journal.newest(), "events are applied in order");
        let Publication { channel: name, change, instance, producer, key, now_us } = publication;
        self.check_instance(&name, instance)?;
        let now_ms = now_us / 1_000;
        let producer = producer.filter(|_| !matches!(change, Change::Delete));
        assert!(producer.is_some() || !matches!(change, Change::Claim), "a producer claims");
        if let Some(producer) = &producer
            && let Some(done) =
                self.check_producer(&mut order, seq, &name, producer, (&change, now_us))?
        {
            return Ok(done);
        }
        let mut remember = None;
        if let (Some(key), Change::Event(draft, close)) = (key, &change) {
            // Before anything else: a retry is answered even if its channel has ended since.
            let scoped = (name.clone(), key);
            match self.recall(&mut order, &scoped, draft, now_ms)? {
                Some(duplicate) => {
                    let ended = self.close_again(&mut order, seq, &duplicate, (*close, now_us));
                    return Ok(Placed { ended, ..duplicate });
                }
                None => remember = Some((order.keys.digest(draft.content()), scoped)),
            }
        }
        let is_event = matches!(change, Change::Event(..));
        let (channel, placed, ended) = self.carry_out(&mut order, seq, &name, change, now_us)?;
        let event = is_event.then_some(placed);
        if let Some((digest, scoped)) = remember {
            order.keys.remember(scoped, digest, placed, now_ms);
        }
        let note = |of| self.note_producer(&mut order, &channel, of, (event, now_us));
        let producer = producer.as_ref().and_then(note);
        self.keep_bounds(&mut order);
        let id = self.id(placed);
        let channel = Some(channel);
        Ok(Placed { id, subscribers: 0, duplicate: false, ended, channel, producer })
    }

    /// Refuses what is for a life of a channel that is over. Looked at under the order lock, which
    /// keeps the life that is found.
    fn check_instance(&self, name: &ChannelName, instance: Option<u64>) -> Result<(), Refusal> {
        let Some(instance) = instance else { return Ok(()) };
        let found = self.registry.find(name).filter(|channel| channel.instance() == instance);
        found.map(drop).ok_or(Refusal::NoChannel)
    }

    /// Carries out a change; returns the channel, where it stands, and how it ended the channel.
    fn carry_out(
        &self,
        order: &mut Order,
        seq: u64,
        name: &ChannelName,
        change: Change,
        now_us: u64,
    ) -> Result<(Arc<Channel>, u64, Option<CloseReason>), Refusal> {
        let (channel, reason) = match change {
            Change::Claim => {
                let channel = self.find_or_create(name)?;
                let mut ring = lock(&channel.ring);
                let closed = ring.closed();
                closed.map_or(Ok(()), |closed| Err(Refusal::Closed(closed.reason)))?;
                ring.begin(&channel, now_us / 1_000);
                drop(ring);
                return Ok((channel, self.watermark(), None));
            }
            Change::Delete => {
                let channel = self.registry.find(name).ok_or(Refusal::NoChannel)?;
                let placed = self.delete(order, seq, &channel, now_us);
                return Ok((channel, placed, Some(CloseReason::Deleted)));
            }
            Change::Event(draft, close) => {
                let channel = self.find_or_create(name)?;
                self.push(order, seq, &channel, draft, now_us)?;
                if let Some(reason) = close {
                    self.close(order, seq + 1, &channel, reason, now_us);
                }
                return Ok((channel, seq, close));
            }
            Change::Close(reason) => (self.find_or_create(name)?, reason),
            Change::CloseIfDue => {
                let channel = self.registry.find(name).ok_or(Refusal::NotDue)?;
                let due = lock(&channel.ring).is_due(channel.is_publishing(), now_us / 1_000);
                let (reason, why) = due.ok_or(Refusal::NotDue)?;
                self.count_overdue(why);
                (channel, reason)
            }
            Change::Finish => {
                // One that was deleted meanwhile is not made anew to be ended.
                let channel = self.registry.find(name).filter(|channel| channel.exists());
                let channel = channel.ok_or(Refusal::NoChannel)?;
                let is_wished = lock(&channel.ring).is_wished();
                (channel, if is_wished { CloseReason::Cancelled } else { CloseReason::Done })
            }
        };
        let closed = self.close(order, seq, &channel, reason, now_us);
        Ok((channel, closed.seq, Some(closed.reason)))
    }

    /// Tells the workers of a publication that was applied, and counts who it reaches.
    pub fn announce(&self, placed: &mut Placed) {
        let Some(channel) = &placed.channel else { return };
        // Pairs with the fence in `enter`: either a new subscription sees the watermark of this
        // publication, or this sees its interest.
        fence(Ordering::SeqCst);
        let patterns = self.patterns.load(Ordering::Acquire) > 0;
        // A duplicate may have closed its channel.
        if !placed.duplicate || placed.ended.is_some() {
            for worker in channel.interested() {
                self.doorbells[worker].mark(channel, worker);
            }
            if patterns {
                self.mark_journal();
            }
        }
        placed.subscribers = self.subscribers_of(channel);
        if let Some(reason) = placed.ended {
            self.waiters.tell(channel.name(), Standing::Closed(reason));
        }
    }

    /// Subscriptions that a channel reaches: those that name it, and those with a pattern that
    /// matches it.
    pub(crate) fn subscribers_of(&self, channel: &Channel) -> u64 {
        let naming = channel.subscribers();
        if self.patterns.load(Ordering::Acquire) == 0 {
            return naming;
        }
        naming + read(&self.audience).count(channel.name())
    }

    /// What an earlier publish with the same key was answered, if there was one.
    fn recall(
        &self,
        order: &mut Order,
        scoped: &Scoped,
        draft: &Draft,
        now_ms: u64,
    ) -> Result<Option<Placed>, Refusal> {
        match order.keys.look(scoped, draft.content(), now_ms) {
            Known::New => Ok(None),
            Known::Same(seq) => {
                let channel = self.registry.find(&scoped.0);
                let (id, ended) = (self.id(seq), None);
                Ok(Some(Placed {
                    id,
                    subscribers: 0,
                    duplicate: true,
                    ended,
                    channel,
                    producer: None,
                }))
            }
            Known::Different => Err(Refusal::KeyReused),
            Known::Full => {
                self.count_limit(Limit::IdempotencyKeys);
                Err(Refusal::KeysFull(order.keys.keys_max()))
            }
        }
    }

    /// Closes a channel whose newest event is sent again by key, now to close it; returns how the
    /// channel ended then. With a newer event it stays as it is.
    fn close_again(
        &self,
        order: &mut Order,
        seq: u64,
        duplicate: &Placed,
        (close, now_us): (Option<CloseReason>, u64),
    ) -> Option<CloseReason> {
        let channel = duplicate.channel.as_ref()?;
        // Of this life of the channel: one that was made anew since is not ended.
        let reason = close.filter(|_| lock(&channel.ring).last_event() == duplicate.id.seq)?;
        Some(self.close(order, seq, channel, reason, now_us).reason)
    }

    pub(crate) fn find_or_create(&self, name: &ChannelName) -> Result<Arc<Channel>, Refusal> {
        self.registry.find_or_create(name).map_err(|full| {
            self.count_limit(Limit::Channels);
            Refusal::ChannelsFull(full.0)
        })
    }

    fn push(
        &self,
        order: &mut Order,
        seq: u64,
        channel: &Arc<Channel>,
        draft: Draft,
        now_us: u64,
    ) -> Result<(), Refusal> {
        let now_ms = now_us / 1_000;
        let tick = self.next_tick();
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            return Err(Refusal::Closed(closed.reason));
        }
        let frame = draft.seal(&self.epoch(), seq);
        let entry = Entry { seq, published_at_ms: now_ms, frame };
        let bytes = entry.frame.len();
        ring.begin(channel, now_ms);
        order.bytes += entry.cost();
        order.bytes -= ring.push(entry, tick);
        order.schedule.look(&mut ring, channel, now_ms);
        drop(ring);
        self.place(order, seq, channel, now_us);
        self.count_published(bytes);
        Ok(())
    }

    /// Ends a channel at `seq`, or finds it ended; returns its end.
    pub(crate) fn close(
        &self,
        order: &mut Order,
        seq: u64,
        channel: &Arc<Channel>,
        reason: CloseReason,
        now_us: u64,
    ) -> Closed {
        let now_ms = now_us / 1_000;
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            return closed;
        }
        let closed = Closed { seq, reason, at_ms: now_ms };
        ring.begin(channel, now_ms);
        ring.close(closed);
        // Earlier, perhaps, than the look that is scheduled already.
        let due_ms = now_ms.saturating_add(ring.retention.closed_retention_ms);
        order.schedule.put(&mut ring, channel, due_ms);
        drop(ring);
        self.count_closed(reason);
        self.place(order, seq, channel, now_us);
        closed
    }

    /// Ends a channel at `seq` and drops it with all its events.
    fn delete(&self, order: &mut Order, seq: u64, channel: &Arc<Channel>, now_us: u64) -> u64 {
        let tick = self.next_tick();
        let closed = Closed { seq, reason: CloseReason::Deleted, at_ms: now_us / 1_000 };
        let (tombstone, was_closed) = {
            let mut ring = lock(&channel.ring);
            let was_closed = ring.closed().is_some();
            order.bytes -= ring.clear(tick);
            order.producers_bytes -= ring.forget_producers();
            ring.close(closed);
            order.schedule.remove(&mut ring, channel);
            (Tombstone { last_event: ring.newest(), closed: Some(closed) }, was_closed)
        };
        // The end is in place before the name is free: nobody may be told by the tombstone of an
        // end that the watermark has not reached, for nothing would tell them when it has.
        self.place(order, seq, channel, now_us);
        self.registry.remove(channel, tombstone);
        order.journal.note_removed(channel);
        self.count_removed(Removal::Deleted, was_closed);
        seq
    }

    /// Notes an event or an end in the journal and moves the watermark.
    fn place(&self, order: &mut Order, seq: u64, channel: &Arc<Channel>, now_us: u64) {
        // Before it comes in: a full journal of a round number of pairs would double its memory.
        while order.journal.len() >= order.bounds.journal_events_max
            && self.drop_oldest(order, Limit::JournalEvents)
        {}
        order.journal.push(seq, Arc::clone(channel));
        self.stamps.note(seq, now_us);
        self.watermark.store(seq, Ordering::Release);
    }

    /// Lets the hub's oldest events go until the journal and the budget of all rings hold.
    pub(crate) fn keep_bounds(&self, order: &mut Order) {
        loop {
            let limit = if order.journal.len() > order.bounds.journal_events_max {
                Limit::JournalEvents
            } else if order.budgeted_bytes() > order.bounds.rings_bytes_max {
                Limit::RingsBytes
            } else {
                return;
            };
            if !self.drop_oldest(order, limit) {
                return;
            }
        }
    }

    /// Lets the hub's oldest event or end go because of a limit; returns whether there was one.
    fn drop_oldest(&self, order: &mut Order, limit: Limit) -> bool {
        let tick = self.next_tick();
        let Some((seq, channel)) = order.journal.drop_oldest(tick) else { return false };
        self.count_limit(limit);
        let mut ring = lock(&channel.ring);
        if ring.oldest().is_some_and(|entry| entry.seq == seq) {
            order.bytes -= ring.drop_oldest(tick);
        }
        true
    }

    fn mark_journal(&self) {
        for (doorbell, interest) in self.doorbells.iter().zip(&self.journal_interest) {
            if interest.load(Ordering::Acquire) > 0 {
                doorbell.mark_journal();
            }
        }
    }
}
