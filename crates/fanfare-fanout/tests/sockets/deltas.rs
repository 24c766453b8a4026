//! Deltas that are put together over sockets: every text once, whoever comes when.

use std::time::Instant;

use fanfare_core::{Framing, Start};

use crate::{
    peer::{End, Peer, Piece},
    rig::{Asked, Rig},
};

const WINDOW_MS: u32 = 100;

fn windowed(start: Start) -> Asked {
    Asked { start, window_ms: Some(WINDOW_MS), ..Asked::default() }
}

/// The data of the events that came.
fn told<'a>(peer: &'a Peer) -> Vec<&'a str> {
    let data = |piece: &'a Piece| match piece {
        Piece::Event { data, .. } => Some(data.as_str()),
        Piece::Control { .. } | Piece::Heartbeat | Piece::Last => None,
    };
    peer.pieces.iter().filter_map(data).collect()
}

/// Reads until an event ends in this text.
fn read_to(peer: &mut Peer, text: &str) {
    peer.read_until(|piece| matches!(piece, Piece::Event { data, .. } if data.ends_with(text)));
}

#[test]
fn a_burst_is_a_few_events_and_what_is_no_delta_ends_it() {
    let rig = Rig::new(1);
    let mut peers: Vec<_> = [Framing::Chunked, Framing::Bare]
        .map(|framing| rig.subscribe(&["a"], &Asked { framing, ..windowed(Start::Now) }))
        .into();
    let mut plain = rig.subscribe(&["a"], &Asked::default());
    peers.iter_mut().for_each(Peer::read_first);
    let began = Instant::now();
    let words: Vec<_> = (0..200).map(|n| format!("{n} ")).collect();
    rig.publish("a", &words[0]);
    peers.iter_mut().for_each(|peer| read_to(peer, "0 "));
    words[1..].iter().for_each(|word| _ = rig.publish("a", word));
    read_to(&mut peers[0], " 199 ");
    read_to(&mut peers[1], " 199 ");
    let windows = began.elapsed().as_millis() as usize / WINDOW_MS as usize;
    for peer in &mut peers {
        let told = told(peer);
        assert_eq!(told.concat(), words.concat());
        assert!(told.len() <= 2 + windows, "{} in {windows} windows: {told:?}", told.len());
    }
    // The rest of these come at once, however long a window is.
    let last = ["x", "y", "whole\nevent", "z"].map(|data| rig.publish("a", data));
    for peer in &mut peers {
        peer.read_to(last[2]);
        let told = told(peer);
        let whole = told.iter().position(|data| *data == "whole\nevent").unwrap();
        assert!(told[whole - 1].ends_with('y'), "{told:?}");
        peer.read_to(last[3]);
    }
    plain.read_to(last[3]);
    rig.check_exact(&plain, last[3]);
}

#[test]
fn whoever_comes_in_between_gets_exactly_the_rest() {
    let rig = Rig::new(2);
    let mut peers = Vec::new();
    let mut texts = Vec::new();
    for n in 0..300_usize {
        if n % 5 == 0 {
            let start = if n % 10 == 0 { Start::Now } else { Start::Last(3) };
            let from = if n % 10 == 0 { n } else { n.saturating_sub(3) };
            let asked = if n % 25 == 0 { Asked::tiny() } else { Asked::default() };
            let asked = Asked { start, window_ms: Some(WINDOW_MS), ..asked };
            peers.push((rig.subscribe(&["a"], &asked), from));
        }
        let text = if n % 40 == 39 { format!("<{n}\n>") } else { format!("<{n}>") };
        rig.publish("a", &text);
        texts.push(text);
    }
    rig.close("a");
    for (peer, from) in &mut peers {
        assert_eq!(peer.read_to_end(), End::Fin, "nor does the end wait");
        assert_eq!(told(peer).concat(), texts[*from..].concat());
    }
}

#[test]
fn who_is_sent_away_has_what_waited() {
    let rig = Rig::new(1);
    let mut peer = rig.subscribe(&["a"], &windowed(Start::Now));
    peer.read_first();
    let words = ["one ", "two ", "three"];
    words.iter().for_each(|word| _ = rig.publish("a", word));
    assert_eq!(rig.drain(1), 1);
    assert_eq!(peer.read_to_end(), End::Fin);
    assert_eq!(told(&peer).concat(), words.concat());
}
