//! A burst on a large channel beside a small one.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    alone,
    crowd::{Crowd, size},
    publisher::Publisher,
    support::{hub::Hub, sse::Stream},
};

#[test]
fn a_burst_does_not_hold_up_a_small_channel() {
    let _alone = alone();
    let hub = Hub::start(&["--workers", "1"]);
    let mut crowd = Crowd::new(hub.public());
    let large = crowd.join(size(5_000), "/channels/large").len();
    let mut small = Stream::open(hub.public(), "/channels/small?open=0");
    let mut publisher = Publisher::new(hub.public());
    let quiet = latencies(&mut publisher, &mut small, |samples| samples < 100);
    let bursting = AtomicBool::new(true);
    let (beside, burst) = thread::scope(|scope| {
        let (hub, bursting) = (hub.public(), &bursting);
        let burst = scope.spawn(move || {
            let began = Instant::now();
            let published = burst(hub, &mut crowd, large);
            bursting.store(false, Ordering::Relaxed);
            (began.elapsed(), published, crowd)
        });
        let going_on = |_| bursting.load(Ordering::Relaxed) && !burst.is_finished();
        (latencies(&mut publisher, &mut small, going_on), burst.join().unwrap())
    });
    let (took, rounds, crowd) = burst;
    for member in &crowd.members {
        assert_eq!(member.stream.seqs.len(), rounds * EVENTS);
        assert!(member.stream.gaps.is_empty());
    }
    // A pass is what the small channel would wait for if a feed were served to its end.
    let pass = took / u32::try_from(rounds).unwrap();
    let (median, worst) = (beside[beside.len() / 2], beside[beside.len() * 99 / 100]);
    println!(
        "small channel: median {:?} alone; beside the burst ({} samples) median {median:?}, \
         p99 {worst:?}; {rounds} rounds of {EVENTS} events to {large} took {took:?}",
        quiet[quiet.len() / 2],
        beside.len()
    );
    assert!(beside.len() > 2 * rounds, "{} samples in {rounds} rounds", beside.len());
    assert!(median < pass / 4, "median {median:?}, a round takes {pass:?}");
    assert!(worst < took / 10, "p99 {worst:?}, the burst takes {took:?}");
}

/// Publishes rounds of events, each when all have got the one before; returns how many rounds.
fn burst(hub: SocketAddr, crowd: &mut Crowd, large: usize) -> usize {
    let mut publisher = Publisher::new(hub);
    let data = "x".repeat(2_000);
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < 10 || began.elapsed() < Duration::from_secs(4) {
        rounds += 1;
        let mut seen = crowd.seen.events;
        for _ in 0..EVENTS {
            publisher.publish("large", &data);
        }
        seen += large * EVENTS;
        crowd.run("a round of the burst", |crowd| crowd.seen.events >= seen);
    }
    rounds
}

/// Publishes on the small channel and waits for the event, again and again; sorted.
fn latencies(
    publisher: &mut Publisher,
    small: &mut Stream,
    mut going_on: impl FnMut(usize) -> bool,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while going_on(latencies.len()) {
        let began = Instant::now();
        let (seq, _) = publisher.publish("small", "x");
        let event = small.event();
        latencies.push(began.elapsed());
        assert_eq!(crate::stream::seq_of(event.id()), seq);
    }
    latencies.sort();
    latencies
}

/// Events of a round.
const EVENTS: usize = 30;
