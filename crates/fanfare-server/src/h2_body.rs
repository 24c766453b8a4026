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
use fanfare_fanout::{Disconnect, limits::DRAIN_RETRY_MS};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    h2::{H2, Shared, Stream},
    limits::{H2_ABORT_DELAY_MS, H2_READS_MAX},
};

/// A subscriber over HTTP/2.
pub(crate) struct H2Body {
    h2: Arc<H2>,
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    place: usize,
    subscription: Subscription,
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
}

impl H2Body {
    pub(crate) fn new(h2: &Arc<H2>, opening: Opening, heartbeat_ms: u32) -> Self {
        let Opening { mut subscription, events, finished, .. } = opening;
        let (shared, place, stream) = h2.join(subscription.feed());
        subscription.share(&shared.feed);
        let mut pending = HEARTBEAT.to_vec();
        events.iter().for_each(|event| pending.extend_from_slice(event));
        let heartbeat = Duration::from_millis(heartbeat_ms.into());
        Self {
            h2: Arc::clone(h2),
            shared,
            stream,
            place,
            subscription,
            pending: pending.into(),
            closing: finished.then_some(Disconnect::Ended),
            heartbeat,
            timer: Box::pin(sleep(heartbeat)),
            sent_at: Instant::now(),
        }
    }

    /// The next bytes, or none if there are none now.
    fn next(&mut self, cx: &Context<'_>) -> Option<Bytes> {
        self.stream.register(cx.waker());
        for _ in 0..H2_READS_MAX {
            if !self.pending.is_empty() {
                let bytes = std::mem::take(&mut self.pending);
                self.h2.sent(bytes.len(), 0);
                return Some(bytes);
            }
            if self.closing.is_some() {
                return None;
            }
            let cursor = self.shared.standing(self.subscription.cursor, &self.h2);
            self.subscription.cursor = cursor;
            let joined = self.shared.read(self.h2.hub(), cursor);
            let Some(joined) = joined.filter(|joined| joined.batch.covers(cursor)) else {
                if let Some(left_ms) = self.stream.leaving() {
                    self.send_away(left_ms);
                    continue;
                }
                return None;
            };
            let bytes = joined.bytes_from(cursor);
            match joined.batch.stop() {
                None => self.subscription.cursor = joined.batch.end(),
                Some(stop) => {
                    let retry_ms = fastrand::u32(END_RETRY_MS_MIN..=END_RETRY_MS_MAX);
                    match self.subscription.meet(stop, joined.batch.end(), retry_ms) {
                        Met::Abort => self.closing = Some(Disconnect::Gap),
                        Met::Nothing => {}
                        Met::Tell(sse) => self.pending = sse.into(),
                    }
                    if self.closing.is_none() && self.subscription.has_ended() {
                        self.closing = Some(Disconnect::Ended);
                    }
                }
            }
            if !bytes.is_empty() {
                self.h2.sent(bytes.len(), joined.batch.events_from(cursor));
                return Some(bytes);
            }
        }
        // A long way along the journal without a match: others first.
        cx.waker().wake_by_ref();
        None
    }

    fn send_away(&mut self, left_ms: u32) {
        let retry_ms = left_ms.saturating_add(fastrand::u32(DRAIN_RETRY_MS));
        let told = self.subscription.reconnect(ReconnectReason::Drain, retry_ms);
        self.pending = told.unwrap_or_default().into();
        self.closing = Some(Disconnect::Drain);
    }
}

impl Body for H2Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if let Some(bytes) = this.next(cx) {
            this.sent_at = Instant::now();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match this.closing {
            Some(Disconnect::Ended) => return Poll::Ready(None),
            Some(_) => {
                // A reset overtakes data that waits to be sent, so it waits a little itself.
                let at = this.sent_at + Duration::from_millis(H2_ABORT_DELAY_MS);
                if this.timer.deadline() != at {
                    this.timer.as_mut().reset(at);
                }
                ready!(this.timer.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Aborted)));
            }
            None => {}
        }
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let due = this.sent_at + this.heartbeat;
            let now = Instant::now();
            let beat = due <= now;
            if beat {
                this.sent_at = now;
            }
            this.timer.as_mut().reset(this.sent_at + this.heartbeat);
            if beat {
                this.h2.sent(HEARTBEAT.len(), 0);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HEARTBEAT)))));
            }
        }
    }
}

impl Drop for H2Body {
    fn drop(&mut self) {
        let reason = self.closing.unwrap_or(Disconnect::Client);
        self.h2.leave(&self.shared, self.place, reason);
    }
}

/// A stream that says only to come back: its bytes, then a reset.
pub(crate) struct AwayBody {
    bytes: Bytes,
    timer: Pin<Box<Sleep>>,
}

impl AwayBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, timer: Box::pin(sleep(Duration::from_millis(H2_ABORT_DELAY_MS))) }
    }
}

impl Body for AwayBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        ready!(self.timer.as_mut().poll(cx));
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
