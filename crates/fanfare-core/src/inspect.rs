//! What the hub tells about its channels: history, lists and facts.

use std::{cmp::Reverse, collections::BinaryHeap, sync::atomic::Ordering};

use crate::{
    channel::Channel,
    control::{CloseReason, GapReason},
    hub::Hub,
    limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, LIST_CHANNELS_MAX},
    name::ChannelName,
    ring::{Entry, Rate, Retention},
    sync::lock,
    waiters::Standing,
};

/// Where a history begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HistoryFrom {
    /// After this id, whatever the client sent as one.
    After(String),
    /// At the oldest event that is kept.
    Beginning,
    /// So many events back.
    Last(usize),
}

/// A page of a channel's events.
#[derive(Clone, Debug)]
pub struct History {
    /// The events, oldest first.
    pub events: Vec<HistoryEvent>,
    /// The `seq` after which the next page begins.
    pub next: u64,
    /// Set if events were lost before the page.
    pub gap: Option<GapReason>,
    /// The `seq` after which the page begins.
    pub after: u64,
    /// Set if the channel was closed.
    pub closed: Option<CloseReason>,
}

/// One event of a history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryEvent {
    /// Its place.
    pub seq: u64,
    /// Its type, if it has one.
    pub event_type: Option<String>,
    /// Its data.
    pub data: String,
    /// When it was published, in Unix milliseconds.
    pub published_at_ms: u64,
}

/// Facts about a channel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Subscriptions that it reaches, by its name or by a pattern.
    pub subscribers: u64,
    /// Events in its ring.
    pub ring_events: usize,
    /// Bytes in its ring, overhead included.
    pub ring_bytes: usize,
    /// The oldest event in its ring.
    pub first_seq: Option<u64>,
    /// The newest event it had.
    pub last_seq: Option<u64>,
    /// Events that it had since it was made.
    pub events_total: u64,
    /// When the newest of them was published, in Unix milliseconds.
    pub last_published_at_ms: Option<u64>,
    /// How many there are a second.
    pub rate: Rate,
    /// Bytes of them on the wire.
    pub bytes_total: u64,
    /// When it was made, by more than a subscription, in Unix milliseconds.
    pub created_at_ms: Option<u64>,
    /// When something last happened to it.
    pub updated_at_ms: Option<u64>,
    /// When it was closed.
    pub closed_at_ms: Option<u64>,
    /// How far it is.
    pub standing: Standing,
    /// Set if it was closed.
    pub closed: Option<CloseReason>,
    /// What it keeps.
    pub retention: Retention,
    /// Streaming publishes that are open on it.
    pub publishing: u32,
}

/// How a list of channels is ordered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChannelSort {
    /// Those with most bytes in their rings first, then by name.
    Bytes,
    /// Those that had most events first, then by name.
    Events,
    /// By name.
    Name,
    /// Those that get most events a second first, then by name.
    Rate,
    /// Those with most subscribers first, then by name.
    Subscribers,
}

impl ChannelSort {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Bytes, Self::Events, Self::Name, Self::Rate, Self::Subscribers];

    /// The order as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Events => "events",
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Subscribers => "subscribers",
        }
    }

    /// What a channel is ordered by, before its name; the most comes first.
    fn rank(self, hub: &Hub, channel: &Channel, now_ms: u64) -> u64 {
        match self {
            Self::Bytes => lock(&channel.ring).bytes() as u64,
            Self::Events => lock(&channel.ring).events_total(),
            Self::Name => 0,
            Self::Rate => lock(&channel.ring).rate().in_last_window(now_ms),
            Self::Subscribers => hub.subscribers_of(channel),
        }
    }
}

/// Which channels a list has.
#[derive(Clone, Copy, Debug)]
pub struct ChannelQuery<'a> {
    /// What their names begin with.
    pub prefix: &'a str,
    /// What their names contain.
    pub contains: &'a str,
    /// How they are ordered.
    pub sort: ChannelSort,
    /// At most so many.
    pub limit: usize,
    /// Those after this place: the [`next`](ChannelList::next) of the page before.
    pub after: Option<(u64, &'a str)>,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
}

/// A page of channels.
#[derive(Clone, Debug)]
pub struct ChannelList {
    /// The channels, in order.
    pub channels: Vec<ChannelInfo>,
    /// Where the next page begins, if there is one: what the last channel of this one was ordered
    /// by when it was listed, and its name.
    pub next: Option<(u64, ChannelName)>,
    /// How many there are on all pages together.
    pub total: usize,
}

