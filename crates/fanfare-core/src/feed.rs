//! What a group of subscribers sees: one channel, several merged by `seq`, or the journal's
//! matches of patterns. Reading is a function of a cursor; there is no other state.
//!
//! Policy: a read gives events in order up to the watermark, and stops where something stands
//! that each subscriber is told in its own words: a gap, or the end of a channel. A gap stands at
//! the newest lost event, so what is read before it is never behind it, and a position after it
//! is past all that was lost. What a channel lost are always its oldest events: a gap says that
//! everything of its channels up to there which the subscriber did not get is gone.

use std::sync::Arc;

use crate::{
    channel::Channel,
    coalesce::Coalesce,
    control::CloseReason,
    frame::Frame,
    hub::Hub,
    id::EventId,
    limits::JOURNAL_WALK_MAX,
    name::{ChannelName, Selectors},
    ring::{Closed, Dropped, Retention, SlowPolicy, cost},
    subscription::Request,
    sync::lock,
};

/// What subscriptions with the same selectors read.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What was asked for.
    selectors: Selectors,
    /// Where it is read.
    source: Source,
    /// Whether data is put into `{"channel": …, "data": …}`.
    envelope: bool,
    /// What is put together; only where it reads one channel.
    coalesce: Option<Coalesce>,
}

#[derive(Clone, Debug)]
enum Source {
    /// Patterns, perhaps with channels beside them.
    Journal,
    /// Several channels.
    Many(Box<[Arc<Channel>]>),
    /// One channel.
    One(Arc<Channel>),
}

/// Tells feeds apart: subscriptions with equal keys see the same bytes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FeedKey {
    /// The lives of the channels; empty for patterns.
    instances: Box<[u64]>,
    /// The selectors, where patterns make them matter.
    selectors: Option<Selectors>,
    /// Whether data is enveloped.
    envelope: bool,
    /// What is put together.
    coalesce: Option<Coalesce>,
}

/// What a read found: events, then perhaps a stop.
#[derive(Debug, Default)]
pub struct Run {
    /// Events with their `seq`, ascending.
    pub frames: Vec<(u64, Frame)>,
    /// The first and the last `seq` of those that stand for several, ascending.
    pub merged: Vec<(u64, u64)>,
    /// The cursor after the events and the stop.
    pub end: u64,
    /// What stands after the events.
    pub stop: Option<Stop>,
    /// Whether nothing more was there up to the watermark.
    pub exhausted: bool,
}

/// Something that each subscriber is told in its own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// A channel was closed.
    End {
        /// Which.
        channel: ChannelName,
        /// Where its end stands.
        seq: u64,
        /// Why.
        reason: CloseReason,
    },
    /// Events were lost.
    Gap {
        /// Of these channels; empty stands for all of the subscription.
        channels: Vec<ChannelName>,
        /// The newest lost event.
        through: u64,
        /// The hub's count of drops when it was lost.
        tick: u64,
        /// What becomes of subscribers that were too slow for it.
        policy: SlowPolicy,
    },
}

impl Feed {
    /// The feed of channels that were found already.
    pub(crate) fn of_channels(request: &Request, channels: Vec<Arc<Channel>>) -> Self {
        let source = match <[_; 1]>::try_from(channels) {
            Ok([channel]) => Source::One(channel),
            Err(channels) => Source::Many(channels.into()),
        };
        Self::of(request, source)
    }

    /// The feed of selectors with a pattern.
    pub(crate) fn of_patterns(request: &Request) -> Self {
        Self::of(request, Source::Journal)
    }

    fn of(request: &Request, source: Source) -> Self {
        let Request { selectors, envelope, coalesce, .. } = request;
        let is_one = matches!(source, Source::One(_));
        let coalesce = coalesce.clone().filter(|_| is_one);
        Self { selectors: selectors.clone(), source, envelope: *envelope, coalesce }
    }

    /// Tells this feed from others.
    pub fn key(&self) -> FeedKey {
        let instances = self.channels().iter().map(|channel| channel.instance()).collect();
        let selectors = self.follows_journal().then(|| self.selectors.clone());
        let (envelope, coalesce) = (self.envelope, self.coalesce.clone());
        FeedKey { instances, selectors, envelope, coalesce }
    }

