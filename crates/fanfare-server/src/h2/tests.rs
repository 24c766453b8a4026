//! Streams over HTTP/2, asked for more as hyper does it, with a clock that waits for nobody.

use std::{
    pin::Pin,
    task::{Context, Poll, Wake, Waker},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use fanfare_core::{
    Change, ChannelName, CloseReason, Coalesce, Draft, Epoch, HubLimits, MemoryBroker, Publication,
    Request, Retention, Selectors, SlowPolicy, Start, Subscribed,
};
use fanfare_fanout::limits::AGE_RETRY_MS;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::{task::yield_now, time::timeout};

use super::*;
use crate::{coalesce, query::Query};

const HEARTBEAT_MS: u32 = 10_000;
const STALL_MS: u64 = 30_000;

/// A hub whose only worker is that of HTTP/2, and runs.
struct World {
    hub: Arc<Hub>,
    broker: MemoryBroker,
    h2: Arc<H2>,
}

/// What came on a stream until it ended or waited.
#[derive(Debug, Default)]
struct Seen {
    text: String,
    frames: usize,
    /// Whether it was reset, and not ended.
    aborted: bool,
    ended: bool,
}

impl World {
    fn new(ring_events_max: usize, slow_policy: SlowPolicy) -> Self {
        Self::with_pinned(ring_events_max, slow_policy, usize::MAX)
    }

    fn with_pinned(ring_events_max: usize, slow_policy: SlowPolicy, bytes_max: usize) -> Self {
        let retention = Retention { ring_events_max, slow_policy, ..Retention::default() };
        let limits = HubLimits { retention, ..HubLimits::default() };
        let (doorbell, notify) = H2::doorbell();
        let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, vec![doorbell]));
        let h2 = H2::new(Arc::clone(&hub), 0, notify, STALL_MS, Pinned::new(bytes_max, 1));
        tokio::spawn(Arc::clone(&h2).run());
        Self { broker: MemoryBroker::new(Arc::clone(&hub)), hub, h2 }
    }

    fn subscribe(&self, start: Start, age_ms_max: u64) -> H2Body {
        self.subscribe_to(["a"], start, age_ms_max)
    }

    fn subscribe_to<const N: usize>(
        &self,
        channels: [&str; N],
        start: Start,
        age_ms_max: u64,
    ) -> H2Body {
        self.subscribe_as(channels, start, age_ms_max, None)
    }

    /// With text put together, over a window if there is a number.
    fn subscribe_together(&self, start: Start, window_ms: u32) -> H2Body {
        let window = if window_ms > 0 { format!("&window={window_ms}") } else { String::new() };
        let query = Query::parse(&format!("coalesce=text{window}")).unwrap();
        self.subscribe_as(["a"], start, 0, coalesce::of_query(&query).unwrap())
    }

    fn subscribe_as<const N: usize>(
        &self,
        channels: [&str; N],
        start: Start,
        age_ms_max: u64,
        coalesce: Option<Coalesce>,
    ) -> H2Body {
        let selectors = Selectors::parse(channels).unwrap();
        let (control, open, envelope, live) = (true, false, false, false);
        let request = Request { selectors, start, control, open, envelope, coalesce, live };
        self.subscribe_by(&request, age_ms_max)
    }

    fn subscribe_by(&self, request: &Request, age_ms_max: u64) -> H2Body {
        let subscribed = self.hub.subscribe(request, 0, 5_000).unwrap();
        let Subscribed::Live(opening) = subscribed else { panic!("{subscribed:?}") };
        H2Body::new(&self.h2, opening, HEARTBEAT_MS, age_ms_max)
    }

    fn publish(&self, data: &str) -> u64 {
        self.publish_to("a", data)
    }

    fn publish_to(&self, channel: &str, data: &str) -> u64 {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let channel = ChannelName::parse(channel).unwrap();
        let change = Change::Event(Draft::new(None, data), None);
        self.broker
            .place(Publication {
                channel,
                change,
                instance: None,
                producer: None,
                key: None,
                now_us,
            })
            .unwrap()
            .id
            .seq
    }

    fn disconnected(&self, reason: Disconnect) -> u64 {
        self.h2.totals().disconnects[reason as usize]
    }
}

