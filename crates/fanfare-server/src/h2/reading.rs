//! A feed and the HTTP/2 streams that read it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use fanfare_core::{Feed, Framing, Hub, Run, Stop, is_inside, limits::BATCH_BYTES_MAX};

pub(super) use super::stream::Stream;
use super::{
    feeds::Quiet,
    held::Holding,
    lock,
    stock::{Held, Stock},
};

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
    /// When deltas go out, if some wait for others.
    pub(super) held: Option<Holding>,
    /// Whether its streams are being woken; only the worker looks.
    pub(super) queued: AtomicBool,
    /// Whether something came meanwhile.
    pub(super) again: AtomicBool,
}

/// Frames joined for all streams that are as far back.
pub(crate) struct Joined {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
    /// Each frame's `seq` and where it ends in `bytes`.
    ends: Vec<(u64, usize)>,
    /// The first and the last `seq` of frames that stand for several events.
    merged: Vec<(u64, u64)>,
    stop: Option<Stop>,
    exhausted: bool,
    /// The version of the feed before it was read.
    version: u64,
    _held: Held,
}

/// What stands at a cursor, as far as that is known without a read.
pub(super) enum Look {
    /// What others read already.
    Here(Arc<Joined>),
    /// Nothing, up to the last mark.
    Nothing,
    /// It has to be read.
    Unread,
}

/// The last part of what was joined, from a byte on.
pub(super) struct Tail(pub(super) Arc<Joined>, usize);

impl Reading {
    /// A feed whose streams begin at `head`.
    pub(super) fn new(feed: Arc<Feed>, slot: usize, quiet: Quiet, head: u64) -> Self {
        Self {
            held: Holding::of(&feed, head),
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

    /// Until when what is new waits, all of it.
    pub(super) fn holds(&self, hub: &Hub, now_ms: u64) -> Option<u64> {
        self.held.as_ref()?.holds(&self.feed, hub, now_ms)
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
        lock(&self.streams).iter().filter(|stream| stream.has_waited(since_ms)).count()
    }

    /// The streams that have had something to send since before `since_ms`.
    pub(super) fn stalled(&self, since_ms: u64, out: &mut Vec<Arc<Stream>>) {
        out.extend(lock(&self.streams).iter().filter(|s| s.has_waited(since_ms)).cloned());
    }

    /// All streams.
    pub(super) fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).clone()
    }

    /// Lets go of what was read last, if nothing was marked since `version`; returns the version.
    pub(super) fn forget(&self, version: u64) -> u64 {
        let current = self.version.load(Ordering::Acquire);
        if current == version {
            self.forget_joined();
        }
        current
    }

    /// Lets go of what was read last.
    pub(super) fn forget_joined(&self) {
        *lock(&self.joined) = None;
    }

    /// What stands at `cursor`, if others read it already.
    pub(super) fn look(&self, cursor: u64) -> Look {
        let version = self.version.load(Ordering::Acquire);
        match &*lock(&self.joined) {
            Some(joined) if joined.covers(cursor) => Look::Here(Arc::clone(joined)),
            Some(joined) if joined.end == cursor && joined.exhausted => {
                if joined.version == version { Look::Nothing } else { Look::Unread }
            }
            _ => Look::Unread,
        }
    }

    /// Reads what stands at `cursor`. None if nothing does.
    pub(super) fn read(&self, hub: &Hub, stock: &Arc<Stock>, cursor: u64) -> Option<Arc<Joined>> {
        let version = self.version.load(Ordering::Acquire);
        let read = Arc::new(Joined::read(&self.feed, hub, stock, cursor, version));
        let mut joined = lock(&self.joined);
        // One that is far behind does not take the newest from the others.
        if joined.as_ref().is_none_or(|joined| joined.end <= read.end) {
            *joined = Some(Arc::clone(&read));
        }
        read.covers(cursor).then_some(read)
    }
}

impl Joined {
    fn read(feed: &Feed, hub: &Hub, stock: &Arc<Stock>, cursor: u64, version: u64) -> Self {
        let mut run = Run::default();
        feed.read(hub, cursor, BATCH_BYTES_MAX, &mut run);
        let frames = || run.frames.iter().map(|(seq, frame)| (*seq, frame.bytes(Framing::Bare)));
        let mut bytes = Vec::with_capacity(frames().map(|(_, frame)| frame.len()).sum());
        let mut ends = Vec::with_capacity(run.frames.len());
        for (seq, frame) in frames() {
            bytes.extend_from_slice(frame);
            ends.push((seq, bytes.len()));
        }
        let Run { end, stop, exhausted, merged, .. } = run;
        let held = stock.hold(bytes.capacity() + size_of_val(&*ends) + size_of_val(&*merged));
        Self { start: cursor, end, bytes, ends, merged, stop, exhausted, version, _held: held }
    }

    /// Whether a stream at `cursor` gets its next bytes, or its stop, here.
    fn covers(&self, cursor: u64) -> bool {
        (self.start..self.end).contains(&cursor) && !is_inside(&self.merged, cursor)
    }

    /// The bytes for a stream at `cursor`, and how many events they are.
    pub(super) fn from(self: &Arc<Self>, cursor: u64) -> (Tail, usize) {
        let first = self.ends.partition_point(|(seq, _)| *seq < cursor);
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before].1);
        (Tail(Arc::clone(self), start), self.ends.len() - first)
    }

    /// Its address, which no other has meanwhile, and the bytes that it holds.
    pub(super) fn place(self: &Arc<Self>) -> (usize, usize) {
        (Arc::as_ptr(self).addr(), self.bytes.len())
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

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes[self.1..]
    }
}
