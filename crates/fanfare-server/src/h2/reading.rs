//! A feed and the HTTP/2 streams that read it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use fanfare_core::{Feed, Framing, Hub, Run, Stop, Subscription, limits::BATCH_BYTES_MAX};

use super::{feeds::Quiet, lock};

/// A feed that streams read, and what they share.
pub(crate) struct Reading {
    /// What is read.
    pub(crate) feed: Arc<Feed>,
    /// Its place among the feeds.
    pub(super) slot: usize,
    /// Rises before the streams are woken.
    version: AtomicU64,
    /// Walked from the last to the first when they are woken, so that `swap_remove` only moves
    /// streams that were woken already.
    streams: Mutex<Vec<Arc<Stream>>>,
    /// What was read last, for the streams that are as far back.
    joined: Mutex<Option<Arc<Joined>>>,
    pub(super) quiet: Mutex<Quiet>,
    /// Whether its streams are being woken; only the worker looks.
    pub(super) queued: AtomicBool,
    /// Whether something came meanwhile.
    pub(super) again: AtomicBool,
}

/// One stream. The body in hyper holds it, and the worker may take its subscription away.
pub(crate) struct Stream {
    /// Its position; none once it was cut.
    pub(crate) subscription: Mutex<Option<Subscription>>,
    waker: Mutex<Option<Waker>>,
    /// Its index among the streams of its feed.
    place: AtomicUsize,
    /// Since when it has had something to send without being asked for it, in milliseconds of the
    /// worker; 0 while it waits for events.
    waiting_since_ms: AtomicU64,
    /// Whether it is to be sent away once it has everything.
    leaving: AtomicBool,
    /// Milliseconds that were left of the drain when it was asked to leave.
    left_ms: AtomicU64,
}

/// Frames joined for all streams that are as far back.
pub(crate) struct Joined {
    start: u64,
    end: u64,
    bytes: Bytes,
    /// Each frame's `seq` and where it ends in `bytes`.
    ends: Vec<(u64, usize)>,
    stop: Option<Stop>,
    exhausted: bool,
    /// The version of the feed before it was read.
    version: u64,
}

impl Reading {
    pub(super) fn new(feed: Arc<Feed>, slot: usize, quiet: Quiet) -> Self {
        Self {
            feed,
            slot,
            version: AtomicU64::new(0),
            streams: Mutex::default(),
            joined: Mutex::default(),
            quiet: Mutex::new(quiet),
            queued: AtomicBool::new(false),
            again: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, stream: &Arc<Stream>) {
        let mut streams = lock(&self.streams);
        stream.place.store(streams.len(), Ordering::Relaxed);
        streams.push(Arc::clone(stream));
    }

    /// Takes a stream out; returns whether it was the last.
    pub(super) fn remove(&self, stream: &Stream) -> bool {
        let mut streams = lock(&self.streams);
        let place = stream.place.load(Ordering::Relaxed);
        streams.swap_remove(place);
        if let Some(moved) = streams.get(place) {
            moved.place.store(place, Ordering::Relaxed);
        }
        streams.is_empty()
    }

    /// Begins to wake all streams: what they find from here on is new. Returns how many they are.
    pub(super) fn mark(&self) -> usize {
        self.version.fetch_add(1, Ordering::AcqRel);
        lock(&self.streams).len()
    }

    /// Wakes the last of the first `unwoken` streams, at most `wakes_max`; returns how many are
    /// left.
    pub(super) fn wake(&self, unwoken: usize, wakes_max: usize, now_ms: u64) -> usize {
        let streams = lock(&self.streams);
        let unwoken = unwoken.min(streams.len());
        let left = unwoken.saturating_sub(wakes_max);
        streams[left..unwoken].iter().for_each(|stream| stream.wake(now_ms));
        left
    }

    /// How many streams have had something to send since before `since_ms`.
    pub(super) fn waiting(&self, since_ms: u64) -> usize {
        let waits = |stream: &&Arc<Stream>| {
            (1..=since_ms).contains(&stream.waiting_since_ms.load(Ordering::Relaxed))
        };
        lock(&self.streams).iter().filter(waits).count()
    }

    /// The streams that have had something to send since before `since_ms`.
    pub(super) fn stalled(&self, since_ms: u64, out: &mut Vec<Arc<Stream>>) {
        let waits = |stream: &&Arc<Stream>| {
            (1..=since_ms).contains(&stream.waiting_since_ms.load(Ordering::Relaxed))
        };
        out.extend(lock(&self.streams).iter().filter(waits).cloned());
    }

    /// All streams.
    pub(super) fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).clone()
    }

    /// Lets go of what was read last, if nothing was marked since `version`; returns the version.
    pub(super) fn forget(&self, version: u64) -> u64 {
        let current = self.version.load(Ordering::Acquire);
        if current == version {
            *lock(&self.joined) = None;
        }
        current
    }

    /// What stands at `cursor`: what others read already, or a read of its own. None if nothing
    /// does, up to the last mark.
    pub(super) fn read(&self, hub: &Hub, cursor: u64) -> Option<Arc<Joined>> {
        let version = self.version.load(Ordering::Acquire);
        if let Some(joined) = &*lock(&self.joined) {
            if joined.covers(cursor) {
                return Some(Arc::clone(joined));
            }
            if joined.end == cursor && joined.exhausted && joined.version == version {
                return None;
            }
        }
        let read = Arc::new(Joined::read(&self.feed, hub, cursor, version));
        let mut joined = lock(&self.joined);
        // One that is far behind does not take the newest from the others.
        if joined.as_ref().is_none_or(|joined| joined.end <= read.end) {
            *joined = Some(Arc::clone(&read));
        }
        read.covers(cursor).then_some(read)
    }
}

