//! One subscriber: what it is to read, where it stands, and what it makes of the bytes it gets.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use hdrhistogram::Histogram;

use super::{
    known::Known,
    tally::{CLASSES_MAX, Class, Tally, add},
};
use crate::{
    chunked::Chunked,
    endpoint::Endpoint,
    ledger::{Ids, Position, Step},
    payload,
    sse::{Event, Parser, TooLong},
    websocket::Messages,
};

/// How fast a subscriber reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reading {
    /// As fast as it can.
    Fast,
    /// So many bytes a second.
    Slow(u32),
    /// Nothing after the head.
    Never,
}

/// A subscriber, over all its connections.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// The index of its channel.
    pub(crate) channel: u32,
    /// How many channels from there on it subscribes to.
    pub(crate) channels: u32,
    /// Which counters and latencies it adds to.
    pub(crate) class: usize,
    /// How fast it reads.
    pub(crate) reading: Reading,
    /// What it must get next.
    pub(crate) position: Cell<Position>,
    /// The last id it saw.
    pub(crate) last_id: RefCell<Vec<u8>>,
    /// Whether it was told that its channel is done.
    pub(crate) is_done: Cell<bool>,
}

impl Subscriber {
    /// The indices of its channels.
    pub(crate) fn channels(&self) -> Range<u32> {
        self.channel..self.channel + self.channels
    }

    /// Notes the id of the newest event that it saw.
    fn saw(&self, id: &[u8]) {
        let mut last_id = self.last_id.borrow_mut();
        last_id.clear();
        last_id.extend_from_slice(id);
    }

    /// Counts its stream as ended, which it was as it should if it `is_whole` and was told so.
    pub(crate) fn end(&self, is_whole: bool, shared: &Shared) {
        let class = shared.class(self);
        add(if is_whole && self.is_done.get() { &class.finished } else { &class.ended }, 1);
    }

    /// The HTTP/1.1 request that subscribes it after the last event that it saw.
    pub(crate) fn request(&self, endpoint: &Endpoint) -> Vec<u8> {
        endpoint.subscribe(self.channels(), &self.last_id.borrow())
    }
}

/// What the subscribers of one thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) tally: Arc<Tally>,
    /// What was seen, by channel.
    pub(crate) channels: RefCell<HashMap<u32, Channel>>,
    /// Nanoseconds from a publish to its arrival here, by class.
    pub(crate) latencies: RefCell<[Histogram<u64>; CLASSES_MAX]>,
    /// Where sockets are read into.
    pub(crate) buffer: RefCell<Box<[u8]>>,
    /// Connections so far, to spread them over source addresses.
    pub(crate) connections: Cell<u32>,
}

/// What the subscribers of one thread saw of a channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) ids: Ids,
    known: Known,
}

/// Latencies are told apart to two digits, up to ten minutes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 2).unwrap_or_else(|_| unreachable!())
}

impl Shared {
    /// The counters of a subscriber.
    pub(crate) fn class(&self, subscriber: &Subscriber) -> &Class {
        self.tally.class(subscriber.class)
    }
}

/// The body of one stream.
#[derive(Debug, Default)]
pub(crate) struct Body {
    framing: Framing,
    parser: Parser,
}

/// How a stream is framed on its connection.
#[derive(Debug, Default)]
pub(crate) enum Framing {
    /// Not at all.
    #[default]
    Plain,
    /// In the chunked transfer coding.
    Chunked(Chunked),
    /// As messages of a WebSocket, each of them the data of an event.
    Messages(Messages),
}

impl Body {
    /// A body that is framed in some way.
    pub(crate) fn framed(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }

    /// Whether nothing is missing, if its stream ends here.
    pub(crate) fn is_whole(&self) -> bool {
        let is_whole = match &self.framing {
            Framing::Plain => true,
            Framing::Chunked(chunked) => *chunked == Chunked::Done,
            Framing::Messages(messages) => messages.is_closed(),
        };
        is_whole && self.parser.is_between_events()
    }

    /// Takes bytes of the body.
    pub(crate) fn take(&mut self, mut bytes: &[u8], subscriber: &Subscriber, shared: &Shared) {
        let now_ns = payload::now_ns();
        let class = shared.class(subscriber);
        let mut channels = shared.channels.borrow_mut();
        let channel = channels.entry(subscriber.channel).or_default();
        let latencies = &mut shared.latencies.borrow_mut()[subscriber.class];
        let mut events = Events { subscriber, class, channel, latencies, now_ns, count: 0 };
        let good = match &mut self.framing {
            Framing::Plain => events.read(&mut self.parser, bytes).is_ok(),
            Framing::Messages(messages) => {
                let (kind, id, retry_ms) = (&b""[..], &b""[..], None);
                messages.feed(bytes, |data| events.take(Event { kind, id, data, retry_ms })).is_ok()
            }
            Framing::Chunked(chunked) => loop {
                match chunked.next(&mut bytes) {
                    Ok(Some(run)) => {
                        if events.read(&mut self.parser, run).is_err() {
                            break false;
                        }
                    }
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            },
        };
        if events.count > 0 {
            add(&class.events, events.count);
            class.newest_ns.fetch_max(now_ns, Relaxed);
        }
        if !good {
            add(&class.wrong, 1);
        }
    }
}

/// The events of one read.
struct Events<'a> {
    subscriber: &'a Subscriber,
    class: &'a Class,
    channel: &'a mut Channel,
    latencies: &'a mut Histogram<u64>,
    now_ns: u64,
    count: u64,
}

