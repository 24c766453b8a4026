//! What the benches and the proof of allocations share: a hub without HTTP, its fan-out worker,
//! and the other ends of the subscribers' sockets.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

pub mod hub;
pub mod reading;
pub mod rig;
