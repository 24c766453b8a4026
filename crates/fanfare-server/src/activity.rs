//! What a connection is doing, so that one lazy watch can end it when it does nothing for too
//! long: no timer is set or cleared per request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::limits::{HEAD_READ_MS_MAX, KEEPALIVE_IDLE_MS_MAX};

/// Where a connection stands. The connection's own task writes and reads it.
#[derive(Debug)]
pub(crate) struct Activity {
    /// When the connection was accepted: times count from here.
    began: Instant,
    /// Requests that are being answered: one at the most over HTTP/1.
    requests: AtomicUsize,
    /// Whether bytes that come while nothing is answered begin a request's head. Over HTTP/2 they
    /// may be frames of the connection.
    heads: bool,
    /// When the connection began to wait for a request, in milliseconds.
    idle_since_ms: AtomicU64,
    /// When the first byte of a request's head came; 0 if none did.
    head_since_ms: AtomicU64,
    /// Since when the socket takes no byte; 0 if it takes them.
    blocked_since_ms: AtomicU64,
    /// Whether hyper may hold bytes of an answer that the socket has not taken.
    unflushed: AtomicBool,
    /// Told when it holds none.
    flushed: Notify,
}

/// Marks the end of an answer when it is dropped.
#[derive(Debug)]
pub(crate) struct Answered(Arc<Activity>);

impl Activity {
    pub(crate) fn new(heads: bool) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            heads,
            idle_since_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(0),
            blocked_since_ms: AtomicU64::new(0),
            unflushed: AtomicBool::new(false),
            flushed: Notify::new(),
        })
    }

    /// A request's head is whole; the next one begins when the guard is dropped.
    pub(crate) fn answering(self: &Arc<Self>) -> Answered {
        self.requests.fetch_add(1, Relaxed);
        self.head_since_ms.store(0, Relaxed);
        Answered(Arc::clone(self))
    }

    /// Bytes came from the peer.
    pub(crate) fn on_read(&self) {
        let idle = self.requests.load(Relaxed) == 0;
        if self.heads && idle && self.head_since_ms.load(Relaxed) == 0 {
            self.head_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// The socket took bytes, or took none.
    pub(crate) fn on_write(&self, taken: bool) {
        if taken {
            self.blocked_since_ms.store(0, Relaxed);
        } else if self.blocked_since_ms.load(Relaxed) == 0 {
            self.blocked_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// Whether the socket takes no byte.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since_ms.load(Relaxed) > 0
    }

    /// All that hyper held was taken.
    pub(crate) fn on_flush(&self) {
        if self.unflushed.swap(false, Relaxed) {
            self.flushed.notify_one();
        }
    }

    /// Resolves when nothing of an earlier answer is left in hyper: a socket that leaves hyper
    /// leaves that behind.
    pub(crate) async fn until_flushed(&self) {
        while self.unflushed.load(Relaxed) {
            self.flushed.notified().await;
        }
    }

    /// Whether a request's head has begun and not ended.
    pub(crate) fn is_reading_head(&self) -> bool {
        self.head_since_ms.load(Relaxed) > 0
    }

    /// Resolves when the connection did nothing for too long.
    pub(crate) async fn watch(&self, write_stall_ms_max: u64) {
        loop {
            let now_ms = self.now_ms();
            let left_ms = self.deadline_ms(write_stall_ms_max).saturating_sub(now_ms);
            if left_ms == 0 {
                return;
            }
            // A deadline may come closer meanwhile, so the sleep is short.
            tokio::time::sleep(Duration::from_millis(left_ms.min(LOOK_MS_MAX))).await;
        }
    }

    fn deadline_ms(&self, write_stall_ms_max: u64) -> u64 {
        let stalled = match self.blocked_since_ms.load(Relaxed) {
            0 => u64::MAX,
            since_ms => since_ms + write_stall_ms_max,
        };
        let idle = match self.head_since_ms.load(Relaxed) {
            _ if self.requests.load(Relaxed) > 0 => u64::MAX,
            0 => self.idle_since_ms.load(Relaxed) + KEEPALIVE_IDLE_MS_MAX,
            since_ms => since_ms + HEAD_READ_MS_MAX,
        };
        stalled.min(idle)
    }

    /// Never 0, which stands for "not".
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.unflushed.store(true, Relaxed);
        self.0.idle_since_ms.store(self.0.now_ms(), Relaxed);
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// Milliseconds between two looks at the most: how late a slow head may be noticed.
const LOOK_MS_MAX: u64 = 1_000;
