//! The last pairs (seq, channel) of the hub, in order.
//!
//! Policy: every event that a ring holds is in the journal, so the oldest pair is the hub's
//! oldest event and a pair that leaves takes its event along. Patterns walk it; a cursor older
//! than it is a gap. A pair keeps its channel in memory, also one that was removed: such channels
//! are counted, and what they take is part of the budget of all rings.

use std::{collections::VecDeque, sync::Arc};

use crate::{channel::Channel, ring::Dropped};

/// The journal itself; the hub's order lock guards it.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Ascending by `seq`.
    pairs: VecDeque<(u64, Arc<Channel>)>,
    /// The newest pair that is gone.
    dropped: Dropped,
    /// The `seq` of the newest pair, gone or not; 0 before the first.
    newest: u64,
    /// Bytes of removed channels that only pairs keep.
    removed_bytes: usize,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let dropped = Dropped { through: 0, tick: 0 };
        Self { pairs: VecDeque::new(), dropped, newest: 0, removed_bytes: 0 }
    }

    /// Notes the newest event or end.
    pub(crate) fn push(&mut self, seq: u64, channel: Arc<Channel>) {
        assert!(seq > self.newest, "events are applied in order");
        self.newest = seq;
        channel.hold();
        self.pairs.push_back((seq, channel));
    }

    /// Takes the oldest pair out.
    pub(crate) fn drop_oldest(&mut self, tick: u64) -> Option<(u64, Arc<Channel>)> {
        let pair = self.pairs.pop_front()?;
        self.dropped = Dropped { through: pair.0, tick };
        self.removed_bytes -= pair.1.let_go();
        let capacity = self.pairs.capacity();
        if capacity > PAIRS_KEPT && self.pairs.len() < capacity / 4 {
            self.pairs.shrink_to(capacity / 2);
        }
        Some(pair)
    }

    /// Counts a channel that was removed, if a pair keeps it.
    pub(crate) fn note_removed(&mut self, channel: &Channel) {
        self.removed_bytes += channel.keep_removed();
    }

    /// Bytes of removed channels that only pairs keep.
    pub(crate) fn removed_bytes(&self) -> usize {
        self.removed_bytes
    }

    /// Bytes of the pairs and of what only they keep.
    pub(crate) fn bytes(&self) -> usize {
        self.pairs.capacity() * size_of::<(u64, Arc<Channel>)>() + self.removed_bytes
    }

    /// The pairs at or after `cursor`, oldest first.
    pub(crate) fn from(
        &self,
        cursor: u64,
    ) -> impl DoubleEndedIterator<Item = &(u64, Arc<Channel>)> + ExactSizeIterator {
        self.pairs.range(self.pairs.partition_point(|(seq, _)| *seq < cursor)..)
    }

    /// What is gone.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// The `seq` of the newest pair, gone or not; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }
}

/// Pairs for which the journal keeps its memory, however few it has.
const PAIRS_KEPT: usize = 1_024;
