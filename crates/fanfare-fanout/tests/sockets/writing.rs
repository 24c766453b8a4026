//! What goes to a socket, above all one that takes only parts of it.

use fanfare_core::{Framing, HubLimits, Retention, Start};
use fanfare_fanout::{Disconnect, FanoutConfig};

use crate::{
    peer::{End, Peer, Piece},
    rig::{Asked, HEAD, Rig},
};

/// Data of many lengths, short and far beyond a socket's buffer.
fn data(index: usize) -> String {
    let len = [1, 40, 700, 9_000, 90, 3, 30_000][index % 7];
    format!("{index}:{}", "x".repeat(len))
}

/// The bytes of a stream, put together without the hub's code.
fn stream(rig: &Rig, framing: Framing, through: u64) -> Vec<u8> {
    let framed = |sse: &str| match framing {
        Framing::Bare => sse.to_owned(),
        Framing::Chunked => format!("{:x}\r\n{sse}\r\n", sse.len()),
    };
    let mut text = HEAD.to_owned() + &framed(":\n");
    for (seq, (_, data)) in rig.published().range(..=through) {
        text += &framed(&format!("id: {}\ndata: {data}\n\n", rig.hub.id(*seq)));
    }
    text.into_bytes()
}

/// A hub whose channels keep this many events.
fn keeping(ring_events_max: usize, write_stall_ms_max: u32) -> Rig {
    let retention = Retention { ring_events_max, ring_bytes_max: 64 << 20, ..Retention::default() };
    let limits = HubLimits { retention, ..HubLimits::default() };
    Rig::with(1, limits, FanoutConfig { write_stall_ms_max, ..FanoutConfig::default() })
}

#[test]
fn partial_writes_are_exact_to_the_byte() {
    let rig = keeping(10_000, 30_000);
    let framings = [Framing::Chunked, Framing::Bare];
    let mut peers: Vec<_> = framings
        .map(|framing| (framing, rig.subscribe(&["a"], &Asked { framing, ..Asked::tiny() })))
        .into();
    let last = (0..500).map(|index| rig.publish("a", &data(index))).last().unwrap();
    for (framing, peer) in &mut peers {
        let expected = stream(&rig, *framing, last);
        let mut step = 0;
        while peer.raw.len() < expected.len() {
            step += 1;
            assert_eq!(peer.read(1 + step * 331 % 8_192), None);
        }
        assert!(peer.raw == expected, "{framing:?}: not the bytes that were expected");
        rig.check_exact(peer, last);
    }
}

#[test]
fn events_are_counted_once_however_they_were_written() {
    let rig = keeping(10_000, 30_000);
    let mut peers: Vec<_> = (0..3).map(|_| rig.subscribe(&["a"], &Asked::tiny())).collect();
    let last = (0..200).map(|index| rig.publish("a", &data(index))).last().unwrap();
    peers.iter_mut().for_each(|peer| peer.read_to(last));
    let bytes: usize = peers.iter().map(|peer| peer.raw.len()).sum();
    crate::rig::eventually("the counts", || {
        let totals = rig.fanout.totals();
        assert!(totals.events_delivered <= 600 && totals.bytes_sent <= bytes as u64);
        (totals.events_delivered, totals.bytes_sent) == (600, bytes as u64)
    });
}

#[test]
fn who_lags_is_told_of_the_gap_and_gets_what_is_kept() {
    let rig = keeping(16, 30_000);
    let mut slow = rig.subscribe(&["a"], &Asked::tiny());
    let mut fast = rig.subscribe(&["a"], &Asked::default());
    slow.read_first();
    let mut last = 0;
    for index in 0..600 {
        last = rig.publish("a", &format!("{index}:{}", "x".repeat(4_000)));
        if index % 8 == 0 {
            fast.read_to(last);
        }
    }
    fast.read_to(last);
    rig.check_exact(&fast, last);
    slow.read_to(last);
    let told = rig.check(&slow, last);
    assert!(told.gaps >= 1 && told.lost > 500, "{told:?}");
    for (_, data, _) in slow.controls("gap") {
        assert_eq!(data["reason"], "lagged");
    }
    // Everything that is kept came after the last gap.
    let gap = |piece: &Piece| matches!(piece, Piece::Control { .. });
    let after = slow.pieces.iter().rev().take_while(|piece| !gap(piece)).count();
    assert!(after >= 16, "{after} after the gap");
    assert_eq!(rig.hub.gaps_total(fanfare_core::GapReason::Lagged), told.gaps as u64);
}

#[test]
fn who_lags_and_wants_no_control_events_is_cut_between_events() {
    let rig = keeping(16, 30_000);
    let asked = Asked { control: false, ..Asked::tiny() };
    let mut slow = rig.subscribe(&["a"], &asked);
    slow.read_first();
    for index in 0..600 {
        rig.publish("a", &format!("{index}:{}", "x".repeat(4_000)));
    }
    assert_eq!(slow.read_to_end(), End::Fin);
    assert!(!slow.pieces.contains(&Piece::Last), "a last chunk would hide the gap");
    let events = slow.events() as u64;
    rig.check_exact(&slow, events);
    rig.disconnected(Disconnect::Gap, 1);
}

#[test]
fn an_end_reaches_every_cursor() {
    let rig = keeping(10_000, 30_000);
    let mut blocked = rig.subscribe(&["a"], &Asked::tiny());
    let mut live = rig.subscribe(&["a"], &Asked::default());
    live.read_first();
    let last = (0..300).map(|index| rig.publish("a", &data(index))).last().unwrap();
    let mut replaying = rig.subscribe(&["a"], &Asked::from_start());
    let middle = Start::After(rig.hub.id(150).to_string());
    let mut resuming = rig.subscribe(&["a"], &Asked { start: middle, ..Asked::tiny() });
    let mut both = rig.subscribe(&["a", "b"], &Asked::from_start());
    let end = rig.close("a");
    for peer in [&mut live, &mut blocked, &mut replaying, &mut resuming] {
        assert_eq!(peer.read_to_end(), End::Fin);
        let reason = &peer.controls("end")[..];
        assert!(
            matches!(reason, [(seq, data, Some(_))] if *seq == end && data["reason"] == "done")
        );
        assert_eq!(peer.pieces.last(), Some(&Piece::Last));
        rig.check_exact(peer, last);
    }
    assert_eq!(resuming.events(), 150);
    let is_end = |piece: &Piece| matches!(piece, Piece::Control { kind, .. } if kind == "end");
    both.read_until(is_end);
    let more = rig.publish("b", "still there");
    both.read_to(more);
    rig.check_exact(&both, more);
    rig.disconnected(Disconnect::Ended, 4);
}

#[test]
fn a_peer_that_takes_nothing_is_closed_and_one_that_takes_little_is_not() {
    let rig = keeping(100_000, 500);
    let stuck = rig.subscribe(&["a"], &Asked::tiny());
    let mut slow = rig.subscribe(&["a"], &Asked::tiny());
    let mut last = 0;
    for index in 0..40 {
        last = rig.publish("a", &format!("{index}:{}", "x".repeat(30_000)));
    }
    let read = |peer: &mut Peer| while peer.events() < 40 && peer.read(4_096).is_none() {};
    read(&mut slow);
    rig.disconnected(Disconnect::Stalled, 1);
    assert_eq!(rig.hub.subscribers(), 1);
    rig.check_exact(&slow, last);
    drop(stuck);
}
