//! One subscriber's stream over HTTP/2: a body that reads its feed by cursor.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use fanfare_core::{
    HEARTBEAT, Met, Opening, ReconnectReason, Subscription,
    limits::{END_RETRY_MS_MAX, END_RETRY_MS_MIN},
};
use fanfare_fanout::{
    Disconnect,
    limits::{AGE_RETRY_MS, DRAIN_RETRY_MS},
};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    End, Given, H2, lock,
    reading::{Joined, Look, Reading},
    stream::Stream,
};
use crate::limits::{H2_ABORT_DELAY_MS, H2_READS_MAX};

/// A subscriber over HTTP/2.
pub(crate) struct H2Body {
    h2: Arc<H2>,
    reading: Arc<Reading>,
    stream: Arc<Stream>,
    /// Private bytes that go out before anything else.
    pending: Bytes,
    /// Set when the stream ends as soon as nothing is pending.
    closing: Option<Disconnect>,
    /// Silence after which a heartbeat is sent.
    heartbeat: Duration,
    /// Fires when a heartbeat may be due, and after the last bytes of a stream that is aborted.
    timer: Pin<Box<Sleep>>,
    /// When bytes were last given to hyper.
    sent_at: Instant,
    /// When it is as old as it may be.
    leaves_at: Option<Instant>,
}

/// What a look for the next bytes found.
enum Next {
    Bytes(Bytes),
    /// Something that has to wait; the stream is woken for it.
    Later,
    /// Nothing now.
    Nothing,
}

impl H2Body {
    /// The stream of a new subscription. After `age_ms_max` it is sent away, to come back; 0
    /// stands for never.
    pub(crate) fn new(h2: &Arc<H2>, opening: Opening, heartbeat_ms: u32, age_ms_max: u64) -> Self {
        let Opening { subscription, events, finished, .. } = opening;
        let (reading, stream) = h2.join(subscription);
        let mut pending = HEARTBEAT.to_vec();
        events.iter().for_each(|event| pending.extend_from_slice(event));
        let heartbeat = Duration::from_millis(heartbeat_ms.into());
        Self {
            h2: Arc::clone(h2),
            reading,
            stream,
            pending: pending.into(),
            closing: finished.then_some(Disconnect::Ended),
            heartbeat,
            timer: Box::pin(sleep(Duration::ZERO)),
            sent_at: Instant::now(),
            leaves_at: (age_ms_max > 0)
                .then(|| Instant::now().checked_add(Duration::from_millis(age_ms_max)))
                .flatten(),
        }
    }

    /// The same, with what ends it when its peer takes nothing.
    pub(crate) fn with_end(self, end: Option<End>) -> Self {
        if let Some(end) = end {
            self.stream.set_end(end);
        }
        self
    }

    /// The next bytes, if there are any now.
    fn next(&mut self, cx: &Context<'_>) -> Next {
        self.stream.ask(cx.waker());
        let stream = Arc::clone(&self.stream);
        let mut held = lock(&stream.subscription);
        let Some(subscription) = &mut *held else {
            self.closing = Some(Disconnect::Stalled);
            return Next::Nothing;
        };
        for _ in 0..H2_READS_MAX {
            if !self.pending.is_empty() {
                if stream.must_wait() {
                    return Next::Later;
                }
                let bytes = std::mem::take(&mut self.pending);
                self.h2.sent(bytes.len(), None);
                return Next::Bytes(stream.give(bytes, self.h2.now_ms()));
            }
            if self.closing.is_some() {
                return Next::Nothing;
            }
            let cursor = lock(&self.reading.quiet).standing(subscription.cursor);
            subscription.cursor = cursor;
            if let Some(told) = subscription.tell_live() {
                self.pending = told.into();
                continue;
            }
            let Ok(joined) = self.read(subscription) else { return Next::Later };
            let Some(joined) = joined else {
                let Some((reason, retry_ms, closing)) = self.leaving() else {
                    return Next::Nothing;
                };
                let told = subscription.reconnect(reason, retry_ms);
                self.pending = told.unwrap_or_default().into();
                self.closing = Some(closing);
                continue;
            };
            self.pass(subscription, &joined);
            let (tail, events) = joined.from(cursor);
            let bytes = tail.as_ref().len();
            if bytes > 0 {
                let live_from = subscription.live_from();
                let given = Given { joined: &joined, cursor, events, live_from };
                self.h2.sent(bytes, Some(given));
                return Next::Bytes(stream.give_joined(tail, self.h2.now_ms()));
            }
        }
        // A long way along the journal without a match: others first.
        cx.waker().wake_by_ref();
        Next::Nothing
    }

    /// What stands at its cursor, if anything does. An error means that it has to wait: for hyper
    /// to send what it has, or for room.
    fn read(&self, subscription: &Subscription) -> Result<Option<Arc<Joined>>, MustWait> {
        let cursor = subscription.cursor;
        let look = match self.reading.look(cursor) {
            // Nothing was marked, but what waits for a window does not wait for longer than its
            // stream, and that nothing stands before the first live place has to be read.
            Look::Nothing if self.is_held_and_leaves() || subscription.awaits_live() => {
                Look::Unread
            }
            look => look,
        };
        if !matches!(look, Look::Nothing) && self.stream.must_wait() {
            return Err(MustWait);
        }
        match look {
            Look::Here(joined) => Ok(Some(joined)),
            Look::Nothing => Ok(None),
            Look::Unread if self.h2.stock.must_wait(&self.stream) => {
                self.stream.rests();
                Err(MustWait)
            }
            Look::Unread => Ok(self.reading.read(&self.h2.hub, &self.h2.stock, cursor)),
        }
    }

