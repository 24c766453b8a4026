//! Where subscriptions begin, and when nothing will ever come.

use fanfare_core::{Framing, Replay, Request, Run, Start, Subscribed};

use super::bench::{Bench, after, live, over, request};

#[test]
fn a_first_connection_begins_where_it_asks_to() {
    let bench = Bench::with_rings(9);
    bench.publish("a", ["1"]);
    bench.publish("b", ["2"]);
    bench.publish("a", ["3"]);
    let both = ["a", "b"];
    assert_eq!(bench.seen(&both, Start::Beginning), live(["1 1", "2 2", "3 3"]));
    assert_eq!(bench.seen(&both, Start::Last(2)), live(["2 2", "3 3"]));
    assert_eq!(bench.seen(&["*"], Start::Last(2)), live(["2 2", "3 3"]));
    assert_eq!(bench.seen(&["a", "c/*"], Start::Last(1)), live(["3 3"]));
    assert_eq!(bench.seen(&both, Start::Last(0)), live([]));
    assert_eq!(bench.seen(&both, Start::Last(u64::MAX)), live(["1 1", "2 2", "3 3"]));
    assert_eq!(bench.seen(&both, Start::Now), live([]));
    assert_eq!(bench.seen(&both, after(1)), live(["2 2", "3 3"]));
    assert_eq!(bench.seen(&both, after(3)), live([]));
    assert_eq!(bench.seen(&["*"], after(2)), live(["3 3"]));
}

#[test]
fn an_id_that_is_no_place_in_this_life_is_a_gap_and_all_that_is_kept() {
    let bench = Bench::with_rings(2);
    bench.publish("a", ["1", "2", "3"]);
    let long = "x".repeat(5_000);
    let told = &long[..128];
    for (id, told) in [
        ("garbage", "garbage"),
        ("", ""),
        ("bbbbbbbb-2", "bbbbbbbb-2"),
        ("aaaaaaaa-4", "4"),
        ("aaaaaaaa-18446744073709551615", "18446744073709551615"),
        (&long, told),
    ] {
        let request = request(&["a"], Start::After(id.to_owned()));
        let Subscribed::Live(opening) = bench.subscribe(&request) else { panic!("{id}") };
        assert_eq!(opening.replay, Replay::Gap);
        let gap = format!("gap a {told}..1 epoch");
        assert_eq!(bench.follow(opening), live([&gap, "2 2", "3 3"]));
        let Subscribed::Gap = bench.subscribe(&Request { control: false, ..request }) else {
            panic!("{id}")
        };
    }
}

#[test]
fn the_opening_says_where_it_begins() {
    let bench = Bench::with_rings(9);
    bench.publish("a", ["1"]);
    let open = Request { open: true, ..request(&["a", "b/*"], Start::Now) };
    let Subscribed::Live(opening) = bench.subscribe(&open) else { panic!() };
    assert_eq!((opening.replay, opening.subscription.position().seq), (Replay::Live, 1));
    assert_eq!(bench.follow(opening), live(["open a,b/* 1"]));
    let silent = Request { control: false, ..open };
    let Subscribed::Live(opening) = bench.subscribe(&silent) else { panic!() };
    assert!(opening.events.is_empty() && !opening.subscription.is_told());
}

#[test]
fn an_envelope_names_the_channel_and_keeps_the_id() {
    let bench = Bench::with_rings(9);
    bench.publish("a", ["x"]);
    for channels in [&["a"][..], &["a", "b"], &["*"]] {
        let request = Request { envelope: true, ..request(channels, Start::Beginning) };
        let Subscribed::Live(opening) = bench.subscribe(&request) else { panic!() };
        let mut run = Run::default();
        opening.subscription.feed().read(&bench.hub, 1, 999, &mut run);
        let sse = "id: aaaaaaaa-1\ndata: {\"channel\":\"a\",\"data\":\"x\"}\n\n";
        assert_eq!(run.frames[0].1.bytes(Framing::Bare), sse.as_bytes());
    }
}