impl Stream {
    pub(super) fn new(subscription: Subscription, now_ms: u64) -> Self {
        Self {
            subscription: Mutex::new(Some(subscription)),
            waker: Mutex::default(),
            place: AtomicUsize::new(0),
            waiting_since_ms: AtomicU64::new(now_ms),
            leaving: AtomicBool::new(false),
            left_ms: AtomicU64::new(0),
        }
    }

    /// Remembers who to wake. Before the stream looks, so that what comes after wakes it.
    pub(super) fn register(&self, waker: &Waker) {
        let mut current = lock(&self.waker);
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    /// Notes that it waits to be asked for more; or, at 0, for events.
    pub(super) fn waits(&self, since_ms: u64) {
        self.waiting_since_ms.store(since_ms, Ordering::Relaxed);
    }

    /// Milliseconds of drain that are left, if it is to be sent away.
    pub(super) fn leaving(&self) -> Option<u32> {
        let left_ms = || u32::try_from(self.left_ms.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        self.leaving.load(Ordering::Acquire).then(left_ms)
    }

    /// Asks it to leave.
    pub(super) fn leave(&self, left_ms: u64, now_ms: u64) {
        self.left_ms.store(left_ms, Ordering::Relaxed);
        self.leaving.store(true, Ordering::Release);
        self.wake(now_ms);
    }

    fn wake(&self, now_ms: u64) {
        if let Some(waker) = lock(&self.waker).take() {
            // It was waiting for events; from here on it waits for the peer.
            self.waits(now_ms);
            waker.wake();
        }
    }
}

impl Joined {
    fn read(feed: &Feed, hub: &Hub, cursor: u64, version: u64) -> Self {
        let mut run = Run::default();
        feed.read(hub, cursor, BATCH_BYTES_MAX, &mut run);
        let mut bytes = BytesMut::new();
        let mut ends = Vec::with_capacity(run.frames.len());
        for (seq, frame) in &run.frames {
            bytes.extend_from_slice(frame.bytes(Framing::Bare));
            ends.push((*seq, bytes.len()));
        }
        let Run { end, stop, exhausted, .. } = run;
        Self { start: cursor, end, bytes: bytes.freeze(), ends, stop, exhausted, version }
    }

    /// Whether a stream at `cursor` gets its next bytes, or its stop, here.
    fn covers(&self, cursor: u64) -> bool {
        (self.start..self.end).contains(&cursor)
    }

    /// The bytes for a stream at `cursor`, and how many events they are.
    pub(super) fn from(&self, cursor: u64) -> (Bytes, usize) {
        let first = self.ends.partition_point(|(seq, _)| *seq < cursor);
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before].1);
        (self.bytes.slice(start..), self.ends.len() - first)
    }

    /// The place of one of the events for a stream at `cursor`.
    pub(super) fn seq_from(&self, cursor: u64, index: usize) -> Option<u64> {
        let first = self.ends.partition_point(|(seq, _)| *seq < cursor);
        self.ends.get(first + index).map(|(seq, _)| *seq)
    }

    /// How many events there are from one cursor to another.
    pub(super) fn events_between(&self, cursor: u64, end: u64) -> usize {
        let before = |cursor| self.ends.partition_point(|(seq, _)| *seq < cursor);
        before(end).saturating_sub(before(cursor))
    }

    /// The places of the events.
    #[cfg(test)]
    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.ends.iter().map(|(seq, _)| *seq)
    }

    /// The cursor after all of it.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// What stands after the frames.
    pub(super) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }
}
