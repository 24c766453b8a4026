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
    /// The state of the transfer coding, if there is one.
    chunked: Option<Chunked>,
    parser: Parser,
}

impl Body {
    /// A body in the chunked transfer coding.
    pub(crate) fn chunked() -> Self {
        Self { chunked: Some(Chunked::default()), ..Self::default() }
    }

    /// Takes bytes of the body.
    pub(crate) fn take(&mut self, mut bytes: &[u8], subscriber: &Subscriber, shared: &Shared) {
        let now_ns = payload::now_ns();
        let class = shared.class(subscriber);
        let mut channels = shared.channels.borrow_mut();
        let channel = channels.entry(subscriber.channel).or_default();
        let latencies = &mut shared.latencies.borrow_mut()[subscriber.class];
        let mut events = Events { subscriber, class, channel, latencies, now_ns, count: 0 };
        let good = match &mut self.chunked {
            None => events.read(&mut self.parser, bytes).is_ok(),
            Some(chunked) => loop {
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
        let mut only = None;
        let read = Parser::default().feed(piece, |event| {
            only = payload::read(event.data);
        });
        if let (Ok(()), Some((stamp_ns, number))) = (read, only) {
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
        let mut position = subscriber.position.get();
        if event.kind.starts_with(b"fanfare.") {
            if event.kind == b"fanfare.gap" {
                add(&class.gaps, 1);
                position.gap();
                subscriber.position.set(position);
            }
            return;
        }
        let Some((stamp_ns, number)) = payload::read(event.data) else {
            return add(&class.wrong, 1);
        };
        let step = position.advance(number);
        match step {
            Step::Next => {}
            Step::Again => add(&class.doubled, 1),
            Step::Lost(events) => add(&class.lost, events),
        }
        subscriber.position.set(position);
        self.count += 1;
        if !self.channel.ids.agree(number, event.id, event.data) || (same_id && step != Step::Again)
        {
            add(&class.wrong, 1);
        }
        self.latencies.saturating_record(self.now_ns.saturating_sub(stamp_ns));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::endpoint::Kind;

    /// How many events are counted, and how many of them as wrong, when each subscriber gets the
    /// stream that stands for it.
    fn count(streams: &[Vec<u8>]) -> (u64, u64) {
        let endpoint = Endpoint {
            kind: Kind::Fanfare,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            token: None,
            prefix: "test".to_owned(),
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
            };
            let mut position = subscriber.position.get();
            position.expect(1);
            subscriber.position.set(position);
            Body::default().take(stream, &subscriber, &shared);
        }
        let counts = shared.tally.all();
        (counts.events, counts.wrong)
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
}
