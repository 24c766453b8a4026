//! How far a channel is in its life, what ends it though no publisher does, and the wish to end it.
//!
//! Policy: the hub ends a channel like a publisher does, with a place of its own in the order. What
//! is due is looked at again under the order lock, so that a producer that came back a moment
//! before goes on.

use std::num::NonZeroU64;

use crate::{
    broker::Refusal,
    channel::Channel,
    control::CloseReason,
    extras::{Extras, time},
    hub::Hub,
    name::ChannelName,
    ring::Ring,
    sync::lock,
    waiters::Standing,
};

/// Why the hub itself ends a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overdue {
    /// It is as old as channels may be.
    Age,
    /// Its producer broke off and did not come back, or need not.
    Grace,
    /// Nothing happened to it for too long.
    Idle,
}

impl Overdue {
    /// All of them, for counters.
    pub const ALL: [Self; 3] = [Self::Age, Self::Grace, Self::Idle];

    /// The cause as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Grace => "grace",
            Self::Idle => "idle",
        }
    }
}

/// Why a channel is wished to be cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WishedBy {
    /// Somebody asked for it.
    Request,
    /// Nobody watches it any more.
    Unwatched,
}

impl WishedBy {
    /// All of them, for counters.
    pub const ALL: [Self; 2] = [Self::Request, Self::Unwatched];

    /// The cause as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Unwatched => "unwatched",
        }
    }
}

impl Ring {
    /// A life begins, unless it has.
    pub(crate) fn begin(&mut self, channel: &Channel, now_ms: u64) {
        if self.is_pristine() && !channel.is_publishing() {
            self.began_at_ms = now_ms;
        }
    }

    /// How far the channel is.
    pub(crate) fn standing(&self) -> Standing {
        match self.closed() {
            Some(closed) => Standing::Closed(closed.reason),
            None if self.is_wished() => Standing::Cancelling,
            None => Standing::Open,
        }
    }

    /// Whether somebody wishes that it be cancelled.
    pub(crate) fn is_wished(&self) -> bool {
        self.extras().is_some_and(|extras| extras.wished_at_ms.is_some())
    }

    /// How and why the hub is to end the channel now, if it is.
    pub(crate) fn is_due(
        &self,
        is_publishing: bool,
        now_ms: u64,
    ) -> Option<(CloseReason, Overdue)> {
        let (at_ms, why) = self.ends(is_publishing)?;
        // Whatever ends it, what was wished for is no error.
        let reason = if self.is_wished() { CloseReason::Cancelled } else { CloseReason::Error };
        (at_ms <= now_ms).then_some((reason, why))
    }

    /// When the hub is to end the channel as things are, and why.
    pub(crate) fn ends(&self, is_publishing: bool) -> Option<(u64, Overdue)> {
        if self.closed().is_some() || (self.is_pristine() && !is_publishing) {
            return None;
        }
        let retention = &self.retention;
        let after =
            |max_ms: u64, since_ms: u64| (max_ms > 0).then(|| since_ms.saturating_add(max_ms));
        let grace = self.extras().filter(|_| !is_publishing).and_then(|extras| {
            let ends_ms = extras.grace_ends_ms?.get();
            // A producer that is not there cannot be told.
            Some((if extras.wished_at_ms.is_some() { 0 } else { ends_ms }, Overdue::Grace))
        });
        let idle = (!is_publishing)
            .then(|| after(retention.channel_idle_ms_max, self.idle_since_ms()))
            .flatten();
        let age = after(retention.channel_age_ms_max, self.began_at_ms);
        let others = [idle.map(|at| (at, Overdue::Idle)), age.map(|at| (at, Overdue::Age))];
        grace.into_iter().chain(others.into_iter().flatten()).min_by_key(|(at_ms, _)| *at_ms)
    }

    /// When something last happened to the channel that keeps it from being idle.
    fn idle_since_ms(&self) -> u64 {
        let published_until_ms = self.extras().map_or(0, |extras| extras.published_until_ms);
        self.began_at_ms.max(self.last_published_at_ms()).max(published_until_ms)
    }