    /// The channels it reads; none if it follows the journal.
    pub fn channels(&self) -> &[Arc<Channel>] {
        match &self.source {
            Source::Journal => &[],
            Source::Many(channels) => channels,
            Source::One(channel) => std::slice::from_ref(channel),
        }
    }

    /// What was asked for.
    pub fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    /// Whether it has a pattern, so that the journal tells what is new.
    pub fn follows_journal(&self) -> bool {
        matches!(self.source, Source::Journal)
    }

    /// What is put together.
    pub fn coalesce(&self) -> Option<&Coalesce> {
        self.coalesce.as_ref()
    }

    /// Whether a streaming publish is open on one of its channels.
    pub fn is_publishing(&self) -> bool {
        self.channels().iter().any(|channel| channel.is_publishing())
    }

    /// Whether all its channels have ended before `cursor`. A feed with a pattern never does.
    pub fn has_ended(&self, cursor: u64) -> bool {
        let ended = |channel: &Arc<Channel>| {
            lock(&channel.ring).closed().is_some_and(|closed| closed.seq < cursor)
        };
        !self.follows_journal() && self.channels().iter().all(ended)
    }

    /// The newest event that a feed of one channel keeps, up to the watermark.
    pub(crate) fn newest(&self, hub: &Hub) -> Option<u64> {
        let Source::One(channel) = &self.source else { return None };
        let watermark = hub.watermark();
        let ring = lock(&channel.ring);
        ring.entries().rev().map(|entry| entry.seq).find(|seq| *seq <= watermark)
    }

    /// How far behind a reader at `cursor` is: events that its channels keep from there on; for a
    /// feed that follows the journal, places of the whole hub.
    pub fn backlog(&self, hub: &Hub, cursor: u64) -> u64 {
        let kept = |channel: &Arc<Channel>| lock(&channel.ring).kept_from(cursor) as u64;
        match &self.source {
            Source::Journal => (hub.watermark() + 1).saturating_sub(cursor),
            _ => self.channels().iter().map(kept).sum(),
        }
    }

    /// Reads on from `cursor`: about `bytes_max` bytes of frames, but at least one event if there
    /// is any. `run` is emptied first and its memory reused.
    pub fn read(&self, hub: &Hub, cursor: u64, bytes_max: usize, run: &mut Run) {
        run.frames.clear();
        run.merged.clear();
        run.stop = None;
        match &self.source {
            Source::Journal => self.read_journal(hub, cursor, bytes_max, run),
            Source::Many(channels) => self.read_many(channels, hub, cursor, bytes_max, run),
            Source::One(channel) => self.read_one(channel, hub, cursor, bytes_max, run),
        }
        debug_assert!(run.end >= cursor, "a read goes on");
        debug_assert!(run.frames.is_sorted_by(|a, b| a.0 < b.0), "ids rise");
    }

    /// Where a reader that wants everything begins.
    pub(crate) fn beginning(&self, hub: &Hub) -> u64 {
        let dropped = |channel: &Arc<Channel>| lock(&channel.ring).dropped().through;
        let through = match &self.source {
            Source::Journal => hub.journal_dropped().through,
            _ => self.channels().iter().map(dropped).min().unwrap_or(0),
        };
        through + 1
    }

    /// Whether a reader at `cursor` has lost something already.
    pub(crate) fn has_gap_at(&self, hub: &Hub, cursor: u64) -> bool {
        let gapped = |dropped: Dropped| dropped.through >= cursor && dropped.through > 0;
        match &self.source {
            Source::Journal => gapped(hub.journal_dropped()),
            _ => self.channels().iter().any(|channel| gapped(lock(&channel.ring).dropped())),
        }
    }

    /// Whether a reader that goes on from `cursor` now meets a gap on its way. Only patterns have
    /// to walk for it: what they match is known by the journal alone.
    pub(crate) fn gaps(&self, hub: &Hub, mut cursor: u64) -> bool {
        if !self.follows_journal() {
            return self.has_gap_at(hub, cursor);
        }
        let gone = |(seq, channel): &(u64, Arc<Channel>)| {
            self.selectors.matches(channel.name())
                && matches!(look_at(channel, *seq), At::Stop(Stop::Gap { .. }))
        };
        let mut pairs = Vec::new();
        loop {
            let walk = hub.walk_journal(cursor, &mut pairs);
            if walk.gap.is_some() || pairs.iter().any(gone) {
                return true;
            }
            if walk.exhausted {
                return false;
            }
            cursor = walk.next;
        }
    }

