//! Heartbeats: when there is silence, and only then.

use std::{
    thread,
    time::{Duration, Instant},
};

use fanfare_core::Framing;

use crate::{
    peer::Piece,
    rig::{Asked, HEAD, Rig},
};

const HEARTBEAT: Duration = Duration::from_millis(200);
/// What a worker's clock, read once per turn, may be behind.
const CLOCK: Duration = Duration::from_millis(5);

fn asked(framing: Framing) -> Asked {
    Asked { heartbeat_ms: HEARTBEAT.as_millis() as u32, framing, ..Asked::default() }
}

#[test]
fn silence_is_filled_with_comments_and_nothing_else() {
    let rig = Rig::new(1);
    for (framing, comment) in [(Framing::Chunked, "2\r\n:\n\r\n"), (Framing::Bare, ":\n")] {
        let mut peer = rig.subscribe(&["a"], &asked(framing));
        let began = Instant::now();
        while peer.pieces.len() < 4 {
            assert_eq!(peer.read(1_024), None);
        }
        assert!(began.elapsed() + CLOCK >= 3 * HEARTBEAT, "{:?}", began.elapsed());
        let expected = HEAD.to_owned() + &comment.repeat(4);
        assert_eq!(String::from_utf8_lossy(&peer.raw), expected);
    }
}

#[test]
fn a_heartbeat_never_follows_an_event_closely() {
    let rig = Rig::new(1);
    let mut peer = rig.subscribe(&["a"], &asked(Framing::Chunked));
    peer.read_first();
    let mut heartbeats = 0;
    for index in 0..40 {
        let published = Instant::now();
        let seq = rig.publish("a", "x");
        peer.read_to(seq);
        // Most are followed by the next one at once, some by silence.
        while index % 10 == 9 && peer.pieces.last() != Some(&Piece::Heartbeat) {
            assert_eq!(peer.read(1_024), None);
        }
        if peer.pieces.last() == Some(&Piece::Heartbeat) {
            heartbeats += 1;
            assert!(published.elapsed() + CLOCK >= HEARTBEAT, "after {:?}", published.elapsed());
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    assert!(heartbeats >= 4);
    rig.check_exact(&peer, 40);
}

#[test]
fn many_heartbeats_are_due_at_once() {
    let rig = Rig::new(2);
    let mut peers: Vec<_> =
        (0..600).map(|_| rig.subscribe(&["a"], &asked(Framing::Chunked))).collect();
    for peer in &mut peers {
        while peer.pieces.len() < 3 {
            assert_eq!(peer.read(1_024), None);
        }
        assert!(peer.pieces.iter().all(|piece| *piece == Piece::Heartbeat));
    }
}
