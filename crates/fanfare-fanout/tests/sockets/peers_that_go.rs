//! Peers that leave, break or misbehave, and the counts that follow.

use fanfare_fanout::{Disconnect, limits::DISCARDED_BYTES_MAX};

use crate::{
    peer::End,
    rig::{Asked, Rig, eventually},
};

#[test]
fn what_a_peer_sends_is_ignored_up_to_a_bound() {
    let rig = Rig::new(1);
    let mut peer = rig.subscribe(&["a"], &Asked::default());
    peer.write(&vec![b'x'; DISCARDED_BYTES_MAX as usize]).unwrap();
    let seq = rig.publish("a", "x");
    peer.read_to(seq);
    peer.write(b"y").unwrap();
    peer.read_to_end();
    rig.disconnected(Disconnect::Client, 1);
    assert_eq!(rig.hub.subscribers(), 0);
}

#[test]
fn every_way_of_leaving_is_noticed_and_counted() {
    let rig = Rig::new(2);
    let mut peers: Vec<_> = (0..60).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    let mut stays = peers.pop().unwrap();
    peers.iter_mut().for_each(crate::peer::Peer::read_first);
    assert_eq!((rig.hub.subscribers(), rig.fanout.members()), (60, vec![30, 30]));
    let mut half_closed = Vec::new();
    for (index, peer) in peers.into_iter().enumerate() {
        match index % 3 {
            0 => peer.cut(),
            1 => drop(peer),
            _ => {
                peer.half_close();
                half_closed.push(peer);
            }
        }
    }
    rig.disconnected(Disconnect::Client, 59);
    assert!(half_closed.iter_mut().all(|peer| peer.read_to_end() == End::Fin));
    assert_eq!((rig.hub.subscribers(), rig.fanout.members().iter().sum::<usize>()), (1, 1));
    let seq = rig.publish("a", "x");
    stays.read_to(seq);
    rig.check_exact(&stays, seq);
}

#[test]
fn a_channel_without_events_goes_with_its_last_subscriber() {
    let rig = Rig::new(2);
    let peers: Vec<_> = (0..40)
        .map(|index| rig.subscribe(&[&format!("a/{}", index % 20)], &Asked::default()))
        .collect();
    assert_eq!(rig.hub.held().channels, 20);
    drop(peers);
    eventually("no channels", || rig.hub.held().channels == 0);
    assert_eq!((rig.hub.subscribers(), rig.fanout.members()), (0, vec![0, 0]));
}

#[test]
fn seats_are_spread_evenly() {
    let rig = Rig::new(3);
    let peers: Vec<_> = (0..301).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    assert_eq!(rig.fanout.members(), [101, 100, 100]);
    // Those of one worker go, and the next ones take their places.
    for (index, peer) in peers.into_iter().enumerate() {
        if index % 3 == 1 {
            drop(peer);
        } else {
            std::mem::forget(peer);
        }
    }
    eventually("they are gone", || rig.fanout.members() == [101, 0, 100]);
    let more: Vec<_> = (0..110).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    assert_eq!(rig.fanout.members(), [104, 104, 103]);
    drop(more);
}

#[test]
fn a_stop_closes_everything() {
    let rig = Rig::new(2);
    let mut peers: Vec<_> = (0..2_000).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    rig.publish("a", "x");
    rig.stop();
    for peer in &mut peers {
        peer.read_to_end();
    }
    assert_eq!((rig.hub.subscribers(), rig.fanout.members()), (0, vec![0, 0]));
    rig.disconnected(Disconnect::Stop, 2_000);
}
