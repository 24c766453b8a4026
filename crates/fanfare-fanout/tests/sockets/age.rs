//! Connections that are as old as they may be.

use fanfare_fanout::{Disconnect, limits::AGE_RETRY_MS};

use crate::{
    peer::{End, Peer, Piece},
    rig::{Asked, Rig},
};

fn asked(age_ms_max: u64) -> Asked {
    Asked { age_ms_max, ..Asked::default() }
}

/// The position at which a peer was sent away.
fn sent_away(peer: &Peer) -> u64 {
    let [(seq, data, Some(retry))] = &peer.controls("reconnect")[..] else {
        panic!("not sent away once: {:?}", peer.pieces.last())
    };
    assert_eq!(data["reason"], "max_age");
    assert!((AGE_RETRY_MS.start as u64..AGE_RETRY_MS.end as u64).contains(retry), "{retry}");
    assert!(!peer.pieces.contains(&Piece::Last), "some clients stay away after a clean end");
    *seq
}

#[test]
fn who_is_old_enough_is_told_to_come_back_and_others_stay() {
    let rig = Rig::new(1);
    let mut old = rig.subscribe(&["a"], &asked(200));
    let mut never = rig.subscribe(&["a"], &asked(0));
    let mut young = rig.subscribe(&["a"], &asked(u64::MAX));
    let last = rig.publish("a", "x");
    assert_eq!(old.read_to_end(), End::Fin);
    assert_eq!(sent_away(&old), last);
    rig.check_exact(&old, last);
    rig.disconnected(Disconnect::MaxAge, 1);
    let later = rig.publish("a", "y");
    for peer in [&mut never, &mut young] {
        peer.read_to(later);
        rig.check_exact(peer, later);
    }
    assert_eq!(rig.hub.subscribers(), 2);
}

#[test]
fn who_never_rests_and_who_is_silent_goes_too() {
    let rig = Rig::new(1);
    let mut busy = rig.subscribe(&["a"], &asked(300));
    // Its heartbeats come between, and do not put it off.
    let mut silent = rig.subscribe(&["b"], &Asked { heartbeat_ms: 100, ..asked(300) });
    while busy.controls("reconnect").is_empty() {
        let seq = rig.publish("a", "x");
        busy.read_until(|piece| match piece {
            Piece::Event { seq: it, .. } => *it == seq,
            Piece::Control { kind, .. } => kind == "reconnect",
            _ => false,
        });
    }
    assert_eq!(busy.read_to_end(), End::Fin);
    rig.check_exact(&busy, sent_away(&busy));
    assert_eq!(silent.read_to_end(), End::Fin);
    sent_away(&silent);
    assert_eq!(silent.events(), 0);
    rig.disconnected(Disconnect::MaxAge, 2);
}

#[test]
fn who_is_slow_gets_what_is_there_first() {
    let rig = Rig::new(1);
    let mut slow = rig.subscribe(&["a"], &Asked { age_ms_max: 200, ..Asked::tiny() });
    slow.read_first();
    let last = (0..60).map(|_| rig.publish("a", &"x".repeat(9_000))).last().unwrap();
    // It goes after this one, which is younger.
    let mut later = rig.subscribe(&["b"], &asked(200));
    assert_eq!(later.read_to_end(), End::Fin);
    rig.disconnected(Disconnect::MaxAge, 1);
    assert_eq!(slow.read_to_end(), End::Fin);
    assert_eq!(sent_away(&slow), last);
    rig.check_exact(&slow, last);
}

#[test]
fn who_is_old_enough_during_a_drain_comes_back_after_it() {
    let rig = Rig::new(1);
    let mut first = rig.subscribe(&["b"], &asked(0));
    first.read_first();
    let mut slow = rig.subscribe(&["a"], &Asked { age_ms_max: 100, ..Asked::tiny() });
    slow.read_first();
    rig.publish("a", &"x".repeat(900_000));
    // It is old enough before this one is.
    let mut other = rig.subscribe(&["b"], &asked(200));
    assert_eq!(other.read_to_end(), End::Fin);
    rig.disconnected(Disconnect::MaxAge, 1);
    drop(other);
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| rig.drain(600_000));
        assert_eq!(first.read_to_end(), End::Fin);
        // The drain would ask it half way through.
        assert_eq!(slow.read_to_end(), End::Fin);
        rig.cancel_drain();
        drain.join().unwrap();
    });
    let [(_, told, Some(retry))] = &slow.controls("reconnect")[..] else { panic!() };
    assert_eq!(told["reason"], "drain");
    assert!(*retry > 500_000, "{retry}");
}
