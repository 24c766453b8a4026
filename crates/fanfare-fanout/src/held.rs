//! Groups whose deltas wait for the end of a window.
//!
//! The window decides when a pass would begin, so it costs a delivery nothing. Only passes look at
//! it: who is served alone, being new, behind, or on the way out, gets all that is there.

use std::{cmp::Reverse, collections::BinaryHeap};

use fanfare_core::{Feed, Window};

use crate::worker::{Worker, make_ready};

/// A group's window.
pub(crate) struct Held {
    window: Window,
    /// Whether the group is among those whose windows end.
    planned: bool,
}

/// When windows end: the time, the group and its generation. A group is there once at most, and a
/// group that is gone for no longer than a window.
pub(crate) type Plan = BinaryHeap<Reverse<(u64, u32, u32)>>;

impl Held {
    /// The window of a feed whose readers begin at `head`, if it has one.
    pub(crate) fn of(feed: &Feed, head: u64) -> Option<Box<Self>> {
        let window = Window::of(feed, head)?;
        Some(Box::new(Self { window, planned: false }))
    }
}

impl Worker {
    /// Whether all that is new for a group waits; then the group gets a turn when the window ends.
    pub(crate) fn holds(&mut self, key: u32) -> bool {
        let Some(group) = self.groups.get_mut(key as usize) else { return false };
        let Some(held) = &mut group.held else { return false };
        let until_ms = held.window.holds(&group.feed, &self.hub, group.head, self.now_ms);
        let Some(until_ms) = until_ms else { return false };
        if !std::mem::replace(&mut held.planned, true) {
            self.plan.push(Reverse((until_ms, key, group.generation)));
        }
        true
    }

    /// Queues the groups whose windows have ended.
    pub(crate) fn release(&mut self) {
        while let Some(Reverse((until_ms, key, generation))) = self.plan.peek().copied()
            && until_ms <= self.now_ms
        {
            self.plan.pop();
            let group = self.groups.get_mut(key as usize).filter(|g| g.generation == generation);
            if let Some(held) = group.and_then(|group| group.held.as_mut()) {
                held.planned = false;
                make_ready(&mut self.groups, &mut self.ready, key);
            }
        }
    }

    /// Milliseconds until the next window ends.
    pub(crate) fn next_release_in_ms(&self) -> Option<u64> {
        let Reverse((until_ms, _, _)) = self.plan.peek()?;
        Some(until_ms.saturating_sub(self.now_ms))
    }
}
