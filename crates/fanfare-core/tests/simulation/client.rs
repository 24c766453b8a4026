//! One subscriber: what it was sent, byte by byte, and what it is owed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fanfare_core::{
    Batch, ChannelName, Coalesce, Coalescer, Delta, EventId, Feed, FeedKey, Framing, Hub, Met, Run,
    Selectors, SlowPolicy, Stop, Subscription,
};

use super::random::Random;

/// An event as the publisher knows it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) channel: ChannelName,
    pub(crate) data: String,
}

/// What the wire said.
#[derive(Debug)]
struct Told {
    id: EventId,
    event_type: Option<String>,
    data: String,
}

/// A subscriber over all its connections.
pub(crate) struct Client {
    /// Its name in the story.
    pub(crate) number: u64,
    pub(crate) selectors: Selectors,
    pub(crate) framing: Framing,
    pub(crate) envelope: bool,
    pub(crate) coalesce: Option<Coalesce>,
    pub(crate) control: bool,
    /// The last id of a whole event that it got.
    pub(crate) last_id: Option<EventId>,
    /// Events that it must still get, be told to have lost, or have ended.
    pub(crate) owed: BTreeMap<u64, Published>,
    pub(crate) connection: Option<Connection>,
    /// Set when the last connection was cut off because a gap must not be told.
    pub(crate) aborted: bool,
    /// Events, gaps and ends that it got, and events that came in others.
    pub(crate) got: [u64; 4],
}

/// A connection: the hub's side of it, and what has reached the client.
pub(crate) struct Connection {
    pub(crate) subscription: Subscription,
    /// Bytes that the hub has for this client alone, or has begun to write.
    pub(crate) pending: VecDeque<Bytes>,
    /// The stream ends after them.
    pub(crate) finishing: bool,
    /// The stream is cut after them.
    pub(crate) cut: bool,
    /// What the client has received and not understood yet.
    received: Vec<u8>,
    /// The last id on this connection.
    last_seq: Option<u64>,
    /// Every end after this is one that it must be told of.
    pub(crate) began: u64,
    /// Whether it asked to be told when everything from before this place was delivered.
    pub(crate) live_from: Option<u64>,
    /// Whether it was told.
    pub(crate) told_live: bool,
    /// Channels whose end stands behind the position, and where. What comes after it is not owed.
    pub(crate) ended: BTreeMap<ChannelName, u64>,
}

/// Takes short data for deltas.
#[derive(Debug)]
pub(crate) struct Words;

impl Coalescer for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn delta(&self, _event_type: Option<&str>, data: &str) -> Option<Delta> {
        is_word(data).then(|| Delta::new(0..data.len(), [None, None]))
    }
}

fn is_word(data: &str) -> bool {
    !data.is_empty() && !data.starts_with("long")
}

/// The batch that was put together last, for whoever it also fits.
#[derive(Default)]
pub(crate) struct Shared(Option<(FeedKey, Framing, Batch)>);

/// What became of a turn.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    Idle,
    Busy,
    /// It was too slow; it may come back.
    Cut,
    Over,
}

impl Connection {
    pub(crate) fn new(
        subscription: Subscription,
        events: &[Vec<u8>],
        framing: Framing,
        began: u64,
    ) -> Self {
        let mut pending = VecDeque::new();
        for sse in events {
            let mut out = Vec::new();
            framing.wrap(sse, &mut out);
            pending.push_back(out.into());
        }
        Self {
            began,
            subscription,
            pending,
            finishing: false,
            cut: false,
            received: Vec::new(),
            last_seq: None,
            live_from: None,
            told_live: false,
            ended: BTreeMap::new(),
        }
    }
}

impl Connection {
    fn tell_live(&mut self, framing: Framing) {
        if let Some(sse) = self.subscription.tell_live() {
            let mut out = Vec::new();
            framing.wrap(&sse, &mut out);
            self.pending.push_back(out.into());
        }
    }

    /// Whether an event stands before the end of its channel, as far as this connection knows.
    pub(crate) fn owes(&self, (seq, owed): &(&u64, &Published)) -> bool {
        self.ended.get(&owed.channel).is_none_or(|end| *seq < end)
    }
}

