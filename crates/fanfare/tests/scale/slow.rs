//! Slow subscribers: they delay nobody, cost no memory, and are told what they missed.

use std::time::Instant;

use crate::{
    alone,
    crowd::{Crowd, size},
    publisher::Publisher,
    stream::Stream,
    support::{eventually, hub::Hub},
};

/// Events that the slowest miss, of 60 kB: 200 MB, but an unoptimised hub takes long to encode.
const MISSED: usize = if cfg!(debug_assertions) { 600 } else { 3_400 };
/// Events that a channel keeps in these tests.
const KEPT: usize = 64;

/// A hub whose sockets hold this much. Less than two segments of the loopback's 64 KiB would make
/// those who read wait for delayed acknowledgements.
fn start(unsent_bytes_max: &str, write_stall_max: &str) -> Hub {
    let kept = KEPT.to_string();
    let flags = ["--ring-events", &kept, "--workers", "1", "--write-stall-max", write_stall_max];
    Hub::start(&[&flags[..], &["--socket-unsent-bytes-max", unsent_bytes_max]].concat())
}

/// Whether it has all events or was told what it lost, up to the last one that was published.
pub(crate) fn check(stream: &Stream, published: &[u32]) -> usize {
    let mut expected = published.iter().copied();
    let mut gaps = stream.gaps.iter().peekable();
    let mut lost = 0;
    for (index, seq) in stream.seqs.iter().enumerate() {
        let mut next = expected.next();
        while let Some(gap) = gaps.next_if(|gap| gap.after_events == index) {
            assert_eq!(gap.reason, "lagged");
            while next.is_some_and(|seq| u64::from(seq) <= gap.resumed_after) {
                lost += 1;
                next = expected.next();
            }
        }
        assert_eq!(Some(*seq), next);
    }
    assert_eq!(expected.next(), None);
    lost
}

#[test]
fn fast_ones_do_not_wait_and_slow_ones_are_told() {
    let _alone = alone();
    let hub = start("16KiB", "60s");
    let mut crowd = Crowd::new(hub.public());
    let fast = crowd.join(size(5_000), "/channels/news").len();
    let mut publisher = Publisher::new(hub.public());
    let data = "x".repeat(2_500);
    let mut published = Vec::new();
    let mut round = |crowd: &mut Crowd| {
        let began = Instant::now();
        for _ in 0..12 {
            let seqs = publisher.publish_many("news", KEPT / 4, &data);
            published.extend(seqs.map(|seq| u32::try_from(seq).unwrap()));
            // No more than is kept is on its way.
            let all = fast * published.len();
            crowd.run("the fast ones", |crowd| crowd.seen.events >= all);
        }
        (began.elapsed(), published.clone())
    };
    let (without, before) = round(&mut crowd);
    let slow = crowd.join(3, "/channels/news");
    slow.clone().for_each(|index| crowd.pause(index));
    let (beside, all) = round(&mut crowd);
    println!("{fast} fast ones: {without:?} alone, {beside:?} beside slow ones");
    for member in &crowd.members[..fast] {
        assert_eq!(member.stream.seqs, all);
        assert!(member.stream.gaps.is_empty());
    }
    slow.clone().for_each(|index| crowd.go_on(index));
    let last = all.last().copied();
    crowd.run("the slow ones", |crowd| {
        crowd.members[slow.clone()].iter().all(|slow| slow.stream.seqs.last().copied() == last)
    });
    for member in &crowd.members[slow] {
        let lost = check(&member.stream, &all[before.len()..]);
        println!("a slow one lost {lost}, told of {:?}", member.stream.gaps);
        let [.., gap] = &member.stream.gaps[..] else { panic!("it was not told") };
        assert_eq!(member.stream.seqs.len() - gap.after_events, KEPT, "what is kept");
    }
}

#[test]
fn memory_does_not_grow_with_what_slow_ones_missed() {
    let _alone = alone();
    let hub = start("64KiB", "60s");
    let mut crowd = Crowd::new(hub.public());
    let slow = crowd.join(200, "/channels/news");
    let fast = crowd.join(1, "/channels/news").start;
    slow.clone().for_each(|index| crowd.pause(index));
    let mut publisher = Publisher::new(hub.public());
    let data = "x".repeat(60_000);
    let mut published = Vec::new();
    let mut round = |crowd: &mut Crowd, events: usize| {
        for _ in 0..events {
            let (seq, _) = publisher.publish("news", &data);
            published.push(u32::try_from(seq).unwrap());
            let last = published.last().copied();
            let has_all = |crowd: &Crowd| crowd.members[fast].stream.seqs.last().copied() == last;
            crowd.run("the fast one", has_all);
        }
        published.clone()
    };
    // The ring is full and the sockets are.
    round(&mut crowd, 200);
    let before = hub.memory();
    let all = round(&mut crowd, MISSED);
    let after = hub.memory();
    let megabytes = MISSED * data.len() / 1_000_000;
    println!("{megabytes} MB missed by 200: {before} bytes before, {after} after");
    assert!(after < before + 8 * 1024 * 1024, "{before} bytes before, {after} after");
    slow.clone().for_each(|index| crowd.go_on(index));
    let last = all.last().copied();
    crowd.run("the slow ones", |crowd| {
        crowd.members.iter().all(|member| member.stream.seqs.last().copied() == last)
    });
    for member in &crowd.members[slow] {
        assert!(check(&member.stream, &all) > MISSED / 2);
    }
    assert_eq!(check(&crowd.members[fast].stream, &all), 0);
}

#[test]
fn one_that_never_reads_is_closed() {
    let _alone = alone();
    let hub = start("64KiB", "1s");
    let mut crowd = Crowd::new(hub.public());
    let stuck = crowd.join(20, "/channels/news");
    let reads = crowd.join(20, "/channels/news");
    stuck.clone().for_each(|index| crowd.pause(index));
    let mut publisher = Publisher::new(hub.public());
    let began = Instant::now();
    let mut published = 0;
    let stalled = "fanfare_disconnects_total{reason=\"stalled\"}";
    eventually("closed", || {
        publisher.publish_many("news", 16, &"x".repeat(30_000));
        published += 16;
        crowd.run("the others", |crowd| crowd.seen.events >= published * reads.len());
        (hub.metric("fanfare_subscribers") == reads.len() as u64).then_some(())
    });
    println!("closed {:?} after the first event", began.elapsed());
    assert!(began.elapsed().as_millis() >= 1_000);
    eventually("stalled", || (hub.metric(stalled) == stuck.len() as u64).then_some(()));
    assert_eq!(hub.metric("fanfare_disconnects_total{reason=\"client\"}"), 0);
}
