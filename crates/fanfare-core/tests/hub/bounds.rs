//! What happens when something is full, and with time.

use fanfare_core::{
    ChannelName, HistoryFrom, HubLimits, Limit, Pattern, Refusal, Retention, Start, limits,
};

use super::bench::{Bench, after, event, live, over};

#[test]
fn the_budget_lets_the_oldest_events_of_the_hub_go() {
    let cost = {
        let bench = Bench::with_rings(9);
        bench.publish("a", ["1"]);
        bench.hub.held().bytes
    };
    let bench = Bench::new(HubLimits { rings_bytes_max: 3 * cost, ..HubLimits::default() });
    bench.publish("a", ["1", "2"]);
    bench.publish("b", ["3"]);
    bench.publish("c", ["4"]);
    assert_eq!(bench.hub.held().bytes, 3 * cost);
    assert_eq!(bench.seen(&["a", "b", "c"], Start::Beginning), live(["2 2", "3 3", "4 4"]));
    bench.publish("b", ["5", "6"]);
    assert_eq!(bench.seen(&["a", "b", "c"], Start::Beginning), live(["4 4", "5 5", "6 6"]));
    assert_eq!(bench.seen(&["a"], after(1)), live(["gap a 1..2 evicted"]));
    assert_eq!(bench.hub.limit_total(Limit::RingsBytes), 3);
}

#[test]
fn an_event_over_every_budget_is_a_gap_at_once() {
    let bench = Bench::new(HubLimits { rings_bytes_max: 1, ..HubLimits::default() });
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["1"]);
    assert_eq!(bench.read(&mut subscription), live(["gap a 0..1 lagged"]));
    assert_eq!((bench.hub.held().bytes, bench.hub.held().journal_events), (0, 0));
}

#[test]
fn a_pair_that_leaves_the_journal_takes_its_event_along() {
    let bench = Bench::new(HubLimits { journal_events_max: 2, ..HubLimits::default() });
    bench.publish("a", ["1"]);
    bench.publish("b", ["2", "3"]);
    assert_eq!(bench.hub.held().journal_events, 2);
    assert_eq!(bench.seen(&["a"], Start::Beginning), live([]));
    assert_eq!(bench.hub.limit_total(Limit::JournalEvents), 1);
}

#[test]
fn age_empties_a_ring_and_then_the_channel_goes() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1"]);
    bench.pass(1_800_000);
    bench.publish("a", ["2"]);
    bench.pass(1_800_001);
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["2 2"]));
    let keeper = bench.live(&["a"], Start::Now);
    bench.pass(1_800_001);
    let info = bench.hub.channel(&ChannelName::parse("a").unwrap()).unwrap();
    assert_eq!((info.ring_events, info.last_seq), (0, Some(2)), "its subscriber keeps it");
    drop(keeper);
    bench.pass(30_000);
    let held = bench.hub.held();
    assert_eq!((held.channels, held.scheduled, held.tombstones), (0, 0, 1));
    assert_eq!(bench.seen(&["a"], after(1)), live(["gap a 1..2 evicted"]));
    assert_eq!(bench.seen(&["a"], after(2)), live([]));
}

#[test]
fn a_closed_channel_stays_for_its_retention() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1"]);
    bench.close("a");
    bench.pass(599_999);
    assert_eq!(bench.seen(&["a"], Start::Beginning), over(["1 1", "end a 2 done"]));
    bench.pass(1);
    let held = bench.hub.held();
    assert_eq!((held.channels, held.scheduled, held.tombstones, held.bytes), (0, 0, 1, 0));
    assert_eq!(bench.publish("a", ["3"]), 3, "the name is free again");
}

#[test]
fn patterns_decide_what_a_channel_keeps_and_the_first_counts() {
    let keep = |ring_events_max| Retention { ring_events_max, ..Retention::default() };
    let pattern = |text| Pattern::parse(text).unwrap();
    let retentions = vec![(pattern("a/*"), keep(1)), (pattern("**"), keep(2))];
    let bench = Bench::new(HubLimits { retentions, ..HubLimits::default() });
    bench.publish("a/x", ["1", "2", "3"]);
    bench.publish("b", ["4", "5", "6"]);
    assert_eq!(bench.seen(&["a/x", "b"], Start::Beginning), live(["3 3", "5 5", "6 6"]));
}

#[test]
fn a_tombstone_that_is_pushed_out_raises_every_new_floor() {
    let bench = Bench::new(HubLimits { tombstones_max: 1, ..HubLimits::default() });
    bench.publish("a", ["1"]);
    bench.publish("b", ["2"]);
    bench.delete("a");
    bench.delete("b");
    let held = bench.hub.held();
    assert_eq!((held.tombstones, held.forgotten), (1, 1));
    assert!(bench.is_finished(&["b"], after(2)), "b is remembered");
    assert_eq!(bench.seen(&["a"], after(0)), live(["gap a 0..1 evicted"]), "a was there once");
    assert_eq!(bench.seen(&["c"], after(0)), live(["gap c 0..1 evicted"]), "nobody can say");
    assert_eq!(bench.seen(&["c"], after(1)), live([]));
}

