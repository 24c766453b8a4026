//! The feeds that HTTP/2 streams read, found by key, by channel and by pattern.

use std::{collections::HashMap, sync::Arc};

use fanfare_core::{Channel, Feed, FeedKey, Hub, Trie};
use slab::Slab;

use super::{lock, reading::Reading};

/// The feeds.
#[derive(Default)]
pub(super) struct Feeds {
    slots: Slab<Arc<Reading>>,
    by_key: HashMap<FeedKey, usize>,
    by_channel: HashMap<u64, Vec<usize>>,
    patterns: Trie<usize>,
    /// How many follow the journal.
    journal_feeds: usize,
    /// How far the journal was walked for them.
    walked: u64,
    /// Memory for the walk.
    pairs: Vec<(u64, Arc<Channel>)>,
}

/// Stretches of the journal where nothing concerns a feed, so that a stream which waited through
/// one does not walk it, nor take it for a gap once the journal has let it go.
#[derive(Debug)]
pub(super) struct Quiet {
    /// The one before the last match: from a cursor to that match.
    before: (u64, u64),
    /// The one since: from here to `walked`.
    from: u64,
    /// How far the journal was walked.
    walked: u64,
}

impl Feeds {
    /// The feed that equal subscriptions share, made if need be.
    pub(super) fn find_or_insert(&mut self, feed: &Arc<Feed>, hub: &Hub) -> Arc<Reading> {
        let key = feed.key();
        if let Some(slot) = self.by_key.get(&key) {
            return Arc::clone(&self.slots[*slot]);
        }
        let head = hub.watermark() + 1;
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        let quiet = if feed.follows_journal() { Quiet::since(head) } else { Quiet::never() };
        let reading = Arc::new(Reading::new(Arc::clone(feed), slot, quiet, head));
        entry.insert(Arc::clone(&reading));
        self.by_key.insert(key, slot);
        for channel in feed.channels() {
            self.by_channel.entry(channel.instance()).or_default().push(slot);
        }
        if feed.follows_journal() {
            if self.journal_feeds == 0 {
                self.walked = head;
            }
            self.journal_feeds += 1;
            self.patterns.insert(feed.selectors(), slot);
        }
        reading
    }

    /// Forgets a feed without streams.
    pub(super) fn remove(&mut self, reading: &Reading) {
        let feed = &reading.feed;
        self.slots.remove(reading.slot);
        self.by_key.remove(&feed.key());
        for channel in feed.channels() {
            if let Some(slots) = self.by_channel.get_mut(&channel.instance()) {
                slots.retain(|slot| *slot != reading.slot);
                if slots.is_empty() {
                    self.by_channel.remove(&channel.instance());
                }
            }
        }
        if feed.follows_journal() {
            self.journal_feeds -= 1;
            self.patterns.remove(feed.selectors(), reading.slot);
        }
    }

    /// The feeds that read a channel.
    pub(super) fn reading(&self, channel: &Channel) -> impl Iterator<Item = &Arc<Reading>> {
        let slots = self.by_channel.get(&channel.instance()).map_or(&[][..], Vec::as_slice);
        slots.iter().map(|slot| &self.slots[*slot])
    }

    /// All feeds.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Reading>> {
        self.slots.iter().map(|(_, reading)| reading)
    }

    /// The feeds whose patterns match what came since the last walk, a bounded stretch at a time;
    /// returns whether that was all.
    pub(super) fn walk_journal(&mut self, hub: &Hub, out: &mut Vec<Arc<Reading>>) -> bool {
        if self.journal_feeds == 0 {
            return true;
        }
        let walk = hub.walk_journal(self.walked, &mut self.pairs);
        let mut found: HashMap<usize, (u64, u64)> = HashMap::new();
        let follows = |(_, reading): &(usize, &Arc<Reading>)| reading.feed.follows_journal();
        if walk.has_gap() {
            // What is gone may have concerned any of them, so it counts as a match: no stream is
            // lifted over it.
            for (slot, _) in self.slots.iter().filter(follows) {
                found.insert(slot, (self.walked, walk.next - 1));
            }
        }
        let mut matching = Vec::new();
        for (seq, channel) in self.pairs.drain(..) {
            self.patterns.matches(channel.name(), &mut matching);
            for slot in &matching {
                let matched = found.entry(*slot).or_insert((seq, seq));
                matched.1 = matched.1.max(seq);
            }
        }
        self.walked = walk.next;
        for (slot, reading) in self.slots.iter().filter(follows) {
            let matched = found.get(&slot).copied();
            lock(&reading.quiet).walk(matched, self.walked);
            if matched.is_some() {
                out.push(Arc::clone(reading));
            }
        }
        walk.exhausted
    }
}

impl Quiet {
    /// For a feed that begins at `head`.
    fn since(head: u64) -> Self {
        Self { before: (0, 0), from: head, walked: head }
    }

    /// For a feed that does not follow the journal.
    fn never() -> Self {
        Self { before: (0, 0), from: u64::MAX, walked: 0 }
    }