/// Takes what a stream has for so long, or until it ends.
async fn read(body: &mut H2Body, time_ms: u64) -> Seen {
    let mut seen = Seen::default();
    let take = async {
        loop {
            match body.frame().await {
                None => return seen.ended = true,
                Some(Err(_)) => return seen.aborted = true,
                Some(Ok(frame)) => {
                    let bytes: Bytes = frame.into_data().unwrap();
                    seen.text += std::str::from_utf8(&bytes).unwrap();
                    seen.frames += 1;
                }
            }
        }
    };
    drop(timeout(Duration::from_millis(time_ms), take).await);
    seen
}

/// The types, or the data, of the events that came.
fn words(seen: &Seen) -> Vec<String> {
    let blocks = seen.text.split("\n\n").map(|block| block.trim_start_matches(":\n"));
    let line = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    let word = |block: &str| line(block, "event: fanfare.").or_else(|| line(block, "data: "));
    blocks.filter_map(word).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_old_enough_is_told_to_come_back() {
    let world = World::new(9, SlowPolicy::Gap);
    let began = Instant::now();
    let mut body = world.subscribe(Start::Now, 25_000);
    let mut young = world.subscribe(Start::Now, 0);
    world.publish("x");
    let seen = read(&mut body, 100_000).await;
    let age = began.elapsed();
    assert!((Duration::from_secs(25)..Duration::from_secs(26)).contains(&age), "{age:?}");
    assert!(seen.aborted, "some clients stay away after a clean end: {seen:?}");
    assert_eq!(words(&seen), ["x", "reconnect"]);
    assert!(seen.text.contains("\n:\n:\n"), "two heartbeats did not put it off: {seen:?}");
    assert!(seen.text.contains("id: aaaaaaaa-1\nevent: fanfare.reconnect\n"), "{seen:?}");
    assert!(seen.text.contains("{\"reason\":\"max_age\"}"), "{seen:?}");
    let retry = seen.text.split_once("retry: ").unwrap().1.split_once('\n').unwrap().0;
    assert!(AGE_RETRY_MS.contains(&retry.parse().unwrap()), "{retry}");
    drop(body);
    assert_eq!((world.disconnected(Disconnect::MaxAge), world.hub.subscribers()), (1, 1));
    let seen = read(&mut young, 100_000).await;
    assert!(!seen.aborted && !seen.ended, "no age is no limit");
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_gets_what_its_channel_says() {
    for (policy, told) in [
        (SlowPolicy::Gap, &["gap", "4", "5"][..]),
        (SlowPolicy::Latest, &["gap", "5"]),
        (SlowPolicy::Disconnect, &["gap"]),
    ] {
        let world = World::new(2, policy);
        let mut body = world.subscribe(Start::Now, 0);
        read(&mut body, 10).await;
        for data in ["1", "2", "3", "4", "5"] {
            world.publish(data);
        }
        let seen = read(&mut body, 1_000).await;
        assert_eq!(words(&seen), told, "{policy:?}");
        let is_cut = policy == SlowPolicy::Disconnect;
        assert_eq!((seen.aborted, seen.ended), (is_cut, false), "{policy:?}");
        drop(body);
        assert_eq!(world.disconnected(Disconnect::Lagged), u64::from(is_cut));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_watched_and_taken_back() {
    let world = World::new(9, SlowPolicy::Gap);
    let mut bodies: Vec<_> = (0..10).map(|_| world.subscribe(Start::Now, 0)).collect();
    for body in &mut bodies {
        read(body, 10).await;
    }
    let drain = |seconds| {
        let h2 = Arc::clone(&world.h2);
        tokio::spawn(async move { h2.drain(Duration::from_secs(seconds)).await })
    };
    let first = drain(1_000);
    // Each tenth of the period one is asked to go: these three.
    for mut body in bodies.drain(..3) {
        let seen = read(&mut body, 150_000).await;
        assert_eq!((words(&seen), seen.aborted), (vec!["reconnect".to_owned()], true));
    }
    assert_eq!(world.h2.drain_progress(), Progress { departed: 3, left: 7 });
    world.h2.drain_cancel();
    assert_eq!(first.await.unwrap(), 3, "it says how many it has sent away");
    bodies.push(world.subscribe(Start::Now, 0));
    world.publish("still here");
    for body in &mut bodies {
        let seen = read(body, 1_000).await;
        assert_eq!((words(&seen), seen.aborted), (vec!["still here".to_owned()], false));
    }
    let second = drain(8);
    yield_now().await;
    for mut body in bodies {
        assert!(read(&mut body, 5_000).await.aborted);
    }
    assert_eq!(second.await.unwrap(), 8);
    assert_eq!(world.h2.drain_progress(), Progress { departed: 8, left: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_over_when_all_have_gone_by_themselves() {
    let world = World::new(9, SlowPolicy::Gap);
    let mut bodies: Vec<_> = (0..10).map(|_| world.subscribe(Start::Now, 0)).collect();
    for body in &mut bodies {
        read(body, 10).await;
    }
    let (h2, began) = (Arc::clone(&world.h2), Instant::now());
    let drain = tokio::spawn(async move { h2.drain(Duration::from_secs(1_000)).await });
    assert!(read(&mut bodies.remove(0), 50_000).await.aborted);
    drop(bodies);
    assert_eq!(drain.await.unwrap(), 1, "the others were not sent away");
    assert!(began.elapsed() < Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn streams_are_counted_like_other_subscribers() {
    let world = World::new(99, SlowPolicy::Gap);
    (0..3).for_each(|_| _ = world.publish("old"));
    let mut body = world.subscribe(Start::Beginning, 0);
    read(&mut body, 100).await;
    let totals = world.h2.totals();
    assert_eq!((totals.events_delivered, totals.events_replayed), (3, 3));
    assert_eq!((totals.events_per_write.counts[2], totals.delivery.count()), (1, 0));
    world.publish("new");
    read(&mut body, 100).await;
    let totals = world.h2.totals();
    assert_eq!((totals.events_delivered, totals.events_replayed), (4, 3));
    assert_eq!((totals.events_per_write.count(), totals.delivery.count()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_asked_is_blocked_and_then_stalled() {
    let world = World::new(99, SlowPolicy::Gap);
    let mut slow = world.subscribe(Start::Now, 0);
    let mut idle = world.subscribe(Start::Now, 0);
    read(&mut idle, 100).await;
    read(&mut slow, 100).await;
    world.publish("x");
    assert_eq!(words(&read(&mut idle, 5_000).await), ["x"]);
    let load = world.h2.load();
    assert_eq!((load.subscribers, load.blocked), (2, 1));
    world.h2.set_stall_ms_max(60_000);
    read(&mut idle, STALL_MS + 5_000).await;
    assert_eq!(world.disconnected(Disconnect::Stalled), 0, "the limit was raised");
    world.h2.set_stall_ms_max(STALL_MS);
    read(&mut idle, 5_000).await;
    assert_eq!(world.disconnected(Disconnect::Stalled), 1);
    assert_eq!((world.h2.load().subscribers, world.h2.load().blocked), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn deltas_go_out_together_when_a_window_ends() {
    let world = World::new(99, SlowPolicy::Gap);
    let mut body = world.subscribe_together(Start::Now, 50);
    let mut other = world.subscribe_together(Start::Now, 100);
    assert_eq!(words(&read(&mut body, 10).await), [""; 0]);
    read(&mut other, 10).await;
    let publish = |data: &[&str]| data.iter().for_each(|data| _ = world.publish(data));
    publish(&["a"]);
    assert_eq!(words(&read(&mut body, 10).await), ["a"], "the first at once");
    publish(&["b", "c"]);
    assert_eq!(words(&read(&mut body, 30).await), [""; 0]);
    publish(&["d"]);
    assert_eq!(words(&read(&mut body, 20).await), ["bcd"], "50 ms after the first");
    publish(&["e", "[DONE]"]);
    assert_eq!(words(&read(&mut body, 1).await), ["e", "[DONE]"], "nothing else waits");
    publish(&["f", "g"]);
    assert_eq!(words(&read(&mut body, 1).await), ["fg"], "a burst begins");
    publish(&["h"]);
    assert_eq!(words(&read(&mut body, 30).await), [""; 0]);
    publish(&["i"]);
    let h2 = Arc::clone(&world.h2);
    tokio::spawn(async move { h2.drain(Duration::ZERO).await });
    let seen = read(&mut body, 1).await;
    assert_eq!(words(&seen), ["hi", "reconnect"], "who leaves has what waited");
    let seen = words(&read(&mut other, 1).await);
    assert_eq!(seen, ["abcde", "[DONE]", "fghi", "reconnect"], "nobody asked this one before");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_late_gets_no_more_events_for_that() {
    let world = World::new(99, SlowPolicy::Gap);
    let mut body = world.subscribe_together(Start::Now, 100);
    read(&mut body, 1).await;
    // It is woken for the first, and finds the second, too, before the worker has looked at that.
    world.publish("a");
    yield_now().await;
    world.publish("b");
    let piece = ask(&mut body).unwrap().unwrap();
    assert!(std::str::from_utf8(&piece).unwrap().ends_with("data: ab\n\n"), "{piece:?}");
    drop(piece);
    yield_now().await;
    world.publish("c");
    assert_eq!(ask(&mut body), None, "its window has just begun");
    yield_now().await;
    world.publish("d");
    assert_eq!(words(&read(&mut body, 90).await), [""; 0]);
    assert_eq!(words(&read(&mut body, 20).await), ["cd"]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_nobody_waits_in_is_over() {
    let world = World::new(99, SlowPolicy::Gap);
    for round in 0..3 {
        let mut body = world.subscribe_together(Start::Now, 100);
        read(&mut body, 1).await;
        for data in ["a", "b"] {
            world.publish(data);
            read(&mut body, 1).await;
        }
        drop(body);
        let mut last = world.subscribe_together(Start::Last(1), 100);
        assert_eq!(words(&read(&mut last, 1).await), ["b"], "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_get_together_what_each_of_them_has_not_got() {
    let world = World::new(99, SlowPolicy::Gap);
    for data in ["1", "2", "3", "4", "[DONE]", "6", "7"] {
        world.publish(data);
    }
    let mut all = world.subscribe_together(Start::Beginning, 0);
    assert_eq!(words(&read(&mut all, 1).await), ["1234", "[DONE]", "67"]);
    for (after, told) in [
        (0, &["1234", "[DONE]", "67"][..]),
        (2, &["34", "[DONE]", "67"]),
        (5, &["67"]),
        (6, &["7"]),
    ] {
        let id = world.hub.id(after).to_string();
        let mut body = world.subscribe_together(Start::After(id), 0);
        assert_eq!(words(&read(&mut body, 1).await), told, "after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_all_is_told_that_it_is_live_whatever_others_have_read() {
    let world = World::new(99, SlowPolicy::Gap);
    let mut first = world.subscribe(Start::Now, 0);
    let last = world.publish("1");
    assert_eq!(words(&read(&mut first, 10).await), ["1"]);
    // The first live place is behind these, of which the channel's feed is not told.
    (0..5).for_each(|_| _ = world.publish_to("b", "x"));
    let selectors = Selectors::parse(["a"]).unwrap();
    let start = Start::After(world.hub.id(last).to_string());
    let (control, open, envelope, coalesce) = (true, false, false, None);
    let request = Request { selectors, start, control, open, envelope, coalesce, live: true };
    let mut body = world.subscribe_by(&request, 0);
    assert_eq!(words(&read(&mut body, 10).await), ["live"]);
    world.publish("2");
    assert_eq!(words(&read(&mut body, 10).await), ["2"], "once");
}

/// Asks for more as hyper does; none if there is nothing to take.
fn ask(body: &mut H2Body) -> Option<Option<Bytes>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => Some(Some(frame.into_data().unwrap())),
        Poll::Ready(_) => Some(None),
        Poll::Pending => None,
    }
}

/// A stream past its first heartbeat.
fn begun(mut body: H2Body) -> H2Body {
    assert_eq!(ask(&mut body).unwrap().unwrap(), fanfare_core::HEARTBEAT);
    body
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_one_piece_in_hyper_and_the_next_has_all_that_came_meanwhile() {
    let world = World::new(9, SlowPolicy::Gap);
    let mut body = begun(world.subscribe(Start::Now, 0));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    world.publish("1");
    read(&mut world.subscribe(Start::Now, 0), 10).await;
    let one = ask(&mut body).unwrap().unwrap();
    for data in ["2", "3"] {
        world.publish(data);
    }
    read(&mut world.subscribe(Start::Now, 0), 10).await;
    let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
    assert!(polled.is_pending(), "hyper has a piece still");
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    drop(one);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    let text = String::from_utf8(ask(&mut body).unwrap().unwrap().into()).unwrap();
    assert!(text.contains("data: 2\n") && text.contains("data: 3\n"), "{text}");
    assert!(ask(&mut body).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_ends_when_its_last_piece_is_gone() {
    let world = World::new(9, SlowPolicy::Gap);
    let mut body = begun(world.subscribe(Start::Now, 0));
    let channel = ChannelName::parse("a").unwrap();
    let change = Change::Close(CloseReason::Done);
    world
        .broker
        .place(Publication {
            channel,
            change,
            instance: None,
            producer: None,
            key: None,
            now_us: 0,
        })
        .unwrap();
    read(&mut world.subscribe_to(["b"], Start::Now, 0), 10).await;
    let last = ask(&mut body).unwrap().unwrap();
    assert!(ask(&mut body).is_none(), "hyper would keep the piece, and nobody could end it");
    drop(last);
    assert_eq!(ask(&mut body), Some(None));
}

#[tokio::test(start_paused = true)]
async fn streams_that_take_nothing_give_room_to_those_that_wait() {
    const EVENT: usize = 40_000;
    let world = World::with_pinned(9, SlowPolicy::Gap, 2 * EVENT);
    world.publish(&"x".repeat(EVENT));
    // Each reads for itself, because no two feeds are equal.
    let names: Vec<_> = (0..9).map(|index| format!("x{index}")).collect();
    let subscribe = |name: &String| begun(world.subscribe_to(["a", name], Start::Beginning, 0));
    let mut bodies: Vec<_> = names.iter().map(subscribe).collect();
    let held: Vec<_> = bodies.iter_mut().map(ask).collect();
    let taken = held.iter().filter(|piece| piece.is_some()).count();
    assert_eq!(taken, 2, "the second passes the bound, and the others wait");
    let bytes = || world.h2.load().blocked_bytes as usize;
    assert!((2 * EVENT..3 * EVENT).contains(&bytes()), "{}", bytes());
    let mut idle = begun(world.subscribe_to(["b"], Start::Now, 0));
    read(&mut idle, H2_PRESS_INTERVAL_MS * 3 / 2).await;
    assert_eq!(world.disconnected(Disconnect::Memory), 2, "nobody else has waited for longer");
    // They are reset, and hyper drops what it had of them.
    for body in &mut bodies[..2] {
        assert_eq!(ask(body), Some(None));
    }
    drop(held);
    assert_eq!(bytes(), 0);
    let mut got = 0;
    for body in &mut bodies[2..] {
        got += usize::from(read(body, 1_000).await.text.contains("data: xxx"));
    }
    assert_eq!((got, world.disconnected(Disconnect::Memory)), (7, 2));
}

/// How often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
