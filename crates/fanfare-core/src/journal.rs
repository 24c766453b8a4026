//! The last pairs (seq, channel) of the hub, in order.
//!
//! Policy: every event that a ring holds is in the journal, so the oldest pair is the hub's
//! oldest event and a pair that leaves takes its event along. Patterns walk it; a cursor older
//! than it is a gap.

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
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { pairs: VecDeque::new(), dropped: Dropped { through: 0, tick: 0 }, newest: 0 }
    }

    /// Notes the newest event or end.
    pub(crate) fn push(&mut self, seq: u64, channel: Arc<Channel>) {
        assert!(seq > self.newest, "events are applied in order");
        self.newest = seq;
        self.pairs.push_back((seq, channel));
    }

    /// Takes the oldest pair out.
    pub(crate) fn drop_oldest(&mut self, tick: u64) -> Option<(u64, Arc<Channel>)> {
        let pair = self.pairs.pop_front()?;
        self.dropped = Dropped { through: pair.0, tick };
        Some(pair)
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
