//! Feeds whose deltas wait for the end of a window: their streams are not woken meanwhile.
//!
//! A stream that looks for another reason, being new or slow, gets what is there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use fanfare_core::{Feed, Hub, Window};

use super::{lock, reading::Reading};

/// The window of a feed; only the task that takes marks looks at it.
pub(super) struct Holding {
    window: Mutex<Window>,
    /// Whether the feed is in the plan.
    planned: AtomicBool,
}

/// Feeds that wait, each once, by when their windows end and by their addresses.
#[derive(Default)]
pub(super) struct Plan(BTreeMap<(u64, usize), Arc<Reading>>);

impl Holding {
    /// The window of a feed whose streams begin at `head`, if it has one.
    pub(super) fn of(feed: &Feed, head: u64) -> Option<Self> {
        let window = Mutex::new(Window::of(feed, head)?);
        Some(Self { window, planned: AtomicBool::new(false) })
    }

    /// Until when what has come waits. That a stream has read it already changes nothing: others
    /// have not, and one that was woken late would be woken again within its window.
    pub(super) fn holds(&self, feed: &Feed, hub: &Hub, now_ms: u64) -> Option<u64> {
        lock(&self.window).holds(feed, hub, 0, now_ms)
    }
}

impl Plan {
    /// Has a feed that waits looked at again when its window ends.
    pub(super) fn add(&mut self, until_ms: u64, reading: &Arc<Reading>) {
        let planned = reading.held.as_ref().map(|held| held.planned.swap(true, Ordering::Relaxed));
        if planned == Some(false) {
            self.0.insert((until_ms, Arc::as_ptr(reading).addr()), Arc::clone(reading));
        }
    }

    /// Takes a feed whose window has ended.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<Arc<Reading>> {
        let first = self.0.first_entry()?;
        let reading = (first.key().0 <= now_ms).then(|| first.remove())?;
        if let Some(held) = &reading.held {
            held.planned.store(false, Ordering::Relaxed);
        }
        Some(reading)
    }

    /// When the next window ends.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.first_key_value().map(|((until_ms, _), _)| *until_ms)
    }
}