    /// The events of a feed of one channel from `cursor` on, as they were published.
    pub(crate) fn look_at(&self, hub: &Hub, cursor: u64, bytes_max: usize) -> Option<Found> {
        let Source::One(channel) = &self.source else { return None };
        let (watermark, mut frames) = (hub.watermark(), Vec::new());
        let ring = lock(&channel.ring);
        let look = ring.look(cursor, watermark, bytes_max, &mut frames);
        let Retention { ring_events_max, ring_bytes_max, .. } = *ring.retention;
        drop(ring);
        let bytes = frames.iter().map(|(_, frame)| cost(frame)).sum();
        let end = match frames.last() {
            Some((last, _)) if look.cut => last + 1,
            _ => cursor.max(watermark + 1),
        };
        let is_cut = look.cut || look.gap.is_some() || look.end.is_some();
        Some(Found { frames, bytes, end, is_cut, ring_events_max, ring_bytes_max })
    }

    fn read_one(&self, channel: &Channel, hub: &Hub, cursor: u64, bytes_max: usize, run: &mut Run) {
        let watermark = hub.watermark();
        let look = lock(&channel.ring).look(cursor, watermark, bytes_max, &mut run.frames);
        if let Some(dropped) = look.gap {
            run.frames.clear();
            return run.stop_at(gap_stop(channel.name(), dropped), dropped.0.through);
        }
        if let Some(coalesce) = &self.coalesce {
            coalesce.merge_run(run, hub.epoch());
        }
        self.envelop(channel, &mut run.frames, hub);
        match (look.end, run.frames.last()) {
            (_, Some((last, _))) if look.cut => run.cut_after(*last),
            (Some(closed), _) => run.stop_at(end_stop(channel.name(), closed), closed.seq),
            (None, _) => {
                run.exhausted = true;
                run.end = cursor.max(watermark + 1);
            }
        }
    }

    fn read_many(
        &self,
        channels: &[Arc<Channel>],
        hub: &Hub,
        cursor: u64,
        bytes_max: usize,
        run: &mut Run,
    ) {
        let watermark = hub.watermark();
        // Nothing after `upto` belongs to this run: there the bound on bytes cut a channel.
        let mut upto = watermark;
        let mut stop: Option<(u64, Stop)> = None;
        for channel in channels {
            let start = run.frames.len();
            let look = lock(&channel.ring).look(cursor, upto, bytes_max, &mut run.frames);
            self.envelop(channel, &mut run.frames[start..], hub);
            if look.cut {
                upto = run.frames.last().map_or(upto, |(seq, _)| *seq);
            }
            let gap = look.gap.map(|lost| (lost.0.through, gap_stop(channel.name(), lost)));
            let end = look.end.map(|closed| (closed.seq, end_stop(channel.name(), closed)));
            for found in [gap, end].into_iter().flatten() {
                stop = Some(earlier(stop, found));
            }
        }
        if let Some((at, _)) = stop {
            run.frames.retain(|(seq, _)| *seq <= at);
        }
        run.frames.retain(|(seq, _)| *seq <= upto);
        run.frames.sort_unstable_by_key(|(seq, _)| *seq);
        if let Some(last) = cut_to(&mut run.frames, bytes_max) {
            return run.cut_after(last);
        }
        match stop {
            Some((at, stop)) if at <= upto => run.stop_at(stop, at),
            _ => {
                run.exhausted = upto == watermark;
                run.end = cursor.max(upto + 1);
            }
        }
    }

