//! The hot path: one slice of work, at most so many sends and bytes, between two polls.
//!
//! A group's pass offers one batch to every member; a pass may take many turns, and what comes
//! meanwhile joins the batch for members not yet seen, so under load the cost per event falls by
//! itself. Members that are new, behind or writable again are served alone.

use fanfare_core::{Batch, Subscription, limits::BATCH_BYTES_MAX};

use crate::{
    group::Pass,
    limits::{SPARE_BATCHES_MAX, TURN_BYTES_MAX, TURN_LOOKS_MAX, TURN_SENDS_MAX},
    member::Sent,
    totals::{Disconnect, Totals},
    wheel::Handle,
    worker::{Worker, make_ready},
};

/// What is left of a turn.
struct Budget {
    sends: usize,
    bytes: usize,
    looks: usize,
}

impl Budget {
    fn new() -> Self {
        Self { sends: TURN_SENDS_MAX, bytes: TURN_BYTES_MAX, looks: TURN_LOOKS_MAX }
    }

    fn spend(&mut self, bytes: usize) {
        self.sends -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.sends == 0 || self.bytes == 0 || self.looks == 0
    }
}

impl Worker {
    /// One turn for the groups, one for the members that are served alone.
    pub(crate) fn turn(&mut self) {
        let mut budget = Budget::new();
        while !budget.is_spent()
            && let Some((key, generation)) = self.ready.pop_front()
        {
            let group = self.groups.get_mut(key as usize).filter(|g| g.generation == generation);
            if let Some(group) = group {
                group.queued = false;
                self.pass(key, &mut budget);
            }
        }
        let mut budget = Budget::new();
        // A member that goes to the tail comes back in a later turn.
        for _ in 0..self.alone.len() {
            if budget.is_spent() {
                break;
            }
            let Some(handle) = self.alone.pop_front() else { break };
            if let Some(member) = self.member(handle) {
                member.queued = false;
                self.step(handle.key, &mut budget);
            }
        }
    }

    /// A slice of a group's pass. It begins one if none is under way.
    fn pass(&mut self, key: u32, budget: &mut Budget) {
        let Some(mut pass) = self.take_pass(key) else { return budget.spend(0) };
        while pass.unseen > 0 && !budget.is_spent() {
            pass.unseen -= 1;
            budget.looks -= 1;
            // Members that left since are no longer there to be seen.
            let Some(&member) = self.groups[key as usize].members.get(pass.unseen) else {
                continue;
            };
            self.offer(key, member, &pass.batch, budget);
            if !self.groups.contains(key as usize) {
                return self.keep_spare(pass.batch);
            }
        }
        let group = &mut self.groups[key as usize];
        if pass.unseen > 0 {
            group.queued = true;
            let generation = group.generation;
            group.pass = Some(pass);
            return self.ready.push_back((key, generation));
        }
        group.finish(&pass);
        let again = std::mem::take(&mut group.again);
        if again || !pass.batch.is_exhausted() {
            make_ready(&mut self.groups, &mut self.ready, key);
        }
        self.keep_spare(pass.batch);
    }

    /// The pass under way with what came since, or a new one; none if there is nothing to do.
    fn take_pass(&mut self, key: u32) -> Option<Pass> {
        let group = &mut self.groups[key as usize];
        if let Some(mut pass) = group.pass.take() {
            let room = BATCH_BYTES_MAX.saturating_sub(pass.batch.len());
            // What waits for a window does not slip into a pass.
            let joins = group.again && group.held.is_none();
            if joins && pass.batch.is_exhausted() && room > 0 {
                group.feed.read(&self.hub, pass.batch.end(), room, &mut self.run);
                pass.batch.append(&mut self.run);
            }
            return Some(pass);
        }
        if group.held.is_some() && self.holds(key) {
            return None;
        }
        let group = &mut self.groups[key as usize];
        group.feed.read(&self.hub, group.head, BATCH_BYTES_MAX, &mut self.run);
        let mut batch = self.spare.pop().unwrap_or_else(|| Batch::new(group.framing));
        batch.reset(group.framing, group.quiet_from);
        batch.append(&mut self.run);
        if batch.is_empty() && batch.stop().is_none() {
            group.head = batch.end();
            let exhausted = batch.is_exhausted();
            self.keep_spare(batch);
            if !exhausted {
                make_ready(&mut self.groups, &mut self.ready, key);
            }
            return None;
        }
        let (unseen, first_end) = (group.members.len(), batch.end());
        Some(Pass { batch, unseen, first_end })
    }

    /// Offers the batch of a pass to one member.
    fn offer(&mut self, group: u32, key: u32, batch: &Batch, budget: &mut Budget) {
        let member = &mut self.members[key as usize];
        let Some(subscription) = member.subscription.as_ref().filter(|_| member.is_open()) else {
            return;
        };
        let cursor = subscription.cursor;
        if !batch.covers(cursor) {
            if cursor < batch.end() {
                self.serve_alone(key);
            }
            return;
        }
        self.deliver(group, key, cursor, batch, budget);
    }

