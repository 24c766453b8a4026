//! The life of a hub's process as its operators see it: what it logs, and that this never holds
//! it up, how it takes new settings, what its
//! service manager is told, and its traces.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod logs;
mod notify;
mod reload;
mod traces;
