//! Benches of the hub.
