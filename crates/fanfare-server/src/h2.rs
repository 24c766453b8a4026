//! Subscribers over HTTP/2: for the marks of the hub they are one more worker.
//!
//! A task takes the marks and wakes the streams of each feed, a bounded number at a time; a
//! publisher never wakes them itself. Each stream is a body in hyper that reads the same feeds by
//! its own cursor, and is not polled while its flow-control window is closed: a slow stream costs
//! a cursor and what its send buffer holds, and falls off the ring like any other.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use fanfare_core::{
    Batch, Channel, Doorbell, Feed, FeedKey, Framing, Hub, Marks, Run, Trie, WorkerIndex,
    limits::BATCH_BYTES_MAX,
};
use fanfare_fanout::{Disconnect, Totals};
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::limits::{H2_WAKES_MAX, POLL_MS};

/// The worker of all HTTP/2 subscribers.
pub(crate) struct H2 {
    hub: Arc<Hub>,
    worker: WorkerIndex,
    /// Rung by the doorbell.
    notify: Arc<Notify>,
    feeds: Mutex<Feeds>,
    /// How far the journal was walked for the feeds that follow it.
    walked: AtomicU64,
    /// Streams that are open.
    streams: AtomicUsize,
    totals: SharedTotals,
}

/// The feeds that streams read.
#[derive(Default)]
struct Feeds {
    slots: Slab<Arc<Shared>>,
    by_key: HashMap<FeedKey, usize>,
    by_channel: HashMap<u64, Vec<usize>>,
    patterns: Trie<usize>,
}

/// A feed and the streams that read it.
pub(crate) struct Shared {
    pub(crate) feed: Arc<Feed>,
    slot: usize,
    /// Rises before the streams are woken.
    version: AtomicU64,
    streams: Mutex<Slab<Arc<Stream>>>,
    /// What was read last, for the streams that are as far back.
    joined: Mutex<Option<Arc<Joined>>>,
    quiet: Mutex<Quiet>,
}

/// Stretches of the journal where nothing concerns a feed, so that a stream which waited through
/// one does not walk it, nor take it for a gap once the journal has let it go.
struct Quiet {
    /// The one before the last matches: from a cursor to the first of them.
    before: (u64, u64),
    /// The one since: from here to where the journal was walked.
    from: u64,
}

/// What the worker knows of one stream.
#[derive(Default)]
pub(crate) struct Stream {
    waker: Mutex<Option<Waker>>,
    /// Whether it is to be sent away once it has everything, and by how many milliseconds of
    /// drain that are left.
    leaving: AtomicBool,
    left_ms: AtomicU64,
}

/// A batch as bytes that streams can share.
pub(crate) struct Joined {
    pub(crate) batch: Batch,
    bytes: Bytes,
    /// The version of the feed before it was read.
    version: u64,
}

#[derive(Default)]
struct SharedTotals {
    events_delivered: AtomicU64,
    bytes_sent: AtomicU64,
    disconnects: [AtomicU64; Disconnect::ALL.len()],
}

impl H2 {
    /// A doorbell for the hub, and what it rings.
    pub(crate) fn doorbell() -> (Arc<Doorbell>, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let rung = Arc::clone(&notify);
        (Arc::new(Doorbell::new(Box::new(move || rung.notify_one()))), notify)
    }

