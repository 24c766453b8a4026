//! The life of a hub's process as its operators see it: what it logs, and that this never holds
//! it up, and how it takes new settings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod logs;
mod reload;
