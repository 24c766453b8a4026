//! Producers: what they publish is there once, and takes effect as a whole or not at all.

use fanfare_core::{
    Change, ChannelName, CloseReason, Draft, HubLimits, Limit, ProducerAt, ProducerRefusal,
    Refusal, Retention, Start, limits,
};

use crate::bench::{Bench, event, live, over};

fn last(data: &str) -> Change {
    Change::Event(Draft::new(None, data), Some(CloseReason::Done))
}

fn at(bench: &Bench, channel: &str) -> Option<ProducerAt> {
    bench.hub.producer(&ChannelName::parse(channel).unwrap(), "p")
}

fn gap(expected: u64, received: u64) -> Refusal {
    Refusal::Producer(ProducerRefusal::Gap { expected, received })
}

const FENCED: Refusal = Refusal::Producer(ProducerRefusal::Fenced(1));

#[test]
fn whatever_is_sent_again_is_there_once() {
    let bench = Bench::with_rings(9);
    let first = bench.produce("a", event("x"), ("p", 0, 0)).unwrap();
    let again = bench.produce("a", event("x"), ("p", 0, 0)).unwrap();
    assert_eq!((first.duplicate, again.duplicate, again.id), (false, true, first.id));
    let known = ProducerAt { epoch: 0, seq: Some(0), events: 1, last_event: Some(1) };
    assert_eq!(
        (first.producer, again.producer, at(&bench, "a")),
        (Some(known), Some(known), Some(known))
    );
    assert_eq!(bench.produce("a", event("z"), ("p", 0, 2)).unwrap_err(), gap(1, 2));
    bench.produce("a", event("y"), ("p", 0, 1)).unwrap();
    bench.produce("a", event("other"), ("q", 0, 0)).unwrap();
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["1 x", "2 y", "3 other"]));
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let bench = Bench::with_rings(9);
    assert_eq!(bench.produce("a", event("x"), ("p", 0, 1)).unwrap_err(), gap(0, 1));
    assert_eq!(bench.produce("a", Change::Claim, ("p", 0, 1)).unwrap_err(), gap(0, 1));
    assert_eq!((bench.hub.held().channels, bench.hub.watermark()), (0, 0));
    bench.close("a");
    let closed = Refusal::Closed(CloseReason::Done);
    assert_eq!(bench.produce("a", event("x"), ("p", 0, 0)).unwrap_err(), closed);
    assert_eq!(bench.produce("a", Change::Claim, ("p", 0, 0)).unwrap_err(), closed);
    assert_eq!((at(&bench, "a"), bench.hub.held().producers_bytes), (None, 0));
}

#[test]
fn an_epoch_is_claimed_before_its_first_event() {
    let bench = Bench::with_rings(9);
    bench.produce("a", event("1"), ("p", 0, 0)).unwrap();
    let claimed = bench.produce("a", Change::Claim, ("p", 1, 0)).unwrap();
    let known = ProducerAt { epoch: 1, seq: None, events: 1, last_event: Some(1) };
    assert_eq!((claimed.producer, bench.hub.watermark()), (Some(known), 1));
    for zombie in [event("2"), Change::Close(CloseReason::Error), last("2"), Change::Claim] {
        assert_eq!(bench.produce("a", zombie, ("p", 0, 1)).unwrap_err(), FENCED);
    }
    // Nor is it told whether an event was there.
    assert_eq!(bench.produce("a", event("1"), ("p", 0, 0)).unwrap_err(), FENCED);
    assert!(bench.produce("a", Change::Claim, ("p", 1, 0)).unwrap().duplicate);
    bench.produce("a", last("2"), ("p", 1, 0)).unwrap();
    assert_eq!(bench.seen(&["a"], Start::Beginning), over(["1 1", "2 2", "end a 3 done"]));
}

#[test]
fn a_duplicate_is_answered_as_such_after_the_end_and_its_close_is_idempotent() {
    let bench = Bench::with_rings(9);
    let mut subscriber = bench.live(&["a"], Start::Now);
    bench.produce("a", event("1"), ("p", 0, 0)).unwrap();
    bench.produce("a", event("2"), ("p", 0, 1)).unwrap();
    // One that is not the newest ends nothing.
    assert!(bench.produce("a", last("1"), ("p", 0, 0)).unwrap().duplicate);
    assert_eq!(bench.read(&mut subscriber), live(["1 1", "2 2"]));
    for _ in 0..3 {
        assert!(bench.produce("a", last("2"), ("p", 0, 1)).unwrap().duplicate);
    }
    assert_eq!(bench.read(&mut subscriber), over(["end a 3 done"]), "who waits is told");
    assert!(bench.produce("a", event("1"), ("p", 0, 0)).unwrap().duplicate);
    assert!(bench.produce("a", Change::Claim, ("p", 0, 2)).unwrap().duplicate);
    let closed = Refusal::Closed(CloseReason::Done);
    assert_eq!(bench.produce("a", event("3"), ("p", 0, 2)).unwrap_err(), closed);
    assert_eq!(bench.produce("a", Change::Claim, ("p", 1, 0)).unwrap_err(), closed);
    assert_eq!(at(&bench, "a").map(|at| (at.epoch, at.seq)), Some((0, Some(1))));
    // An end takes no number, so it can be sent again like an event.
    for _ in 0..2 {
        bench.produce("b", Change::Close(CloseReason::Done), ("p", 0, 0)).unwrap();
    }
}

