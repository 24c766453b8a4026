//! What an event allocates in the steady state does not depend on how many get it.
//!
//! The publisher and the worker run here, and the allocator counts for both. The subscribers' ends
//! of the sockets are in a process of their own, `readers`, so nothing of theirs is counted. HTTP
//! is left out: what it allocates per request has nothing to do with members.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures, for whoever asks for them with --nocapture")]

use std::{
    alloc::System,
    io::Read,
    process::{Child, ChildStdout, Command, Stdio},
};

use fanfare_benches::{hub, reading, rig::Rig};
use fanfare_core::{ChannelName, HubLimits, limits::RING_EVENTS_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn an_event_allocates_the_same_for_a_thousand_members_and_for_ten_thousand() {
    let many = members_possible(MEMBERS_MANY);
    let of_few = Crowd::gather(MEMBERS_FEW).measure();
    let of_many = Crowd::gather(many).measure();
    for (members, measured) in [(MEMBERS_FEW, &of_few), (many, &of_many)] {
        let Measured { single, burst } = measured;
        println!("{members} members: {single:.2} allocations per event, {burst:.2} in a burst");
        for per_event in [*single, *burst] {
            assert!(per_event >= 1.0, "a frame is allocated, so the count is broken");
            assert!(per_event <= OF_A_FRAME + TOLERANCE, "a buffer is not used again");
        }
    }
    for (few, many) in [(of_few.single, of_many.single), (of_few.burst, of_many.burst)] {
        assert!((few - many).abs() <= TOLERANCE, "{few:.2} became {many:.2} allocations per event");
    }
}

/// Allocations per event, reallocations included.
struct Measured {
    /// Of events that are published when everybody has the one before.
    single: f64,
    /// Of events that are published without waiting for anybody.
    burst: f64,
}

/// A hub whose one channel has many subscribers.
struct Crowd {
    rig: Rig,
    channel: ChannelName,
    readers: Child,
    /// A byte when all are subscribers, and one for every round that all have got.
    progress: ChildStdout,
    /// Data of an event, and of the last one of a round.
    data: [String; 2],
}

impl Crowd {
    /// Starts a hub and so many subscribers.
    fn gather(members: usize) -> Self {
        // As many events in the journal as in the ring, so that both are full at once and only
        // replace what they hold.
        let limits = HubLimits { journal_events_max: RING_EVENTS_MAX, ..HubLimits::default() };
        let rig = Rig::start(limits);
        let channel = hub::channels(1).remove(0);
        let data = [false, true].map(|is_last| reading::data(DATA_BYTES, is_last));
        (0..=RING_EVENTS_MAX).for_each(|_| rig.publish(&channel, &data[0]));
        let mut readers = Command::new(env!("CARGO_BIN_EXE_readers"))
            .args([rig.address().to_string(), members.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        (0..members).for_each(|_| rig.accept(&channel));
        let mut progress = readers.stdout.take().unwrap();
        progress.read_exact(&mut [0]).unwrap();
        Self { rig, channel, readers, progress, data }
    }

    /// Counts in the steady state: first the buffers that are reused get as large as they will.
    fn measure(mut self) -> Measured {
        self.publish_rounds(WARM_UP_ROUNDS, 1);
        let single = self.publish_rounds(SINGLE_ROUNDS, 1);
        self.publish_rounds(WARM_UP_ROUNDS, BURST_EVENTS);
        let burst = self.publish_rounds(BURST_ROUNDS, BURST_EVENTS);
        drop(self.rig);
        assert!(self.readers.wait().unwrap().success());
        Measured { single, burst }
    }

    /// Publishes rounds of events, each when everybody has got the one before; returns the
    /// allocations per event.
    fn publish_rounds(&mut self, rounds: usize, events: usize) -> f64 {
        let region = Region::new(ALLOCATOR);
        for _ in 0..rounds {
            for _ in 1..events {
                self.rig.publish(&self.channel, &self.data[0]);
            }
            self.rig.publish(&self.channel, &self.data[1]);
            self.progress.read_exact(&mut [0]).unwrap();
        }
        let change = region.change();
        (change.allocations + change.reallocations) as f64 / (rounds * events) as f64
    }
}

/// As many members as are wanted, or as this process may open files for.
fn members_possible(wanted: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    let members = wanted.min(files - FILES_BESIDE);
    if members < wanted {
        println!("{members} members instead of {wanted}: {files} files may be open");
    }
    members
}

const MEMBERS_FEW: usize = 1_000;
const MEMBERS_MANY: usize = 10_000;
/// Files that the process has open beside the members' sockets, generously.
const FILES_BESIDE: usize = 100;
const DATA_BYTES: usize = 100;
const WARM_UP_ROUNDS: usize = 5;
const SINGLE_ROUNDS: usize = 50;
/// Few enough events that they fit into a socket's buffers: nobody is served alone.
const BURST_EVENTS: usize = 50;
const BURST_ROUNDS: usize = 4;
/// The frame's bytes, and the count of those who share them. All else is in buffers that a worker
/// uses again.
const OF_A_FRAME: f64 = 2.0;
/// Allocations per event that the two may differ by. A buffer that is reused may still double now
/// and then; if but one member in 18,000 made an allocation of its own, it would be more.
const TOLERANCE: f64 = 0.5;
