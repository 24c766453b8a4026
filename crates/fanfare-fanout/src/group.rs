//! The members of a worker that read the same feed in the same framing, and the pass that brings
//! them what is new.

use std::sync::Arc;

use fanfare_core::{Batch, Feed, FeedKey, Framing};

use crate::held::Held;

/// Tells groups apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct GroupKey {
    pub(crate) feed: FeedKey,
    pub(crate) framing: Framing,
}

/// Members that get the same bytes.
pub(crate) struct Group {
    /// What they read.
    pub(crate) feed: Arc<Feed>,
    /// How it is framed.
    pub(crate) framing: Framing,
    /// Tells this group from others that had its slab key.
    pub(crate) generation: u32,
    /// Slab keys of the members. A pass walks from the last to the first, so that `swap_remove`
    /// only moves members that the pass has seen.
    pub(crate) members: Vec<u32>,
    /// The cursor up to which the group has read.
    pub(crate) head: u64,
    /// Between here and `head` there is nothing to read, so a member anywhere in between is at
    /// `head`: a quiet stretch of the journal need not touch every member.
    pub(crate) quiet_from: u64,
    /// When deltas go out, if some wait for others.
    pub(crate) held: Option<Box<Held>>,
    /// Whether it waits for a turn.
    pub(crate) queued: bool,
    /// Whether something came during the pass.
    pub(crate) again: bool,
    /// The pass under way, over as many turns as it takes.
    pub(crate) pass: Option<Pass>,
}

/// A pass under way.
pub(crate) struct Pass {
    /// What the members get.
    pub(crate) batch: Batch,
    /// Members before this index have not been seen.
    pub(crate) unseen: usize,
    /// Where the batch ended for the members that were seen first: what joined it later is behind
    /// them, and the next pass brings it.
    pub(crate) first_end: u64,
}

impl Group {
    pub(crate) fn new(feed: Arc<Feed>, framing: Framing, generation: u32, head: u64) -> Self {
        Self {
            held: Held::of(&feed, head),
            feed,
            framing,
            generation,
            members: Vec::new(),
            head,
            quiet_from: head,
            queued: false,
            again: false,
            pass: None,
        }
    }

    /// Where a member at `cursor` really stands, the journal being walked up to `walked`.
    pub(crate) fn standing(&self, cursor: u64, walked: u64) -> u64 {
        let follows = self.is_idle() && self.feed.follows_journal();
        let quiet_to = if follows { self.head.max(walked) } else { self.head };
        if cursor >= self.quiet_from { cursor.max(quiet_to) } else { cursor }
    }

    /// Whether it neither waits for a turn nor passes: then the walk met nothing that concerns it.
    pub(crate) fn is_idle(&self) -> bool {
        !self.queued && self.pass.is_none()
    }

    /// Says that nothing matched before `seq`; only for an idle group.
    pub(crate) fn skip_to(&mut self, seq: u64) {
        debug_assert!(self.is_idle(), "a group that reads finds out by itself");
        self.head = self.head.max(seq);
    }

    /// Ends a pass: all members were offered what its batch held at first.
    pub(crate) fn finish(&mut self, pass: &Pass) {
        self.head = pass.first_end;
        self.quiet_from = pass.first_end;
    }
}