    /// Until when something keeps the channel that is no event.
    pub(crate) fn kept_until_ms(&self) -> u64 {
        let Some(extras) = self.extras() else { return 0 };
        // A wish, and a producer that may still come back, like an event.
        let wished_at_ms = extras.wished_at_ms.map(NonZeroU64::get);
        let since_ms = wished_at_ms.max(self.producers_active_at_ms());
        let until_ms = since_ms.map(|at_ms| at_ms.saturating_add(self.retention.ring_age_ms));
        until_ms.max(extras.grace_ends_ms.map(NonZeroU64::get)).unwrap_or(0)
    }

    /// Milliseconds between two looks at whether anybody watches, if there are any.
    pub(crate) fn watch_interval_ms(&self, is_publishing: bool) -> Option<u64> {
        let max_ms = self.retention.unwatched_ms_max;
        let is_watched_over = is_publishing && max_ms > 0 && self.standing() == Standing::Open;
        is_watched_over.then(|| (max_ms / WATCH_LOOKS).clamp(WATCH_MS_MIN, WATCH_MS_MAX))
    }

    /// Notes whether anybody watches; returns whether nobody has for too long.
    pub(crate) fn watch(&mut self, subscribers: u64, now_ms: u64) -> bool {
        let max_ms = self.retention.unwatched_ms_max;
        if subscribers > 0 {
            let extras = self.extras_mut();
            (extras.was_watched, extras.unwatched_since_ms) = (true, None);
            return false;
        }
        let Some(extras) = self.extras_if_any().filter(|extras| extras.was_watched) else {
            return false;
        };
        let since_ms = extras.unwatched_since_ms.or_else(|| time(now_ms));
        extras.unwatched_since_ms = since_ms;
        since_ms.is_some_and(|since_ms| since_ms.get().saturating_add(max_ms) <= now_ms)
    }

    /// Stores a wish; returns whether it is new.
    pub(crate) fn wish(&mut self, now_ms: u64) -> bool {
        let Extras { wished_at_ms, .. } = self.extras_mut();
        let is_new = wished_at_ms.is_none();
        *wished_at_ms = wished_at_ms.or_else(|| time(now_ms));
        is_new
    }
}

impl Channel {
    /// Whether it is more than a name that somebody subscribed to: it had an event or an end, or
    /// is being streamed to, or somebody wishes that it be cancelled.
    pub fn exists(&self) -> bool {
        self.is_publishing() || !lock(&self.ring).is_pristine()
    }
}

impl Hub {
    /// Whether a channel [exists](Channel::exists).
    pub fn exists(&self, name: &ChannelName) -> bool {
        self.registry.find(name).is_some_and(|channel| channel.exists())
    }

    /// How far a channel is; one that does not exist is open.
    pub fn standing(&self, name: &ChannelName) -> Standing {
        self.registry.find(name).map_or(Standing::Open, |channel| lock(&channel.ring).standing())
    }

    /// Stores the wish that a channel be cancelled, and tells its producer. The channel is made if
    /// need be. Returns how far it is, and whether it is to be closed right now: a
    /// [`CloseIfDue`](crate::Change::CloseIfDue) does that.
    pub fn cancel(&self, name: &ChannelName, now_ms: u64) -> Result<(Standing, bool), Refusal> {
        let mut order = lock(&self.order);
        let channel = self.find_or_create(name)?;
        let mut ring = lock(&channel.ring);
        if ring.closed().is_some() {
            return Ok((ring.standing(), false));
        }
        ring.begin(&channel, now_ms);
        let is_new = ring.wish(now_ms);
        order.schedule.look(&mut ring, &channel, now_ms);
        let is_due = ring.is_due(channel.is_publishing(), now_ms).is_some();
        drop((ring, order));
        if is_new {
            self.count_wish(WishedBy::Request);
            self.waiters.tell(name, Standing::Cancelling);
        }
        Ok((Standing::Cancelling, is_due))
    }
}

/// Looks at whether anybody watches in the time after which a channel is cancelled.
const WATCH_LOOKS: u64 = 4;
/// The least and the most milliseconds between two of them.
const WATCH_MS_MIN: u64 = 100;
/// See [`WATCH_MS_MIN`].
const WATCH_MS_MAX: u64 = 1_000;
