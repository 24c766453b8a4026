//! The fan-out of one node: rings, journal, registry and marks under one sequence.
//!
//! Policy: publishers never wait for subscribers. An event is encoded once, gets its place under
//! the order lock, is pushed to its channel's ring and noted in the journal; then the watermark
//! moves and workers are marked. Locks are taken in this order: order, map, ring or tombstones.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64 as Count},
};

use crate::{
    audience::Audience,
    channel::Channel,
    control::{CloseReason, GapReason},
    doorbell::{Doorbell, WorkerIndex},
    id::{Epoch, EventId},
    journal::Journal,
    keys::Keys,
    lifecycle::{Overdue, WishedBy},
    limits,
    maintain::Schedule,
    name::{ChannelName, Pattern},
    registry::{Registry, Retentions},
    ring::{Dropped, Retention},
    stamps::Stamps,
    sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock, lock},
    waiters::Waiters,
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
    /// The channels by name.
    pub(crate) registry: Registry,
    /// What has one order over all channels.
    pub(crate) order: Mutex<Order>,
    /// The newest applied `seq`; moves only under the order lock.
    pub(crate) watermark: AtomicU64,
    /// When the newest places were given.
    pub(crate) stamps: Stamps,
    /// Counts drops; moves only under the order lock, before the drop it counts.
    drops: AtomicU64,
    /// Counts of subscriptions with patterns.
    pub(crate) audience: RwLock<Audience>,
    /// How many subscriptions `audience` counts.
    pub(crate) patterns: AtomicUsize,
    /// The same per worker: who wants to know that the journal grew.
    pub(crate) journal_interest: Box<[AtomicU32]>,
    /// One per worker.
    pub(crate) doorbells: Box<[Arc<Doorbell>]>,
    /// All subscriptions.
    pub(crate) subscribers: AtomicUsize,
    /// Who waits for a channel to be cancelled or to end.
    pub(crate) waiters: Waiters,
    /// What happened so far.
    totals: Totals,
}

/// What the order lock guards.
#[derive(Debug)]
pub(crate) struct Order {
    /// What was placed last.
    pub(crate) journal: Journal,
    /// Which keyed publishes were accepted.
    pub(crate) keys: Keys,
    /// Bytes in all rings.
    pub(crate) bytes: usize,
    /// Bytes of what is remembered of producers.
    pub(crate) producers_bytes: usize,
    /// When channels want to be looked at.
    pub(crate) schedule: Schedule,
    /// What journal and rings may hold now.
    pub(crate) bounds: Bounds,
    /// What they are to hold: after a change of limits the bounds get there step by step.
    pub(crate) goal: Bounds,
    /// Channels that have not been looked at since what channels keep was changed.
    pub(crate) changing: Vec<Arc<Channel>>,
    /// Channels that are to be closed, at most [`limits::DUE_CHANNELS_MAX`].
    pub(crate) due: Vec<ChannelName>,
}

/// Bounds on what all channels hold together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    /// Pairs in the journal.
    pub(crate) journal_events_max: usize,
    /// Bytes in all rings, those of producers and of removed channels that the journal keeps
    /// included.
    pub(crate) rings_bytes_max: usize,
}

impl Order {
    /// What counts against the budget of all rings.
    pub(crate) fn budgeted_bytes(&self) -> usize {
        self.bytes + self.producers_bytes + self.journal.removed_bytes()
    }
}

impl From<&HubLimits> for Bounds {
    fn from(limits: &HubLimits) -> Self {
        let HubLimits { journal_events_max, rings_bytes_max, .. } = *limits;
        Self { journal_events_max, rings_bytes_max }
    }
}

/// Counts since the start. They only rise.
#[derive(Debug, Default)]
struct Totals {
    /// Events that were placed.
    published: Count,
    /// Their bytes.
    published_bytes: Count,
    /// Channels that were removed, by why.
    removed: [Count; Removal::ALL.len()],
    /// Channels that are closed and still there. This one falls, too.
    closed: Count,
    /// Channels that were closed, by how.
    closed_as: [Count; CloseReason::ALL.len()],
    /// Channels that the hub closed itself, by why.
    overdue: [Count; Overdue::ALL.len()],
    /// Wishes that were stored, by why.
    wishes: [Count; WishedBy::ALL.len()],
    /// Gaps that subscribers were told of, by reason.
    gaps: [Count; GapReason::ALL.len()],
    /// How often each bound was reached.
    limits: [Count; Limit::ALL.len()],
}

