//! Limits that change while the hub runs.

use fanfare_core::{HubLimits, Pattern, Refusal, Retention, SlowPolicy, Start};

use super::bench::{Bench, event, live, slow};

#[test]
fn what_channels_keep_changes_for_those_that_exist() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1", "2", "3"]);
    bench.publish("b", ["4", "5", "6"]);
    let mut reader = bench.live(&["a"], Start::Now);
    let special = slow(1, SlowPolicy::Disconnect);
    let retentions = vec![(Pattern::parse("a").unwrap(), special)];
    let limits =
        HubLimits { retention: slow(2, SlowPolicy::Gap), retentions, ..HubLimits::default() };
    bench.hub.set_limits(&limits);
    bench.pass(1);
    assert_eq!(bench.seen(&["a", "b"], Start::Beginning), live(["3 3", "5 5", "6 6"]));
    bench.publish("a", ["7", "8"]);
    let told = bench.read(&mut reader);
    assert_eq!(told.what, ["gap a 6..7 lagged", "cut"]);
    assert_eq!(bench.hub.held().scheduled, 2, "one look per channel");
    // An age that was shortened is noticed without waiting for the longer one.
    let retention = Retention { ring_age_ms: 1_000, ..Retention::default() };
    bench.hub.set_limits(&HubLimits { retention, ..HubLimits::default() });
    bench.pass(1_001);
    assert_eq!(bench.hub.held().bytes, 0);
}

#[test]
fn lower_bounds_are_reached_in_steps_and_higher_ones_hold_at_once() {
    let mut bench = Bench::with_rings(10_000);
    for _ in 0..5_000 {
        bench.publish("a", ["x"]);
    }
    let retention = slow(10_000, SlowPolicy::Gap);
    let half = HubLimits { journal_events_max: 2_500, retention, ..HubLimits::default() };
    bench.hub.set_limits(&half);
    assert!(bench.hub.maintain(bench.now_ms, 9), "there is more to do");
    let held = bench.hub.held();
    assert!((2_501..5_000).contains(&held.journal_events), "{held:?}");
    bench.publish("a", ["x"]);
    assert!(bench.hub.held().journal_events <= held.journal_events, "it does not grow again");
    bench.pass(0);
    assert_eq!(bench.hub.held().journal_events, 2_500);
    let cost = bench.hub.held().bytes / 2_500;
    bench.hub.set_limits(&HubLimits { rings_bytes_max: 100 * cost, ..half.clone() });
    bench.pass(0);
    assert_eq!(bench.hub.held().bytes, 100 * cost);
    bench.hub.set_limits(&half);
    (0..200).for_each(|_| _ = bench.publish("a", ["x"]));
    assert_eq!(bench.hub.held().bytes, 300 * cost);
}

#[test]
fn lower_counts_refuse_and_forget() {
    let mut bench = Bench::with_rings(9);
    for name in ["a", "b", "c"] {
        bench.place(name, event("x"), Some("key")).unwrap();
    }
    let limits = HubLimits {
        channels_max: 1,
        tombstones_max: 1,
        idempotency_keys_max: 2,
        ..HubLimits::default()
    };
    bench.hub.set_limits(&limits);
    assert_eq!(bench.place("d", event("x"), None).unwrap_err(), Refusal::ChannelsFull(1));
    assert_eq!(bench.place("a", event("x"), Some("z")).unwrap_err(), Refusal::KeysFull(2));
    assert_eq!(bench.hub.held().channels, 3, "those that exist stay");
    for name in ["a", "b", "c"] {
        bench.delete(name);
    }
    bench.pass(0);
    let held = bench.hub.held();
    assert_eq!((held.tombstones, held.forgotten), (1, 2));
    bench.hub.set_limits(&HubLimits { tombstones_max: 0, ..limits });
    bench.pass(0);
    assert_eq!(bench.hub.held().tombstones, 0);
}