    fn is_held_and_leaves(&self) -> bool {
        self.reading.held.is_some() && self.leaving().is_some()
    }

    /// Why it goes, having everything, and when it is to come back; none if it stays.
    fn leaving(&self) -> Option<(ReconnectReason, u32, Disconnect)> {
        if let Some(left_ms) = self.stream.leaving() {
            let retry_ms = left_ms.saturating_add(fastrand::u32(DRAIN_RETRY_MS));
            return Some((ReconnectReason::Drain, retry_ms, Disconnect::Drain));
        }
        let is_old = self.leaves_at.is_some_and(|at| at <= Instant::now());
        let retry_ms = || fastrand::u32(AGE_RETRY_MS);
        is_old.then(|| (ReconnectReason::MaxAge, retry_ms(), Disconnect::MaxAge))
    }

    /// Goes past what was joined: on to its end, or to what stands there.
    fn pass(&mut self, subscription: &mut Subscription, joined: &Joined) {
        let Some(stop) = joined.stop() else {
            subscription.cursor = joined.end();
            return;
        };
        let retry_ms = fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX);
        match subscription.meet(stop, joined.end(), retry_ms) {
            Met::Abort => self.closing = Some(Disconnect::Gap),
            Met::Cut(sse) => {
                self.pending = sse.into();
                self.closing = Some(Disconnect::Lagged);
            }
            Met::Nothing => {}
            Met::Tell(sse) => self.pending = sse.into(),
        }
        if self.closing.is_none() && subscription.has_ended() {
            self.closing = Some(Disconnect::Ended);
        }
    }

    /// A heartbeat if one is due; else the timer is set.
    fn beat(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let beat = self.sent_at + self.heartbeat <= now;
            if beat {
                self.sent_at = now;
            }
            let beat_at = self.sent_at + self.heartbeat;
            let leaves_at = self.leaves_at.filter(|at| *at > now);
            self.timer.as_mut().reset(leaves_at.map_or(beat_at, |at| at.min(beat_at)));
            if self.leaves_at.is_some_and(|at| at <= now) {
                // The next look finds that it is too old.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What hyper has not sent yet beats as well.
            if beat && !self.stream.has_given() {
                self.h2.sent(HEARTBEAT.len(), None);
                let beat = Bytes::from_static(HEARTBEAT);
                return Poll::Ready(self.stream.give(beat, self.h2.now_ms()));
            }
        }
    }
}

/// What is next has to wait.
struct MustWait;

impl Body for H2Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        let bytes = match this.next(cx) {
            Next::Bytes(bytes) => bytes,
            Next::Later => return Poll::Pending,
            Next::Nothing => match this.closing {
                // hyper would keep what it has for as long as the peer likes.
                Some(Disconnect::Ended) if this.stream.must_wait() => return Poll::Pending,
                Some(Disconnect::Ended) => return Poll::Ready(None),
                Some(Disconnect::Stalled) => return Poll::Ready(Some(Err(Aborted))),
                Some(_) => {
                    ready!(delayed(&mut this.timer, this.sent_at, cx));
                    return Poll::Ready(Some(Err(Aborted)));
                }
                None => {
                    this.stream.rests();
                    ready!(this.beat(cx))
                }
            },
        };
        this.sent_at = Instant::now();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Drop for H2Body {
    fn drop(&mut self) {
        let subscription = lock(&self.stream.subscription).take();
        if subscription.is_some() {
            drop(subscription);
            let reason = self.closing.unwrap_or(Disconnect::Client);
            self.h2.leave(&self.reading, &self.stream, reason);
        }
    }
}

/// Ready a little after the last bytes were given to hyper: a reset overtakes what waits there.
fn delayed(timer: &mut Pin<Box<Sleep>>, sent_at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let at = sent_at + Duration::from_millis(H2_ABORT_DELAY_MS);
    if timer.deadline() != at {
        timer.as_mut().reset(at);
    }
    timer.as_mut().poll(cx)
}

/// A stream that says only to come back: its bytes, then a reset.
pub(crate) struct AwayBody {
    bytes: Bytes,
    timer: Pin<Box<Sleep>>,
    /// When the bytes were given to hyper.
    sent_at: Instant,
}

impl AwayBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, timer: Box::pin(sleep(Duration::ZERO)), sent_at: Instant::now() }
    }
}

impl Body for AwayBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if !this.bytes.is_empty() {
            this.sent_at = Instant::now();
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.bytes)))));
        }
        ready!(delayed(&mut this.timer, this.sent_at, cx));
        Poll::Ready(Some(Err(Aborted)))
    }
}

/// Why hyper resets a stream: it did not end, it is to be taken up again.
#[derive(Debug)]
pub(crate) struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the subscriber is to come back")
    }
}

impl std::error::Error for Aborted {}
