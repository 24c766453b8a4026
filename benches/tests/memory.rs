//! What rings cost in memory is what they are counted as.
//!
//! The process has the allocator of the hub. What it holds is read before and after its rings are
//! filled and read once, and compared with what the budget of all rings counts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]

use std::sync::Arc;

use fanfare_benches::hub::{self, Core};
use fanfare_core::{ChannelName, Draft, HubLimits, Run, Start, limits::RING_EVENTS_MAX};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[test]
fn full_rings_take_what_they_are_counted_as() {
    // All stay, so that none takes memory that another has left.
    let mut cores = Vec::new();
    for (data_bytes, channels) in [(100, 50), (1_024, 25)] {
        let limits = HubLimits { rings_bytes_max: usize::MAX, ..HubLimits::default() };
        let core = Core::without_worker(limits);
        let names = hub::channels(channels);
        let data = "x".repeat(data_bytes);
        let before = resident_bytes();
        // Twice as many as rings keep, so that what went has left the holes that it does.
        for _ in 0..2 * RING_EVENTS_MAX {
            for name in &names {
                core.publish(name, Draft::new(None, &data));
            }
        }
        let unread = resident_bytes() - before;
        let held = core.hub.held();
        // Whoever reads an event allocates the count of those who share it.
        for name in &names {
            read(&core, name);
        }
        let read = resident_bytes() - before;
        let ratio = read as f64 / held.bytes as f64;
        println!(
            "{data_bytes} B: {} events, each counted {}, resident {}, once read {}: {ratio:.2}",
            held.journal_events,
            held.bytes / (channels * RING_EVENTS_MAX),
            unread / (channels * RING_EVENTS_MAX),
            read / (channels * RING_EVENTS_MAX),
        );
        assert!((0.9..1.1).contains(&ratio), "{data_bytes} B: {ratio:.2}");
        cores.push(core);
    }
}

/// Reads all that a channel keeps.
fn read(core: &Core, name: &ChannelName) {
    let opening = core.subscribe(std::slice::from_ref(name), Start::Beginning, 0);
    let (mut subscription, mut run) = (opening.subscription, Run::default());
    while !run.exhausted {
        let feed = Arc::clone(subscription.feed());
        feed.read(&core.hub, subscription.cursor, 65_536, &mut run);
        subscription.cursor = run.end;
    }
}

/// Bytes of memory that the process holds.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