#[test]
fn a_hub_holds_so_many_channels() {
    let bench = Bench::new(HubLimits { channels_max: 2, ..HubLimits::default() });
    bench.publish("a", ["1"]);
    let full = bench.hub.subscribe(&super::bench::request(&["b", "c"], Start::Now), 0, 5_000);
    assert_eq!(full.unwrap_err().0, 2);
    assert_eq!(bench.hub.held().channels, 1, "nothing is left of a refusal");
    let _keeper = bench.live(&["b"], Start::Now);
    assert_eq!(bench.place("c", event("x"), None).unwrap_err(), Refusal::ChannelsFull(2));
    assert!(bench.place("b", event("x"), None).is_ok());
    assert_eq!(bench.hub.limit_total(Limit::Channels), 2);
    bench.delete("a");
    assert!(bench.place("c", event("x"), None).is_ok());
}

#[test]
fn coming_and_going_leaves_one_look_per_channel() {
    let mut bench = Bench::with_rings(9);
    for _ in 0..100 {
        bench.publish("a", ["x"]);
        bench.close("a");
        bench.delete("a");
    }
    assert_eq!(bench.hub.held().scheduled, 0);
    bench.publish("a", ["x"]);
    bench.close("a");
    bench.publish("b", ["x"]);
    assert_eq!(bench.hub.held().scheduled, 2);
    assert!(bench.hub.maintain(u64::MAX, 1), "one at a time");
    assert!(!bench.hub.maintain(u64::MAX, 9), "the end of time is no trouble");
    bench.now_ms = u64::MAX;
    assert!(bench.place("c", event("x"), Some("k")).is_ok());
}

#[test]
fn a_history_is_bounded_in_bytes_and_goes_on() {
    let ring_bytes_max = 8 * limits::HISTORY_BYTES_MAX;
    let retention = Retention { ring_bytes_max, ..Retention::default() };
    let bench = Bench::new(HubLimits { retention, ..HubLimits::default() });
    let (huge, large) = (2 * limits::HISTORY_BYTES_MAX, limits::HISTORY_BYTES_MAX * 2 / 5);
    for bytes in [huge, large, large, large, 1] {
        bench.place("a", event(&"x".repeat(bytes)), None).unwrap();
    }
    let name = ChannelName::parse("a").unwrap();
    let mut from = HistoryFrom::Beginning;
    let mut pages = Vec::new();
    loop {
        let page = bench.hub.history(&name, &from, limits::HISTORY_EVENTS_MAX).unwrap();
        let Some(last) = page.events.last() else { break };
        assert_eq!((page.next, page.gap), (last.seq, None));
        from = HistoryFrom::After(bench.hub.id(page.next).to_string());
        pages.push(page.events.iter().map(|event| event.seq).collect::<Vec<_>>());
    }
    assert_eq!(pages, [vec![1], vec![2, 3], vec![4, 5]]);
}

#[test]
fn removed_channels_that_the_journal_keeps_count_and_have_a_bound() {
    let mut bench = Bench::with_rings(9);
    for number in 0..100 {
        bench.place(&format!("gone/{number}"), event("x"), None).unwrap();
    }
    let mut pattern = bench.live(&["gone/*"], after(100));
    assert_eq!(bench.hub.held().removed_bytes, 0);
    bench.pass(3_600_001);
    bench.pass(30_000);
    let held = bench.hub.held();
    assert_eq!((held.channels, held.bytes, held.journal_events), (0, 0, 100));
    assert!((20_000..100_000).contains(&held.removed_bytes), "{held:?}");
    assert!(held.journal_bytes >= held.removed_bytes + 100 * 16, "{held:?}");
    // One that was deleted counts as well, until its last pair goes.
    bench.publish("late", ["x", "x"]);
    bench.delete("late");
    let each = held.removed_bytes / 100;
    let with_late = bench.hub.held().removed_bytes;
    assert!((held.removed_bytes + each - 8..held.removed_bytes + each + 8).contains(&with_late));
    // They are part of the budget: the oldest pairs go, and with them their channels.
    let rings_bytes_max = held.removed_bytes / 2;
    bench.hub.set_limits(&HubLimits { rings_bytes_max, ..HubLimits::default() });
    bench.pass(0);
    let held = bench.hub.held();
    assert!(held.removed_bytes <= rings_bytes_max, "{held:?}");
    assert!((40..60).contains(&held.journal_events), "{held:?}");
    assert!(bench.hub.limit_total(Limit::RingsBytes) >= 40);
    // What a pattern is told of it is as exact as ever.
    assert_eq!(bench.read(&mut pattern), live([]));
    let told = bench.seen(&["gone/*"], after(0)).what;
    assert!(told[0].starts_with("gap gone/* 0..") && told[0].ends_with(" evicted"), "{told:?}");
    assert_eq!(told.len(), 1 + held.journal_events - 3, "one gap for each that is remembered");
    bench.hub.set_limits(&HubLimits { journal_events_max: 0, ..HubLimits::default() });
    bench.pass(0);
    assert_eq!((bench.hub.held().removed_bytes, bench.hub.held().journal_events), (0, 0));
}
