//! The memory that joined frames take, and who waits for some of it.
//!
//! Policy: joined frames count from when they are read until nobody needs them, once for all
//! streams that share them, beside what slow subscribers pin over HTTP/1. While that is too much a
//! stream that has to read for itself waits: first those go on that have taken such frames before,
//! and not who has yet to show that it takes any. See `sweep` for who gives room.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use fanfare_core::{Hub, WorkerIndex};
use fanfare_fanout::Pinned;

use super::{lock, reading::Stream};

/// What all joined frames of a hub's HTTP/2 streams hold.
pub(super) struct Stock {
    hub: Arc<Hub>,
    worker: WorkerIndex,
    /// What all workers hold.
    pinned: Arc<Pinned>,
    /// What this one holds.
    bytes: AtomicUsize,
    waiting: Mutex<Waiting>,
    /// Whether anybody waits.
    is_waited_for: AtomicBool,
}

/// Streams that wait, in turn; each of them once.
#[derive(Default)]
struct Waiting {
    proven: VecDeque<Arc<Stream>>,
    others: VecDeque<Arc<Stream>>,
}

/// Bytes that count until this is dropped.
pub(super) struct Held {
    stock: Arc<Stock>,
    bytes: usize,
}

impl Stock {
    pub(super) fn new(hub: Arc<Hub>, worker: WorkerIndex, pinned: Arc<Pinned>) -> Arc<Self> {
        let (bytes, waiting) = (AtomicUsize::new(0), Mutex::default());
        let is_waited_for = AtomicBool::new(false);
        Arc::new(Self { hub, worker, pinned, bytes, waiting, is_waited_for })
    }

    /// Counts so many bytes.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.bytes.fetch_add(bytes, Relaxed);
        if self.pinned.add(bytes) {
            // Others may have to give room.
            self.hub.ring_all();
        }
        Held { stock: Arc::clone(self), bytes }
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether nothing may be read for now.
    pub(super) fn is_full(&self) -> bool {
        self.pinned.is_excess(self.bytes())
    }

    /// Whether a stream has to wait; then it is woken when there is room.
    pub(super) fn must_wait(&self, stream: &Arc<Stream>) -> bool {
        if !self.is_full() {
            return false;
        }
        if !stream.waits_for_room.swap(true, Relaxed) {
            let mut waiting = lock(&self.waiting);
            let Waiting { proven, others } = &mut *waiting;
            let queue = if stream.is_proven() { proven } else { others };
            queue.push_back(Arc::clone(stream));
        }
        self.is_waited_for.store(true, SeqCst);
        // Stock that came before the line above wakes nobody.
        if !self.is_full() {
            self.hub.doorbell(self.worker).ring();
        }
        true
    }

    /// Whether somebody waits who need not.
    pub(super) fn can_go_on(&self) -> bool {
        self.is_waited_for.load(SeqCst) && !self.is_full()
    }

    /// Wakes some of those who wait, if there is room.
    pub(super) fn go_on(&self, streams_max: usize) {
        for _ in 0..streams_max {
            if !self.can_go_on() {
                return;
            }
            let mut waiting = lock(&self.waiting);
            let Waiting { proven, others } = &mut *waiting;
            let next = proven.pop_front().or_else(|| others.pop_front());
            if proven.is_empty() && others.is_empty() {
                self.is_waited_for.store(false, SeqCst);
            }
            drop(waiting);
            if let Some(stream) = next {
                stream.waits_for_room.store(false, Relaxed);
                stream.wake_task();
            }
        }
    }

    /// Forgets those who wait and are gone.
    pub(super) fn tidy(&self) {
        let stays = |stream: &Arc<Stream>| lock(&stream.subscription).is_some();
        let Waiting { proven, others } = std::mem::take(&mut *lock(&self.waiting));
        let left = |queue: VecDeque<_>| queue.into_iter().filter(stays).collect();
        let (mut proven, mut others): (VecDeque<_>, VecDeque<_>) = (left(proven), left(others));
        let mut waiting = lock(&self.waiting);
        // Who came meanwhile came later.
        proven.append(&mut waiting.proven);
        others.append(&mut waiting.others);
        *waiting = Waiting { proven, others };
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stock.bytes.fetch_sub(self.bytes, Relaxed);
        self.stock.pinned.remove(self.bytes);
        if self.stock.is_waited_for.load(SeqCst) {
            self.stock.hub.doorbell(self.stock.worker).ring();
        }
    }
}