impl Client {
    /// Counts an event as owed, or not.
    pub(crate) fn expect(&mut self, seq: u64, published: &Published) {
        if self.selectors.matches(&published.channel) {
            self.owed.insert(seq, published.clone());
        }
    }

    /// Whether it names exactly one channel.
    fn is_single(&self) -> bool {
        self.selectors.patterns().is_empty() && self.selectors.channels().len() == 1
    }

    /// One turn of the hub for this connection, in which it writes at most `room` bytes.
    pub(crate) fn turn(
        &mut self,
        hub: &Hub,
        shared: &mut Shared,
        random: &mut Random,
        mut room: usize,
    ) -> Turn {
        let Some(connection) = &mut self.connection else { return Turn::Idle };
        while let Some(bytes) = connection.pending.front_mut() {
            let sent = bytes.split_to(room.min(bytes.len()));
            room -= sent.len();
            connection.received.extend_from_slice(&sent);
            if !bytes.is_empty() {
                break;
            }
            connection.pending.pop_front();
        }
        self.understand(hub);
        let Some(connection) = &mut self.connection else { return Turn::Over };
        if !connection.pending.is_empty() {
            return Turn::Busy;
        }
        if connection.cut {
            assert!(connection.received.is_empty(), "cut inside an event");
            self.connection = None;
            return Turn::Cut;
        }
        if connection.finishing {
            self.finish();
            return Turn::Over;
        }
        let turn = self.read(hub, shared, random, room);
        self.understand(hub);
        turn
    }

