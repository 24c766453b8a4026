//! What few channels have beside their events, kept apart so that the others do not pay for it.

use std::num::NonZeroU64;

use crate::{producers::Producers, tombstones::Tombstone};

/// What most channels have none of. The channel's lock guards it, in its ring; a box that has
/// become empty goes with [`Ring::trim`](crate::ring::Ring::trim).
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// What is remembered of an earlier life of the channel.
    pub(crate) past: Option<Tombstone>,
    /// When somebody wished that the channel be cancelled, in Unix milliseconds; until it closes.
    pub(crate) wished_at_ms: Option<NonZeroU64>,
    /// Who numbers its events.
    pub(crate) producers: Producers,
}

impl Extras {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { past, wished_at_ms, producers } = self;
        past.is_none() && wished_at_ms.is_none() && producers.is_empty()
    }

    /// Whether the channel lives for what is in it, though it never had an event or an end.
    pub(crate) fn is_alive(&self) -> bool {
        self.wished_at_ms.is_some() || !self.producers.is_empty()
    }

    /// The channel has ended: what only matters while it is open goes.
    pub(crate) fn close(&mut self) {
        (self.past, self.wished_at_ms) = (None, None);
    }
}
