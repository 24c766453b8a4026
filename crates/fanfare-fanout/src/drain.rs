//! Sending all subscribers away, spread evenly over a period.
//!
//! Each is brought to the watermark first and then told to come back. Those whose channels have
//! an open streaming publish go last.

use bytes::Bytes;
use fanfare_core::ReconnectReason;
use tokio::sync::oneshot;

use crate::{
    limits::{AGE_RETRY_MS, DRAIN_RETRY_MS, DRAIN_STREAMING_FROM},
    totals::Disconnect,
    wheel::Handle,
    worker::Worker,
};

/// A drain under way.
pub(crate) struct Drain {
    /// When it began, in the worker's milliseconds.
    began_at_ms: u64,
    /// Over how long the departures are spread.
    period_ms: u64,
    /// Who is to go, in order.
    queue: Vec<Handle>,
    /// How many of them, the last ones, have an open streaming publish.
    streaming: usize,
    /// How many of them were asked to.
    asked: usize,
    /// Told once all are gone, with how many were sent away.
    done: Option<oneshot::Sender<u64>>,
}

impl Drain {
    /// When one of the queue is asked to go, in milliseconds of the drain: the first at once, the
    /// others evenly after it, those with an open streaming publish in the last part.
    fn departs_at_ms(&self, index: usize) -> u64 {
        let others = self.queue.len() - self.streaming;
        let period_ms = self.period_ms as f32;
        let split_ms =
            if self.streaming > 0 { period_ms * DRAIN_STREAMING_FROM } else { period_ms };
        let at_ms = match index.checked_sub(others) {
            None => split_ms * index as f32 / others as f32,
            Some(index) => split_ms + (period_ms - split_ms) * index as f32 / self.streaming as f32,
        };
        at_ms as u64
    }
}

impl Worker {
    /// Begins to send everybody away; who comes later goes at once.
    pub(crate) fn begin_drain(&mut self, period_ms: u64, done: oneshot::Sender<u64>) {
        self.cancel_drain();
        self.departed = 0;
        let mut queue: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.subscription.is_some())
            .map(|(key, member)| {
                let publishing = self.groups[member.group as usize].feed.is_publishing();
                let handle = Handle { key: key as u32, generation: member.generation };
                (publishing, handle)
            })
            .collect();
        queue.sort_by_key(|(publishing, _)| *publishing);
        let streaming = queue.iter().filter(|(publishing, _)| *publishing).count();
        self.drain = Some(Drain {
            began_at_ms: self.now_ms,
            period_ms: period_ms.max(1),
            queue: queue.into_iter().map(|(_, handle)| handle).collect(),
            streaming,
            asked: 0,
            done: Some(done),
        });
        // Whoever asks how far it is should not be told of the one before.
        self.report(true);
    }

    /// Keeps those who were not asked to leave yet, and who comes from now on.
    pub(crate) fn cancel_drain(&mut self) {
        if let Some(done) = self.drain.take().and_then(|drain| drain.done) {
            // Nobody may be waiting any more.
            done.send(self.departed).unwrap_or_default();
        }
    }

    /// Asks those whose time has come to leave, and says when all are gone.
    pub(crate) fn send_away(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed_ms = self.now_ms - drain.began_at_ms;
        let (from, total) = (drain.asked, drain.queue.len());
        while drain.asked < total && drain.departs_at_ms(drain.asked) <= elapsed_ms {
            drain.asked += 1;
        }
        // However much of the period is left: streams may have ended, and their readers with them.
        if self.members.is_empty() {
            if let Some(done) = drain.done.take() {
                self.report(true);
                // Nobody may be waiting any more.
                done.send(self.departed).unwrap_or_default();
            }
            return;
        }
        let due: Vec<_> = drain.queue[from..drain.asked].to_vec();
        for handle in due {
            if let Some(member) = self.member(handle) {
                member.leaving = Some(ReconnectReason::Drain);
                self.serve_alone(handle.key);
            }
        }
    }

    /// Sends a subscriber away who has everything up to the watermark.
    pub(crate) fn depart_with_reconnect(&mut self, key: u32, reason: ReconnectReason) {
        let (reason, retry_ms, closing) = match (&self.drain, reason) {
            (None, ReconnectReason::MaxAge) => {
                (reason, fastrand::u32(AGE_RETRY_MS), Disconnect::MaxAge)
            }
            // Whatever it was asked for: it is not to come back before the drain is over.
            (drain, _) => {
                let ends_at_ms = drain.as_ref().map_or(0, |d| d.began_at_ms + d.period_ms);
                let left_ms = ends_at_ms.saturating_sub(self.now_ms);
                let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX / 2);
                let retry_ms = left_ms.saturating_add(fastrand::u32(DRAIN_RETRY_MS));
                (ReconnectReason::Drain, retry_ms, Disconnect::Drain)
            }
        };
        let member = &mut self.members[key as usize];
        let framing = self.groups[member.group as usize].framing;
        let Some(subscription) = &member.subscription else { return };
        let mut out = Vec::new();
        if let Some(sse) = subscription.reconnect(reason, retry_ms) {
            framing.wrap(&sse, &mut out);
        }
        member.pending = Bytes::from(out);
        member.closing = Some(closing);
        self.flush(key);
    }
}