/// Why a channel was removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It was closed, and its retention has passed.
    Closed,
    /// Somebody deleted it.
    Deleted,
    /// It had no subscriber, and its events had grown too old.
    Idle,
    /// It never had an event, and its last subscriber went.
    Unused,
}

impl Removal {
    /// All of them, for counters.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Deleted, Self::Idle, Self::Unused];

    /// The reason as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Deleted => "deleted",
            Self::Idle => "idle",
            Self::Unused => "unused",
        }
    }
}

/// A bound of the hub that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Nobody else may wait for a channel to be cancelled.
    CancelWaiters,
    /// A new channel was refused.
    Channels,
    /// A keyed publish was refused.
    IdempotencyKeys,
    /// The journal let its oldest pair go.
    JournalEvents,
    /// A new producer was refused: all of the hub hold as many bytes as they may.
    ProducersBytes,
    /// A new producer was refused: its channel has as many as it may.
    ProducersPerChannel,
    /// The budget of all rings let the hub's oldest event go.
    RingsBytes,
}

impl Limit {
    /// All of them, for counters.
    pub const ALL: [Self; 7] = [
        Self::CancelWaiters,
        Self::Channels,
        Self::IdempotencyKeys,
        Self::JournalEvents,
        Self::ProducersBytes,
        Self::ProducersPerChannel,
        Self::RingsBytes,
    ];

    /// The bound as the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CancelWaiters => "cancel_waiters",
            Self::Channels => "channels",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::JournalEvents => "journal_events",
            Self::ProducersBytes => "producers_bytes",
            Self::ProducersPerChannel => "producers_per_channel",
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

impl Walk {
    /// Whether pairs at or after the cursor are gone.
    pub fn has_gap(&self) -> bool {
        self.gap.is_some()
    }
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
            Retentions::of(&limits),
        );
        let bounds = Bounds::from(&limits);
        let order = Order {
            journal: Journal::new(),
            keys: Keys::new(limits.idempotency_keys_max),
            bytes: 0,
            producers_bytes: 0,
            schedule: Schedule::default(),
            bounds,
            goal: bounds,
            changing: Vec::new(),
            due: Vec::new(),
        };
        Self {
            epoch,
            registry,
            order: Mutex::new(order),
            watermark: AtomicU64::new(0),
            stamps: Stamps::new(),
            drops: AtomicU64::new(0),
            audience: RwLock::new(Audience::default()),
            patterns: AtomicUsize::new(0),
            journal_interest: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            doorbells: doorbells.into(),
            subscribers: AtomicUsize::new(0),
            waiters: Waiters::default(),
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

    /// When the event or end at exactly `seq` was published, in Unix microseconds; none for all
    /// but the newest places. No lock, so that a worker may ask beside its writes.
    pub fn published_at_us(&self, seq: u64) -> Option<u64> {
        self.stamps.at_us(seq)
    }

    /// The id of a place.
    pub fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.doorbells.len()
    }

    /// Rings all workers, each of which then looks at what it has to do.
    pub fn ring_all(&self) {
        self.doorbells.iter().for_each(|doorbell| doorbell.ring());
    }

