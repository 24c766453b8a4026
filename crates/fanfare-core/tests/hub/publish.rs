//! Publishing, closing, deleting, and publishing once.

use std::sync::atomic::Ordering;

use fanfare_core::{
    Broker, Change, ChannelName, CloseReason, Draft, HistoryFrom, HubLimits, Marks, Publication,
    Published, Refusal, Start,
};

use super::bench::{Bench, after, event, live, over};

#[test]
fn an_event_gets_the_next_id_of_the_hub() {
    let bench = Bench::with_rings(9);
    for (channel, id) in [("a", "aaaaaaaa-1"), ("b", "aaaaaaaa-2"), ("a", "aaaaaaaa-3")] {
        let placed = bench.place(channel, event("x"), None).unwrap();
        assert_eq!((placed.id.to_string().as_str(), placed.duplicate), (id, false));
    }
    assert_eq!((bench.hub.watermark(), bench.hub.published_total()), (3, 3));
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["1 x", "3 x"]));
}

#[test]
fn a_broker_in_memory_answers_at_once() {
    let bench = Bench::with_rings(9);
    let publish = || {
        let channel = ChannelName::parse("a").unwrap();
        let change = Change::Event(Draft::new(None, "x"), Some(CloseReason::Done));
        let publication =
            Publication { channel, change, instance: None, producer: None, key: None, now_us: 0 };
        match bench.broker.publish(publication) {
            Published::Now(result) => result,
            Published::Later(_) => panic!("there is nothing to wait for"),
        }
    };
    assert_eq!(publish().unwrap().id.seq, 1);
    assert_eq!(publish().unwrap_err(), Refusal::Closed(CloseReason::Done));
}

#[test]
fn a_subscriber_is_counted_once_however_it_matches() {
    let bench = Bench::with_rings(9);
    let count = || bench.place("a/b", event("x"), None).unwrap().subscribers;
    assert_eq!(count(), 0);
    let one = bench.live(&["a/b", "c"], Start::Now);
    let two = bench.live(&["a/b", "a/*", "a/**", "**"], Start::Now);
    let _other = bench.live(&["a/c", "b/*"], Start::Now);
    assert_eq!((count(), bench.hub.subscribers()), (2, 3));
    drop(one);
    assert_eq!(count(), 1);
    drop(two);
    assert_eq!((count(), bench.hub.subscribers()), (0, 1));
}

#[test]
fn only_workers_that_care_are_marked_and_woken() {
    let bench = Bench::with_rings(9);
    let _channel = bench.live(&["a"], Start::Now);
    let mut marks = Marks::default();
    assert!(bench.hub.doorbell(0).sleep() && bench.hub.doorbell(1).sleep());
    bench.publish("b", ["x"]);
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 0);
    bench.publish("a", ["x", "y"]);
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 1, "a worker that is awake is not woken");
    assert!(!bench.hub.doorbell(0).sleep(), "it must not sleep on a mark");
    bench.hub.doorbell(0).take(0, &mut marks);
    let names: Vec<_> = marks.channels.iter().map(|channel| channel.name().as_str()).collect();
    assert_eq!((names, marks.journal, marks.rung), (vec!["a"], false, false));
    let _pattern = bench.live(&["**"], Start::Now);
    bench.publish("b", ["x"]);
    bench.hub.doorbell(0).take(0, &mut marks);
    assert!(marks.channels.is_empty() && marks.journal);
    bench.hub.doorbell(1).ring();
    bench.hub.doorbell(1).take(1, &mut marks);
    assert!(marks.rung && bench.wakes.load(Ordering::SeqCst) == 2);
}

#[test]
fn a_channel_ends_with_its_last_event_as_one() {
    let bench = Bench::with_rings(9);
    let mut subscription = bench.live(&["a"], Start::Now);
    let change = Change::Event(Draft::new(None, "x"), Some(CloseReason::Error));
    assert_eq!(bench.place("a", change, None).unwrap().id.seq, 1);
    assert_eq!(bench.read(&mut subscription), over(["1 x", "end a 2 error"]));
    assert_eq!(
        bench.place("a", event("y"), None).unwrap_err(),
        Refusal::Closed(CloseReason::Error)
    );
    assert_eq!(bench.hub.watermark(), 2, "a refusal leaves no trace");
}