    fn read_journal(&self, hub: &Hub, cursor: u64, bytes_max: usize, run: &mut Run) {
        let mut pairs = Vec::new();
        let walk = hub.walk_journal(cursor, &mut pairs);
        if let Some(dropped) = walk.gap {
            let (through, tick) = (dropped.through, dropped.tick);
            // What it was that is gone is not known, nor what its channels do about it.
            let (channels, policy) = (Vec::new(), SlowPolicy::Gap);
            return run.stop_at(Stop::Gap { channels, through, tick, policy }, through);
        }
        let mut bytes = 0;
        for (seq, channel) in &pairs {
            if !self.selectors.matches(channel.name()) {
                continue;
            }
            match look_at(channel, *seq) {
                At::Covered => {}
                At::Event(frame) => {
                    if bytes > 0 && bytes + frame.len() > bytes_max {
                        return run.cut_after(*seq - 1);
                    }
                    bytes += frame.len();
                    run.frames.push((*seq, frame));
                    let last = run.frames.len() - 1;
                    self.envelop(channel, &mut run.frames[last..], hub);
                }
                At::Stop(stop) => return run.stop_at(stop, *seq),
            }
        }
        run.exhausted = walk.exhausted;
        run.end = cursor.max(walk.next);
    }

    fn envelop(&self, channel: &Channel, frames: &mut [(u64, Frame)], hub: &Hub) {
        if self.envelope {
            for (seq, frame) in frames {
                let id = EventId { epoch: hub.epoch(), seq: *seq };
                *frame = frame.enveloped(id, channel.name().as_str());
            }
        }
    }
}

impl Run {
    fn stop_at(&mut self, stop: Stop, at: u64) {
        self.stop = Some(stop);
        self.end = at + 1;
        self.exhausted = false;
    }

    fn cut_after(&mut self, last: u64) {
        self.end = last + 1;
        self.exhausted = false;
    }
}

/// Events as they were published, and what keeps them.
pub(crate) struct Found {
    /// The events with their `seq`.
    pub(crate) frames: Vec<(u64, Frame)>,
    /// What they count in their ring.
    pub(crate) bytes: usize,
    /// The cursor after them.
    pub(crate) end: u64,
    /// Whether they are not all, or a gap or the end stands there too.
    pub(crate) is_cut: bool,
    /// The bounds of the ring.
    pub(crate) ring_events_max: usize,
    pub(crate) ring_bytes_max: usize,
}

/// What the journal's pair stands for now.
enum At {
    /// The event is gone, and a later pair of the channel tells of it.
    Covered,
    Event(Frame),
    Stop(Stop),
}

fn look_at(channel: &Channel, seq: u64) -> At {
    let ring = lock(&channel.ring);
    if let Some(entry) = ring.at(seq) {
        return At::Event(entry.frame.clone());
    }
    match ring.closed() {
        Some(closed) if closed.seq == seq => At::Stop(end_stop(channel.name(), closed)),
        _ if ring.dropped().through == seq => {
            let lost = (ring.dropped(), ring.retention.slow_policy);
            At::Stop(gap_stop(channel.name(), lost))
        }
        _ => At::Covered,
    }
}

fn gap_stop(name: &ChannelName, (dropped, policy): (Dropped, SlowPolicy)) -> Stop {
    let (through, tick) = (dropped.through, dropped.tick);
    Stop::Gap { channels: vec![name.clone()], through, tick, policy }
}

fn end_stop(name: &ChannelName, closed: Closed) -> Stop {
    Stop::End { channel: name.clone(), seq: closed.seq, reason: closed.reason }
}

/// The stop that stands first; gaps that stand together are told together.
fn earlier(first: Option<(u64, Stop)>, other: (u64, Stop)) -> (u64, Stop) {
    let Some((at, mut stop)) = first else { return other };
    if at != other.0 {
        return if at < other.0 { (at, stop) } else { other };
    }
    if let (
        Stop::Gap { channels, tick, policy, .. },
        Stop::Gap { channels: more, tick: other_tick, policy: other_policy, .. },
    ) = (&mut stop, other.1)
    {
        channels.extend(more);
        *tick = (*tick).max(other_tick);
        if other_policy == SlowPolicy::Disconnect {
            *policy = other_policy;
        }
    }
    (at, stop)
}

/// Cuts frames to about `bytes_max`; returns the last `seq` that is kept if any was cut.
fn cut_to(frames: &mut Vec<(u64, Frame)>, bytes_max: usize) -> Option<u64> {
    let mut bytes = 0;
    let over = |(index, (_, frame)): (usize, &(u64, Frame))| {
        bytes += frame.len();
        bytes > bytes_max && index > 0
    };
    let keep = frames.iter().enumerate().position(over)?;
    frames.truncate(keep);
    frames.last().map(|(seq, _)| *seq)
}

const _: () = assert!(JOURNAL_WALK_MAX > 0);
