//! What was lost is told, once, at its place, and nothing else is.

use fanfare_core::{GapReason, HubLimits, Request, Start, Subscribed};

use super::bench::{Bench, after, live, request};

#[test]
fn a_gap_is_exact() {
    let bench = Bench::with_rings(2);
    bench.publish("a", ["1", "2", "3"]);
    assert_eq!(bench.seen(&["a"], after(0)), live(["gap a 0..1 evicted", "2 2", "3 3"]));
    assert_eq!(bench.seen(&["a"], after(1)), live(["2 2", "3 3"]));
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["2 2", "3 3"]));
    assert_eq!(bench.hub.gaps_total(GapReason::Evicted), 1);
}

#[test]
fn a_slow_subscriber_is_told_that_it_lagged() {
    let bench = Bench::with_rings(2);
    for start in [Some(Start::Now), Some(Start::Beginning), None] {
        let start = start.unwrap_or_else(|| after(bench.hub.watermark()));
        let mut subscription = bench.live(&["a"], start);
        let newest = bench.publish("a", ["x", "y", "z"]);
        let gap = format!("gap a {}..{} lagged", subscription.position().seq, newest - 2);
        let (y, z) = (format!("{} y", newest - 1), format!("{newest} z"));
        assert_eq!(bench.read(&mut subscription), live([gap.as_str(), &y, &z]));
        assert_eq!(bench.read(&mut subscription), live([]), "told once");
    }
}

#[test]
fn a_gap_stands_behind_what_others_had_before_it() {
    let bench = Bench::with_rings(2);
    let mut subscription = bench.live(&["a", "b"], Start::Now);
    bench.publish("a", ["1"]);
    bench.publish("b", ["2"]);
    bench.publish("a", ["3", "4"]);
    bench.publish("b", ["5"]);
    bench.publish("a", ["6"]);
    let told = ["2 2", "gap a 2..3 lagged", "4 4", "5 5", "6 6"];
    assert_eq!(bench.read(&mut subscription), live(told));
    // Whoever breaks off before it is told when it comes back, and after it never again.
    assert_eq!(bench.seen(&["a", "b"], after(2)).what[0], "gap a 2..3 evicted");
    assert_eq!(bench.seen(&["a", "b"], after(3)), live(["4 4", "5 5", "6 6"]));
}

#[test]
fn a_pattern_is_told_of_each_channel_that_lost_events() {
    let bench = Bench::with_rings(1);
    let mut subscription = bench.live(&["*"], Start::Now);
    bench.publish("a", ["1", "2"]);
    bench.publish("b", ["3"]);
    bench.publish("a", ["4"]);
    bench.delete("b");
    let told = ["gap a 0..2 lagged", "gap b 2..3 lagged", "4 4", "end b 5 deleted"];
    assert_eq!(bench.read(&mut subscription), live(told));
    assert_eq!(bench.seen(&["*"], Start::Beginning), live(["4 4", "end b 5 deleted"]));
}

#[test]
fn a_pattern_sees_both_lives_of_a_channel() {
    let mut bench = Bench::with_rings(9);
    let mut subscription = bench.live(&["*"], Start::Now);
    bench.publish("a", ["1"]);
    bench.pass(3_600_001);
    bench.pass(600_001);
    assert_eq!(bench.hub.held().channels, 0, "a pattern keeps no channel");
    bench.publish("a", ["2"]);
    assert_eq!(bench.read(&mut subscription), live(["gap a 0..1 lagged", "2 2"]));
}

#[test]
fn a_cursor_older_than_the_journal_is_a_gap_of_the_whole_subscription() {
    let bench = Bench::new(HubLimits { journal_events_max: 2, ..HubLimits::default() });
    bench.publish("a", ["1", "2", "3"]);
    let told = ["gap a,b/* 0..1 evicted", "2 2", "3 3"];
    assert_eq!(bench.seen(&["a", "b/*"], after(0)), live(told));
    assert_eq!(bench.seen(&["a"], after(0)), live(["gap a 0..1 evicted", "2 2", "3 3"]));
}

#[test]
fn what_came_before_a_first_connection_is_not_lost_to_it() {
    let bench = Bench::with_rings(1);
    bench.publish("a", ["1", "2"]);
    bench.publish("b", ["3"]);
    for channels in [&["a", "b"][..], &["*"]] {
        assert_eq!(bench.seen(channels, Start::Beginning), live(["2 2", "3 3"]));
        assert_eq!(bench.seen(channels, Start::Last(9)), live(["2 2", "3 3"]));
    }
}

#[test]
fn without_control_events_a_gap_is_a_refusal_and_later_a_cut() {
    let bench = Bench::with_rings(1);
    let silent = |channels: &[&str], start| Request { control: false, ..request(channels, start) };
    let Subscribed::Live(opening) = bench.subscribe(&silent(&["a", "b"], Start::Now)) else {
        panic!()
    };
    let mut subscription = opening.subscription;
    bench.publish("a", ["1"]);
    bench.publish("b", ["2"]);
    bench.publish("a", ["3"]);
    assert_eq!(bench.read(&mut subscription).what[0], "abort");
    for channels in [&["a"][..], &["a", "b"], &["*"], &["a", "c/*"]] {
        let refused = bench.subscribe(&silent(channels, after(0)));
        assert!(matches!(refused, Subscribed::Gap), "{channels:?}: {refused:?}");
        let fine = bench.subscribe(&silent(channels, after(1)));
        assert!(matches!(fine, Subscribed::Live(_)), "{channels:?}: {fine:?}");
    }
}