    /// Writes a batch from `cursor` on, and goes past what stands at its end.
    fn deliver(&mut self, group: u32, key: u32, cursor: u64, batch: &Batch, budget: &mut Budget) {
        let member = &mut self.members[key as usize];
        let live_from = member.subscription.as_ref().map_or(0, Subscription::live_from);
        let Totals { bytes_sent, events_delivered, .. } = self.totals;
        let sent = member.send(batch, cursor, self.now_ms, &mut self.totals);
        budget.spend((self.totals.bytes_sent - bytes_sent) as usize);
        let events = (self.totals.events_delivered - events_delivered) as usize;
        if events > 0 {
            self.note(batch, cursor, events, live_from);
        }
        let member = &mut self.members[key as usize];
        match sent {
            Sent::All => {
                let framing = self.groups[group as usize].framing;
                member.pass(batch, framing, end_retry_ms());
                if !member.pending.is_empty() || member.closing.is_some() {
                    self.flush(key);
                }
            }
            Sent::Blocked => self.block(key),
            Sent::Gone => self.remove(key, Disconnect::Client),
        }
    }

    /// Counts a write that carried events.
    fn note(&mut self, batch: &Batch, cursor: u64, events: usize, live_from: u64) {
        let totals = &mut self.totals;
        totals.events_per_write.add_by_powers(events);
        if cursor < live_from {
            let replayed = batch.events_between(cursor, live_from).min(events);
            totals.events_replayed += replayed as u64;
        }
        // Any of them, so that no place in a batch counts more than others. How old replayed ones
        // are says nothing.
        if self.sampler.is_due()
            && let Some(seq) = batch.seq_from(cursor, fastrand::usize(..events))
            && seq >= live_from
        {
            totals.note_delivery(&self.hub, seq);
        }
    }

    /// Sends what is pending for a member, and ends its stream if that was the last of it.
    pub(crate) fn flush(&mut self, key: u32) {
        let member = &mut self.members[key as usize];
        match member.flush(self.now_ms, &mut self.totals) {
            Sent::All => {
                if let Some(reason) = member.closing
                    && member.subscription.is_some()
                {
                    self.linger(key, reason);
                }
            }
            Sent::Blocked => self.block(key),
            Sent::Gone => self.remove(key, Disconnect::Client),
        }
    }

    /// Queues a member to be served alone, at most once.
    pub(crate) fn serve_alone(&mut self, key: u32) {
        let member = &mut self.members[key as usize];
        if !std::mem::replace(&mut member.queued, true) {
            self.alone.push_back(Handle { key, generation: member.generation });
        }
    }

    /// One step of a member that is served alone: what is pending, with a batch from where it
    /// stands. It goes to the tail until a read of its own has brought it to the watermark.
    fn step(&mut self, key: u32, budget: &mut Budget) {
        let member = &self.members[key as usize];
        if member.blocked {
            return;
        }
        if member.closing.is_some() {
            budget.spend(member.pending.len());
            self.flush(key);
            return;
        }
        let member = &mut self.members[key as usize];
        let group = member.group;
        let Some(subscription) = &mut member.subscription else { return };
        let cursor = self.groups[group as usize].standing(subscription.cursor, self.walked);
        subscription.cursor = cursor;
        let fresh = self.read_alone(group, cursor);
        let batch =
            std::mem::replace(&mut self.alone_batch, Batch::new(fanfare_core::Framing::Bare));
        self.deliver(group, key, cursor, &batch, budget);
        let caught_up = fresh && batch.is_exhausted();
        self.alone_batch = batch;
        let Some(member) = self.members.get(key as usize).filter(|m| m.is_open()) else { return };
        if !caught_up {
            self.serve_alone(key);
        } else if let Some(reason) = member.leaving {
            self.depart_with_reconnect(key, reason);
        }
    }

    /// Makes `alone_batch` cover `cursor`; returns whether it was read just now.
    fn read_alone(&mut self, group: u32, cursor: u64) -> bool {
        if self.alone_group == Some(group) && self.alone_batch.covers(cursor) {
            return false;
        }
        let Some(found) = self.groups.get(group as usize) else { return true };
        found.feed.read(&self.hub, cursor, BATCH_BYTES_MAX, &mut self.run);
        self.alone_batch.reset(found.framing, cursor);
        self.alone_batch.append(&mut self.run);
        self.alone_group = Some(group);
        true
    }

    fn keep_spare(&mut self, mut batch: Batch) {
        if self.spare.len() < SPARE_BATCHES_MAX {
            // Its frames are let go now, its memory is kept.
            batch.reset(fanfare_core::Framing::Bare, 0);
            self.spare.push(batch);
        }
    }
}

/// When a client that ignores an end comes back: different for each.
fn end_retry_ms() -> u32 {
    use fanfare_core::limits::{END_RETRY_MS_MAX, END_RETRY_MS_MIN};
    fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX)
}
