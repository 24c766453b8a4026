//! Members come and go, and their groups with them.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Feed, Framing, HEARTBEAT, ReconnectReason};
use mio::{Interest, net::TcpStream};

use crate::{
    fanout::Attach,
    group::{Group, GroupKey},
    member::{Member, Sent},
    totals::Disconnect,
    wheel::Handle,
    worker::{Worker, to_token},
};

impl Worker {
    /// Takes a subscriber over. It is served alone first, so its feed is always looked at once.
    pub(crate) fn attach(&mut self, attach: Attach) {
        let Attach { socket, opening, head, framing, heartbeat_ms, age_ms_max, seat, permit } =
            attach;
        let pending = first_bytes(head, &opening.events, framing, opening.finished);
        let socket = TcpStream::from_std(socket);
        let mut member =
            Member::new(socket, opening.subscription, pending, heartbeat_ms, seat, permit);
        member.closing = opening.finished.then_some(Disconnect::Ended);
        member.leaving = self.drain.is_some().then_some(ReconnectReason::Drain);
        if age_ms_max > 0 {
            member.leaves_at_ms = self.now_ms.saturating_add(age_ms_max);
        }
        member.generation = self.next_generation();
        member.sent_at_ms = self.now_ms;
        let entry = self.members.vacant_entry();
        let key = entry.key() as u32;
        let handle = Handle { key, generation: member.generation };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.poll.registry().register(&mut member.socket, to_token(handle), interest);
        if registered.is_err() {
            return self.totals.count(Disconnect::Client);
        }
        entry.insert(member);
        self.join(key, framing);
        self.arm(key);
        self.serve_alone(key);
    }

    /// Puts a member into the group of its feed, made if need be.
    fn join(&mut self, key: u32, framing: Framing) {
        let member = &mut self.members[key as usize];
        let Some(subscription) = &mut member.subscription else { return };
        let group_key = GroupKey { feed: subscription.feed().key(), framing };
        let group = match self.by_key.get(&group_key) {
            Some(group) => {
                subscription.share(&self.groups[*group as usize].feed);
                *group
            }
            None => {
                let feed = Arc::clone(subscription.feed());
                self.found(group_key, feed)
            }
        };
        let members = &mut self.groups[group as usize].members;
        let member = &mut self.members[key as usize];
        member.group = group;
        member.place = members.len() as u32;
        members.push(key);
        self.subscribers += 1;
    }

    /// Makes a group. What was published before is behind its head, and each member that wants it
    /// is served alone; what comes after marks the group.
    fn found(&mut self, key: GroupKey, feed: Arc<Feed>) -> u32 {
        let head = self.hub.watermark() + 1;
        let generation = self.next_generation();
        let framing = key.framing;
        let group = self.groups.insert(Group::new(Arc::clone(&feed), framing, generation, head));
        let group = group as u32;
        self.by_key.insert(key, group);
        for channel in feed.channels() {
            self.by_channel.entry(channel.instance()).or_default().push(group);
        }
        if feed.follows_journal() {
            if self.journal_groups == 0 {
                self.walked = head;
            }
            self.journal_groups += 1;
            self.patterns.insert(feed.selectors(), group);
            self.matches.clear();
        }
        group
    }

    /// Forgets a group without members.
    fn dissolve(&mut self, group: u32) {
        let Group { feed, framing, .. } = self.groups.remove(group as usize);
        self.by_key.remove(&GroupKey { feed: feed.key(), framing });
        for channel in feed.channels() {
            if let Some(groups) = self.by_channel.get_mut(&channel.instance()) {
                groups.retain(|other| *other != group);
                if groups.is_empty() {
                    self.by_channel.remove(&channel.instance());
                }
            }
        }
        if feed.follows_journal() {
            self.journal_groups -= 1;
            self.patterns.remove(feed.selectors(), group);
            self.matches.clear();
        }
        if self.alone_group == Some(group) {
            self.alone_group = None;
        }
    }

    /// Takes a member out of its group. Its subscription ends here, so every count follows.
    fn depart(&mut self, key: u32) {
        let member = &mut self.members[key as usize];
        if member.subscription.take().is_none() {
            return;
        }
        self.subscribers -= 1;
        let (group_key, place) = (member.group, member.place);
        let group = &mut self.groups[group_key as usize];
        group.members.swap_remove(place as usize);
        if let Some(moved) = group.members.get(place as usize) {
            self.members[*moved as usize].place = place;
        }
        if group.members.is_empty() {
            self.dissolve(group_key);
        }
    }

    /// Closes a connection now.
    pub(crate) fn remove(&mut self, key: u32, reason: Disconnect) {
        let Some(member) = self.members.get_mut(key as usize) else { return };
        if member.subscription.is_some() {
            let reason = member.closing.unwrap_or(reason);
            self.count_disconnect(reason);
        }
        self.unblock(key);
        self.depart(key);
        // Closing the socket takes it out of the poll.
        drop(self.members.remove(key as usize));
    }

    /// Ends a stream whose last byte was taken: says so, and leaves the close to the peer.
    pub(crate) fn linger(&mut self, key: u32, reason: Disconnect) {
        self.count_disconnect(reason);
        self.depart(key);
        let member = &mut self.members[key as usize];
        member.sent_at_ms = self.now_ms;
        if member.shut() == Sent::Gone {
            return self.remove(key, reason);
        }
        self.arm(key);
    }

    fn count_disconnect(&mut self, reason: Disconnect) {
        self.totals.count(reason);
        self.departed += u64::from(reason == Disconnect::Drain);
    }

    /// Notes that a member's socket takes no more, and what it keeps in memory meanwhile.
    pub(crate) fn block(&mut self, key: u32) {
        self.blocked += 1;
        let member = &mut self.members[key as usize];
        if let Some(frame) = member.begun {
            let (pin, too_much) = self.pins.add(frame, key);
            member.pin = Some(pin);
            if too_much {
                self.hub.ring_all();
            }
        }
        self.arm(key);
    }

    /// Disconnects members until what they keep in memory is not too much. Between turns: a pass
    /// must not lose members that it has not seen.
    pub(crate) fn unpin(&mut self) {
        while let Some(key) = self.pins.excess() {
            self.remove(key, Disconnect::Memory);
        }
    }

    /// Notes that a member's socket takes bytes again, or is closed; returns whether it did not.
    pub(crate) fn unblock(&mut self, key: u32) -> bool {
        let member = &mut self.members[key as usize];
        if !std::mem::take(&mut member.blocked) {
            return false;
        }
        self.blocked -= 1;
        if let Some(pin) = member.pin.take() {
            self.pins.remove(pin);
        }
        true
    }

    fn next_generation(&mut self) -> u32 {
        // The highest one is left out: with it a token could equal the waker's.
        self.generations = (self.generations + 1) % u32::MAX;
        self.generations
    }
}

/// The head, a comment that makes buffering proxies pass it on, and the control events that stand
/// at the start.
fn first_bytes(mut head: Vec<u8>, events: &[Vec<u8>], framing: Framing, finished: bool) -> Bytes {
    framing.wrap(HEARTBEAT, &mut head);
    for event in events {
        framing.wrap(event, &mut head);
    }
    if finished {
        head.extend_from_slice(framing.last());
    }
    head.into()
}
