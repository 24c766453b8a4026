//! What the process around a hub counts: the hub's metrics tell it.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// Counts of the process. Whoever does the work adds to them; the hub only exports them.
#[derive(Debug, Default)]
pub struct ProcessCounts {
    /// Log lines that were dropped because nobody took them in time.
    pub log_lines_dropped: AtomicU64,
    /// How often the settings were read again and put in place.
    pub reloads_ok: AtomicU64,
    /// How often they were read again, were wrong, and changed nothing.
    pub reloads_failed: AtomicU64,
    /// Whether they were wrong when they were last read again.
    pub is_reload_failed: AtomicBool,
    /// When they were last put in place, in Unix milliseconds; the start counts.
    pub reloaded_at_ms: AtomicU64,
    /// Spans that a collector has taken.
    pub spans_exported: AtomicU64,
    /// Spans that were dropped, because the collector was slow, away, or refused them.
    pub spans_dropped: AtomicU64,
}
