//! What becomes of subscribers that are too slow.

use fanfare_core::{HubLimits, Retention, SlowPolicy};
use fanfare_fanout::{Disconnect, FanoutConfig};

use crate::{
    peer::{End, Peer, Piece},
    rig::{Asked, Rig, eventually},
};

/// A hub with rings of 16 events and a policy.
fn rig(slow_policy: SlowPolicy) -> Rig {
    let retention = Retention { ring_events_max: 16, slow_policy, ..Retention::default() };
    let limits = HubLimits { retention, ..HubLimits::default() };
    Rig::with(1, limits, FanoutConfig::default())
}

/// Far more than a tiny socket and a ring of 16 hold.
fn publish_many(rig: &Rig) -> u64 {
    let publish = |index| rig.publish("a", &format!("{index}:{}", "x".repeat(9_000)));
    (0..200).map(publish).last().unwrap()
}

fn is_gap(piece: &Piece) -> bool {
    matches!(piece, Piece::Control { kind, .. } if kind == "gap")
}

#[test]
fn who_is_to_see_the_latest_gets_it_next() {
    let rig = rig(SlowPolicy::Latest);
    // The second one is in a group with one that is not slow.
    let mut fast = rig.subscribe(&["a"], &Asked::default());
    let mut slow = rig.subscribe(&["a"], &Asked::tiny());
    fast.read_first();
    slow.read_first();
    let last = publish_many(&rig);
    slow.read_to(last);
    let [.., gap, newest] = &slow.pieces[..] else { panic!("{:?}", slow.pieces) };
    assert!(is_gap(gap), "{gap:?}");
    assert!(matches!(newest, Piece::Event { seq, .. } if *seq == last));
    assert!(rig.check(&slow, last).lost > 16);
    // From there on it is a member like others.
    let next = rig.publish("a", "next");
    slow.read_to(next);
    rig.check(&slow, next);
    fast.read_to(next);
    rig.check(&fast, next);
}

#[test]
fn who_is_not_kept_is_told_and_cut() {
    let rig = rig(SlowPolicy::Disconnect);
    let mut slow = rig.subscribe(&["a"], &Asked::tiny());
    slow.read_first();
    let last = publish_many(&rig);
    assert_eq!(slow.read_to_end(), End::Fin);
    let gap = slow.pieces.last().unwrap();
    assert!(is_gap(gap), "{gap:?}: a last chunk would hide the cut");
    let Piece::Control { seq, .. } = gap else { unreachable!() };
    rig.check(&slow, *seq);
    assert!(*seq < last);
    rig.disconnected(Disconnect::Lagged, 1);
    assert_eq!(rig.hub.subscribers(), 0);
}

#[test]
fn begun_frames_have_a_bound_count_once_and_the_longest_blocked_give_room() {
    const FRAME: usize = 1_000_000;
    let config = FanoutConfig { pinned_bytes_max: FRAME * 5 / 2, ..FanoutConfig::default() };
    let rig = Rig::with(2, HubLimits::default(), config);
    let subscribe = |channel| {
        let mut peer = rig.subscribe(&[channel], &Asked::tiny());
        peer.read_first();
        peer
    };
    // Two on each worker.
    let sharing: Vec<_> = (0..4).map(|_| subscribe("a")).collect();
    let mut other = subscribe("b");
    let load = || {
        let loads = rig.fanout.loads();
        loads.iter().fold((0, 0), |sum, l| (sum.0 + l.blocked, sum.1 + l.blocked_bytes as usize))
    };
    let first = rig.publish("a", &"x".repeat(FRAME - 1_000));
    eventually("four are blocked", || load().0 == 4);
    let bytes = load().1;
    assert!((2 * FRAME - 2_000..2 * FRAME).contains(&bytes), "once on each worker: {bytes}");
    assert_eq!(rig.hub.subscribers(), 5);
    // One frame more is too much: both who hold the older one on that worker have to go.
    let last = rig.publish("b", &"x".repeat(FRAME - 1_000));
    rig.disconnected(Disconnect::Memory, 2);
    assert_eq!(rig.hub.subscribers(), 3);
    other.read_to(last);
    rig.check_exact(&other, last);
    let mut whole = 0;
    for mut peer in sharing {
        // Who was cut has no more than a part of the frame.
        if peer.reads_to(first) {
            rig.check_exact(&peer, first);
            whole += 1;
        }
    }
    assert_eq!(whole, 2);
    eventually("nobody is blocked", || load() == (0, 0));
}

#[test]
fn a_worker_that_sleeps_gives_room_when_another_needs_it() {
    const FRAME: usize = 1_000_000;
    let config = FanoutConfig { pinned_bytes_max: FRAME * 5 / 2, write_stall_ms_max: 60_000 };
    let rig = Rig::with(2, HubLimits::default(), config);
    // The first and the third are on one worker, the second on the other.
    let mut peers = ["a", "b", "c"].map(|channel| rig.subscribe(&[channel], &Asked::tiny()));
    peers.iter_mut().for_each(Peer::read_first);
    let blocked = |index: usize| rig.fanout.loads()[index].blocked;
    rig.publish("a", &"x".repeat(FRAME - 1_000));
    rig.publish("c", &"x".repeat(FRAME - 1_000));
    eventually("they are blocked", || blocked(0) == 2);
    assert_eq!(blocked(1), 0);
    // The first worker has told all and has nothing left to do.
    rig.publish("b", &"x".repeat(FRAME - 1_000));
    rig.disconnected(Disconnect::Memory, 1);
    eventually("it has one less", || (blocked(0), blocked(1)) == (1, 1));
    // A smaller bound holds at once, although nobody moves.
    rig.fanout.set_config(FanoutConfig { pinned_bytes_max: FRAME, ..config });
    rig.disconnected(Disconnect::Memory, 2);
}

#[test]
fn a_blocked_one_that_goes_lets_go_of_its_frame() {
    let rig = Rig::new(1);
    let mut peer = rig.subscribe(&["a"], &Asked::tiny());
    peer.read_first();
    rig.publish("a", &"x".repeat(1_000_000));
    eventually("it is blocked", || rig.fanout.loads()[0].blocked == 1);
    peer.cut();
    rig.disconnected(Disconnect::Client, 1);
    eventually("nothing is kept", || {
        let load = rig.fanout.loads()[0];
        (load.blocked, load.blocked_bytes, load.subscribers) == (0, 0, 0)
    });
}

#[test]
fn the_stall_limit_can_be_changed() {
    let rig = Rig::with(
        1,
        HubLimits::default(),
        FanoutConfig { write_stall_ms_max: 400, ..FanoutConfig::default() },
    );
    let mut peer = rig.subscribe(&["a"], &Asked::tiny());
    peer.read_first();
    rig.fanout.set_config(FanoutConfig { write_stall_ms_max: 60_000, ..FanoutConfig::default() });
    rig.publish("a", &"x".repeat(1_000_000));
    eventually("it is blocked", || rig.fanout.loads()[0].blocked == 1);
    rig.fanout.set_config(FanoutConfig { write_stall_ms_max: 200, ..FanoutConfig::default() });
    // The look was asked for by the longer limit; another one blocks under the shorter.
    let mut other =
        rig.subscribe(&["a"], &Asked { start: fanfare_core::Start::Beginning, ..Asked::tiny() });
    other.read_first();
    rig.disconnected(Disconnect::Stalled, 1);
    assert_eq!(rig.hub.subscribers(), 1);
}
