//! Models of the protocols between threads: loom runs the real hub, registry and doorbell through
//! every order of their steps that a few preemptions allow.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p fanfare-core --release --lib loom`. Each model
//! names what it protects: broken once, the model fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use loom::thread;

use crate::{
    broker::{Change, MemoryBroker, Placed, Publication},
    control::CloseReason,
    doorbell::{Doorbell, Marks},
    feed::{Feed, Run},
    frame::Draft,
    hub::{Hub, HubLimits},
    id::Epoch,
    name::{ChannelName, Selectors},
    ring::Retention,
    stamps::Stamps,
    subscription::{Request, Start, Subscribed, Subscription},
    waiters::Standing,
};

/// A hub, its broker, and how often each worker was woken.
struct World {
    hub: Arc<Hub>,
    broker: MemoryBroker,
    wakes: Vec<Arc<AtomicUsize>>,
}

impl World {
    fn new(workers: usize) -> Arc<Self> {
        let wakes: Vec<_> = (0..workers).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let doorbell = |wakes: &Arc<AtomicUsize>| {
            let wakes = Arc::clone(wakes);
            // Not loom's: that a wake happened is looked at only after all threads were joined.
            let wake = move || _ = wakes.fetch_add(1, Ordering::SeqCst);
            Arc::new(Doorbell::new(Box::new(wake)))
        };
        let retention = Retention { ring_age_ms: 1, ..Retention::default() };
        let limits = HubLimits { retention, ..HubLimits::default() };
        let doorbells = wakes.iter().map(doorbell).collect();
        let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, doorbells));
        let broker = MemoryBroker::new(Arc::clone(&hub));
        Arc::new(Self { hub, broker, wakes })
    }

    fn publish(&self, channel: &str) -> Placed {
        self.place(channel, Change::Event(Draft::new(None, "x"), None), 0)
    }

    fn place(&self, channel: &str, change: Change, now_ms: u64) -> Placed {
        let channel = ChannelName::parse(channel).unwrap();
        let now_us = now_ms * 1_000;
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
    }

    fn subscribe(&self, worker: usize, channels: &[&str], start: Start) -> Subscription {
        let selectors = Selectors::parse(channels.iter().copied()).unwrap();
        let request = Request {
            selectors,
            start,
            control: true,
            open: true,
            envelope: false,
            coalesce: None,
            live: false,
        };
        match self.hub.subscribe(&request, worker, 5_000).unwrap() {
            Subscribed::Live(opening) => opening.subscription,
            other => panic!("{other:?}"),
        }
    }

    fn found(&self, channel: &str) -> Option<u64> {
        let name = ChannelName::parse(channel).unwrap();
        self.hub.registry.find(&name).map(|channel| channel.instance())
    }

    fn marks(&self, worker: usize) -> Marks {
        let mut marks = Marks::default();
        self.hub.doorbell(worker).take(worker, &mut marks);
        marks
    }
}

/// Reads on until nothing more is there; returns what was found.
fn drain(hub: &Hub, feed: &Feed, cursor: &mut u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut run = Run::default();
    loop {
        feed.read(hub, *cursor, usize::MAX, &mut run);
        *cursor = run.end;
        found.extend(run.frames.iter().map(|(seq, _)| *seq));
        if run.exhausted {
            return found;
        }
    }
}

/// Three preemptions unless `LOOM_MAX_PREEMPTIONS` says otherwise: one more than any protocol here
/// has threads that could be cut off, and still a second or two in all.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(run);
}

/// No wake-up is lost between a publish and a worker that goes to sleep: `Doorbell::take` clears
/// a mark, then the worker reads; `Doorbell::sleep` refuses while something is marked.
fn sleeps_with_nothing_unread(selector: &'static str) {
    model(move || {
        let world = World::new(1);
        let subscription = world.subscribe(0, &[selector], Start::Beginning);
        let publisher = {
            let world = Arc::clone(&world);
            thread::spawn(move || [world.publish("a"), world.publish("a")])
        };
        let mut cursor = subscription.cursor;
        let mut seen = Vec::new();
        loop {
            world.marks(0);
            seen.extend(drain(&world.hub, subscription.feed(), &mut cursor));
            if world.hub.doorbell(0).sleep() {
                break;
            }
        }
        publisher.join().unwrap();
        if world.wakes[0].load(Ordering::SeqCst) > 0 {
            let marks = world.marks(0);
            assert!(marks.journal || !marks.channels.is_empty(), "woken for nothing");
            seen.extend(drain(&world.hub, subscription.feed(), &mut cursor));
        }
        assert_eq!(seen, [1, 2], "everything is read, or the worker is woken");
    });
}

#[test]
fn loom_a_worker_sleeps_with_nothing_unread() {
    sleeps_with_nothing_unread("a");
}

#[test]
fn loom_a_worker_with_patterns_sleeps_with_nothing_unread() {
    sleeps_with_nothing_unread("*");
}

