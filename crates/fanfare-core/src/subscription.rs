//! A subscriber: a position in a feed, never a queue.

use std::sync::Arc;

use crate::{
    coalesce::Coalesce,
    control::{self, CloseReason, GapReason, ReconnectReason},
    doorbell::WorkerIndex,
    feed::{Feed, Stop},
    hub::Hub,
    id::EventId,
    name::{ChannelName, Selectors},
    ring::SlowPolicy,
};

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The channels and patterns.
    pub selectors: Selectors,
    /// Where it begins.
    pub start: Start,
    /// Whether control events are sent at all.
    pub control: bool,
    /// Whether `fanfare.open` is sent.
    pub open: bool,
    /// Whether data is put into `{"channel": …, "data": …}`.
    pub envelope: bool,
    /// What is put together; only for a subscription of one channel.
    pub coalesce: Option<Coalesce>,
    /// Whether `fanfare.live` is sent.
    pub live: bool,
}

/// Where a subscription begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Start {
    /// After the event of this last event id, whatever the client sent as one.
    After(String),
    /// At the oldest event that is kept.
    Beginning,
    /// So many events back, of the merged sequence.
    Last(u64),
    /// With the next event.
    Now,
}

/// How the beginning of a subscription turned out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replay {
    /// From a last event id, with nothing lost.
    Exact,
    /// From a last event id, with events lost.
    Gap,
    /// Without a last event id.
    Live,
}

impl Replay {
    /// All of them, for counters.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Gap, Self::Live];

    /// The result as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Gap => "gap",
            Self::Live => "live",
        }
    }
}

/// What became of a request to subscribe.
#[derive(Debug)]
pub enum Subscribed {
    /// All its channels are closed and it saw their last events: nothing will ever come.
    Finished,
    /// It goes on after a gap but must not be told in band.
    Gap,
    /// It is a subscriber now.
    Live(Opening),
}

/// A new subscription and what it is told first.
#[derive(Debug)]
pub struct Opening {
    /// The position.
    pub subscription: Subscription,
    /// Control events for the start of the stream, each as sse bytes.
    pub events: Vec<Vec<u8>>,
    /// Whether the stream ends right after them.
    pub finished: bool,
    /// How it began.
    pub replay: Replay,
}

/// One subscriber's place in a feed. Dropping it takes its interest back.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    feed: Arc<Feed>,
    worker: WorkerIndex,
    /// The next `seq` to read.
    pub cursor: u64,
    /// The hub's count of drops when the subscription began.
    attached_tick: u64,
    /// Events from here on were placed after it began.
    live_from: u64,
    /// Whether what was dropped before it began is not lost to it.
    forgives: bool,
    /// Whether control events are sent.
    control: bool,
    /// Whether it is to be told when it has everything from before it began.
    owes_live: bool,
}

/// What a subscriber does about a stop.
#[derive(Debug, Eq, PartialEq)]
pub enum Met {
    /// End the stream without its last chunk: it lost events and must not be told in band.
    Abort,
    /// Send these sse bytes and end the stream without its last chunk: it was too slow for a
    /// channel that keeps no slow subscribers.
    Cut(Vec<u8>),
    /// Nothing; it goes on.
    Nothing,
    /// Send these sse bytes and go on.
    Tell(Vec<u8>),
}

impl Subscription {
    pub(crate) fn new(
        hub: Arc<Hub>,
        feed: Feed,
        worker: WorkerIndex,
        attached_tick: u64,
        control: bool,
    ) -> Self {
        let feed = Arc::new(feed);
        let live_from = hub.watermark() + 1;
        let (cursor, forgives, owes_live) = (0, false, false);
        Self { hub, feed, worker, cursor, attached_tick, live_from, forgives, control, owes_live }
    }

    /// Sets where it begins. `forgives` says that what was dropped before is not lost to it.
    pub(crate) fn begin(&mut self, cursor: u64, forgives: bool) {
        self.cursor = cursor;
        self.forgives = forgives;
    }

    /// What it reads.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Reads from an equal feed that others use already.
    pub fn share(&mut self, feed: &Arc<Feed>) {
        debug_assert_eq!(feed.key(), self.feed.key(), "feeds are shared by key");
        self.feed = Arc::clone(feed);
    }

