//! The data plane over real socket pairs: a hub, its workers and their peers in one process,
//! without HTTP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod age;
mod churn;
mod counts;
mod deltas;
mod drain;
mod patterns;
mod peer;
mod peers_that_go;
mod rig;
mod sleep;
mod slow;
mod story;
mod timers;
mod writing;
