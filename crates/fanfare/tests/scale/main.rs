//! The hub with thousands of subscribers: the real binary as a process of its own, and clients
//! that check every id of every subscriber.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]

#[path = "../support/mod.rs"]
mod support;

mod broadcast;
mod burst;
mod counts;
mod crowd;
mod drain;
mod memory;
mod observe;
mod publisher;
mod slow;
mod stop;
mod stream;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: each needs most of the files that a process may open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
