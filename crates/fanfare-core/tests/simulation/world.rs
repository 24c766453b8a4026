//! The world of one seed: a hub, a clock, publishers and subscribers.

use std::{collections::BTreeMap, sync::Arc};

use fanfare_core::{
    Change, ChannelName, CloseReason, Doorbell, Draft, Epoch, EventId, EventType, Hub, HubLimits,
    IdempotencyKey, MemoryBroker, Pattern, Placed, Producer, Publication, Refusal, Retention,
    SlowPolicy,
};

mod connecting;
mod producing;
mod streaming;

use producing::Known;
use streaming::Stream;

use super::{
    client::{Client, Connection, Published, Shared, Turn},
    random::Random,
};

/// Everything that a seed decides, and what it has come to.
pub(crate) struct World {
    random: Random,
    limits: HubLimits,
    hub: Arc<Hub>,
    broker: MemoryBroker,
    now_ms: u64,
    epochs: u64,
    /// All events of this life of the log.
    log: BTreeMap<u64, Published>,
    /// The ends of this life, until their channel begins anew: where, and why.
    ends: BTreeMap<ChannelName, (u64, CloseReason)>,
    clients: Vec<Client>,
    /// Clients that there ever were.
    born: u64,
    shared: Shared,
    /// Streaming publishes that are open.
    streams: Vec<Stream>,
    /// The last keyed publish and its answer.
    keyed: Option<(ChannelName, String, EventId)>,
    /// How far the producer is on each channel.
    producing: BTreeMap<ChannelName, Known>,
    /// What happened, if it is to be told.
    pub(crate) story: Vec<String>,
    told: bool,
    /// Events, gaps and ends that clients got, and events that came in others; resumes, refusals
    /// with a gap, and 204s; events of producers that were new, there already, and refused.
    pub(crate) totals: [u64; 10],
}

const CHANNELS: [&str; 5] = ["a/1", "a/2", "b/1", "b/2", "c"];

impl World {
    pub(crate) fn new(seed: u64, told: bool) -> Self {
        let mut random = Random::new(seed);
        let limits = limits(&mut random);
        let (hub, broker) = hub(&limits, seed);
        Self {
            random,
            limits,
            hub,
            broker,
            now_ms: 1_000_000,
            epochs: 1,
            log: BTreeMap::new(),
            ends: BTreeMap::new(),
            clients: Vec::new(),
            born: 0,
            shared: Shared::default(),
            streams: Vec::new(),
            keyed: None,
            producing: BTreeMap::new(),
            story: Vec::new(),
            told,
            totals: [0; 10],
        }
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) {
        match self.random.below(100) {
            0..28 => self.publish(),
            28..33 => self.produce(),
            33..75 => self.turn(),
            75..85 => self.connect(),
            85..90 => self.disconnect(),
            90..92 => self.close(),
            92..94 => self.delete(),
            94..95 => self.retry(),
            95..97 => self.pass_time(),
            97 => self.stream(),
            98 => self.change_limits(),
            _ if self.random.once_in(3) => self.restart(),
            _ => {}
        }
    }

    /// Lets everybody come back and read to the end: then nobody is owed anything.
    pub(crate) fn settle(&mut self) {
        let mut clients = std::mem::take(&mut self.clients);
        while let Some(client) = clients.pop() {
            self.clients.push(client);
            let index = self.clients.len() - 1;
            // An abort may follow the first connection, and a refusal the second.
            for _ in 0..3 {
                while self.clients.get(index).is_some_and(|client| client.connection.is_some())
                    && self.turn_of(index, 100_000) == Turn::Busy
                {}
                let back =
                    |client: &Client| client.connection.is_none() && client.last_id.is_some();
                if self.clients.get(index).is_some_and(back) {
                    self.connect_client(index);
                }
            }
        }
        for client in &self.clients {
            if let Some(connection) = &client.connection {
                assert_eq!(connection.subscription.cursor, self.hub.watermark() + 1);
                let lost: Vec<_> =
                    client.owed.iter().filter(|owed| connection.owes(owed)).collect();
                assert!(lost.is_empty(), "lost in silence: {lost:?}");
                self.knows_the_ends(client, connection);
                let told = connection.told_live || connection.live_from.is_none();
                assert!(told, "client {} does not know that it is live", client.number);
            }
        }
        while self.hub.maintain(self.now_ms, 100) {}
        self.wishes_are_kept();
        self.streams.clear();
        let held = self.hub.held();
        assert!(held.scheduled <= held.channels, "one look per channel: {held:?}");
        assert!(held.journal_events <= self.limits.journal_events_max, "{held:?}");
        assert!(held.bytes <= self.limits.rings_bytes_max, "{held:?}");
        for client in std::mem::take(&mut self.clients) {
            self.retire(client);
        }
        assert_eq!(self.hub.subscribers(), 0);
    }