/// A merged read skips no event: `Feed::read` loads the watermark before it looks at the rings,
/// and an event is in its ring before the watermark says so.
fn skips_nothing(channels: &'static [&'static str]) {
    model(move || {
        let world = World::new(1);
        let subscription = world.subscribe(0, channels, Start::Beginning);
        let publishers: Vec<_> = ["b", "a"]
            .map(|channel| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.publish(channel))
            })
            .into();
        let mut cursor = subscription.cursor;
        let mut seen = drain(&world.hub, subscription.feed(), &mut cursor);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        seen.extend(drain(&world.hub, subscription.feed(), &mut cursor));
        assert_eq!(seen, [1, 2], "each event once, in order");
    });
}

#[test]
fn loom_a_merged_read_skips_nothing() {
    skips_nothing(&["a", "b"]);
}

#[test]
fn loom_a_pattern_skips_nothing() {
    skips_nothing(&["*"]);
}

/// The same for one channel and one publisher.
#[test]
fn loom_a_read_skips_nothing() {
    model(|| {
        let world = World::new(1);
        let subscription = world.subscribe(0, &["a"], Start::Beginning);
        let publisher = {
            let world = Arc::clone(&world);
            thread::spawn(move || [world.publish("a"), world.publish("a")])
        };
        let mut cursor = subscription.cursor;
        let mut seen = drain(&world.hub, subscription.feed(), &mut cursor);
        publisher.join().unwrap();
        seen.extend(drain(&world.hub, subscription.feed(), &mut cursor));
        assert_eq!(seen, [1, 2], "each event once, in order");
    });
}

/// Subscribe against publish: the first read finds the event or its worker is marked. The fences
/// in `Hub::enter` and `Hub::announce` say so, and that interest comes before the first read.
fn is_read_or_marked(selector: &'static str, start: Start) {
    model(move || {
        let world = World::new(2);
        // The channel exists, so that nothing but the fences orders the two threads.
        let _other = world.subscribe(0, &["a"], Start::Now);
        let publisher = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.publish("a"))
        };
        // On behalf of another worker: the first subscriber's mark must not stand for it.
        let subscription = world.subscribe(1, &[selector], start.clone());
        let mut cursor = subscription.cursor;
        let begun_before = cursor <= 1;
        let seen = drain(&world.hub, subscription.feed(), &mut cursor);
        publisher.join().unwrap();
        let marks = world.marks(1);
        let marked = marks.journal || !marks.channels.is_empty();
        assert!(!begun_before || seen == [1] || marked, "neither read nor marked");
    });
}

#[test]
fn loom_a_new_subscriber_reads_or_its_worker_is_marked() {
    is_read_or_marked("a", Start::Now);
}

#[test]
fn loom_a_new_pattern_reads_or_its_worker_is_marked() {
    is_read_or_marked("*", Start::Now);
}

/// Subscribe against the removal of an idle channel: `Registry::remove_idle` looks at the
/// interest under the map's lock, under which `Registry::take_interest` takes it.
#[test]
fn loom_nobody_is_left_on_a_channel_that_was_idle() {
    model(|| {
        let world = World::new(1);
        let first = world.publish("a");
        let keeper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.hub.maintain(10, 9))
        };
        let publisher = {
            let world = Arc::clone(&world);
            // Young enough that the keeper leaves it.
            let change = Change::Event(Draft::new(None, "y"), None);
            thread::spawn(move || world.place("a", change, 10).id.seq)
        };
        let subscription = world.subscribe(0, &["a"], Start::After(first.id.to_string()));
        let mut cursor = subscription.cursor;
        let seen = drain(&world.hub, subscription.feed(), &mut cursor);
        keeper.join().unwrap();
        let second = publisher.join().unwrap();
        let channel = &subscription.feed().channels()[0];
        assert_eq!(world.found("a"), Some(channel.instance()), "its channel is the one found");
        let told = !world.marks(0).channels.is_empty();
        assert!(seen == [second] || told, "neither read nor marked");
    });
}

/// The removal of a channel that never had an event, against a publish and a new subscriber:
/// `Hub::release` holds the order lock, and looks at the interest under the map's.
#[test]
fn loom_nobody_is_left_on_a_channel_that_was_empty() {
    model(|| {
        let world = World::new(1);
        let leaving = world.subscribe(0, &["a"], Start::Now);
        let publisher = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.publish("a"))
        };
        let leaver = thread::spawn(move || drop(leaving));
        let subscription = world.subscribe(0, &["a"], Start::Beginning);
        let mut cursor = subscription.cursor;
        let seen = drain(&world.hub, subscription.feed(), &mut cursor);
        publisher.join().unwrap();
        leaver.join().unwrap();
        let channel = &subscription.feed().channels()[0];
        assert_eq!(world.found("a"), Some(channel.instance()), "its channel is the one found");
        let told = !world.marks(0).channels.is_empty();
        assert!(seen == [1] || told, "neither read nor marked");
        drop(subscription);
        let name = ChannelName::parse("a").unwrap();
        let info = world.hub.channel(&name).expect("a channel with an event stays");
        assert_eq!(info.last_seq, Some(1), "the event was published to the channel that is found");
    });
}

