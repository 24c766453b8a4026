//! Passes over many members, while members come and go and events keep coming.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use fanfare_core::{HubLimits, Retention};
use fanfare_fanout::FanoutConfig;

use crate::{
    peer::{Peer, Piece},
    rig::{Asked, Rig},
};

/// Members of a pass: it takes many turns.
const MANY: usize = 700;
/// Members that come during it, each in the place of another.
const NEW: usize = 300;

fn rig(workers: usize) -> Rig {
    let retention = Retention { ring_events_max: 1 << 20, ..Retention::default() };
    let retention = Retention { ring_bytes_max: 1 << 30, ..retention };
    let limits = HubLimits { retention, ..HubLimits::default() };
    Rig::with(workers, limits, FanoutConfig::default())
}

fn many(rig: &Rig) -> Vec<Peer> {
    let mut peers: Vec<_> = (0..MANY).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    peers.iter_mut().for_each(Peer::read_first);
    peers
}

fn check(rig: &Rig, peers: &mut [Peer], last: u64) {
    for peer in peers {
        peer.read_to(last);
        rig.check_exact(peer, last);
    }
}

#[test]
fn what_comes_during_a_pass_reaches_everyone_once() {
    for workers in [1, 2] {
        let rig = rig(workers);
        let mut peers = many(&rig);
        // Each is published while the pass for those before is somewhere among the members.
        for round in 0..20 {
            let mut last = 0;
            for index in 0..50 {
                last = rig.publish("a", &format!("{round}/{index}"));
                if index % 3 == 0 {
                    peers[index * 13].read_to(last);
                }
            }
            peers[MANY / 2].read_to(last);
        }
        check(&rig, &mut peers, 1_000);
    }
}

#[test]
fn those_who_leave_during_a_pass_take_nobody_along() {
    let rig = rig(1);
    let mut peers = many(&rig);
    let mut random = fastrand::Rng::with_seed(11);
    let mut last = 0;
    while peers.len() > 100 {
        for _ in 0..3 {
            last = rig.publish("a", &"x".repeat(random.usize(..400)));
        }
        for _ in 0..20 {
            let peer = peers.swap_remove(random.usize(..peers.len()));
            if random.bool() { peer.cut() } else { drop(peer) }
        }
    }
    check(&rig, &mut peers, last);
}

#[test]
fn those_who_come_during_a_pass_begin_exactly_where_they_asked() {
    let rig = rig(2);
    let mut peers = many(&rig);
    let going_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut last = 0;
            while going_on.load(Ordering::Relaxed) {
                last = rig.publish("a", "while they come");
                // Slow enough that those who are not read yet do not count as stalled.
                thread::park_timeout(Duration::from_micros(300));
            }
            last
        });
        // The publisher stops even if a subscribe fails here.
        let stop = Stop(&going_on);
        for index in 0..NEW {
            let asked = if index % 2 == 0 { Asked::from_start() } else { Asked::default() };
            let mut peer = rig.subscribe(&["a"], &asked);
            peer.read_first();
            peers.push(peer);
            drop(peers.swap_remove(index));
        }
        // It asked for what comes next, so something has to.
        peers[NEW - 1].read_until(|piece| matches!(piece, Piece::Event { .. }));
        drop(stop);
        let last = publisher.join().unwrap();
        assert!(last > 100, "{last} events");
        check(&rig, &mut peers, last);
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