    /// Breaks the connection; what was received in part is lost.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    fn read(&mut self, hub: &Hub, shared: &mut Shared, random: &mut Random, room: usize) -> Turn {
        let Some(connection) = &mut self.connection else { return Turn::Over };
        let subscription = &mut connection.subscription;
        let cursor = subscription.cursor;
        let batch = shared.batch(subscription.feed(), self.framing, hub, cursor, random);
        let bytes = batch.bytes_from(cursor);
        let sent = room.min(bytes.len());
        connection.received.extend_from_slice(&bytes[..sent]);
        if sent < bytes.len() {
            let partial = batch.partial(cursor, sent);
            assert!(partial.cursor >= cursor, "a position never goes back");
            subscription.cursor = partial.cursor;
            if !partial.rest.is_empty() {
                connection.pending.push_back(partial.rest);
            }
            return Turn::Busy;
        }
        let Some(stop) = batch.stop() else {
            subscription.cursor = subscription.cursor.max(batch.end());
            connection.tell_live(self.framing);
            let is_idle = batch.is_exhausted() && connection.pending.is_empty();
            return if is_idle { Turn::Idle } else { Turn::Busy };
        };
        if let Stop::End { channel, seq, .. } = stop
            && self.selectors.patterns().is_empty()
        {
            connection.ended.insert(channel.clone(), *seq);
        }
        let met = subscription.meet(stop, batch.end(), 5_000);
        connection.finishing = subscription.has_ended();
        if matches!(stop, Stop::Gap { .. }) {
            follows_policy(hub, subscription, batch.end(), &met);
        }
        match met {
            Met::Abort => {
                self.understand(hub);
                self.connection = None;
                self.aborted = true;
                return Turn::Over;
            }
            Met::Cut(sse) => {
                let mut out = Vec::new();
                self.framing.wrap(&sse, &mut out);
                connection.pending.push_back(out.into());
                connection.cut = true;
            }
            Met::Nothing => {}
            Met::Tell(sse) => {
                let mut out = Vec::new();
                self.framing.wrap(&sse, &mut out);
                connection.pending.push_back(out.into());
            }
        }
        if !connection.finishing && !connection.cut {
            connection.tell_live(self.framing);
        }
        Turn::Busy
    }

    /// The stream ended because all its channels did: then nothing is left to say.
    fn finish(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        assert!(connection.received.is_empty(), "cut inside an event");
        let left: Vec<_> = self.owed.iter().filter(|owed| connection.owes(owed)).collect();
        assert!(left.is_empty(), "client {}: the stream ended, but not {left:?}", self.number);
        self.got[2] += 1;
    }

    /// Takes the whole events out of what was received.
    fn understand(&mut self, hub: &Hub) {
        while let Some(sse) = self.next_event() {
            let told = parse(&sse);
            assert_eq!(told.id.epoch, hub.epoch(), "an id of this life");
            let Some(connection) = &mut self.connection else { return };
            let last = connection.last_seq.replace(told.id.seq);
            let kind = told.event_type.as_deref().and_then(|t| t.strip_prefix("fanfare."));
            match kind {
                None => assert!(last.is_none_or(|last| last < told.id.seq), "ids rise"),
                Some(_) => assert!(last.is_none_or(|last| last <= told.id.seq), "ids never fall"),
            }
            self.last_id = Some(told.id);
            assert!(kind.is_none() || self.control, "it wanted no control events: {told:?}");
            match kind {
                None => self.take_event(&told),
                Some("gap") => self.take_gap(&told, hub),
                Some("live") => self.take_live(),
                Some("end" | "open") => {}
                Some(other) => panic!("an unknown control event {other}"),
            }
            // What happens to a channel behind its end is not owed to this connection.
            let Some(connection) = &self.connection else { return };
            let seq = told.id.seq;
            self.owed.retain(|at, owed| *at > seq || connection.owes(&(at, owed)));
        }
    }

    fn take_event(&mut self, told: &Told) {
        let owed = self.owed.remove(&told.id.seq);
        let owed = owed.unwrap_or_else(|| panic!("twice, or not for this client: {told:?}"));
        let whole = self.put_together(told, &owed) + &owed.data;
        let data = match self.envelope {
            false => whole,
            true => {
                let escaped = whole.replace('\n', "\\n");
                format!("{{\"channel\":\"{}\",\"data\":\"{escaped}\"}}", owed.channel)
            }
        };
        assert_eq!(told.data, data, "the bytes of the publisher");
        self.got[0] += 1;
    }

    /// What an event says that stands for others before it: nothing that it owes may stay behind.
    fn put_together(&mut self, told: &Told, last: &Published) -> String {
        if self.coalesce.is_none() {
            return String::new();
        }
        let before = self.owed.range(..told.id.seq).map(|(seq, _)| *seq).collect::<Vec<_>>();
        let mut text = String::new();
        for seq in before {
            let owed = self.owed.remove(&seq).unwrap();
            assert!(is_word(&owed.data) && is_word(&last.data), "more than a word: {owed:?}");
            assert_eq!(owed.data.len() == 2, last.data.len() == 2, "of another type: {owed:?}");
            text.push_str(&owed.data);
            self.got[3] += 1;
        }
        text
    }

    fn take_live(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        assert!(!std::mem::replace(&mut connection.told_live, true), "told twice");
        let live_from = connection.live_from.expect("it asked for it");
        let connection = self.connection.as_ref().expect("it is there");
        let left: Vec<_> = self.owed.range(..live_from).filter(|o| connection.owes(o)).collect();
        // What one of several channels lost may be told later, where its newest loss stands.
        let is_known = left.is_empty() || !self.is_single();
        assert!(is_known, "client {} is not live: {left:?}", self.number);
    }

    fn take_gap(&mut self, told: &Told, hub: &Hub) {
        let field = |name: &str| {
            let rest = told.data.split_once(&format!("\"{name}\":")).unwrap().1;
            rest.split(&['"', '[', ']'][..]).nth(1).unwrap().to_owned()
        };
        let list = told.data.split_once('[').unwrap().1.split_once(']').unwrap().0;
        let channels = Selectors::parse(list.split(',').map(|name| name.trim_matches('"')));
        let channels = channels.unwrap();
        assert_eq!(field("resumed_after"), told.id.to_string(), "a gap stands where it ends");
        let before = self.owed.len();
        let lost =
            |at: &u64, owed: &Published| *at <= told.id.seq && channels.matches(&owed.channel);
        if self.is_single() && field("reason") != "epoch" {
            let requested: EventId = field("requested").parse().unwrap();
            let early = self.owed.iter().find(|(at, owed)| lost(at, owed) && **at <= requested.seq);
            assert!(early.is_none(), "lost before the gap begins: {early:?} {told:?}");
        }
        self.owed.retain(|at, owed| !lost(at, owed));
        let none = before == self.owed.len();
        if none && self.is_single() && field("reason") != "epoch" {
            assert!(hub.held().forgotten > 0, "a gap in which nothing was lost: {told:?}");
        }
        self.got[1] += 1;
    }

    /// The next whole event as sse bytes.
    fn next_event(&mut self) -> Option<String> {
        let received = &mut self.connection.as_mut()?.received;
        let text = std::str::from_utf8(received).unwrap();
        let (sse, used) = match self.framing {
            Framing::Bare => {
                let end = text.find("\n\n")? + 2;
                (text[..end].to_owned(), end)
            }
            Framing::Chunked => {
                let (digits, rest) = text.split_once("\r\n")?;
                let length = usize::from_str_radix(digits, 16).unwrap();
                let after = rest.get(length..length + 2)?;
                assert_eq!(after, "\r\n", "a chunk ends");
                (rest[..length].to_owned(), digits.len() + 2 + length + 2)
            }
        };
        received.drain(..used);
        Some(sse)
    }
}

