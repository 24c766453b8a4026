//! The fan-out of one node: rings, journal, registry and marks under one sequence.
//!
//! Policy: publishers never wait for subscribers. An event is encoded once, gets its place under
//! the order lock, is pushed to its channel's ring and noted in the journal; then the watermark
//! moves and workers are marked. Locks are taken in this order: order, map, ring or tombstones.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    sync::{Arc, atomic::AtomicU64 as Count},
};

use crate::{
    audience::Audience,
    broker::{Change, Placed, Publication, Refusal},
    channel::Channel,
    control::{CloseReason, GapReason},
    doorbell::{Doorbell, WorkerIndex},
    feed::Feed,
    frame::Draft,
    id::{Epoch, EventId},
    journal::Journal,
    keys::{Keys, Known},
    limits,
    name::Pattern,
    registry::Registry,
    ring::{Closed, Dropped, Entry, Retention, Ring},
    sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock, fence, lock, read, write},
    tombstones::Tombstone,
};

/// The bounds that a hub may be given.
#[derive(Clone, Debug)]
pub struct HubLimits {
    /// Channels held at once.
    pub channels_max: usize,
    /// Removed channels that are remembered.
    pub tombstones_max: usize,
    /// Pairs in the journal, so events in all rings together.
    pub journal_events_max: usize,
    /// Bytes in all rings together.
    pub rings_bytes_max: usize,
    /// Idempotency keys remembered at once.
    pub idempotency_keys_max: usize,
    /// What channels keep.
    pub retention: Retention,
    /// What channels that match a pattern keep instead; the first match counts.
    pub retentions: Vec<(Pattern, Retention)>,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            channels_max: limits::CHANNELS_MAX,
            tombstones_max: limits::TOMBSTONES_MAX,
            journal_events_max: limits::JOURNAL_EVENTS_MAX,
            rings_bytes_max: limits::RINGS_BYTES_MAX,
            idempotency_keys_max: limits::IDEMPOTENCY_KEYS_MAX,
            retention: Retention::default(),
            retentions: Vec::new(),
        }
    }
}

/// The hub. Shared by publishers, subscribers and workers.
pub struct Hub {
    /// Names this life of the log.
    epoch: Epoch,
    /// The bounds.
    limits: HubLimits,
    /// The channels by name.
    pub(crate) registry: Registry,
    /// What has one order over all channels.
    order: Mutex<Order>,
    /// The newest applied `seq`; moves only under the order lock.
    watermark: AtomicU64,
    /// Counts drops; moves only under the order lock, before the drop it counts.
    drops: AtomicU64,
    /// Counts of subscriptions with patterns.
    audience: RwLock<Audience>,
    /// How many subscriptions `audience` counts.
    patterns: AtomicUsize,
    /// The same per worker: who wants to know that the journal grew.
    journal_interest: Box<[AtomicU32]>,
    /// One per worker.
    doorbells: Box<[Arc<Doorbell>]>,
    /// All subscriptions.
    subscribers: AtomicUsize,
    /// What happened so far.
    totals: Totals,
}

/// What the order lock guards.
#[derive(Debug)]
struct Order {
    journal: Journal,
    keys: Keys,
    /// Bytes in all rings.
    bytes: usize,
    /// Channels by when they want to be looked at, in Unix milliseconds.
    schedule: BinaryHeap<Reverse<Due>>,
}

/// A channel's entry in the schedule, ordered by time alone.
#[derive(Debug)]
struct Due {
    at_ms: u64,
    channel: Arc<Channel>,
}

/// Counts since the start. They only rise.
#[derive(Debug, Default)]
struct Totals {
    published: Count,
    gaps: [Count; GapReason::ALL.len()],
    limits: [Count; Limit::ALL.len()],
}

/// A bound of the hub that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// A new channel was refused.
    Channels,
    /// A keyed publish was refused.
    IdempotencyKeys,
    /// The journal let its oldest pair go.
    JournalEvents,
    /// The budget of all rings let the hub's oldest event go.
    RingsBytes,
}