impl Hub {
    /// A page of at most `limit` events and [`HISTORY_BYTES_MAX`], but of one event at least; none
    /// if the channel does not exist.
    pub fn history(&self, name: &ChannelName, from: &HistoryFrom, limit: usize) -> Option<History> {
        let channel = self.registry.find(name)?;
        let limit = limit.min(HISTORY_EVENTS_MAX);
        // What is newer is not placed yet, and a client may hurry back with an id from this page.
        let watermark = self.watermark();
        let ring = lock(&channel.ring);
        let dropped = ring.dropped().through;
        let (after, gap) = match from {
            HistoryFrom::Beginning => (dropped, None),
            HistoryFrom::Last(count) => {
                let skipped = ring.entries().len().saturating_sub(*count);
                (ring.entries().nth(skipped).map_or_else(|| ring.newest(), |e| e.seq - 1), None)
            }
            HistoryFrom::After(text) => match self.resume(text) {
                None => (dropped, Some(GapReason::Epoch)),
                Some(seen) if seen < dropped => (dropped, Some(GapReason::Evicted)),
                Some(seen) => (seen, None),
            },
        };
        // Of an end that is newer still, its last event would be missing.
        let closed = ring.closed().filter(|closed| closed.seq <= watermark);
        let closed = closed.map(|closed| closed.reason);
        let placed = ring.entries().take_while(|entry| entry.seq <= watermark);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += entry.cost();
            is_first || bytes <= HISTORY_BYTES_MAX
        };
        let wanted = placed.filter(|entry| entry.seq > after).take(limit);
        let page: Vec<_> = wanted.take_while(fits).cloned().collect();
        drop(ring);
        let next = page.last().map_or(after, |entry| entry.seq);
        let events = page
            .into_iter()
            .map(|entry| HistoryEvent {
                seq: entry.seq,
                event_type: entry.frame.event_type().map(str::to_owned),
                data: entry.frame.data(),
                published_at_ms: entry.published_at_ms,
            })
            .collect();
        Some(History { events, next, gap, after, closed })
    }

    /// Facts about one channel; none if it does not exist.
    pub fn channel(&self, name: &ChannelName) -> Option<ChannelInfo> {
        let channel = self.registry.find(name)?;
        Some(info(&channel, self.subscribers_of(&channel)))
    }

    /// Facts about a page of channels.
    pub fn list(&self, query: &ChannelQuery<'_>) -> ChannelList {
        let limit = query.limit.clamp(1, LIST_CHANNELS_MAX);
        let after = query.after.map(|(rank, name)| (Reverse(rank), name));
        let (mut total, mut ahead) = (0, 0);
        // The `limit` first ones, the last of them on top.
        let mut first: BinaryHeap<(Reverse<u64>, ChannelName)> = BinaryHeap::new();
        self.registry.for_each(|channel| {
            let name = channel.name().as_str();
            if !name.starts_with(query.prefix) || !name.contains(query.contains) {
                return;
            }
            total += 1;
            let key = (Reverse(query.sort.rank(self, channel, query.now_ms)), name);
            if after.is_some_and(|after| key <= after) {
                return;
            }
            ahead += 1;
            if first.len() == limit {
                if first.peek().is_some_and(|last| key >= (last.0, last.1.as_str())) {
                    return;
                }
                first.pop();
            }
            first.push((key.0, channel.name().clone()));
        });
        let page = first.into_sorted_vec();
        let next = page.last().filter(|_| ahead > page.len());
        let next = next.map(|(rank, name)| (rank.0, name.clone()));
        let channels = page.iter().filter_map(|(_, name)| self.channel(name)).collect();
        ChannelList { channels, next, total }
    }
}

fn info(channel: &Channel, subscribers: u64) -> ChannelInfo {
    let publishing = channel.publishing().load(Ordering::Relaxed);
    let ring = lock(&channel.ring);
    let exists = publishing > 0 || !ring.is_pristine();
    let closed_at_ms = ring.closed().map(|closed| closed.at_ms);
    let wished_at_ms = ring.extras().and_then(|extras| extras.wished_at_ms).map(Into::into);
    let changes = [ring.began_at_ms, ring.last_published_at_ms()].into_iter();
    let updated_at_ms = changes.chain(closed_at_ms).chain(wished_at_ms).max();
    ChannelInfo {
        name: channel.name().clone(),
        subscribers,
        ring_events: ring.entries().len(),
        ring_bytes: ring.bytes(),
        first_seq: ring.oldest().map(|entry| entry.seq),
        last_seq: Some(ring.last_event()).filter(|seq| *seq > 0),
        events_total: ring.events_total(),
        last_published_at_ms: Some(ring.last_published_at_ms()).filter(|_| ring.events_total() > 0),
        rate: ring.rate(),
        retention: *ring.retention,
        publishing,
        bytes_total: ring.bytes_total(),
        created_at_ms: exists.then_some(ring.began_at_ms),
        updated_at_ms: updated_at_ms.filter(|_| exists),
        closed_at_ms,
        standing: ring.standing(),
        closed: ring.closed().map(|closed| closed.reason),
    }
}