    /// The doorbell of a worker.
    pub fn doorbell(&self, worker: WorkerIndex) -> &Arc<Doorbell> {
        &self.doorbells[worker]
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
            _ => cursor.max(order.journal.newest() + 1),
        };
        Walk { next, exhausted, gap }
    }

    /// Counts that a limit was reached.
    pub fn count_limit(&self, limit: Limit) {
        self.totals.limits[limit as usize].fetch_add(1, RELAXED);
    }

    /// Counts an event that was placed. Only whoever holds the order lock does.
    pub(crate) fn count_published(&self, bytes: usize) {
        self.totals.published.fetch_add(1, RELAXED);
        self.totals.published_bytes.fetch_add(bytes as u64, RELAXED);
    }

    /// Counts a gap that a subscriber was told of.
    pub(crate) fn count_gap(&self, reason: GapReason) {
        self.totals.gaps[reason as usize].fetch_add(1, RELAXED);
    }

    /// Counts a channel that was removed.
    pub(crate) fn count_removed(&self, removal: Removal, was_closed: bool) {
        self.totals.removed[removal as usize].fetch_add(1, RELAXED);
        if was_closed {
            self.totals.closed.fetch_sub(1, RELAXED);
        }
    }

    /// Counts a channel that was closed.
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.totals.closed.fetch_add(1, RELAXED);
        self.totals.closed_as[reason as usize].fetch_add(1, RELAXED);
    }

    /// Counts a channel that the hub is about to close.
    pub(crate) fn count_overdue(&self, why: Overdue) {
        self.totals.overdue[why as usize].fetch_add(1, RELAXED);
    }

    /// Counts a wish.
    pub(crate) fn count_wish(&self, by: WishedBy) {
        self.totals.wishes[by as usize].fetch_add(1, RELAXED);
    }

    /// How many channels were closed in this way, and not deleted.
    pub fn closed_total(&self, reason: CloseReason) -> u64 {
        self.totals.closed_as[reason as usize].load(RELAXED)
    }

    /// How many channels the hub closed itself.
    pub fn overdue_total(&self, why: Overdue) -> u64 {
        self.totals.overdue[why as usize].load(RELAXED)
    }

    /// How many wishes were stored.
    pub fn wishes_total(&self, by: WishedBy) -> u64 {
        self.totals.wishes[by as usize].load(RELAXED)
    }

    /// How many channels were removed for a reason.
    pub fn removed_total(&self, removal: Removal) -> u64 {
        self.totals.removed[removal as usize].load(RELAXED)
    }

    /// How many channels there are, live and closed ones.
    pub fn channels(&self) -> Channels {
        let closed = self.totals.closed.load(RELAXED) as usize;
        Channels { live: self.registry.len().saturating_sub(closed), closed }
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

    /// Bytes of the same on the wire, framing included.
    pub fn published_bytes_total(&self) -> u64 {
        self.totals.published_bytes.load(RELAXED)
    }

    /// How many subscriptions there are.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Bytes and pairs that are held, and keys remembered.
    pub fn held(&self) -> Held {
        let order = lock(&self.order);
        let (bytes, removed_bytes) = (order.bytes, order.journal.removed_bytes());
        let producers_bytes = order.producers_bytes;
        let (journal_events, journal_bytes) = (order.journal.len(), order.journal.bytes());
        let (idempotency_keys, scheduled) = (order.keys.len(), order.schedule.len());
        drop(order);
        let (tombstones, forgotten) = self.registry.tombstones();
        let channels = self.registry.len();
        Held {
            bytes,
            producers_bytes,
            removed_bytes,
            journal_events,
            journal_bytes,
            idempotency_keys,
            channels,
            scheduled,
            tombstones,
            forgotten,
        }
    }

    /// What the journal no longer has.
    pub(crate) fn journal_dropped(&self) -> Dropped {
        lock(&self.order).journal.dropped()
    }

    /// The `seq` that begins the last `count` pairs which match, looking back a bounded way.
    pub(crate) fn look_back(&self, count: u64, matches: impl Fn(&Channel, u64) -> bool) -> u64 {
        let order = lock(&self.order);
        let mut left = count;
        let mut first = order.journal.newest() + 1;
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

    /// The count of drops so far.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// Counts a drop before it happens.
    pub(crate) fn next_tick(&self) -> u64 {
        self.drops.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// How many channels there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Channels {
    /// Those that take events.
    pub live: usize,
    /// Those that were closed and can still be replayed.
    pub closed: usize,
}

/// What a hub holds at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Bytes in all rings.
    pub bytes: usize,
    /// Bytes of what is remembered of producers.
    pub producers_bytes: usize,
    /// Bytes of removed channels that the journal keeps. With the two above they are bounded by the
    /// budget of all rings.
    pub removed_bytes: usize,
    /// Pairs in the journal.
    pub journal_events: usize,
    /// Bytes of the journal, `removed_bytes` included. What pairs take is part of the overhead of
    /// their events in `bytes` as well.
    pub journal_bytes: usize,
    /// Idempotency keys remembered.
    pub idempotency_keys: usize,
    /// Channels.
    pub channels: usize,
    /// Channels that had an event or an end, and so a next look in the schedule.
    pub scheduled: usize,
    /// Removed channels that are remembered.
    pub tombstones: usize,
    /// Removed channels that were forgotten since the start.
    pub forgotten: u64,
}

impl Held {
    /// Bytes that count against the budget of all rings.
    pub fn budgeted_bytes(&self) -> usize {
        self.bytes + self.producers_bytes + self.removed_bytes
    }
}

/// Not part of any protocol between threads, so loom need not see it.
const RELAXED: Ordering = Ordering::Relaxed;