    /// Notes a walk up to `walked`, with the first and the last match if there was one.
    fn walk(&mut self, matched: Option<(u64, u64)>, walked: u64) {
        if let Some((first, last)) = matched {
            if first >= self.from {
                self.before = (self.from, first);
            }
            self.from = self.from.max(last + 1);
        }
        self.walked = self.walked.max(walked);
    }

    /// Where a stream at `cursor` really stands.
    pub(super) fn standing(&self, cursor: u64) -> u64 {
        let (before, first) = self.before;
        match cursor {
            _ if cursor >= self.from => cursor.max(self.walked),
            _ if (before..first).contains(&cursor) => first,
            _ => cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::{
        Change, ChannelName, Doorbell, Draft, Epoch, HubLimits, MemoryBroker, Met, Opening,
        Publication, Request, Selectors, Start, Stop, Subscribed, Subscription,
    };

    use fanfare_fanout::Pinned;

    use super::{super::reading::Look, *};
    use crate::h2::Stock;

    /// One stream of `p/*`, what was published to it, and what it got or was told of.
    struct World {
        hub: Arc<Hub>,
        broker: MemoryBroker,
        feeds: Feeds,
        stock: Arc<Stock>,
        reading: Arc<Reading>,
        subscription: Subscription,
        published: Vec<u64>,
        got: Vec<u64>,
        told_through: u64,
    }

    impl World {
        fn new(journal_events_max: usize) -> Self {
            let doorbell = Arc::new(Doorbell::new(Box::new(|| {})));
            let limits = HubLimits { journal_events_max, ..HubLimits::default() };
            let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, vec![doorbell]));
            let selectors = Selectors::parse(["p/*"]).unwrap();
            let (control, open, envelope) = (true, true, false);
            let request = Request {
                selectors,
                start: Start::Now,
                control,
                open,
                envelope,
                coalesce: None,
                live: false,
            };
            let subscribed = hub.subscribe(&request, 0, 0).unwrap();
            let Subscribed::Live(Opening { subscription, .. }) = subscribed else {
                panic!("a pattern is live")
            };
            let mut feeds = Feeds::default();
            let reading = feeds.find_or_insert(subscription.feed(), &hub);
            let broker = MemoryBroker::new(Arc::clone(&hub));
            let (published, got) = (Vec::new(), Vec::new());
            let stock = Stock::new(Arc::clone(&hub), 0, Pinned::new(usize::MAX, 1));
            let told_through = 0;
            Self { hub, broker, feeds, stock, reading, subscription, published, got, told_through }
        }

        fn publish(&mut self, channel: &str) {
            let channel = ChannelName::parse(channel).unwrap();
            let change = Change::Event(Draft::new(None, "x"), None);
            let matches = self.reading.feed.selectors().matches(&channel);
            let placed = self
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
            if matches {
                self.published.push(placed.id.seq);
            }
        }

        fn walk(&mut self) {
            let mut woken = Vec::new();
            while !self.feeds.walk_journal(&self.hub, &mut woken) {}
            for reading in woken {
                reading.mark();
            }
        }

        /// What the body of a stream does when it is asked for more.
        fn poll(&mut self) {
            loop {
                let cursor = lock(&self.reading.quiet).standing(self.subscription.cursor);
                self.subscription.cursor = cursor;
                let joined = match self.reading.look(cursor) {
                    Look::Here(joined) => Some(joined),
                    Look::Nothing => None,
                    Look::Unread => self.reading.read(&self.hub, &self.stock, cursor),
                };
                let Some(joined) = joined else { return };
                let (_, events) = joined.from(cursor);
                self.got.extend(joined.seqs().skip_while(|seq| *seq < cursor).take(events));
                match joined.stop() {
                    None => self.subscription.cursor = joined.end(),
                    Some(stop) => {
                        let met = self.subscription.meet(stop, joined.end(), 0);
                        assert!(matches!(met, Met::Tell(_)));
                        if let Stop::Gap { through, .. } = stop {
                            self.told_through = self.told_through.max(*through);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_stream_is_lifted_over_a_loss() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut world = World::new(rng.usize(4..40));
            for _ in 0..60 {
                match rng.u8(0..4) {
                    0 => (0..rng.u8(0..60)).for_each(|_| world.publish("q/x")),
                    1 => (0..rng.u8(0..5)).for_each(|n| world.publish(&format!("p/{n}"))),
                    2 => world.walk(),
                    _ => world.poll(),
                }
            }
            world.walk();
            world.poll();
            assert!(world.got.is_sorted_by(|a, b| a < b), "seed {seed}");
            for seq in &world.published {
                let known = world.got.contains(seq) || *seq <= world.told_through;
                assert!(known, "seed {seed}: {seq} was lost in silence");
            }
        }
    }

    #[test]
    fn a_quiet_stretch_longer_than_the_journal_is_no_gap() {
        let mut world = World::new(10);
        world.publish("p/1");
        for _ in 0..20 {
            world.walk();
            world.poll();
            (0..8).for_each(|_| world.publish("q/x"));
        }
        world.walk();
        world.publish("p/2");
        world.walk();
        world.poll();
        assert_eq!((&world.got, world.told_through), (&world.published, 0));
        assert_eq!(world.got.len(), 2);
    }
}
