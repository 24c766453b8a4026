//! The end of a process that holds as many subscribers as it may.

use std::time::{Duration, Instant};

use crate::{
    alone,
    crowd::{Crowd, size},
    publisher::Publisher,
    support::hub::Hub,
};

fn full_hub(flags: &[&str]) -> (Hub, Crowd) {
    let hub = Hub::start(&[&["--workers", "1"], flags].concat());
    let mut crowd = Crowd::new(hub.public());
    let all = crowd.join(size(15_000), "/channels/news").len();
    Publisher::new(hub.public()).publish("news", "x");
    crowd.run("an event for all", |crowd| crowd.seen.events == all);
    (hub, crowd)
}

#[test]
fn a_second_signal_ends_all_connections_at_once() {
    let _alone = alone();
    let (mut hub, mut crowd) = full_hub(&["--drain-period", "60s"]);
    hub.terminate();
    crowd.run("the first departures", |crowd| crowd.seen.away > 10);
    let began = Instant::now();
    hub.terminate();
    assert_eq!(hub.wait().code, Some(143));
    let exit = began.elapsed();
    let all = crowd.members.len();
    crowd.run("the end of all", |crowd| crowd.seen.ended == all);
    println!("{all} attached: the process ended after {exit:?}, all saw it {:?}", began.elapsed());
    assert!(exit < Duration::from_secs(5), "{exit:?}");
}

#[test]
fn a_short_drain_sends_all_away() {
    let _alone = alone();
    let (mut hub, mut crowd) = full_hub(&["--drain-period", "1s"]);
    let began = Instant::now();
    hub.terminate();
    let all = crowd.members.len();
    crowd.run("the end of all", |crowd| crowd.seen.ended == all);
    let exit = hub.wait();
    println!("{all} attached: drained and ended after {:?}", began.elapsed());
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert_eq!(crowd.seen.away, all, "each was told");
    assert!(crowd.members.iter().all(|member| member.stream.is_whole()));
}

#[test]
fn those_who_do_not_read_are_closed_at_the_end() {
    let _alone = alone();
    let flags = ["--drain-period", "200ms", "--socket-unsent-bytes-max", "4KiB"];
    let (mut hub, mut crowd) = full_hub(&flags);
    let all = crowd.members.len();
    (0..all).for_each(|index| crowd.pause(index));
    let mut publisher = Publisher::new(hub.public());
    // More than fits into the sockets, so that all are behind when the end comes.
    for _ in 0..8 {
        publisher.publish("news", &"x".repeat(200_000));
    }
    drop(publisher);
    let began = Instant::now();
    hub.terminate();
    let exit = hub.wait();
    println!("{all} that do not read: ended after {:?}", began.elapsed());
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert!(exit.said.contains("not all in time"), "{}", exit.said);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
