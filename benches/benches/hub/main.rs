//! Benches of the hub's parts, from a frame to its delivery over loopback sockets.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod delivery;
mod feed;
mod frame;
mod registry;
mod ring;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // Short, so that all of them take a minute; options of the command line come after.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .nresamples(10_000)
        .configure_from_args();
    frame::bench(&mut criterion);
    ring::bench(&mut criterion);
    feed::bench(&mut criterion);
    registry::bench(&mut criterion);
    delivery::bench(&mut criterion);
    criterion.final_summary();
}
