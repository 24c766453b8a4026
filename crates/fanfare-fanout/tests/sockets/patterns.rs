//! Feeds that follow the journal: quiet stretches, long walks, and a journal that forgets.

use fanfare_core::HubLimits;
use fanfare_fanout::FanoutConfig;

use crate::{
    peer::Peer,
    rig::{Asked, Rig},
};

fn forgetful() -> Rig {
    let limits = HubLimits { journal_events_max: 1_024, ..HubLimits::default() };
    Rig::with(1, limits, FanoutConfig::default())
}

/// Publishes what does not concern `a/*`, at the pace at which the worker walks past it.
fn quiet(rig: &Rig, pacemaker: &mut Peer, events: usize) {
    for index in 0..events {
        let seq = rig.publish("b/1", "quiet");
        if index % 100 == 99 {
            pacemaker.read_to(seq);
        }
    }
}

#[test]
fn a_quiet_stretch_longer_than_the_journal_is_no_gap() {
    let rig = forgetful();
    let mut peers: Vec<_> = (0..100).map(|_| rig.subscribe(&["a/*"], &Asked::default())).collect();
    peers.push(rig.subscribe(&["a/*", "a/1"], &Asked::tiny()));
    peers.iter_mut().for_each(Peer::read_first);
    let mut pacemaker = rig.subscribe(&["b/*"], &Asked::default());
    for round in 0..5 {
        quiet(&rig, &mut pacemaker, 3_000);
        peers.push(rig.subscribe(&["a/*"], &Asked::default()));
        peers.last_mut().unwrap().read_first();
        let last = rig.publish("a/1", &format!("{round}"));
        for peer in &mut peers {
            peer.read_to(last);
            rig.check_exact(peer, last);
        }
    }
}

#[test]
fn a_full_socket_over_a_quiet_stretch_is_no_gap() {
    let rig = forgetful();
    let mut peer = rig.subscribe(&["a/*"], &Asked::tiny());
    peer.read_first();
    // It is begun, and the rest of it waits for the socket.
    let first = rig.publish("a/1", &"x".repeat(200_000));
    let begun = |rig: &Rig| rig.fanout.totals().events_delivered == 1;
    crate::rig::eventually("it is begun", || begun(&rig));
    let mut pacemaker = rig.subscribe(&["b/*"], &Asked::default());
    quiet(&rig, &mut pacemaker, 5_000);
    peer.read_to(first);
    let last = rig.publish("a/2", "after");
    peer.read_to(last);
    rig.check_exact(&peer, last);
}

#[test]
fn who_lags_behind_the_journal_is_told() {
    let rig = forgetful();
    let mut slow = rig.subscribe(&["**"], &Asked::tiny());
    let mut fast = rig.subscribe(&["a/**"], &Asked::default());
    slow.read_first();
    let mut last = 0;
    for index in 0..8_000 {
        last = rig.publish(if index % 2 == 0 { "a/1" } else { "b" }, &"x".repeat(100));
        if index % 100 == 0 {
            fast.read_to(last);
        }
    }
    let last_of_fast = last - 1;
    fast.read_to(last_of_fast);
    rig.check_exact(&fast, last_of_fast);
    slow.read_to(last);
    let told = rig.check(&slow, last);
    assert!(told.gaps >= 1 && told.lost > 1_000, "{told:?}");
    assert!(slow.controls("gap").iter().all(|(_, data, _)| data["reason"] == "lagged"));
}

#[test]
fn patterns_and_channels_that_come_and_go_share_nothing() {
    let rig = forgetful();
    let mut random = fastrand::Rng::with_seed(5);
    let selectors = [&["a/*"][..], &["*/1"], &["a/1", "b/*"], &["a/1"], &["b/1", "a/2"], &["**"]];
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..400 {
        for _ in 0..random.usize(..4) {
            let selectors = selectors[random.usize(..selectors.len())];
            peers.push(rig.subscribe(selectors, &Asked::default()));
        }
        for _ in 0..random.usize(..4) {
            rig.publish(["a/1", "a/2", "b/1", "c"][random.usize(..4)], "x");
        }
        while peers.len() > 30 {
            drop(peers.swap_remove(random.usize(..peers.len())));
        }
    }
    let ends = ["a/1", "a/2", "b/1", "c"].map(|channel| rig.publish(channel, "end"));
    for peer in &mut peers {
        let matches = |channel: &str| {
            let selectors = peer.selectors.iter().map(String::as_str);
            let selectors = fanfare_core::Selectors::parse(selectors).unwrap();
            selectors.matches(&fanfare_core::ChannelName::parse(channel).unwrap())
        };
        let channels = ["a/1", "a/2", "b/1", "c"];
        let last = channels.iter().zip(ends).rfind(|(channel, _)| matches(channel));
        peer.read_to(last.unwrap().1);
        rig.check_exact(peer, ends[3]);
    }
}
