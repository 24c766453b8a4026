//! What the tests stand at: a hub with a clock that they set, and subscribers that say what they
//! see in short words.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fanfare_core::{
    Change, ChannelName, CloseReason, Doorbell, Draft, Epoch, Framing, Hub, HubLimits,
    IdempotencyKey, MemoryBroker, Met, Opening, Placed, Producer, ProducerId, Publication, Refusal,
    Request, Retention, Run, Selectors, SlowPolicy, Start, Subscribed, Subscription,
};

/// A hub with two workers.
pub(crate) struct Bench {
    pub(crate) hub: Arc<Hub>,
    pub(crate) broker: MemoryBroker,
    pub(crate) now_ms: u64,
    pub(crate) wakes: Arc<AtomicUsize>,
}

/// What a subscription sees from its start to now.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    /// `open 0`, `gap a,b 0..3 evicted`, `5 data`, `end a 7 done`.
    pub(crate) what: Vec<String>,
    /// Whether the stream ends after it.
    pub(crate) over: bool,
}

impl Bench {
    pub(crate) fn new(limits: HubLimits) -> Self {
        let wakes = Arc::new(AtomicUsize::new(0));
        let doorbell = || {
            let wakes = Arc::clone(&wakes);
            Arc::new(Doorbell::new(Box::new(move || _ = wakes.fetch_add(1, Ordering::SeqCst))))
        };
        let doorbells = vec![doorbell(), doorbell()];
        let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, doorbells));
        let broker = MemoryBroker::new(Arc::clone(&hub));
        Self { hub, broker, now_ms: 1_000, wakes }
    }

    /// Rings of so many events.
    pub(crate) fn with_rings(ring_events_max: usize) -> Self {
        let retention = Retention { ring_events_max, ..Retention::default() };
        Self::new(HubLimits { retention, ..HubLimits::default() })
    }

    pub(crate) fn place(
        &self,
        channel: &str,
        change: Change,
        key: Option<&str>,
    ) -> Result<Placed, Refusal> {
        let channel = ChannelName::parse(channel).unwrap();
        let now_us = self.now_ms.saturating_mul(1_000);
        let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
        self.broker.place(Publication {
            channel,
            change,
            instance: None,
            producer: None,
            key,
            now_us,
        })
    }

    /// The same, by a producer: its id, epoch and `seq`.
    pub(crate) fn produce(
        &self,
        channel: &str,
        change: Change,
        (id, epoch, seq): (&str, u64, u64),
    ) -> Result<Placed, Refusal> {
        let channel = ChannelName::parse(channel).unwrap();
        let now_us = self.now_ms * 1_000;
        let producer = Some(Producer { id: ProducerId::parse(id).unwrap(), epoch, seq });
        self.broker.place(Publication {
            channel,
            change,
            instance: None,
            producer,
            key: None,
            now_us,
        })
    }

    /// Publishes each of the data; returns the last `seq`.
    pub(crate) fn publish(
        &self,
        channel: &str,
        data: impl IntoIterator<Item = &'static str>,
    ) -> u64 {
        let publish = |data| self.place(channel, event(data), None).unwrap().id.seq;
        data.into_iter().map(publish).last().unwrap_or(0)
    }

    pub(crate) fn close(&self, channel: &str) -> u64 {
        self.place(channel, Change::Close(CloseReason::Done), None).unwrap().id.seq
    }

    pub(crate) fn delete(&self, channel: &str) -> u64 {
        self.place(channel, Change::Delete, None).unwrap().id.seq
    }

    /// Lets time pass and everything that is due be done.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        while self.hub.maintain(self.now_ms, 1) {}
        for channel in self.hub.take_due() {
            self.place(channel.as_str(), Change::CloseIfDue, None).unwrap();
        }
    }

    pub(crate) fn subscribe(&self, request: &Request) -> Subscribed {
        self.hub.subscribe(request, 0, 5_000).unwrap()
    }

    pub(crate) fn live(&self, channels: &[&str], start: Start) -> Subscription {
        match self.subscribe(&request(channels, start)) {
            Subscribed::Live(opening) => opening.subscription,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that a subscription sees that begins now.
    pub(crate) fn seen(&self, channels: &[&str], start: Start) -> Seen {
        match self.subscribe(&request(channels, start)) {
            Subscribed::Live(opening) => self.follow(opening),
            other => panic!("{other:?}"),
        }
    }

    /// Whether such a subscription is told that nothing will ever come.
    pub(crate) fn is_finished(&self, channels: &[&str], start: Start) -> bool {
        matches!(self.subscribe(&request(channels, start)), Subscribed::Finished)
    }

    pub(crate) fn follow(&self, opening: Opening) -> Seen {
        let mut what: Vec<_> = opening.events.iter().map(|sse| word(sse)).collect();
        let mut subscription = opening.subscription;
        if opening.finished {
            return Seen { what, over: true };
        }
        let rest = self.read(&mut subscription);
        what.extend(rest.what);
        Seen { what, over: rest.over }
    }

    /// Reads on with a subscription, one event at a time.
    pub(crate) fn read(&self, subscription: &mut Subscription) -> Seen {
        let mut run = Run::default();
        let mut what = Vec::new();
        loop {
            let feed = Arc::clone(subscription.feed());
            feed.read(&self.hub, subscription.cursor, 1, &mut run);
            for (seq, frame) in &run.frames {
                assert!(word(frame.bytes(Framing::Bare)).starts_with(&format!("{seq} ")));
                what.push(word(frame.bytes(Framing::Bare)));
                subscription.cursor = seq + 1;
            }
            match &run.stop {
                None => subscription.cursor = run.end,
                Some(stop) => match subscription.meet(stop, run.end, 5_000) {
                    Met::Abort => what.push("abort".to_owned()),
                    Met::Cut(sse) => {
                        what.push(word(&sse));
                        what.push("cut".to_owned());
                        return Seen { what, over: true };
                    }
                    Met::Nothing => {}
                    Met::Tell(sse) => what.push(word(&sse)),
                },
            }
            if subscription.has_ended() {
                return Seen { what, over: true };
            }
            if run.exhausted {
                return Seen { what, over: false };
            }
        }
    }
}

pub(crate) fn event(data: &str) -> Change {
    Change::Event(Draft::new(None, data), None)
}

/// A retention with a ring of so many events and a policy for slow subscribers.
pub(crate) fn slow(ring_events_max: usize, slow_policy: SlowPolicy) -> Retention {
    Retention { ring_events_max, slow_policy, ..Retention::default() }
}

/// A request with control events and without `fanfare.open`.
pub(crate) fn request(channels: &[&str], start: Start) -> Request {
    let selectors = Selectors::parse(channels.iter().copied()).unwrap();
    Request {
        selectors,
        start,
        control: true,
        open: false,
        envelope: false,
        coalesce: None,
        live: false,
    }
}

/// After an id of the bench's epoch.
pub(crate) fn after(seq: u64) -> Start {
    Start::After(format!("aaaaaaaa-{seq}"))
}

pub(crate) fn live<const N: usize>(what: [&str; N]) -> Seen {
    Seen { what: what.map(str::to_owned).into(), over: false }
}

pub(crate) fn over<const N: usize>(what: [&str; N]) -> Seen {
    Seen { what: what.map(str::to_owned).into(), over: true }
}

/// An event in short words.
fn word(sse: &[u8]) -> String {
    let text = std::str::from_utf8(sse).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let seq = line("id: aaaaaaaa-").unwrap();
    let data = line("data: ").unwrap();
    let field = |name: &str| {
        let (_, rest) = data.split_once(&format!("\"{name}\":")).unwrap();
        rest.split(&[',', '}'][..]).next().unwrap().replace(['"', '[', ']'], "")
    };
    let channels = || {
        let (_, rest) = data.split_once("\"channels\":[").unwrap();
        rest.split_once(']').unwrap().0.replace('"', "")
    };
    match line("event: fanfare.") {
        None => format!("{seq} {data}"),
        Some("open") => format!("open {} {seq}", channels()),
        Some("end") => format!("end {} {seq} {}", channels(), field("reason")),
        Some("gap") => {
            let requested = field("requested").replace("aaaaaaaa-", "");
            assert_eq!(field("resumed_after"), format!("aaaaaaaa-{seq}"));
            format!("gap {} {requested}..{seq} {}", channels(), field("reason"))
        }
        Some(other) => panic!("{other}"),
    }
}