impl Shared {
    /// A batch that covers `cursor`: the one that was used last, if it does, or a new one.
    fn batch(
        &mut self,
        feed: &Feed,
        framing: Framing,
        hub: &Hub,
        cursor: u64,
        random: &mut Random,
    ) -> &Batch {
        let fits = self.0.as_ref().is_some_and(|(key, framed, batch)| {
            *key == feed.key() && *framed == framing && batch.covers(cursor)
        });
        if !fits || random.once_in(2) {
            let mut batch = Batch::new(framing);
            let mut run = Run::default();
            batch.reset(framing, cursor);
            loop {
                let bytes_max = random.pick(&[0, 1, 60, 200, 10_000]);
                feed.read(hub, batch.end(), bytes_max, &mut run);
                batch.append(&mut run);
                if batch.stop().is_some() || batch.is_exhausted() || random.once_in(2) {
                    break;
                }
            }
            self.0 = Some((feed.key(), framing, batch));
        }
        &self.0.as_ref().expect("it was just made").2
    }
}

/// A gap is met as the one channel says that lost events: cut off, at the newest event that is
/// kept, or at the oldest.
fn follows_policy(hub: &Hub, subscription: &Subscription, end: u64, met: &Met) {
    let feed = subscription.feed();
    let ([channel], []) = (feed.selectors().channels(), feed.selectors().patterns()) else {
        return assert_eq!(subscription.cursor, end, "one position for all channels");
    };
    let (Met::Tell(sse) | Met::Cut(sse)) = met else { return };
    let Some(info) = hub.channel(channel) else { return };
    let lagged = std::str::from_utf8(sse).unwrap().contains("\"lagged\"");
    let policy = if lagged { info.retention.slow_policy } else { SlowPolicy::Gap };
    assert_eq!(matches!(met, Met::Cut(_)), policy == SlowPolicy::Disconnect);
    // The batch may be old: another gap, or the end, may stand between its end and the newest.
    let (mut run, mut newest) = (Run { end, ..Run::default() }, end);
    while !run.exhausted {
        feed.read(hub, run.end, usize::MAX, &mut run);
        newest = run.frames.last().map_or(newest, |(seq, _)| *seq);
    }
    let expected = if policy == SlowPolicy::Latest { newest } else { end };
    assert_eq!(subscription.cursor, expected, "{policy:?}");
}

fn parse(sse: &str) -> Told {
    let lines = sse.strip_suffix("\n\n").expect("an event ends with an empty line").split('\n');
    let (mut id, mut event_type, mut data) = (None, None, Vec::new());
    for line in lines {
        match line.split_once(": ").expect("a field and its value") {
            ("id", value) => id = Some(value.parse().expect("an id of a hub")),
            ("event", value) => event_type = Some(value.to_owned()),
            ("data", value) => data.push(value),
            ("retry", _) => {}
            other => panic!("an unknown field {other:?}"),
        }
    }
    Told { id: id.expect("every event has an id"), event_type, data: data.join("\n") }
}
