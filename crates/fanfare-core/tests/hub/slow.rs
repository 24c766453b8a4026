//! What becomes of a subscriber that is too slow, as its channel says.

use fanfare_core::{HubLimits, Pattern, Request, SlowPolicy, Start, Subscribed};

use super::bench::{Bench, after, live, over, request, slow};

/// Rings of two events and a policy; channels under `gap/` have the default one.
fn bench(policy: SlowPolicy) -> Bench {
    let others = (Pattern::parse("gap/*").unwrap(), slow(2, SlowPolicy::Gap));
    let retention = slow(2, policy);
    Bench::new(HubLimits { retention, retentions: vec![others], ..HubLimits::default() })
}

#[test]
fn who_is_to_see_the_latest_skips_to_it_and_is_told() {
    let bench = bench(SlowPolicy::Latest);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["1", "2", "3", "4"]);
    assert_eq!(bench.read(&mut subscription), live(["gap a 0..3 lagged", "4 4"]));
    bench.publish("a", ["5", "6"]);
    assert_eq!(bench.read(&mut subscription), live(["5 5", "6 6"]), "it is no longer slow");
}

#[test]
fn the_latest_of_a_channel_that_kept_nothing_is_its_next_one() {
    let mut bench = bench(SlowPolicy::Latest);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["1", "2"]);
    bench.pass(3_600_001);
    assert_eq!(bench.read(&mut subscription), live(["gap a 0..2 lagged"]));
    bench.publish("a", ["3"]);
    assert_eq!(bench.read(&mut subscription), live(["3 3"]));
}

#[test]
fn the_latest_of_a_channel_that_has_ended_comes_before_its_end() {
    let bench = bench(SlowPolicy::Latest);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["1", "2", "3", "4"]);
    bench.close("a");
    let told = ["gap a 0..3 lagged", "4 4", "end a 5 done"];
    assert_eq!(bench.read(&mut subscription), over(told));
}

#[test]
fn who_is_not_kept_is_told_and_cut_off_and_comes_back_after_the_gap() {
    let bench = bench(SlowPolicy::Disconnect);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["1", "2", "3", "4"]);
    assert_eq!(bench.read(&mut subscription), over(["gap a 0..2 lagged", "cut"]));
    assert_eq!(bench.seen(&["a"], after(2)), live(["3 3", "4 4"]));
}

#[test]
fn what_was_lost_before_it_came_is_no_slowness() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::Latest] {
        let bench = bench(policy);
        bench.publish("a", ["1", "2", "3", "4"]);
        let told = ["gap a 1..2 evicted", "3 3", "4 4"];
        assert_eq!(bench.seen(&["a"], after(1)), live(told), "{policy:?}");
    }
}

#[test]
fn of_several_channels_the_one_that_lost_events_decides_and_none_is_skipped() {
    for selectors in [&["gap/a", "b"][..], &["**"]] {
        let cutting = bench(SlowPolicy::Disconnect);
        let mut subscription = cutting.live(selectors, Start::Now);
        cutting.publish("gap/a", ["1", "2", "3"]);
        let told = ["gap gap/a 0..1 lagged", "2 2", "3 3"];
        assert_eq!(cutting.read(&mut subscription), live(told), "{selectors:?}");
        cutting.publish("b", ["4", "5", "6"]);
        let told = ["gap b 3..4 lagged", "cut"];
        assert_eq!(cutting.read(&mut subscription), over(told), "{selectors:?}");

        let skipping = bench(SlowPolicy::Latest);
        let mut subscription = skipping.live(selectors, Start::Now);
        skipping.publish("b", ["1", "2", "3"]);
        let told = ["gap b 0..1 lagged", "2 2", "3 3"];
        assert_eq!(skipping.read(&mut subscription), live(told), "{selectors:?}");
    }
}

#[test]
fn without_control_events_each_of_them_is_a_cut() {
    for policy in SlowPolicy::ALL {
        let bench = bench(policy);
        let silent = Request { control: false, ..request(&["a"], Start::Now) };
        let Subscribed::Live(opening) = bench.subscribe(&silent) else { panic!() };
        let mut subscription = opening.subscription;
        bench.publish("a", ["1", "2", "3"]);
        assert_eq!(bench.read(&mut subscription).what[0], "abort", "{policy:?}");
    }
}
