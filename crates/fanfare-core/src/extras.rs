//! What few channels have beside their events, kept apart so that the others do not pay for it.

use std::{mem, num::NonZeroU64};

use crate::{producers::Producers, tombstones::Tombstone};

/// What most channels have none of. The channel's lock guards it, in its ring; a box that has
/// become empty goes with [`Ring::trim`](crate::ring::Ring::trim). Times are Unix milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// What is remembered of an earlier life of the channel.
    pub(crate) past: Option<Tombstone>,
    /// When somebody wished that the channel be cancelled; until it closes.
    pub(crate) wished_at_ms: Option<NonZeroU64>,
    /// Who numbers its events.
    pub(crate) producers: Producers,
    /// Until when it waits for the producer that broke off.
    pub(crate) grace_ends_ms: Option<NonZeroU64>,
    /// When its last streaming publish ended, if it is closed for being idle.
    pub(crate) published_until_ms: u64,
    /// Whether it had a subscriber, if it is cancelled for having none.
    pub(crate) was_watched: bool,
    /// Since when it has none while it is being streamed to.
    pub(crate) unwatched_since_ms: Option<NonZeroU64>,
}

impl Extras {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { past, wished_at_ms, grace_ends_ms, published_until_ms, .. } = self;
        let is_dead = past.is_none() && *published_until_ms == 0 && !self.was_watched;
        is_dead && wished_at_ms.is_none() && grace_ends_ms.is_none() && self.producers.is_empty()
    }

    /// Whether the channel lives for what is in it, though it never had an event or an end.
    pub(crate) fn is_alive(&self) -> bool {
        let has_time = self.wished_at_ms.is_some() || self.grace_ends_ms.is_some();
        has_time || !self.producers.is_empty()
    }

    /// The channel has ended: what only matters while it is open goes.
    pub(crate) fn close(&mut self) {
        *self = Self { producers: mem::take(&mut self.producers), ..Self::default() };
    }
}

/// A time that is none only if it is not set.
pub(crate) fn time(ms: u64) -> Option<NonZeroU64> {
    Some(NonZeroU64::new(ms).unwrap_or(NonZeroU64::MIN))
}