    /// Where it stands: the id to resume from.
    pub fn position(&self) -> EventId {
        self.hub.id(self.cursor - 1)
    }

    /// The first place that was given after the subscription began: events before it are replayed
    /// to its subscriber.
    pub fn live_from(&self) -> u64 {
        self.live_from
    }

    /// Has it be told when it has everything from before it began.
    pub(crate) fn tell_when_live(&mut self) {
        self.owes_live = true;
    }

    /// Whether it is to be told now that it has everything from before it began.
    #[inline]
    pub fn is_live_untold(&self) -> bool {
        self.owes_live && self.cursor >= self.live_from
    }

    /// Whether it is to be told, but does not have everything yet as far as it has read.
    pub fn awaits_live(&self) -> bool {
        self.owes_live && self.cursor < self.live_from
    }

    /// `fanfare.live`, once; for a stream that goes on.
    pub fn tell_live(&mut self) -> Option<Vec<u8>> {
        let is_due = self.is_live_untold();
        self.owes_live &= !is_due;
        is_due.then(|| control::live(self.position(), self.feed.selectors().texts()))
    }

    /// Whether control events are sent.
    pub fn is_told(&self) -> bool {
        self.control
    }

    /// Goes past a stop that it has reached, `end` being the cursor after it. `retry_ms` is this
    /// subscriber's own, in case the stop is an end.
    pub fn meet(&mut self, stop: &Stop, end: u64, retry_ms: u32) -> Met {
        let requested = self.position();
        self.cursor = end;
        match stop {
            Stop::End { channel, seq, reason } => {
                self.tell(control::end(self.hub.id(*seq), channel.as_str(), *reason, retry_ms))
            }
            Stop::Gap { tick, .. } if self.forgives && *tick <= self.attached_tick => Met::Nothing,
            Stop::Gap { channels, through, tick, policy } => {
                let evicted = *tick <= self.attached_tick;
                let policy = if evicted { SlowPolicy::Gap } else { *policy };
                let reason = if evicted { GapReason::Evicted } else { GapReason::Lagged };
                self.hub.count_gap(reason);
                if !self.control {
                    return Met::Abort;
                }
                let through = match policy {
                    SlowPolicy::Latest => self.skip(*through),
                    SlowPolicy::Disconnect | SlowPolicy::Gap => *through,
                };
                let (id, requested) = (self.hub.id(through), requested.to_string());
                let told = match channels.as_slice() {
                    [] => control::gap(id, self.feed.selectors().texts(), &requested, reason),
                    some => {
                        let names = some.iter().map(ChannelName::as_str);
                        control::gap(id, names, &requested, reason)
                    }
                };
                match policy {
                    SlowPolicy::Disconnect => Met::Cut(told),
                    SlowPolicy::Gap | SlowPolicy::Latest => Met::Tell(told),
                }
            }
        }
    }

    /// Goes on to the newest event, if that is further than after what was lost; returns where the
    /// gap stands. A subscription of several channels has one position for all of them and stays.
    fn skip(&mut self, through: u64) -> u64 {
        let newest = self.feed.newest(&self.hub).unwrap_or(0);
        self.cursor = self.cursor.max(newest);
        through.max(newest.saturating_sub(1))
    }

    /// Whether nothing will ever come any more.
    pub fn has_ended(&self) -> bool {
        self.feed.has_ended(self.cursor)
    }

    /// The control event that sends it away, unless it wants none.
    pub fn reconnect(&self, reason: ReconnectReason, retry_ms: u32) -> Option<Vec<u8>> {
        self.control.then(|| control::reconnect(self.position(), reason, retry_ms))
    }

    pub(crate) fn opened(&self) -> Vec<u8> {
        control::open(self.position(), self.feed.selectors().texts())
    }

    pub(crate) fn epoch_gap(&self, requested: &str) -> Vec<u8> {
        let channels = self.feed.selectors().texts();
        control::gap(self.position(), channels, requested, GapReason::Epoch)
    }

    pub(crate) fn ended(&self, channel: &str, reason: CloseReason, retry_ms: u32) -> Vec<u8> {
        control::end(self.position(), channel, reason, retry_ms)
    }

    fn tell(&self, sse: Vec<u8>) -> Met {
        if self.control { Met::Tell(sse) } else { Met::Nothing }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.feed, self.worker);
    }
}
