//! The hub against a naive model of it: a list of all events, of which each channel keeps the
//! last few. Whatever is read, through batches and partial writes, is exactly what the model says:
//! the same events, the same gaps at the same places for the same reasons.

use std::{collections::BTreeMap, sync::Arc};

use fanfare_core::{
    Batch, Change, ChannelName, Doorbell, Draft, Epoch, Framing, Hub, HubLimits, MemoryBroker, Met,
    Publication, Request, Retention, Run, Selectors, Start, Subscribed, Subscription,
};
use proptest::prelude::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Publish(&'static str, String),
    /// With selectors, and where: after so many parts of a hundred of the log, or at its start.
    Subscribe(&'static [&'static str], Option<u64>),
    /// A subscriber, the bytes of a read and of a write.
    Read(prop::sample::Index, usize, usize),
}

/// What a subscriber is told: an event's `seq` and data, or a gap.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Told {
    Event(u64, String),
    Gap { channels: Vec<String>, requested: u64, through: u64, reason: &'static str },
}

/// The model: all events, and how many of each channel are kept.
struct Naive {
    log: Vec<(u64, &'static str, String)>,
    kept_max: usize,
}

/// A subscriber of the model.
struct Reader {
    subscription: Subscription,
    selectors: Selectors,
    /// What it has been told last, or where it begins.
    position: u64,
    /// Per channel, the newest event that was gone when it came.
    gone_before: BTreeMap<&'static str, u64>,
    forgives: bool,
}

const CHANNELS: [&str; 3] = ["a/1", "a/2", "b"];
const SELECTORS: [&[&str]; 5] = [&["a/1"], &["a/1", "b"], &["a/1", "a/2", "b"], &["a/*"], &["**"]];

impl Naive {
    fn of<'a>(&'a self, channel: &'a str) -> impl DoubleEndedIterator<Item = u64> + 'a {
        self.log.iter().filter(move |(_, on, _)| *on == channel).map(|(seq, ..)| *seq)
    }

    /// The newest event of a channel that is gone; 0 if all are kept.
    fn gone(&self, channel: &str) -> u64 {
        self.of(channel).rev().nth(self.kept_max).unwrap_or(0)
    }

    fn gone_all(&self) -> BTreeMap<&'static str, u64> {
        CHANNELS.iter().map(|channel| (*channel, self.gone(channel))).collect()
    }

    /// What a reader is told that reads to the end now.
    fn tells(&self, reader: &mut Reader) -> Vec<Told> {
        let mut told = BTreeMap::new();
        let matches =
            |channel: &str| reader.selectors.matches(&ChannelName::parse(channel).unwrap());
        for channel in CHANNELS.into_iter().filter(|channel| matches(channel)) {
            let (gone, before) = (self.gone(channel), reader.gone_before[channel]);
            if gone > reader.position {
                let reason = if gone <= before { "evicted" } else { "lagged" };
                let channels = vec![channel.to_owned()];
                let gap = Told::Gap { channels, requested: 0, through: gone, reason };
                // One that is forgiven is passed in silence.
                told.insert(gone, Some(gap).filter(|_| !reader.forgives || gone > before));
            }
            for (seq, on, data) in &self.log {
                if *on == channel && *seq > gone.max(reader.position) {
                    told.insert(*seq, Some(Told::Event(*seq, data.clone())));
                }
            }
        }
        for (seq, what) in &mut told {
            if let Some(Told::Gap { requested, .. }) = what {
                *requested = reader.position;
            }
            reader.position = *seq;
        }
        reader.position = self.log.len() as u64;
        told.into_values().flatten().collect()
    }
}

/// Reads to the end through batches, of which each write takes at most `room` bytes.
fn read(hub: &Hub, subscription: &mut Subscription, bytes_max: usize, room: usize) -> Vec<Told> {
    let mut told = Vec::new();
    let (mut run, mut batch) = (Run::default(), Batch::new(Framing::Bare));
    let mut wire = Vec::new();
    loop {
        batch.reset(Framing::Bare, subscription.cursor);
        subscription.feed().read(hub, subscription.cursor, bytes_max, &mut run);
        batch.append(&mut run);
        while !batch.bytes_from(subscription.cursor).is_empty() {
            let bytes = batch.bytes_from(subscription.cursor);
            let sent = room.min(bytes.len());
            wire.extend_from_slice(&bytes[..sent]);
            if sent == bytes.len() {
                // The position stays: a stop is met from where the events before it began.
                let last = wire.windows(4).rposition(|window| window == b"id: ").unwrap();
                subscription.cursor = parse(&wire[last..]).0 + 1;
                break;
            }
            let partial = batch.partial(subscription.cursor, sent);
            subscription.cursor = partial.cursor;
            wire.extend_from_slice(&partial.rest);
        }
        flush(&mut wire, &mut told);
        match batch.stop() {
            None => subscription.cursor = subscription.cursor.max(batch.end()),
            Some(stop) => {
                if let Met::Tell(sse) = subscription.meet(stop, batch.end(), 0) {
                    told.push(gap(&sse));
                }
            }
        }
        if batch.is_exhausted() {
            return told;
        }
    }
}