#[test]
fn who_saw_the_last_event_of_a_closed_channel_is_finished() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1", "2"]);
    bench.close("a");
    for round in ["closed", "expired", "expired and subscribed to"] {
        assert!(bench.is_finished(&["a"], after(2)), "{round}: past the last event");
        assert!(bench.is_finished(&["a"], after(3)), "{round}: past the end");
        assert!(!bench.is_finished(&["a"], Start::Now), "{round}: it saw nothing");
        assert!(!bench.is_finished(&["*"], after(3)), "{round}: a pattern never ends");
        bench.pass(600_001);
    }
    let told = ["gap a 1..2 evicted", "end a 3 done"];
    assert_eq!(bench.seen(&["a"], after(1)), over(told), "who has not gets what is left");
}

#[test]
fn what_an_earlier_life_lost_is_told_before_a_life_that_had_only_an_end() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1", "2"]);
    bench.pass(3_600_001);
    bench.pass(600_001);
    assert_eq!(bench.hub.held().channels, 0);
    bench.close("a");
    assert!(bench.is_finished(&["a"], after(2)));
    let told = ["gap a 1..2 evicted", "end a 3 done"];
    assert_eq!(bench.seen(&["a"], after(1)), over(told));
}

#[test]
fn who_comes_back_to_a_deleted_channel_is_finished() {
    let bench = Bench::with_rings(9);
    bench.publish("a", ["1", "2"]);
    bench.delete("a");
    for seq in 0..=3 {
        assert!(bench.is_finished(&["a"], after(seq)));
    }
    bench.publish("a", ["4"]);
    assert_eq!(bench.seen(&["a"], after(1)), live(["gap a 1..2 evicted", "4 4"]));
    assert_eq!(bench.seen(&["a"], after(3)), live(["4 4"]));
}

#[test]
fn a_set_is_finished_when_all_of_it_is() {
    let mut bench = Bench::with_rings(9);
    bench.publish("a", ["1"]);
    bench.close("a");
    bench.publish("b", ["3"]);
    let both = ["a", "b"];
    assert!(!bench.is_finished(&both, after(3)));
    assert_eq!(bench.seen(&both, after(3)), live([]), "the end of one was told before");
    assert_eq!(bench.seen(&both, after(1)), live(["end a 2 done", "3 3"]));
    assert_eq!(bench.seen(&both, Start::Now), live(["end a 3 done"]), "told at the start");
    bench.close("b");
    assert_eq!(bench.seen(&both, after(1)), over(["end a 2 done", "3 3", "end b 4 done"]));
    assert!(bench.is_finished(&both, after(3)));
    assert_eq!(bench.seen(&both, Start::Now), over(["end a 4 done", "end b 4 done"]));
    bench.pass(600_001);
    assert!(bench.is_finished(&both, after(3)));
    let told = ["end a 2 done", "gap b 2..3 evicted", "end b 4 done"];
    assert_eq!(bench.seen(&both, after(1)), over(told), "both are remembered");
}

#[test]
fn a_channel_that_never_had_an_event_goes_with_its_last_subscriber() {
    let mut bench = Bench::with_rings(9);
    let (one, two) = (bench.live(&["a"], Start::Now), bench.live(&["a", "b"], Start::Now));
    drop(one);
    assert_eq!(bench.hub.held().channels, 2);
    drop(two);
    assert_eq!(bench.hub.held().channels, 0);
    // What is remembered of an earlier life is remembered on.
    bench.publish("a", ["1"]);
    bench.close("a");
    bench.pass(600_001);
    assert_eq!((bench.hub.held().channels, bench.hub.held().tombstones), (0, 1));
    drop(bench.live(&["a"], Start::Now));
    assert_eq!((bench.hub.held().channels, bench.hub.held().tombstones), (0, 1));
    assert!(bench.is_finished(&["a"], after(1)));
}

#[test]
fn equal_subscriptions_share_a_feed() {
    let bench = Bench::with_rings(9);
    let one = bench.live(&["a", "b"], Start::Now);
    let mut two = bench.live(&["b", "a"], Start::Beginning);
    assert_eq!(one.feed().key(), two.feed().key());
    two.share(one.feed());
    assert_ne!(one.feed().key(), bench.live(&["a"], Start::Now).feed().key());
    assert_ne!(one.feed().key(), bench.live(&["a", "b", "c/*"], Start::Now).feed().key());
    drop(one);
    drop(two);
    assert_eq!((bench.hub.held().channels, bench.hub.subscribers()), (0, 0));
}