impl Events<'_> {
    /// Reads a piece of the event stream.
    fn read(&mut self, parser: &mut Parser, mut piece: &[u8]) -> Result<(), TooLong> {
        let whole = parser.is_between_events();
        if whole {
            piece = self.skip_known(piece);
        }
        if piece.is_empty() {
            return Ok(());
        }
        let before = self.count;
        parser.feed(piece, |event| self.take(event))?;
        if whole && self.count == before + 1 && parser.is_between_events() {
            self.remember(piece);
        }
        Ok(())
    }

    /// Takes the events that others were given with the same bytes off `piece`.
    fn skip_known<'p>(&mut self, mut piece: &'p [u8]) -> &'p [u8] {
        let mut position = self.subscriber.position.get();
        let mut last = None;
        while let Some(number) = position.next()
            && let Some(event) = self.channel.known.find(number, piece)
        {
            position.expect(number + 1);
            self.count += 1;
            self.latencies.saturating_record(self.now_ns.saturating_sub(event.stamp_ns));
            piece = &piece[event.len()..];
            last = Some(event);
        }
        if let Some(event) = last {
            self.subscriber.position.set(position);
            self.subscriber.saw(event.id());
        }
        piece
    }

    /// Remembers the event that `piece` is, which was checked just now.
    fn remember(&mut self, piece: &[u8]) {
        let mut tokens = Vec::new();
        let read = Parser::default().feed(piece, |event| {
            payload::take(event.data, |stamp_ns, number| tokens.push((stamp_ns, number)));
        });
        if let (Ok(()), &[(stamp_ns, number)]) = (read, &tokens[..]) {
            let id = self.subscriber.last_id.borrow();
            self.channel.known.remember(number, stamp_ns, &id, piece);
        }
    }

    fn take(&mut self, event: Event<'_>) {
        let Self { subscriber, class, .. } = *self;
        let same_id = !event.id.is_empty() && *subscriber.last_id.borrow() == event.id;
        if !event.id.is_empty() {
            subscriber.saw(event.id);
        }
        if event.kind.starts_with(b"fanfare.") {
            return self.take_control(event);
        }
        let mut position = subscriber.position.get();
        let (before, mut is_again) = (self.count, false);
        let agreed = payload::take(event.data, |stamp_ns, number| {
            let step = position.advance(number);
            match step {
                Step::Next => {}
                Step::Again => add(&class.doubled, 1),
                Step::Lost(events) => add(&class.lost, events),
            }
            is_again |= step == Step::Again;
            self.count += 1;
            self.latencies.saturating_record(self.now_ns.saturating_sub(stamp_ns));
        });
        subscriber.position.set(position);
        let Some(agreed) = agreed else { return add(&class.wrong, 1) };
        if self.count > before + 1 {
            add(&class.merged, self.count - before - 1);
        }
        let newest = position.newest();
        if !self.channel.ids.agree(newest, event.id, &agreed)
            || (same_id && !is_again)
            || subscriber.is_done.get()
        {
            add(&class.wrong, 1);
        }
    }

    /// Takes what the hub itself says.
    fn take_control(&self, event: Event<'_>) {
        let Self { subscriber, class, .. } = *self;
        match event.kind {
            b"fanfare.gap" => {
                add(&class.gaps, 1);
                let mut position = subscriber.position.get();
                position.gap();
                subscriber.position.set(position);
            }
            b"fanfare.end" if memchr::memmem::find(event.data, br#""done""#).is_some() => {
                subscriber.is_done.set(true);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::{super::tally::Counts, *};
    use crate::endpoint::Kind;

    /// How many events are counted, and how many of them as wrong, when each subscriber gets the
    /// stream that stands for it.
    fn count(streams: &[Vec<u8>]) -> (u64, u64) {
        let counts = counts(streams);
        (counts.events, counts.wrong)
    }

    /// The same with all counts. The streams end after that.
    fn counts(streams: &[Vec<u8>]) -> Counts {
        let endpoint = Endpoint {
            kind: Kind::Fanfare,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            token: None,
            prefix: "test".to_owned(),
            query: String::new(),
        };
        let shared = Shared {
            endpoint,
            tally: Arc::default(),
            channels: RefCell::default(),
            latencies: RefCell::new(std::array::from_fn(|_| histogram())),
            buffer: RefCell::default(),
            connections: Cell::default(),
        };
        for stream in streams {
            let subscriber = Subscriber {
                channel: 0,
                channels: 1,
                class: 0,
                reading: Reading::Fast,
                position: Cell::default(),
                last_id: RefCell::default(),
                is_done: Cell::default(),
            };
            let mut position = subscriber.position.get();
            position.expect(1);
            subscriber.position.set(position);
            let mut body = Body::default();
            body.take(stream, &subscriber, &shared);
            subscriber.end(body.is_whole(), &shared);
        }
        shared.tally.all()
    }

    fn event(id: &str, number: u64, size: usize) -> Vec<u8> {
        let mut event = format!("id: {id}\ndata: ").into_bytes();
        payload::write(&mut event, 5, number, size);
        event.extend_from_slice(b"\n\n");
        event
    }

    #[test]
    fn changed_events_are_wrong() {
        let good = [event("e-1", 1, 100), event("e-2", 2, 100)].concat();
        assert_eq!(count(&[good.clone(), good.clone()]), (4, 0));
        let mut changed = good.clone();
        changed[60] ^= 1;
        assert_eq!(count(&[changed.clone()]), (1, 1), "padding");
        assert_eq!(count(&[good.clone(), changed]).1, 1, "padding, to another");
        let short = [event("e-1", 1, 99), event("e-2", 2, 100)].concat();
        assert_eq!(count(&[good.clone(), short]), (4, 1), "its end is missing");
        let other = [event("e-1", 1, 100), event("e-3", 2, 100)].concat();
        assert_eq!(count(&[good, other]), (4, 1), "its id");
    }

    #[test]
    fn two_events_have_two_ids() {
        let same = [event("e-1", 1, 100), event("e-1", 2, 100)].concat();
        assert_eq!(count(&[same]), (2, 1));
        let none = [event("", 1, 100), event("", 2, 100)].concat();
        assert_eq!(count(&[none]), (2, 0));
    }

    /// A stream of chunks, one or more tokens in each.
    fn chunks(all: &[std::ops::RangeInclusive<u64>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for numbers in all {
            let mut chunk = Vec::new();
            payload::write_chunk(&mut chunk, 5, *numbers.start());
            let mut chunk: serde_json::Value = serde_json::from_slice(&chunk).unwrap();
            let mut content = Vec::new();
            numbers.clone().for_each(|number| payload::write(&mut content, 5, number, 0));
            chunk["choices"][0]["delta"]["content"] = String::from_utf8(content).unwrap().into();
            let id = numbers.end();
            stream.extend_from_slice(format!("id: e-{id}\ndata: {chunk}\n\n").as_bytes());
        }
        stream
    }

    #[test]
    fn merged_tokens_are_each_looked_at() {
        let alone = chunks(&[1..=1, 2..=2, 3..=3, 4..=4]);
        let counts = counts(&[alone.clone(), chunks(&[1..=1, 2..=4]), chunks(&[1..=3, 4..=4])]);
        assert_eq!((counts.events, counts.merged, counts.wrong), (12, 4, 0));
        let missing = self::counts(&[chunks(&[1..=1, 3..=4])]);
        assert_eq!((missing.lost, missing.doubled), (1, 0));
        let again = self::counts(&[chunks(&[1..=2, 2..=3])]);
        assert_eq!((again.lost, again.doubled), (0, 1));
        let renamed = String::from_utf8(chunks(&[1..=4])).unwrap().replace("e-4", "e-3");
        assert_eq!(count(&[alone, renamed.into_bytes()]).1, 1, "the id is not the last one's");
    }

    #[test]
    fn a_stream_is_finished_if_it_was_told_so_and_came_whole() {
        let end =
            |reason: &str| format!("event: fanfare.end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
        let with = |more: &str| [chunks(&[1..=1]), more.as_bytes().to_vec()].concat();
        let ends = |stream| {
            let counts = counts(&[stream]);
            (counts.finished, counts.ended, counts.wrong)
        };
        assert_eq!(ends(with(&end("done"))), (1, 0, 0));
        assert_eq!(ends(with("")), (0, 1, 0), "it was not told");
        assert_eq!(ends(with(&end("error"))), (0, 1, 0));
        assert_eq!(ends(with(&(end("done") + "data"))), (0, 1, 0), "something is begun");
        let after = [end("done").into_bytes(), chunks(&[1..=1])].concat();
        assert_eq!(ends(after), (1, 0, 1), "an event after the end");
    }
}