/// Two workers that leave an empty channel at once do not leave it behind: the fence in
/// `Hub::release`.
#[test]
fn loom_an_empty_channel_goes_with_the_last_of_two() {
    model(|| {
        let world = World::new(2);
        let (one, two) =
            (world.subscribe(0, &["a"], Start::Now), world.subscribe(1, &["a"], Start::Now));
        let leaver = thread::spawn(move || drop(one));
        drop(two);
        leaver.join().unwrap();
        assert_eq!((world.found("a"), world.hub.held().channels), (None, 0));
    });
}

/// Events are applied in order by one writer at a time: `MemoryBroker::place` holds the next
/// `seq` while it applies, and `Hub::apply` asserts the order.
#[test]
fn loom_publishers_apply_in_order() {
    model(|| {
        let world = World::new(1);
        let publisher = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.publish("a").id.seq)
        };
        let mut placed = vec![world.publish("a").id.seq];
        placed.push(publisher.join().unwrap());
        placed.sort_unstable();
        assert_eq!(placed, [1, 2]);
        let end = world.place("a", Change::Close(CloseReason::Done), 0).id.seq;
        assert_eq!((end, world.hub.watermark()), (3, 3));
    });
}

/// Whoever waits for a wish finds it or is woken: `Hub::watch` looks for one after it is among
/// those who wait, and `Hub::cancel` tells them after the wish is in place.
#[test]
fn loom_a_wish_is_found_or_told() {
    model(|| {
        let world = World::new(1);
        let name = ChannelName::parse("a").unwrap();
        let canceller = {
            let (world, name) = (Arc::clone(&world), name.clone());
            thread::spawn(move || world.hub.cancel(&name, 1).unwrap())
        };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let (watch, found) = world.hub.watch(&name, true).unwrap();
        let told = watch.poll(&Context::from_waker(&waker));
        canceller.join().unwrap();
        let is_there = found == Standing::Cancelling || told.is_ready();
        assert!(is_there || woken.0.load(Ordering::SeqCst) > 0, "neither found nor woken");
    });
}

/// A producer that comes back is in time or too late, never both: `Hub::begin_publishing` holds the
/// order lock, under which `Hub::apply` looks again at whether a channel is due.
#[test]
fn loom_a_producer_that_is_back_is_not_cut() {
    model(|| {
        let world = World::new(1);
        let name = ChannelName::parse("a").unwrap();
        let begin = |world: &World| world.hub.begin_publishing(&name, 1).unwrap();
        begin(&world).unwrap().end(true, 1);
        let closer = {
            let world = Arc::clone(&world);
            let (channel, change) = (ChannelName::parse("a").unwrap(), Change::CloseIfDue);
            let now_us = 1_000_000_000;
            let due =
                Publication { channel, change, instance: None, producer: None, key: None, now_us };
            thread::spawn(move || world.broker.place(due).is_ok())
        };
        let back = begin(&world);
        let was_closed = closer.join().unwrap();
        assert_eq!(back.is_none(), was_closed);
        assert_eq!(world.hub.standing(&name) == Standing::Open, back.is_some());
    });
}

/// A channel without events goes with the last who uses it, a subscriber or a streaming publish:
/// both look again under the order lock.
#[test]
fn loom_an_empty_channel_goes_with_its_stream_or_its_subscriber() {
    model(|| {
        let world = World::new(1);
        let name = ChannelName::parse("a").unwrap();
        let publishing = world.hub.begin_publishing(&name, 1).unwrap().unwrap();
        let subscription = world.subscribe(0, &["a"], Start::Now);
        let leaver = thread::spawn(move || drop(subscription));
        publishing.end(false, 1);
        leaver.join().unwrap();
        assert_eq!((world.found("a"), world.hub.held().channels), (None, 0));
    });
}

/// Counts how often it was woken; not loom's, for it is looked at after all threads were joined.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A time is never taken for that of another place: `Stamps::note` says that the old place is
/// gone before the new time is there, and `Stamps::at_us` looks at the place again after the time.
#[test]
fn loom_a_time_is_of_its_own_place() {
    model(|| {
        let stamps = Arc::new(Stamps::new());
        let slots = crate::limits::STAMPS as u64;
        stamps.note(1, 10);
        let writer = {
            let stamps = Arc::clone(&stamps);
            thread::spawn(move || {
                stamps.note(1 + slots, 20);
                stamps.note(1 + 2 * slots, 30);
            })
        };
        for (seq, at_us) in [(1, 10), (1 + slots, 20), (1 + 2 * slots, 30)] {
            let found = stamps.at_us(seq);
            assert!(found.is_none_or(|found| found == at_us), "{seq}: {found:?}");
        }
        writer.join().unwrap();
        assert_eq!(stamps.at_us(1 + 2 * slots), Some(30));
        assert_eq!((stamps.at_us(1), stamps.at_us(1 + slots)), (None, None));
    });
}
