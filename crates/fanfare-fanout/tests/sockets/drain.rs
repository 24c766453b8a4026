//! Sending everybody away.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fanfare_core::ChannelName;
use fanfare_fanout::{Disconnect, Progress};

use crate::{
    peer::{End, Peer, Piece},
    rig::{Asked, Rig, eventually},
};

/// The position at which a peer was sent away, and its `retry`.
fn sent_away(peer: &Peer) -> (u64, u64) {
    let [(seq, data, Some(retry))] = &peer.controls("reconnect")[..] else {
        panic!("not sent away once: {:?}", peer.pieces.last())
    };
    assert_eq!(data["reason"], "drain");
    assert!(!peer.pieces.contains(&Piece::Last), "some clients stay away after a clean end");
    (*seq, *retry)
}

#[test]
fn all_get_what_is_there_and_are_sent_away() {
    let rig = Rig::new(2);
    let selectors: [&[&str]; 3] = [&["a"], &["a", "b"], &["a/*", "b"]];
    let subscribe = |index: usize| rig.subscribe(selectors[index % 3], &Asked::default());
    let mut peers: Vec<_> = (0..150).map(subscribe).collect();
    peers.push(rig.subscribe(&["a"], &Asked::tiny()));
    for index in 0..300 {
        rig.publish(["a", "b", "a/1", "c"][index % 4], &"x".repeat(index * 3));
    }
    let last = rig.hub.watermark();
    let gone = thread::scope(|scope| {
        let drain = scope.spawn(|| rig.drain(500));
        for peer in &mut peers {
            assert_eq!(peer.read_to_end(), End::Fin);
        }
        drain.join().unwrap()
    });
    assert_eq!(gone, 151);
    for peer in &peers {
        let (position, retry) = sent_away(peer);
        assert_eq!(position, last);
        assert!((1_000..6_600).contains(&retry), "{retry}");
        rig.check_exact(peer, last);
    }
    rig.disconnected(Disconnect::Drain, 151);
    // Who comes now is sent away at once.
    let mut late = rig.subscribe(&["a"], &Asked::from_start());
    assert_eq!(late.read_to_end(), End::Fin);
    sent_away(&late);
    rig.check_exact(&late, last);
}

#[test]
fn a_channel_that_never_rests_lets_them_go() {
    let rig = Rig::new(1);
    let mut peers: Vec<_> = (0..100).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    let going_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            while going_on.load(Ordering::Relaxed) {
                rig.publish("a", "x");
            }
        });
        let drain = scope.spawn(|| rig.drain(200));
        let ends: Vec<_> = peers.iter_mut().map(Peer::read_to_end).collect();
        assert_eq!(ends, [End::Fin; 100]);
        assert_eq!(drain.join().unwrap(), 100);
        going_on.store(false, Ordering::Relaxed);
        publisher.join().unwrap();
    });
    for peer in &peers {
        let (position, _) = sent_away(peer);
        rig.check(peer, position);
    }
}

#[test]
fn departures_are_spread_and_streaming_channels_go_last() {
    let rig = Rig::new(1);
    rig.publish("busy", "x");
    let streaming: Vec<_> = (0..20).map(|_| rig.subscribe(&["busy"], &Asked::default())).collect();
    let others: Vec<_> = (0..60).map(|_| rig.subscribe(&["idle"], &Asked::default())).collect();
    let channel = {
        let mut found = Vec::new();
        rig.hub.walk_journal(1, &mut found);
        found.remove(0).1
    };
    assert_eq!(channel.name(), &ChannelName::parse("busy").unwrap());
    let _open = rig.hub.publishing_on(&channel).unwrap();
    let period = Duration::from_millis(1_600);
    let began = Instant::now();
    let mut gone: Vec<(Duration, bool)> = thread::scope(|scope| {
        scope.spawn(|| rig.drain(period.as_millis() as u64));
        let each = |peers: Vec<Peer>, is_streaming: bool| {
            let wait = |mut peer: Peer| {
                scope.spawn(move || {
                    peer.read_to_end();
                    (began.elapsed(), is_streaming)
                })
            };
            peers.into_iter().map(wait).collect::<Vec<_>>()
        };
        let waits = [each(streaming, true), each(others, false)].into_iter().flatten();
        waits.collect::<Vec<_>>().into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    gone.sort();
    // Those who leave at the edge of the two may be seen in either order.
    let (first, last) = gone.split_at(55);
    assert!(first.iter().all(|(_, streaming)| !streaming), "{gone:?}");
    assert_eq!(last[10..].iter().filter(|(_, streaming)| !streaming).count(), 0, "{gone:?}");
    for eighth in 1..8 {
        let due = period * eighth / 8;
        let left = gone.iter().filter(|(at, _)| *at < due).count();
        assert!(left <= 10 * eighth as usize + 8, "{left} of 80 within {due:?}");
    }
}

#[test]
fn a_second_drain_takes_the_place_of_the_first() {
    let rig = Rig::new(1);
    let mut peers: Vec<_> = (0..50).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    thread::scope(|scope| {
        let slow = scope.spawn(|| rig.drain(600_000));
        rig.disconnected(Disconnect::Drain, 1);
        let quick = scope.spawn(|| rig.drain(100));
        for peer in &mut peers {
            assert_eq!(peer.read_to_end(), End::Fin);
            sent_away(peer);
        }
        peers.clear();
        assert_eq!((slow.join().unwrap(), quick.join().unwrap()), (1, 49));
    });
    rig.disconnected(Disconnect::Drain, 50);
}

#[test]
fn a_drain_that_is_taken_back_keeps_who_was_not_asked_yet() {
    let rig = Rig::new(2);
    let mut peers: Vec<_> = (0..40).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    peers.iter_mut().for_each(Peer::read_first);
    let departed = thread::scope(|scope| {
        let drain = scope.spawn(|| rig.drain(600_000));
        // The first of each worker goes at once.
        rig.disconnected(Disconnect::Drain, 2);
        rig.cancel_drain();
        drain.join().unwrap()
    });
    assert_eq!(departed, 2, "it says how many it has sent away");
    peers.push(rig.subscribe(&["a"], &Asked::default()));
    peers.last_mut().unwrap().read_first();
    let last = rig.publish("a", "still here");
    let (mut stayed, mut gone) = (Vec::new(), 0);
    for mut peer in peers {
        while peer.events() == 0 && peer.controls("reconnect").is_empty() {
            assert_eq!(peer.read(1_024), None);
        }
        match peer.events() {
            1 => stayed.push(peer),
            _ => gone += 1,
        }
    }
    assert_eq!((stayed.len(), gone), (39, 2));
    let is = |departed, left| rig.fanout.drain_progress() == Progress { departed, left };
    eventually("two are gone", || is(2, 39));
    // Another one begins anew, and counts anew.
    let drained = thread::scope(|scope| {
        let drain = scope.spawn(|| rig.drain(100));
        for peer in &mut stayed {
            assert_eq!(peer.read_to_end(), End::Fin);
            assert_eq!(sent_away(peer).0, last);
        }
        stayed.clear();
        drain.join().unwrap()
    });
    assert_eq!(drained, 39);
    eventually("all are gone", || is(39, 0));
}
