//! What is open while a body of many events is published: streaming publishes, and what becomes of
//! their channels when they end.
//!
//! Policy: a publish that says so closes its channel at a clean end. One that ends in any other way
//! leaves the channel waiting for its producer; one that a drain cuts does so from the end of the
//! drain on, when its hub is gone, or was taken back.

use std::{collections::HashMap, sync::Arc};

use fanfare_core::{Change, Channel, ChannelName, CloseReason, Producer, Publication, Publishing};

use crate::{
    limits::{DRAIN_LINGER_MS, STREAM_CHANNELS_MAX},
    metrics::Reached,
    problem::{Kind, Problem},
    publish::place_as,
    state::State,
};

/// How a channel ends with a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Close {
    /// After the last event.
    As(CloseReason),
    /// When the body ends as it should, or when its producer does not come back.
    OnEnd,
}

impl Close {
    /// How a body that is one event ends its channel: that it came is its clean end.
    pub(crate) fn at_once(self) -> CloseReason {
        match self {
            Self::As(reason) => reason,
            Self::OnEnd => CloseReason::Done,
        }
    }
}

/// The streaming publishes of one body.
pub(crate) struct Streaming {
    state: Arc<State>,
    /// By the instance of their channels.
    open: HashMap<u64, Publishing>,
    /// How many there were.
    channels: usize,
    /// How the body ends its channel.
    close: Option<Close>,
}

impl Streaming {
    /// None yet.
    pub(crate) fn new(state: &Arc<State>, close: Option<Close>) -> Self {
        Self { state: Arc::clone(state), open: HashMap::new(), channels: 0, close }
    }

    /// Whether it is to close its channel.
    pub(crate) fn closes(&self) -> bool {
        self.close.is_some()
    }

    /// The head of a body for one channel is there: that is being streamed to from now on. One
    /// that is closed refuses the first event.
    pub(crate) fn begin(&mut self, channel: &ChannelName) -> Result<(), Problem> {
        let begun = self.state.hub.begin_publishing(channel, self.state.now_ms())?;
        if let Some(publishing) = begun {
            self.add(publishing);
        }
        Ok(())
    }

    /// An event was published to a channel.
    pub(crate) fn note(&mut self, channel: &Arc<Channel>) {
        if self.open.contains_key(&channel.instance()) {
            return;
        }
        if self.open.len() >= STREAM_CHANNELS_MAX {
            self.state.metrics.reached(Reached::StreamChannels);
            return;
        }
        if let Some(publishing) = self.state.hub.publishing_on(channel) {
            self.add(publishing);
        }
    }

    fn add(&mut self, publishing: Publishing) {
        self.channels += 1;
        self.open.insert(publishing.channel().instance(), publishing);
    }

    /// How many channels were streamed to.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// The body ended as it should. Returns how its channel is closed if it was to close it:
    /// another may have done so before, and otherwise.
    pub(crate) async fn finish(
        &mut self,
        channel: Option<&ChannelName>,
        producer: Option<Producer>,
    ) -> Result<Option<CloseReason>, Problem> {
        let change = match self.close {
            Some(Close::As(reason)) => Some(Change::Close(reason)),
            Some(Close::OnEnd) => Some(Change::Finish),
            None => None,
        };
        let mut closed = None;
        if let (Some(change), Some(channel)) = (change, channel) {
            let placed = place_as(&self.state, channel.clone(), change, (producer, None)).await;
            match placed {
                // Deleted meanwhile: there is nothing left to end.
                Err(problem) if problem.kind() == Kind::ChannelNotFound => {}
                // Refused, it has ended otherwise: perhaps its producer was fenced at the very end.
                placed => closed = placed?.ended,
            }
        }
        self.close = None;
        self.end(false, self.state.now_ms());
        Ok(closed)
    }

    /// It ended otherwise, for instance because it is wrong.
    pub(crate) fn break_off(&mut self) {
        let close = self.close.take();
        self.end(close == Some(Close::OnEnd), self.state.now_ms());
    }

    /// A drain cut it.
    pub(crate) fn cut(&mut self) {
        let close = self.close.take();
        let left_ms = self.state.drain.time_left().as_millis() as u64 + DRAIN_LINGER_MS;
        self.end(close == Some(Close::OnEnd), self.state.now_ms().saturating_add(left_ms));
    }

    fn end(&mut self, broke_off: bool, now_ms: u64) {
        for (_, publishing) in self.open.drain() {
            let channel = publishing.channel().name().clone();
            if publishing.end(broke_off, now_ms) {
                close_if_due(&self.state, channel);
            }
        }
    }
}

impl Drop for Streaming {
    /// The connection is gone, unless the end was noted before.
    fn drop(&mut self) {
        self.break_off();
    }
}

/// Closes a channel whose time has come, whether anybody waits for that or not. That another was
/// quicker, or its producer came back, is no error.
pub(crate) fn close_if_due(state: &State, channel: ChannelName) {
    let (change, now_us) = (Change::CloseIfDue, state.now_us());
    let publication =
        Publication { channel, change, instance: None, producer: None, key: None, now_us };
    drop(state.broker.publish(publication));
}
