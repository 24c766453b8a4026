//! The figures of the hub as a channel of a small hub apart, so that who streams them has what
//! every subscriber has: heartbeats, resumption, an honest gap.
//!
//! Policy: nothing is made while nobody reads. What the operators read is no event of the hub and
//! does not show in its counts.

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    Change, ChannelName, Draft, Epoch, Hub, HubLimits, MemoryBroker, Opening, Publication,
    Retention, WorkerIndex,
};
use fanfare_fanout::Pinned;
use tokio::time::{MissedTickBehavior, interval};

use super::{stats::Stats, window::Window};
use crate::{
    h2::{H2, H2Body},
    limits::{
        FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_PINNED_BYTES_MAX, MAINTENANCE_CHANNELS_MAX,
        STATS_INTERVAL_MS,
    },
    state::{Shared, State},
};

/// The small hub.
pub(super) struct Feed {
    hub: Arc<Hub>,
    broker: MemoryBroker,
    readers: Arc<H2>,
    channel: ChannelName,
    /// What the last seconds were like.
    window: Window,
}

impl Feed {
    pub(super) fn new(state: &State) -> Self {
        let (doorbell, notify) = H2::doorbell();
        let retention = Retention {
            ring_events_max: FEED_EVENTS_MAX,
            ring_bytes_max: FEED_BYTES_MAX,
            ring_age_ms: FEED_EVENTS_MAX as u64 * STATS_INTERVAL_MS,
            ..Retention::default()
        };
        let limits = HubLimits {
            channels_max: 1,
            tombstones_max: 1,
            journal_events_max: FEED_EVENTS_MAX,
            rings_bytes_max: FEED_BYTES_MAX,
            idempotency_keys_max: 0,
            retention,
            retentions: Vec::new(),
        };
        let epoch = Epoch::from_random(fastrand::u64(..));
        let hub = Arc::new(Hub::new(epoch, limits, vec![doorbell]));
        let stall_ms_max = u64::from(state.config().write_stall_ms_max);
        let pinned = Pinned::new(FEED_PINNED_BYTES_MAX, 1);
        let readers = H2::new(Arc::clone(&hub), WORKER, notify, stall_ms_max, pinned);
        let channel = ChannelName::parse(CHANNEL).expect("the name is one");
        Self {
            broker: MemoryBroker::new(Arc::clone(&hub)),
            hub,
            readers,
            channel,
            window: Window::default(),
        }
    }

    /// The channel's name.
    pub(super) fn channel(&self) -> ChannelName {
        self.channel.clone()
    }

    /// What the last seconds were like.
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// The hub and its worker, for who subscribes.
    pub(super) fn hub(&self) -> (&Arc<Hub>, WorkerIndex) {
        (&self.hub, WORKER)
    }

    /// The stream of a subscription.
    pub(super) fn body(&self, opening: Opening, heartbeat_ms: u32) -> H2Body {
        H2Body::new(&self.readers, opening, heartbeat_ms, 0)
    }

    /// Publishes the figures and wakes who reads them, for ever; at the end of the process it
    /// sends them away.
    pub(super) async fn run(&self, shared: &Shared) {
        let leave = async {
            shared.closing.cancelled().await;
            self.readers.drain(Duration::ZERO).await;
        };
        tokio::join!(Arc::clone(&self.readers).run(), self.publish(shared), leave);
    }

    async fn publish(&self, shared: &Shared) {
        let mut ticks = interval(Duration::from_millis(STATS_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now_us = shared.state.now_us();
            self.hub.maintain(now_us / 1_000, MAINTENANCE_CHANNELS_MAX);
            self.window.note(shared);
            if self.hub.subscribers() == 0 {
                continue;
            }
            let change =
                Change::Event(Draft::new(None, &Stats::of(shared, &self.window).json()), None);
            let channel = self.channel();
            // One that is refused is missed for a second; there is nobody to tell.
            drop(self.broker.place(Publication {
                channel,
                change,
                instance: None,
                producer: None,
                key: None,
                now_us,
            }));
        }
    }
}

/// The only worker of the small hub.
const WORKER: WorkerIndex = 0;
/// What its only channel is called.
const CHANNEL: &str = "stats";