    pub(crate) fn new(hub: Arc<Hub>, worker: WorkerIndex, notify: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            hub,
            worker,
            notify,
            feeds: Mutex::default(),
            walked: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
            totals: SharedTotals::default(),
        })
    }

    /// The worker that a subscription is for.
    pub(crate) fn worker(&self) -> WorkerIndex {
        self.worker
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Takes marks and wakes streams, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut marks = Marks::default();
        let mut woken = Vec::new();
        loop {
            if self.hub.doorbell(self.worker).sleep() {
                self.notify.notified().await;
            }
            self.hub.doorbell(self.worker).take(self.worker, &mut marks);
            self.marked(&marks, &mut woken);
            for feed in woken.drain(..) {
                Box::pin(feed.wake()).await;
            }
        }
    }

    /// The feeds that have something new.
    fn marked(&self, marks: &Marks, out: &mut Vec<Arc<Shared>>) {
        let feeds = lock(&self.feeds);
        for channel in &marks.channels {
            out.extend(feeds.reading(channel).cloned());
        }
        if marks.journal {
            feeds.walk_journal(&self.hub, &self.walked, out);
        }
    }

    /// Adds a stream to the feed that equal subscriptions share.
    pub(crate) fn join(&self, feed: &Arc<Feed>) -> (Arc<Shared>, usize, Arc<Stream>) {
        let mut feeds = lock(&self.feeds);
        let shared = feeds.find_or_insert(feed, &self.hub, &self.walked);
        let stream = Arc::new(Stream::default());
        let place = lock(&shared.streams).insert(Arc::clone(&stream));
        self.streams.fetch_add(1, Ordering::Relaxed);
        (shared, place, stream)
    }

    /// Takes a stream out.
    pub(crate) fn leave(&self, shared: &Shared, place: usize, reason: Disconnect) {
        let mut feeds = lock(&self.feeds);
        let empty = {
            let mut streams = lock(&shared.streams);
            streams.remove(place);
            streams.is_empty()
        };
        if empty {
            feeds.remove(shared);
        }
        self.streams.fetch_sub(1, Ordering::Relaxed);
        self.totals.disconnects[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a stream was given.
    pub(crate) fn sent(&self, bytes: usize, events: usize) {
        self.totals.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.totals.events_delivered.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// What all streams were given.
    pub(crate) fn totals(&self) -> Totals {
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Totals {
            events_delivered: load(&self.totals.events_delivered),
            bytes_sent: load(&self.totals.bytes_sent),
            disconnects: std::array::from_fn(|reason| load(&self.totals.disconnects[reason])),
        }
    }

    /// Sends all streams away, spread over a period; those with an open streaming publish last.
    /// Resolves when the last is gone, with how many there were.
    pub(crate) async fn drain(&self, period: Duration) -> u64 {
        let mut queue: Vec<_> = lock(&self.feeds)
            .slots
            .iter()
            .flat_map(|(_, shared)| {
                let publishing = shared.feed.is_publishing();
                let streams: Vec<_> =
                    lock(&shared.streams).iter().map(|(_, s)| (publishing, s.clone())).collect();
                streams
            })
            .collect();
        queue.sort_by_key(|(publishing, _)| *publishing);
        let began = Instant::now();
        let total = queue.len() as u32;
        for (index, (_, stream)) in queue.iter().enumerate() {
            sleep_until(began + period * index as u32 / total).await;
            let left = period.saturating_sub(began.elapsed());
            stream.left_ms.store(left.as_millis() as u64, Ordering::Relaxed);
            stream.leaving.store(true, Ordering::Release);
            stream.wake();
        }
        while self.streams.load(Ordering::Relaxed) > 0 {
            sleep_until(Instant::now() + Duration::from_millis(POLL_MS)).await;
        }
        total.into()
    }
}

impl Feeds {
    fn reading(&self, channel: &Channel) -> impl Iterator<Item = &Arc<Shared>> {
        let slots = self.by_channel.get(&channel.instance()).map_or(&[][..], Vec::as_slice);
        slots.iter().map(|slot| &self.slots[*slot])
    }

    /// The feeds whose patterns match what came since the last walk.
    fn walk_journal(&self, hub: &Hub, walked: &AtomicU64, out: &mut Vec<Arc<Shared>>) {
        let (mut pairs, mut matching) = (Vec::new(), Vec::new());
        let mut found: HashMap<usize, (u64, u64)> = HashMap::new();
        let mut cursor = walked.load(Ordering::Relaxed);
        loop {
            let walk = hub.walk_journal(cursor, &mut pairs);
            if walk.has_gap() {
                // What is gone may have concerned any of them: each finds out by its own read.
                let follows = |(_, shared): &(usize, &Arc<Shared>)| shared.feed.follows_journal();
                out.extend(self.slots.iter().filter(follows).map(|(_, s)| Arc::clone(s)));
            }
            for (seq, channel) in &pairs {
                self.patterns.matches(channel.name(), &mut matching);
                for slot in &matching {
                    found.entry(*slot).or_insert((*seq, *seq)).1 = *seq;
                }
            }
            cursor = walk.next;
            if walk.exhausted {
                break;
            }
        }
        for (slot, (first, last)) in found {
            let shared = &self.slots[slot];
            lock(&shared.quiet).interrupt(first, last);
            out.push(Arc::clone(shared));
        }
        walked.store(cursor, Ordering::Release);
    }

    fn find_or_insert(&mut self, feed: &Arc<Feed>, hub: &Hub, walked: &AtomicU64) -> Arc<Shared> {
        let key = feed.key();
        if let Some(slot) = self.by_key.get(&key) {
            return Arc::clone(&self.slots[*slot]);
        }
        let head = hub.watermark() + 1;
        if !self.slots.iter().any(|(_, shared)| shared.feed.follows_journal()) {
            walked.store(head, Ordering::Release);
        }
        let from = if feed.follows_journal() { head } else { u64::MAX };
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        let shared = Arc::new(Shared {
            feed: Arc::clone(feed),
            slot,
            version: AtomicU64::new(0),
            streams: Mutex::default(),
            joined: Mutex::default(),
            quiet: Mutex::new(Quiet { before: (0, 0), from }),
        });
        entry.insert(Arc::clone(&shared));
        self.by_key.insert(key, slot);
        for channel in feed.channels() {
            self.by_channel.entry(channel.instance()).or_default().push(slot);
        }
        if feed.follows_journal() {
            self.patterns.insert(feed.selectors(), slot);
        }
        shared
    }

    fn remove(&mut self, shared: &Shared) {
        let feed = &shared.feed;
        self.slots.remove(shared.slot);
        self.by_key.remove(&feed.key());
        for channel in feed.channels() {
            if let Some(slots) = self.by_channel.get_mut(&channel.instance()) {
                slots.retain(|slot| *slot != shared.slot);
                if slots.is_empty() {
                    self.by_channel.remove(&channel.instance());
                }
            }
        }
        if feed.follows_journal() {
            self.patterns.remove(feed.selectors(), shared.slot);
        }
    }
}

impl Quiet {
    /// Notes matches, the first and the last since the previous note.
    fn interrupt(&mut self, first: u64, last: u64) {
        if first >= self.from {
            self.before = (self.from, first);
        }
        self.from = self.from.max(last + 1);
    }
}

impl Shared {
    /// Where a stream at `cursor` really stands.
    pub(crate) fn standing(&self, cursor: u64, h2: &H2) -> u64 {
        // Read first: a match beyond it is not noted yet.
        let walked = h2.walked.load(Ordering::Acquire);
        let quiet = lock(&self.quiet);
        let (before, first) = quiet.before;
        match cursor {
            _ if cursor >= quiet.from => cursor.max(walked),
            _ if (before..first).contains(&cursor) => first,
            _ => cursor,
        }
    }

    /// Wakes all streams, a turn's worth at a time.
    async fn wake(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        let mut next = 0;
        loop {
            let more = {
                let streams = lock(&self.streams);
                let end = streams.capacity().min(next + H2_WAKES_MAX);
                (next..end).filter_map(|place| streams.get(place)).for_each(|s| s.wake());
                next = end;
                next < streams.capacity()
            };
            if !more {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What stands at `cursor`: what others read already, or a read of its own. None if nothing
    /// does, up to the last mark.
    pub(crate) fn read(&self, hub: &Hub, cursor: u64) -> Option<Arc<Joined>> {
        let version = self.version.load(Ordering::Acquire);
        let mut joined = lock(&self.joined);
        if let Some(joined) = &*joined {
            if joined.batch.covers(cursor) {
                return Some(Arc::clone(joined));
            }
            let at_end = joined.batch.end() == cursor && joined.batch.is_exhausted();
            if at_end && joined.version == version {
                return None;
            }
        }
        let mut run = Run::default();
        let mut batch = Batch::new(Framing::Bare);
        self.feed.read(hub, cursor, BATCH_BYTES_MAX, &mut run);
        batch.reset(Framing::Bare, cursor);
        batch.append(&mut run);
        let bytes = Bytes::copy_from_slice(batch.bytes_from(cursor));
        let read = Arc::new(Joined { batch, bytes, version });
        *joined = Some(Arc::clone(&read));
        Some(read)
    }
}

impl Joined {
    /// The bytes for a stream at `cursor`.
    pub(crate) fn bytes_from(&self, cursor: u64) -> Bytes {
        self.bytes.slice(self.bytes.len() - self.batch.bytes_from(cursor).len()..)
    }
}

impl Stream {
    /// Remembers who to wake. Before the stream looks, so that what comes after wakes it.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut current = lock(&self.waker);
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    /// Milliseconds of drain that are left, if the stream is to be sent away.
    pub(crate) fn leaving(&self) -> Option<u32> {
        let left_ms = || u32::try_from(self.left_ms.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        self.leaving.load(Ordering::Acquire).then(left_ms)
    }

    fn wake(&self) {
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }
}

/// A thread that panicked leaves nothing half done here that a reader could see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
