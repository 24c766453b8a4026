//! Ten thousand subscribers get every event once, also those that are cut off and come back.

use std::time::Instant;

use crate::{
    alone,
    crowd::{Crowd, size},
    publisher::Publisher,
    support::hub::Hub,
};

const EVENTS: usize = 100;

#[test]
fn all_get_every_event_once_from_one_worker() {
    broadcast("1");
}

#[test]
fn all_get_every_event_once_from_two_workers() {
    broadcast("2");
}

fn broadcast(workers: &str) {
    let _alone = alone();
    let hub = Hub::start(&["--workers", workers]);
    let mut crowd = Crowd::new(hub.public());
    let began = Instant::now();
    let all = crowd.join(size(10_000), "/channels/news");
    println!("{} subscribers after {:?}", all.len(), began.elapsed());
    let mut random = fastrand::Rng::with_seed(3);
    let often_cut = all.len() / 10;
    // A frame has about 150 bytes, so that most are cut inside of one.
    (0..often_cut).for_each(|index| crowd.cut_after(index, random.usize(1..14_000)));
    let mut publisher = Publisher::new(hub.public());
    let began = Instant::now();
    let mut seqs = Vec::new();
    for round in 1..=10 {
        for _ in 0..EVENTS / 10 {
            let (seq, _) = publisher.publish("news", &"x".repeat(100));
            seqs.push(u32::try_from(seq).unwrap());
        }
        // Half of what is there: the next round comes while this one is on its way.
        let enough = all.len() * (round * EVENTS / 10 - EVENTS / 20);
        crowd.run("events", |crowd| crowd.seen.events + crowd.seen.cut * EVENTS >= enough);
        for index in crowd.cut_off() {
            crowd.connect(index);
            if random.bool() {
                crowd.cut_after(index, random.usize(1..7_000));
            }
        }
    }
    while crowd.seen.events < all.len() * EVENTS {
        crowd.cut_off().into_iter().for_each(|index| crowd.connect(index));
        let before = crowd.seen.cut;
        crowd.run("the rest", |crowd| {
            crowd.seen.events >= all.len() * EVENTS || crowd.seen.cut > before
        });
    }
    println!("{} deliveries after {:?}", crowd.seen.events, began.elapsed());
    println!("{} cuts", crowd.seen.cut);
    crowd.settle();
    assert!(crowd.seen.cut >= often_cut, "{} cuts", crowd.seen.cut);
    for member in &crowd.members {
        assert_eq!(member.stream.seqs, seqs);
        assert!(member.stream.gaps.is_empty() && member.stream.is_whole());
    }
    assert_eq!(hub.metric("fanfare_subscribers"), all.len() as u64);
}