fn flush(wire: &mut Vec<u8>, told: &mut Vec<Told>) {
    for sse in std::str::from_utf8(wire).unwrap().split_inclusive("\n\n") {
        let (seq, data) = parse(sse.as_bytes());
        told.push(Told::Event(seq, data));
    }
    wire.clear();
}

fn parse(sse: &[u8]) -> (u64, String) {
    let text = std::str::from_utf8(sse).unwrap().strip_suffix("\n\n").unwrap();
    let (id, data) = text.split_once('\n').unwrap();
    let seq = id.strip_prefix("id: aaaaaaaa-").unwrap().parse().unwrap();
    let data: Vec<_> = data.split('\n').map(|line| line.strip_prefix("data: ").unwrap()).collect();
    (seq, data.join("\n"))
}

fn gap(sse: &[u8]) -> Told {
    let text = std::str::from_utf8(sse).unwrap();
    let quoted: Vec<_> = text.split('"').skip(1).step_by(2).collect();
    let [
        "channels",
        channels @ ..,
        "requested",
        requested,
        "resumed_after",
        through,
        "reason",
        why,
    ] = quoted.as_slice()
    else {
        panic!("{text}")
    };
    let seq = |id: &str| id.strip_prefix("aaaaaaaa-").unwrap().parse().unwrap();
    let reason = ["evicted", "lagged"].into_iter().find(|reason| reason == why).unwrap();
    let channels = channels.iter().map(|name| (*name).to_owned()).collect();
    Told::Gap { channels, requested: seq(requested), through: seq(through), reason }
}

fn step() -> impl Strategy<Value = Step> {
    let channel = prop::sample::select(&CHANNELS[..]);
    let data = prop_oneof![Just(String::new()), "[a-c]{1,3}", "[a-c]{1,3}\n[a-c]{0,60}"];
    let selectors = prop::sample::select(&SELECTORS[..]);
    prop_oneof![
        6 => (channel, data).prop_map(|(channel, data)| Step::Publish(channel, data)),
        1 => (selectors, prop::option::of(0_u64..=100)).prop_map(|(s, at)| Step::Subscribe(s, at)),
        2 => (any::<prop::sample::Index>(), 0_usize..200, 1_usize..150)
            .prop_map(|(reader, bytes_max, room)| Step::Read(reader, bytes_max, room)),
    ]
}

proptest! {
    #[test]
    fn a_reader_is_told_what_the_model_says(
        kept_max in 1_usize..6,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let retention = Retention { ring_events_max: kept_max, ..Retention::default() };
        let limits = HubLimits { retention, ..HubLimits::default() };
        let doorbell = Arc::new(Doorbell::new(Box::new(|| {})));
        let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, vec![doorbell]));
        let broker = MemoryBroker::new(Arc::clone(&hub));
        let mut naive = Naive { log: Vec::new(), kept_max };
        let mut readers: Vec<Reader> = Vec::new();
        for step in steps {
            match step {
                Step::Publish(channel, data) => {
                    let change = Change::Event(Draft::new(None, &data), None);
                    let name = ChannelName::parse(channel).unwrap();
                    let (instance, producer, key) = (None, None, None);
                    let publication =
                        Publication { channel: name, change, instance, producer, key, now_us: 0 };
                    let seq = broker.place(publication).unwrap().id.seq;
                    naive.log.push((seq, channel, data));
                    prop_assert_eq!(seq, naive.log.len() as u64);
                }
                Step::Subscribe(texts, at) => {
                    let selectors = Selectors::parse(texts.iter().copied()).unwrap();
                    let position = at.map(|parts| naive.log.len() as u64 * parts / 100);
                    let start = position
                        .map_or(Start::Beginning, |seq| Start::After(format!("aaaaaaaa-{seq}")));
                    let request = Request {
                        selectors: selectors.clone(),
                        start,
                        control: true,
                        open: false,
                        envelope: false,
                        coalesce: None,
                        live: false,
                    };
                    let Ok(Subscribed::Live(opening)) = hub.subscribe(&request, 0, 0) else {
                        panic!("a live subscription")
                    };
                    let subscription = opening.subscription;
                    readers.push(Reader {
                        position: subscription.position().seq,
                        subscription,
                        selectors,
                        gone_before: naive.gone_all(),
                        forgives: position.is_none(),
                    });
                }
                Step::Read(index, bytes_max, room) if !readers.is_empty() => {
                    let reader = index.get_mut(&mut readers);
                    let expected = naive.tells(reader);
                    let told = read(&hub, &mut reader.subscription, bytes_max, room);
                    prop_assert_eq!(told, expected);
                }
                Step::Read(..) => {}
            }
        }
    }
}
