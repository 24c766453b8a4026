//! A hub whose budget of memory is in use in all its parts at once.

use crate::{
    alone,
    crowd::Crowd,
    publisher::Publisher,
    slow::check,
    support::{eventually, http::get, hub::Hub},
};

const MIB: usize = 1024 * 1024;
const BUDGET: usize = 64 * MIB;
/// What the process may have over it: what the allocator holds beyond what it gave out.
const ALLOWED: usize = BUDGET / 4 * 5;
const CHANNELS: usize = 500;
const BUSY: usize = 10;
/// Bytes of data of events for each busy channel, one after the other.
const SIZES: [usize; 6] = [100, 4_000, 60_000, 1_000, 200_000, 100];
/// Times that each busy channel gets all of them: 160 MB, but an unoptimised hub takes long.
const ROUNDS: usize = if cfg!(debug_assertions) { 16 } else { 60 };

#[test]
fn the_process_stays_within_its_budget_and_tells_the_truth() {
    let _alone = alone();
    let flags = ["--memory-max", "64MiB", "--write-stall-max", "60s", "--workers", "1"];
    let hub = Hub::start(&[&flags[..], &["--socket-unsent-bytes-max", "64KiB"]].concat());
    let mut crowd = Crowd::new(hub.public());
    let mut publisher = Publisher::new(hub.public());
    let busy = |n: usize| format!("busy/{}", n % BUSY);
    let fast: Vec<_> =
        (0..BUSY).map(|n| crowd.join(1, &format!("/channels/{}", busy(n)))).collect();
    let slow: Vec<_> = (0..40).map(|n| crowd.join(1, &format!("/channels/{}", busy(n)))).collect();
    slow.iter().cloned().flatten().for_each(|index| crowd.pause(index));
    // All rings together hold half of the budget.
    for n in 0..2 * CHANNELS {
        let data = "x".repeat(SIZES[n % SIZES.len()]);
        publisher.publish(&format!("full/{}", n % CHANNELS), &data);
    }
    let mut published = vec![Vec::new(); BUSY];
    let mut most = hub.anonymous_memory();
    for _ in 0..ROUNDS {
        for size in SIZES {
            let data = "x".repeat(size);
            for (n, published) in published.iter_mut().enumerate() {
                let (seq, _) = publisher.publish(&busy(n), &data);
                published.push(u32::try_from(seq).unwrap());
            }
            let all = published[0].len();
            crowd.run("those who read", |crowd| {
                crowd.members[..BUSY].iter().all(|member| member.stream.seqs.len() == all)
            });
        }
        most = most.max(hub.anonymous_memory());
    }
    let stats = get(hub.admin(), "/api/stats").json();
    let rings = &stats["memory"]["shares"][0];
    assert_eq!(rings["share"], "rings");
    let [used, max] = ["used_bytes", "max_bytes"].map(|name| rings[name].as_u64().unwrap());
    println!("{most} bytes at the most, {used} of {max} in rings");
    assert!(most < ALLOWED, "{most} bytes, {ALLOWED} are allowed");
    assert!(used <= max && max / 10 * 9 < used, "the rings are full");
    for (index, published) in fast.into_iter().flatten().zip(&published) {
        assert_eq!(check(&crowd.members[index].stream, published), 0, "who reads gets all");
    }
    for index in slow.iter().cloned().flatten() {
        crowd.go_on(index);
    }
    let last: Vec<_> = published.iter().map(|published| published.last().copied()).collect();
    crowd.run("the slow ones", |crowd| {
        crowd.members[BUSY..].iter().enumerate().all(|(n, member)| {
            member.ended.is_some() || member.stream.seqs.last().copied() == last[n % BUSY]
        })
    });
    let mut cut = 0;
    for (n, member) in crowd.members[BUSY..].iter().enumerate() {
        if member.ended.is_some() {
            // It was cut, and comes back to the place that it knows.
            cut += 1;
            assert!(member.stream.seqs.iter().all(|seq| published[n % BUSY].contains(seq)));
        } else {
            assert!(check(&member.stream, &published[n % BUSY]) > 0, "it was told what it lost");
        }
    }
    println!("{cut} of {} were cut for memory", slow.len());
    eventually("counted", || {
        (hub.metric("fanfare_disconnects_total{reason=\"memory\"}") == cut).then_some(())
    });
}