#[test]
fn closing_twice_is_fine_and_changes_nothing() {
    let bench = Bench::with_rings(9);
    bench.publish("a", ["x"]);
    assert_eq!(bench.close("a"), 2);
    let again = bench.place("a", Change::Close(CloseReason::Error), None).unwrap();
    assert_eq!((again.id.seq, bench.hub.watermark()), (2, 2));
    assert_eq!(bench.seen(&["a"], Start::Beginning), over(["1 x", "end a 2 done"]));
}

#[test]
fn a_channel_can_end_before_it_had_an_event() {
    let bench = Bench::with_rings(9);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.close("a");
    assert_eq!(bench.read(&mut subscription), over(["end a 1 done"]));
}

#[test]
fn a_delete_ends_subscribers_and_the_next_publish_begins_anew() {
    let bench = Bench::with_rings(9);
    let no_channel = bench.place("a", Change::Delete, None).unwrap_err();
    assert_eq!(no_channel, Refusal::NoChannel);
    let mut subscription = bench.live(&["a"], Start::Now);
    bench.publish("a", ["x"]);
    assert_eq!(bench.delete("a"), 2);
    let lost = ["gap a 0..1 lagged", "end a 2 deleted"];
    assert_eq!(bench.read(&mut subscription), over(lost), "what it had not read is gone");
    assert_eq!((bench.hub.held().bytes, bench.hub.held().channels), (0, 0));
    assert_eq!(bench.publish("a", ["y"]), 3);
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["3 y"]));
    assert_eq!(bench.seen(&["a"], after(2)), live(["3 y"]));
}

#[test]
fn a_closed_channel_can_be_deleted() {
    let bench = Bench::with_rings(9);
    let mut pattern = bench.live(&["*"], Start::Now);
    bench.publish("a", ["x"]);
    bench.close("a");
    bench.delete("a");
    let told = ["gap a 0..1 lagged", "end a 3 deleted"];
    assert_eq!(bench.read(&mut pattern), live(told), "a pattern never ends");
}

#[test]
fn the_same_key_publishes_once() {
    let mut bench = Bench::with_rings(9);
    let first = bench.place("a", event("x"), Some("k")).unwrap();
    let again = bench.place("a", event("x"), Some("k")).unwrap();
    assert_eq!((first.duplicate, again.duplicate, again.id), (false, true, first.id));
    assert_eq!(bench.place("a", event("y"), Some("k")).unwrap_err(), Refusal::KeyReused);
    assert!(!bench.place("b", event("y"), Some("k")).unwrap().duplicate, "keys are a channel's");
    assert_eq!((bench.hub.watermark(), bench.hub.held().idempotency_keys), (2, 2));
    bench.pass(300_000);
    assert_eq!(bench.hub.held().idempotency_keys, 0);
    assert!(!bench.place("a", event("y"), Some("k")).unwrap().duplicate);
}

#[test]
fn a_keyed_publish_is_answered_as_before_whatever_became_of_the_channel() {
    let bench = Bench::with_rings(9);
    let last = || Change::Event(Draft::new(None, "x"), Some(CloseReason::Done));
    let first = bench.place("a", last(), Some("k")).unwrap();
    let retried = bench.place("a", last(), Some("k")).unwrap();
    assert_eq!((retried.id, retried.duplicate), (first.id, true));
    bench.delete("a");
    let retried = bench.place("a", last(), Some("k")).unwrap();
    assert_eq!((retried.id, retried.channel.is_none()), (first.id, true));
    assert_eq!(bench.hub.held().channels, 0, "a retry makes no channel");
}

#[test]
fn a_key_sent_again_closes_behind_its_event_if_that_is_the_newest() {
    let bench = Bench::with_rings(9);
    let last = |data| Change::Event(Draft::new(None, data), Some(CloseReason::Done));
    let mut subscriber = bench.live(&["a"], Start::Now);
    let first = bench.place("a", event("1"), Some("k")).unwrap();
    bench.publish("a", ["2"]);
    let ended = |data, key| {
        let placed = bench.place("a", last(data), Some(key)).unwrap();
        assert!(placed.duplicate);
        (placed.id.seq, placed.ended)
    };
    assert_eq!(ended("1", "k"), (first.id.seq, None), "there is a newer event");
    let newest = bench.place("a", event("3"), Some("l")).unwrap();
    assert_eq!(bench.read(&mut subscriber), live(["1 1", "2 2", "3 3"]));
    bench.hub.doorbell(0).take(0, &mut Marks::default());
    assert!(bench.hub.doorbell(0).sleep());
    for _twice in 0..2 {
        assert_eq!(ended("3", "l"), (newest.id.seq, Some(CloseReason::Done)));
    }
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 1, "who waits is told");
    assert_eq!(bench.read(&mut subscriber), over(["end a 4 done"]));
    // A channel that was made anew since is another one.
    bench.delete("a");
    bench.place("a", event("4"), None).unwrap();
    assert_eq!(ended("3", "l"), (newest.id.seq, None));
    assert_eq!(bench.seen(&["a"], Start::Now), live([]));
}

