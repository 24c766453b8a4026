//! One stream: its position, who wakes it, and what hyper has of it.
//!
//! hyper asks a body for more before it knows whether the window of its stream is open, and takes a
//! whole piece into the window's last byte. So a stream has one piece in hyper at the most: what
//! came meanwhile is read when that piece is gone, and none is left behind when the body is reset
//! or its task ended.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use fanfare_core::Subscription;
use fanfare_fanout::Disconnect;

use super::{lock, reading::Tail, tasks::End};

/// One stream. The body in hyper holds it, and the worker may take its subscription away.
pub(crate) struct Stream {
    /// Its position; none once it was cut.
    pub(crate) subscription: Mutex<Option<Subscription>>,
    waker: Mutex<Option<Waker>>,
    /// Its index among the streams of its feed.
    pub(super) place: AtomicUsize,
    /// Since when it has had something to send, or hyper has had a piece of it, in milliseconds of
    /// the worker; 0 while it waits for events.
    waiting_since_ms: AtomicU64,
    /// Whether it is to be sent away once it has everything.
    leaving: AtomicBool,
    /// Milliseconds that were left of the drain when it was asked to leave.
    left_ms: AtomicU64,
    /// The piece that hyper has: a set of [`GIVEN`], [`ASKED`] and [`WANTED`].
    piece: AtomicU8,
    /// Of which joined frames that piece is, and their bytes; 0 if of none.
    joined: (AtomicUsize, AtomicUsize),
    /// Whether hyper could send a piece of joined frames.
    proven: AtomicBool,
    /// Whether it is among those who wait for room.
    pub(super) waits_for_room: AtomicBool,
    /// What ends its task.
    end: OnceLock<End>,
}

/// hyper has a piece.
const GIVEN: u8 = 1;
/// It has asked for more since, so it has put that piece where a reset finds it.
const ASKED: u8 = 2;
/// There is more, so the stream is woken when the piece is gone.
const WANTED: u8 = 4;

/// Bytes that hyper has.
struct Piece<T> {
    bytes: T,
    stream: Arc<Stream>,
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
            piece: AtomicU8::new(0),
            joined: (AtomicUsize::new(0), AtomicUsize::new(0)),
            proven: AtomicBool::new(false),
            waits_for_room: AtomicBool::new(false),
            end: OnceLock::new(),
        }
    }

    /// What can end it, from now on.
    pub(super) fn set_end(&self, end: End) {
        // It is set once, when the body is made.
        self.end.set(end).unwrap_or_default();
    }

    /// Notes that it was asked for more, and who to wake. Before the stream looks, so that what
    /// comes after wakes it.
    pub(super) fn ask(&self, waker: &Waker) {
        if self.has_given() {
            self.piece.fetch_or(ASKED, Ordering::Relaxed);
        }
        let mut current = lock(&self.waker);
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    /// Whether hyper has a piece.
    pub(super) fn has_given(&self) -> bool {
        self.piece.load(Ordering::Acquire) & GIVEN > 0
    }

    /// Whether what comes next has to wait for the piece that hyper has; then the stream is woken
    /// when that is gone.
    pub(super) fn must_wait(&self) -> bool {
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let wanted = |piece| (piece & GIVEN > 0).then_some(piece | WANTED);
        self.piece.fetch_update(set, fetch, wanted).is_ok()
    }

    /// A piece for hyper: private bytes.
    pub(super) fn give(self: &Arc<Self>, bytes: Bytes, now_ms: u64) -> Bytes {
        self.given((0, 0), now_ms);
        Bytes::from_owner(Piece { bytes, stream: Arc::clone(self) })
    }

    /// A piece for hyper: joined frames.
    pub(super) fn give_joined(self: &Arc<Self>, tail: Tail, now_ms: u64) -> Bytes {
        self.given(tail.0.place(), now_ms);
        Bytes::from_owner(Piece { bytes: tail, stream: Arc::clone(self) })
    }

    fn given(&self, (address, bytes): (usize, usize), now_ms: u64) {
        self.joined.0.store(address, Ordering::Relaxed);
        self.joined.1.store(bytes, Ordering::Relaxed);
        self.waits(now_ms);
        self.piece.store(GIVEN, Ordering::Release);
    }

    /// The piece is gone: sent, or thrown away.
    fn taken(&self) {
        if self.joined.1.load(Ordering::Relaxed) > 0 {
            self.proven.store(true, Ordering::Relaxed);
        }
        self.waits(0);
        if self.piece.swap(0, Ordering::AcqRel) & WANTED > 0 {
            self.wake_task();
        }
    }

    /// Notes that it waits for events, unless hyper still has a piece.
    pub(super) fn rests(&self) {
        if !self.has_given() {
            self.waits(0);
        }
    }

    fn waits(&self, since_ms: u64) {
        self.waiting_since_ms.store(since_ms, Ordering::Relaxed);
    }

    /// Since when it waits for its peer; 0 if it does not.
    pub(super) fn waiting_since_ms(&self) -> u64 {
        self.waiting_since_ms.load(Ordering::Relaxed)
    }

    /// Whether it has waited for its peer since before `since_ms`.
    pub(super) fn has_waited(&self, since_ms: u64) -> bool {
        (1..=since_ms).contains(&self.waiting_since_ms())
    }

    /// The address of the joined frames of which hyper has a piece, and their bytes.
    pub(super) fn holds(&self) -> Option<(usize, usize)> {
        let joined = (self.joined.0.load(Ordering::Relaxed), self.joined.1.load(Ordering::Relaxed));
        (self.has_given() && joined.1 > 0).then_some(joined)
    }

    /// Whether its peer has taken a piece of joined frames.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
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

    /// Wakes it for something new.
    pub(super) fn wake(&self, now_ms: u64) {
        if let Some(waker) = lock(&self.waker).take() {
            // If it was waiting for events, from here on it waits for the peer.
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            _ = self.waiting_since_ms.compare_exchange(0, now_ms, set, fetch);
            waker.wake();
        }
    }

    /// Wakes it to go on.
    pub(super) fn wake_task(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends a stream whose subscription was taken, with the piece that hyper has.
    pub(super) fn end(&self, reason: Disconnect) {
        let Some(end) = self.end.get() else { return self.wake_task() };
        if self.piece.load(Ordering::Relaxed) & (GIVEN | ASKED) == GIVEN {
            end.end();
        } else {
            // Its body resets the stream, which drops what waits for the socket.
            self.wake_task();
        }
        if reason == Disconnect::Memory {
            end.need();
        }
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Piece<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl<T> Drop for Piece<T> {
    fn drop(&mut self) {
        self.stream.taken();
    }
}