impl Limit {
    /// All of them, for counters.
    pub const ALL: [Self; 4] =
        [Self::Channels, Self::IdempotencyKeys, Self::JournalEvents, Self::RingsBytes];

    /// The bound as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::JournalEvents => "journal_events",
            Self::RingsBytes => "rings_bytes",
        }
    }
}

/// What a walk along the journal found beside pairs.
#[derive(Debug)]
pub struct Walk {
    /// The cursor after the walk.
    pub next: u64,
    /// Whether the walk ended at the watermark.
    pub exhausted: bool,
    /// Set if pairs at or after the cursor are gone.
    pub(crate) gap: Option<Dropped>,
}

impl Hub {
    /// A hub with one doorbell per worker, at most [`limits::WORKERS_MAX`] of them.
    pub fn new(epoch: Epoch, limits: HubLimits, doorbells: Vec<Arc<Doorbell>>) -> Self {
        let workers = doorbells.len();
        assert!((1..=limits::WORKERS_MAX).contains(&workers), "a hub has 1 to 64 workers");
        let registry = Registry::new(
            workers,
            limits.channels_max,
            limits.tombstones_max,
            limits.retention,
            limits.retentions.clone(),
        );
        let order = Order {
            journal: Journal::new(),
            keys: Keys::new(limits.idempotency_keys_max),
            bytes: 0,
            schedule: BinaryHeap::new(),
        };
        Self {
            epoch,
            limits,
            registry,
            order: Mutex::new(order),
            watermark: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            audience: RwLock::new(Audience::default()),
            patterns: AtomicUsize::new(0),
            journal_interest: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            doorbells: doorbells.into(),
            subscribers: AtomicUsize::new(0),
            totals: Totals::default(),
        }
    }

