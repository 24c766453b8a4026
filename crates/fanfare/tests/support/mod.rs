//! What the tests of the whole hub share: the real binary as a process, a raw HTTP/1 client that
//! shows the exact bytes, and a strict reader of event streams. It knows nothing of the tests.
//!
//! A test crate takes it in with `#[path = "../support/mod.rs"] mod support;`.

#![allow(dead_code, reason = "each test crate uses its part of it")]

pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod sse;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test fails: far beyond what a loaded machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` finds something; fails the test after [`DEADLINE`].
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        // Between two looks, not instead of one.
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A number of a scrape, by its name and labels; without labels the sum of all that the metric has.
pub(crate) fn metric(scrape: &str, name: &str) -> Option<f64> {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.parse().ok()
    };
    scrape.lines().filter_map(value).reduce(|sum, more| sum + more)
}