#[test]
fn producers_go_with_their_channel_and_nothing_else_brings_it_back() {
    let mut bench = Bench::with_rings(9);
    bench.produce("deleted", event("x"), ("p", 0, 0)).unwrap();
    bench.produce("closed", last("x"), ("p", 0, 0)).unwrap();
    bench.produce("idle", event("x"), ("p", 0, 0)).unwrap();
    assert!(bench.hub.held().producers_bytes > 3 * limits::PRODUCER_OVERHEAD_BYTES);
    bench.delete("deleted");
    assert_eq!(bench.produce("deleted", event("y"), ("p", 0, 1)).unwrap_err(), gap(0, 1));
    bench.pass(limits::CLOSED_RETENTION_MS);
    assert_eq!(bench.produce("closed", event("y"), ("p", 0, 1)).unwrap_err(), gap(0, 1));
    assert!(at(&bench, "idle").is_some());
    bench.pass(limits::RING_AGE_MS_MAX + 1);
    assert_eq!(bench.produce("idle", event("y"), ("p", 0, 1)).unwrap_err(), gap(0, 1));
    let held = bench.hub.held();
    assert_eq!((held.producers_bytes, held.channels, held.scheduled), (0, 0, 0));
}

#[test]
fn a_claim_keeps_a_channel_like_an_event() {
    let mut bench = Bench::with_rings(9);
    let subscriber = bench.live(&["a"], Start::Now);
    bench.produce("a", Change::Claim, ("p", 0, 0)).unwrap();
    drop(subscriber);
    bench.pass(limits::RING_AGE_MS_MAX / 2);
    bench.produce("a", Change::Claim, ("p", 0, 0)).unwrap();
    bench.pass(limits::RING_AGE_MS_MAX / 2 + 1);
    assert_eq!(at(&bench, "a").map(|at| at.seq), Some(None), "it gave a sign of life since");
    bench.pass(limits::RING_AGE_MS_MAX / 2);
    let held = bench.hub.held();
    assert_eq!((held.producers_bytes, held.channels, held.scheduled), (0, 0, 0));
}

#[test]
fn a_channel_whose_events_had_to_go_still_knows_its_producer() {
    let retention = Retention { ring_events_max: 1, ..Retention::default() };
    let limits = HubLimits { journal_events_max: 1, retention, ..HubLimits::default() };
    let mut bench = Bench::new(limits);
    bench.produce("a", event("1"), ("p", 0, 0)).unwrap();
    bench.pass(limits::RING_AGE_MS_MAX - 1);
    bench.produce("a", event("2"), ("p", 0, 1)).unwrap();
    bench.publish("b", ["x"]);
    bench.pass(limits::RING_AGE_MS_MAX - 1);
    assert!(bench.produce("a", event("2"), ("p", 0, 1)).unwrap().duplicate);
}

#[test]
fn all_producers_together_are_bounded() {
    let one = limits::PRODUCER_OVERHEAD_BYTES + 1;
    let rings_bytes_max = 2 * one * limits::PRODUCERS_SHARE;
    let bench = Bench::new(HubLimits { rings_bytes_max, ..HubLimits::default() });
    bench.produce("a", event("x"), ("p", 0, 0)).unwrap();
    bench.produce("b", event("x"), ("p", 0, 0)).unwrap();
    let full = Refusal::Producer(ProducerRefusal::HubFull(2 * one));
    assert_eq!(bench.produce("c", event("x"), ("p", 0, 0)).unwrap_err(), full);
    assert_eq!(bench.produce("a", event("x"), ("q", 0, 0)).unwrap_err(), full);
    bench.produce("a", event("y"), ("p", 0, 1)).unwrap();
    bench.produce("a", event("z"), ("p", 1, 0)).unwrap();
    let held = bench.hub.held();
    assert_eq!((held.producers_bytes, held.channels), (2 * one, 2));
    assert_eq!(bench.hub.limit_total(Limit::ProducersBytes), 2);
    // They count against what all rings may hold.
    let data: &'static str = Box::leak("x".repeat(100).into_boxed_str());
    bench.publish("a", [data; 30]);
    assert!(bench.hub.held().budgeted_bytes() <= rings_bytes_max);
    bench.delete("b");
    bench.produce("a", event("x"), ("q", 0, 0)).unwrap();
}

#[test]
fn a_channel_has_so_many_producers() {
    let mut bench = Bench::with_rings(9);
    let ids: Vec<_> = (0..=limits::PRODUCERS_PER_CHANNEL_MAX).map(|n| n.to_string()).collect();
    let (new, old) = ids.split_last().unwrap();
    for id in old {
        bench.produce("a", event("x"), (id, 0, 0)).unwrap();
    }
    let full = Refusal::Producer(ProducerRefusal::Full(limits::PRODUCERS_PER_CHANNEL_MAX));
    assert_eq!(bench.produce("a", event("x"), (new, 0, 0)).unwrap_err(), full);
    assert_eq!(bench.hub.limit_total(Limit::ProducersPerChannel), 1);
    let bytes = bench.hub.held().producers_bytes;
    let keeper = bench.live(&["a"], Start::Now);
    bench.pass(limits::PRODUCER_IDLE_MS_MIN);
    bench.produce("a", event("x"), (new, 0, 0)).unwrap();
    assert_eq!(bench.hub.held().producers_bytes, bytes - 1 + 2, "one goes, one comes");
    drop(keeper);
}