#[test]
fn a_refused_publish_leaves_its_key_free() {
    let bench = Bench::with_rings(9);
    bench.close("a");
    assert!(bench.place("a", event("x"), Some("k")).is_err());
    bench.delete("a");
    assert!(!bench.place("a", event("x"), Some("k")).unwrap().duplicate);
}

#[test]
fn no_key_is_forgotten_early() {
    let bench = Bench::new(HubLimits { idempotency_keys_max: 1, ..HubLimits::default() });
    bench.place("a", event("x"), Some("k")).unwrap();
    assert_eq!(bench.place("a", event("x"), Some("l")).unwrap_err(), Refusal::KeysFull(1));
    assert!(bench.place("a", event("x"), Some("k")).unwrap().duplicate);
    assert!(bench.place("a", event("x"), None).is_ok());
    assert_eq!(bench.hub.limit_total(fanfare_core::Limit::IdempotencyKeys), 1);
}

#[test]
fn history_pages_and_tells_of_gaps() {
    let mut bench = Bench::with_rings(3);
    let name = ChannelName::parse("a").unwrap();
    assert!(bench.hub.history(&name, &HistoryFrom::Beginning, 9).is_none());
    bench.publish("a", ["1", "2", "3", "4", "5"]);
    bench.close("a");
    let page = |from: &HistoryFrom, limit| {
        let page = bench.hub.history(&name, from, limit).unwrap();
        let data: Vec<_> = page.events.iter().map(|event| event.data.clone()).collect();
        (data.concat(), page.next, page.gap.map(|gap| gap.as_str()), page.after)
    };
    let id = |seq: u64| HistoryFrom::After(format!("aaaaaaaa-{seq}"));
    assert_eq!(page(&HistoryFrom::Beginning, 2), ("34".into(), 4, None, 2));
    assert_eq!(page(&id(4), 2), ("5".into(), 5, None, 4));
    assert_eq!(page(&id(1), 9), ("345".into(), 5, Some("evicted"), 2));
    assert_eq!(page(&id(99), 9), ("345".into(), 5, Some("epoch"), 2));
    assert_eq!(page(&HistoryFrom::After("what?".into()), 9).2, Some("epoch"));
    assert_eq!(page(&HistoryFrom::Last(1), 9), ("5".into(), 5, None, 4));
    assert_eq!(page(&HistoryFrom::Last(99), 0), (String::new(), 2, None, 2));
    let closed = bench.hub.history(&name, &HistoryFrom::Beginning, 9).unwrap().closed;
    assert_eq!(closed, Some(CloseReason::Done));
    // Nothing is kept: the last page begins after the newest event, not before all of them.
    let keeper = bench.live(&["b"], Start::Now);
    bench.publish("b", ["x"]);
    bench.pass(3_600_001);
    let page = bench.hub.history(keeper.feed().channels()[0].name(), &HistoryFrom::Last(9), 9);
    assert_eq!(page.map(|page| (page.after, page.events.len())), Some((7, 0)));
}

#[test]
fn a_history_that_tells_of_the_end_has_all_before_it() {
    let bench = Bench::with_rings(3);
    for n in 0..600 {
        let channel = n.to_string();
        let name = ChannelName::parse(&channel).unwrap();
        let page = || bench.hub.history(&name, &HistoryFrom::Beginning, 9);
        let closed = || page().filter(|page| page.closed.is_some());
        std::thread::scope(|scope| {
            let last = Change::Event(Draft::new(None, "x"), Some(CloseReason::Done));
            scope.spawn(|| bench.place(&channel, last, None).unwrap());
            let found = std::iter::repeat_with(closed).flatten().next();
            assert_eq!(found.map(|page| page.events.len()), Some(1), "{n}");
        });
    }
}