    /// Names this life of the log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest applied `seq`: everything up to it can be read.
    pub fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::Acquire)
    }

    /// The id of a place.
    pub fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// The doorbell of a worker.
    pub fn doorbell(&self, worker: WorkerIndex) -> &Arc<Doorbell> {
        &self.doorbells[worker]
    }

    /// Applies a publication at `seq`, which must be after all that was applied before: there is
    /// one writer at a time. Nobody is told yet; that is [`announce`](Self::announce).
    pub fn apply(&self, seq: u64, publication: Publication) -> Result<Placed, Refusal> {
        let mut order = lock(&self.order);
        assert!(seq > self.watermark(), "events are applied in order");
        let Publication { channel: name, change, key, now_ms } = publication;
        let scoped = key.filter(|_| matches!(change, Change::Event(..))).map(|k| (name.clone(), k));
        let mut digest = 0;
        if let (Some(scoped), Change::Event(draft, _)) = (&scoped, &change) {
            match order.keys.look(scoped, draft.content(), now_ms) {
                Known::New => digest = order.keys.digest(draft.content()),
                Known::Same(seq) => {
                    let channel = self.registry.find(&name);
                    let id = self.id(seq);
                    return Ok(Placed { id, subscribers: 0, duplicate: true, channel });
                }
                Known::Different => return Err(Refusal::KeyReused),
                Known::Full => {
                    self.count_limit(Limit::IdempotencyKeys);
                    return Err(Refusal::KeysFull(self.limits.idempotency_keys_max));
                }
            }
        }
        let (channel, placed) = match change {
            Change::Delete => {
                let channel = self.registry.find(&name).ok_or(Refusal::NoChannel)?;
                (channel.clone(), self.delete(&mut order, seq, &channel, now_ms))
            }
            Change::Close(reason) => {
                let channel = self.find_or_create(&name)?;
                (channel.clone(), self.close(&mut order, seq, &channel, reason, now_ms))
            }
            Change::Event(draft, close) => {
                let channel = self.find_or_create(&name)?;
                self.push(&mut order, seq, &channel, draft, now_ms)?;
                if let Some(reason) = close {
                    self.close(&mut order, seq + 1, &channel, reason, now_ms);
                }
                (channel, seq)
            }
        };
        if let Some(scoped) = scoped {
            order.keys.remember(scoped, digest, placed, now_ms);
        }
        self.keep_bounds(&mut order);
        let id = self.id(placed);
        Ok(Placed { id, subscribers: 0, duplicate: false, channel: Some(channel) })
    }

    /// Tells the workers of a publication that was applied, and counts who it reaches.
    pub fn announce(&self, placed: &mut Placed) {
        let Some(channel) = &placed.channel else { return };
        // Pairs with the fence of a new subscription: either it sees the watermark of this
        // publication, or this sees its interest.
        fence(Ordering::SeqCst);
        let patterns = self.patterns.load(Ordering::Acquire) > 0;
        if !placed.duplicate {
            for worker in channel.interested() {
                self.doorbells[worker].mark(channel, worker);
            }
            if patterns {
                self.mark_journal();
            }
        }
        placed.subscribers = channel.subscribers();
        if patterns {
            placed.subscribers += read(&self.audience).count(channel.name());
        }
    }

    /// Copies the journal's pairs from `cursor` on, at most [`limits::JOURNAL_WALK_MAX`].
    pub fn walk_journal(&self, cursor: u64, out: &mut Vec<(u64, Arc<Channel>)>) -> Walk {
        out.clear();
        let order = lock(&self.order);
        let dropped = order.journal.dropped();
        let gap = (dropped.through >= cursor && dropped.through > 0).then_some(dropped);
        let pairs = order.journal.from(cursor);
        let exhausted = pairs.len() <= limits::JOURNAL_WALK_MAX;
        out.extend(pairs.take(limits::JOURNAL_WALK_MAX).cloned());
        let next = match out.last() {
            Some((seq, _)) if !exhausted => seq + 1,
            _ => cursor.max(self.watermark() + 1),
        };
        Walk { next, exhausted, gap }
    }

    /// Looks at channels whose time has come, at most `channels_max` of them: drops what is too
    /// old and removes what is idle. Returns whether more are due.
    pub fn maintain(&self, now_ms: u64, channels_max: usize) -> bool {
        let mut order = lock(&self.order);
        order.keys.expire(now_ms);
        for _ in 0..channels_max {
            if order.schedule.peek().is_none_or(|Reverse(due)| due.at_ms > now_ms) {
                return false;
            }
            let Some(Reverse(due)) = order.schedule.pop() else { return false };
            if let Some(at_ms) = self.look_after(&mut order, &due.channel, now_ms) {
                order.schedule.push(Reverse(Due { at_ms, channel: due.channel }));
            }
        }
        true
    }

    /// Counts that a limit was reached.
    pub fn count_limit(&self, limit: Limit) {
        self.totals.limits[limit as usize].fetch_add(1, RELAXED);
    }

    /// Counts a gap that a subscriber was told of.
    pub(crate) fn count_gap(&self, reason: GapReason) {
        self.totals.gaps[reason as usize].fetch_add(1, RELAXED);
    }

    /// How often a limit was reached.
    pub fn limit_total(&self, limit: Limit) -> u64 {
        self.totals.limits[limit as usize].load(RELAXED)
    }

    /// How many gaps subscribers were told of.
    pub fn gaps_total(&self, reason: GapReason) -> u64 {
        self.totals.gaps[reason as usize].load(RELAXED)
    }

    /// How many events were published.
    pub fn published_total(&self) -> u64 {
        self.totals.published.load(RELAXED)
    }

    /// How many subscriptions there are.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Bytes and pairs that are held, and keys remembered.
    pub fn held(&self) -> Held {
        let (bytes, journal_events, idempotency_keys) = {
            let order = lock(&self.order);
            (order.bytes, order.journal.len(), order.keys.len())
        };
        let (tombstones, forgotten) = self.registry.tombstones();
        let channels = self.registry.len();
        Held { bytes, journal_events, idempotency_keys, channels, tombstones, forgotten }
    }

    pub(crate) fn journal_dropped(&self) -> Dropped {
        lock(&self.order).journal.dropped()
    }

    /// The `seq` that begins the last `count` pairs which match, looking back a bounded way.
    pub(crate) fn look_back(&self, count: u64, matches: impl Fn(&Channel, u64) -> bool) -> u64 {
        let order = lock(&self.order);
        let mut left = count;
        let mut first = self.watermark() + 1;
        for (seq, channel) in order.journal.from(0).rev().take(limits::JOURNAL_LOOK_BACK_MAX) {
            if left == 0 {
                break;
            }
            if matches(channel, *seq) {
                left -= 1;
                first = *seq;
            }
        }
        first
    }

    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// Counts a subscription in, after its interest in channels was taken.
    pub(crate) fn enter(&self, feed: &Feed, worker: WorkerIndex) {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        if feed.follows_journal() {
            write(&self.audience).add(feed.selectors());
            self.patterns.fetch_add(1, Ordering::AcqRel);
            self.journal_interest[worker].fetch_add(1, Ordering::AcqRel);
        }
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
    }

    /// Counts it out, and lets channels go that only it kept.
    pub(crate) fn leave(&self, feed: &Feed, worker: WorkerIndex) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        if feed.follows_journal() {
            self.journal_interest[worker].fetch_sub(1, Ordering::AcqRel);
            self.patterns.fetch_sub(1, Ordering::AcqRel);
            write(&self.audience).remove(feed.selectors());
        }
        for channel in feed.channels() {
            self.release(channel, worker);
        }
    }

    /// Takes one interest in a channel back. A channel that never had an event goes with its last
    /// subscriber; the order lock keeps a publisher from finding it meanwhile.
    pub(crate) fn release(&self, channel: &Arc<Channel>, worker: WorkerIndex) {
        let last = channel.slot(worker).remove_interest();
        if last && channel.subscribers() == 0 && lock(&channel.ring).is_pristine() {
            let _order = lock(&self.order);
            if lock(&channel.ring).is_pristine() {
                self.registry
                    .remove_idle(channel, |found| lock(&found.ring).past.as_deref().copied());
            }
        }
    }

    fn mark_journal(&self) {
        for (doorbell, interest) in self.doorbells.iter().zip(&self.journal_interest) {
            if interest.load(Ordering::Acquire) > 0 {
                doorbell.mark_journal();
            }
        }
    }

    fn find_or_create(&self, name: &crate::name::ChannelName) -> Result<Arc<Channel>, Refusal> {
        self.registry.find_or_create(name).map_err(|full| {
            self.count_limit(Limit::Channels);
            Refusal::ChannelsFull(full.0)
        })
    }

    fn push(
        &self,
        order: &mut Order,
        seq: u64,
        channel: &Arc<Channel>,
        draft: Draft,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let tick = self.next_tick();
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            return Err(Refusal::Closed(closed.reason));
        }
        let frame = draft.seal(&self.epoch, seq);
        let entry = Entry { seq, published_at_ms: now_ms, frame };
        order.bytes += entry.cost();
        order.bytes -= ring.push(entry, &channel.retention, tick);
        order.schedule(&mut ring, channel, now_ms.saturating_add(channel.retention.ring_age_ms));
        drop(ring);
        self.place(order, seq, channel);
        self.totals.published.fetch_add(1, RELAXED);
        Ok(())
    }

    /// Ends a channel at `seq`, or finds it ended; returns where the end stands.
    fn close(
        &self,
        order: &mut Order,
        seq: u64,
        channel: &Arc<Channel>,
        reason: CloseReason,
        now_ms: u64,
    ) -> u64 {
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            return closed.seq;
        }
        ring.close(Closed { seq, reason, at_ms: now_ms });
        let due = now_ms.saturating_add(channel.retention.closed_retention_ms);
        drop(ring);
        // Earlier, perhaps, than the look that is scheduled already.
        order.schedule.push(Reverse(Due { at_ms: due, channel: Arc::clone(channel) }));
        self.place(order, seq, channel);
        seq
    }

    fn delete(&self, order: &mut Order, seq: u64, channel: &Arc<Channel>, now_ms: u64) -> u64 {
        let tick = self.next_tick();
        let closed = Closed { seq, reason: CloseReason::Deleted, at_ms: now_ms };
        let tombstone = {
            let mut ring = lock(&channel.ring);
            order.bytes -= ring.clear(tick);
            let last_event = ring.last_event().max(ring.dropped().through);
            ring.close(closed);
            Tombstone { last_event, closed: Some(closed) }
        };
        self.registry.remove(channel, tombstone);
        self.place(order, seq, channel);
        seq
    }

    /// Notes an event or an end in the journal and moves the watermark.
    fn place(&self, order: &mut Order, seq: u64, channel: &Arc<Channel>) {
        order.journal.push(seq, Arc::clone(channel));
        self.watermark.store(seq, Ordering::Release);
    }

    /// Lets the hub's oldest events go until the journal and the budget of all rings hold.
    fn keep_bounds(&self, order: &mut Order) {
        loop {
            let limit = if order.journal.len() > self.limits.journal_events_max {
                Limit::JournalEvents
            } else if order.bytes > self.limits.rings_bytes_max {
                Limit::RingsBytes
            } else {
                return;
            };
            let tick = self.next_tick();
            let Some((seq, channel)) = order.journal.drop_oldest(tick) else { return };
            self.count_limit(limit);
            let mut ring = lock(&channel.ring);
            if ring.oldest().is_some_and(|entry| entry.seq == seq) {
                order.bytes -= ring.drop_oldest(tick);
            }
        }
    }

    /// Counts a drop before it happens.
    fn next_tick(&self) -> u64 {
        self.drops.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// One look at a channel; returns when the next is due, none if it is gone.
    fn look_after(&self, order: &mut Order, channel: &Arc<Channel>, now_ms: u64) -> Option<u64> {
        let found = self.registry.find(channel.name());
        if !found.is_some_and(|found| Arc::ptr_eq(&found, channel)) {
            return None;
        }
        let retention = channel.retention;
        let mut ring = lock(&channel.ring);
        if let Some(closed) = ring.closed() {
            let due = closed.at_ms.saturating_add(retention.closed_retention_ms);
            if due > now_ms {
                return Some(due);
            }
        } else {
            let tick = self.next_tick();
            order.bytes -= ring.drop_aged(now_ms.saturating_sub(retention.ring_age_ms), tick);
            if let Some(oldest) = ring.oldest() {
                let due = oldest.published_at_ms.saturating_add(retention.ring_age_ms);
                return Some(due.max(now_ms + LOOK_MS_MIN));
            }
        }
        drop(ring);
        let removed = self.registry.remove_idle(channel, |found| {
            let mut ring = lock(&found.ring);
            Self::bury(&mut ring, order, self.next_tick())
        });
        (!removed).then_some(now_ms + LOOK_IDLE_MS)
    }

    fn bury(ring: &mut Ring, order: &mut Order, tick: u64) -> Option<Tombstone> {
        order.bytes -= ring.clear(tick);
        let last_event = ring.last_event().max(ring.dropped().through);
        Some(Tombstone { last_event, closed: ring.closed() })
    }
}

impl Order {
    /// Puts a channel into the schedule, unless it is there: then its next look finds out.
    fn schedule(&mut self, ring: &mut Ring, channel: &Arc<Channel>, at_ms: u64) {
        if !ring.scheduled {
            ring.scheduled = true;
            self.schedule.push(Reverse(Due { at_ms, channel: Arc::clone(channel) }));
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What a hub holds at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Bytes in all rings.
    pub bytes: usize,
    /// Pairs in the journal.
    pub journal_events: usize,
    /// Idempotency keys remembered.
    pub idempotency_keys: usize,
    /// Channels.
    pub channels: usize,
    /// Removed channels that are remembered.
    pub tombstones: usize,
    /// Removed channels that were forgotten since the start.
    pub forgotten: u64,
}

/// Not part of any protocol between threads, so loom need not see it.
const RELAXED: Ordering = Ordering::Relaxed;
/// The least milliseconds between two looks at a channel with events.
const LOOK_MS_MIN: u64 = 250;
/// Milliseconds between two looks at a channel that only its subscribers keep.
const LOOK_IDLE_MS: u64 = 30_000;