    /// Whoever names its channels one by one knows of the ends that it was there for.
    fn knows_the_ends(&self, client: &Client, connection: &Connection) {
        if !client.selectors.patterns().is_empty() || self.hub.held().forgotten > 0 {
            return;
        }
        for name in client.selectors.channels() {
            let end = self.ends.get(name).filter(|(seq, _)| *seq > connection.began);
            let known = connection.ended.contains_key(name);
            assert!(end.is_none() || known, "client {}: {name} ended in silence", client.number);
        }
    }

    fn retire(&mut self, client: Client) {
        self.totals.iter_mut().zip(client.got).for_each(|(sum, more)| *sum += more);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told {
            self.story.push(what());
        }
    }

    fn channel(&mut self) -> ChannelName {
        ChannelName::parse(self.random.pick(&CHANNELS)).unwrap()
    }

    fn publish(&mut self) {
        let channel = self.channel();
        let number = self.random.number() % 1_000;
        let data = match self.random.below(4) {
            0 => format!("{number}\nsecond line"),
            1 => "long ".repeat(self.random.below(30)),
            _ => number.to_string(),
        };
        let close = self.random.once_in(25).then(|| self.reason());
        let key = self.random.once_in(8).then(|| format!("key {}", self.random.number()));
        match self.place_event(channel.clone(), data, None, key, close) {
            Ok(()) => {}
            Err(Refusal::Closed(reason)) => {
                let known = self.ends.get(&channel).map(|(_, reason)| *reason);
                assert_eq!(known, Some(reason), "{channel} was not closed");
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Publishes an event; everybody expects it if it is a new one.
    fn place_event(
        &mut self,
        channel: ChannelName,
        data: String,
        producer: Option<Producer>,
        key: Option<String>,
        close: Option<CloseReason>,
    ) -> Result<(), Refusal> {
        let event_type = EventType::parse(if data.len() == 2 { "kind" } else { "" }).unwrap();
        let draft = Draft::new(event_type.as_ref(), &data);
        let parsed = key.as_deref().map(|key| IdempotencyKey::parse(key).unwrap());
        let placed = self.place_of(&channel, Change::Event(draft, close), producer, parsed)?;
        if placed.duplicate {
            return Ok(());
        }
        let id = placed.id;
        self.tell(|| format!("publish {id} on {channel} {close:?}"));
        self.ends.remove(&channel);
        let published = Published { channel: channel.clone(), data: data.clone() };
        for client in &mut self.clients {
            client.expect(id.seq, &published);
        }
        self.log.insert(id.seq, published);
        if let Some(key) = key {
            self.keyed = Some((channel.clone(), key + "\n" + &data, id));
        }
        if let Some(reason) = close {
            self.ends.insert(channel, (id.seq + 1, reason));
        }
        Ok(())
    }

    fn place(
        &mut self,
        channel: &ChannelName,
        change: Change,
        key: Option<IdempotencyKey>,
    ) -> Result<EventId, Refusal> {
        self.place_of(channel, change, None, key).map(|placed| placed.id)
    }

    fn place_of(
        &mut self,
        channel: &ChannelName,
        change: Change,
        producer: Option<Producer>,
        key: Option<IdempotencyKey>,
    ) -> Result<Placed, Refusal> {
        let (channel, now_us) = (channel.clone(), self.now_ms * 1_000);
        self.broker.place(Publication { channel, change, instance: None, producer, key, now_us })
    }

    fn reason(&mut self) -> CloseReason {
        self.random.pick(&[CloseReason::Done, CloseReason::Error, CloseReason::Cancelled])
    }

    /// A keyed publish is sent again: it is answered as before, whatever happened since.
    fn retry(&mut self) {
        let Some((channel, text, id)) = self.keyed.clone() else { return };
        let (key, data) = text.split_once('\n').unwrap();
        let event_type = EventType::parse(if data.len() == 2 { "kind" } else { "" }).unwrap();
        let change = Change::Event(Draft::new(event_type.as_ref(), data), None);
        let watermark = self.hub.watermark();
        let again = self.place(&channel, change, Some(IdempotencyKey::parse(key).unwrap()));
        assert_eq!((again, self.hub.watermark()), (Ok(id), watermark), "published once");
    }

    fn close(&mut self) {
        let (channel, reason) = (self.channel(), self.reason());
        let before = self.hub.watermark();
        let id = self.place(&channel, Change::Close(reason), None).unwrap();
        if id.seq > before {
            self.tell(|| format!("close {channel} at {id}"));
            self.ends.insert(channel, (id.seq, reason));
        }
    }

    fn delete(&mut self) {
        let channel = self.channel();
        if let Ok(id) = self.place(&channel, Change::Delete, None) {
            self.tell(|| format!("delete {channel} at {id}"));
            self.streams_on(&channel, |stream| stream.is_deleted = true);
            self.ends.insert(channel, (id.seq, CloseReason::Deleted));
            self.forget_producers();
        }
    }

    fn pass_time(&mut self) {
        self.now_ms += self.random.pick(&[1, 40, 400, 5_000, 40_000]);
        let channels_max = self.random.pick(&[1, 3, 100]);
        self.hub.maintain(self.now_ms, channels_max);
        self.forget_producers();
        let now_ms = self.now_ms;
        self.tell(|| format!("maintain at {now_ms}"));
        for channel in self.hub.take_due() {
            // A producer may come back before the end that is due.
            if self.random.once_in(4) {
                self.begin_stream(&channel);
            }
            self.end_if_due(channel);
        }
        self.wishes_are_kept();
    }

    /// Other limits hold from now on. What slow subscribers get stays: a batch that was read before
    /// may still say so.
    fn change_limits(&mut self) {
        if !self.random.once_in(2) {
            return;
        }
        let policies =
            |limits: &HubLimits| [limits.retention.slow_policy, limits.retentions[0].1.slow_policy];
        let [policy, special] = policies(&self.limits);
        self.limits = limits(&mut self.random);
        self.limits.retention.slow_policy = policy;
        self.limits.retentions[0].1.slow_policy = special;
        self.hub.set_limits(&self.limits);
        self.tell(|| "other limits".to_owned());
    }

    /// A new life of the log. Everybody is cut off.
    fn restart(&mut self) {
        self.epochs += 1;
        let seed = self.random.number() ^ self.epochs;
        for client in &mut self.clients {
            client.disconnect();
            client.owed.clear();
            client.aborted = false;
        }
        self.streams.clear();
        (self.hub, self.broker) = hub(&self.limits, seed);
        self.shared = Shared::default();
        self.log.clear();
        self.ends.clear();
        self.keyed = None;
        self.producing.clear();
        self.tell(|| "restart".to_owned());
    }
}

/// Tiny bounds, so that everything that can be full is full.
fn limits(random: &mut Random) -> HubLimits {
    let retention = |random: &mut Random| Retention {
        ring_events_max: random.pick(&[1, 3, 8, 100, 100]),
        ring_bytes_max: random.pick(&[200, 600, 1_000_000, 1_000_000]),
        ring_age_ms: random.pick(&[1, 300, 50_000, 1_000_000]),
        closed_retention_ms: random.pick(&[1, 1_000, 30_000]),
        producer_grace_ms: random.pick(&[0, 400, 40_000]),
        channel_idle_ms_max: random.pick(&[0, 0, 60_000]),
        channel_age_ms_max: random.pick(&[0, 0, 200_000]),
        unwatched_ms_max: random.pick(&[0, 1_000, 50_000]),
        slow_policy: random.pick(&[SlowPolicy::Gap, SlowPolicy::Disconnect, SlowPolicy::Latest]),
    };
    let special = retention(random);
    HubLimits {
        channels_max: CHANNELS.len(),
        tombstones_max: random.pick(&[0, 1, 2, 100, 100]),
        journal_events_max: random.pick(&[1, 10, 40, 1_000, 1_000]),
        rings_bytes_max: random.pick(&[200, 2_000, 1_000_000, 1_000_000]),
        idempotency_keys_max: 1_000,
        retention: retention(random),
        retentions: vec![(Pattern::parse("a/*").unwrap(), special)],
    }
}

fn hub(limits: &HubLimits, seed: u64) -> (Arc<Hub>, MemoryBroker) {
    let doorbell = Arc::new(Doorbell::new(Box::new(|| {})));
    let hub = Arc::new(Hub::new(Epoch::from_random(seed), limits.clone(), vec![doorbell]));
    (Arc::clone(&hub), MemoryBroker::new(hub))
}
