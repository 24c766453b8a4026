//! What all requests share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fanfare_core::{Broker, Hub};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::Config;

/// The hub, its settings, and how far the process is in its life.
pub(crate) struct State {
    /// Rings, feeds, marks.
    pub(crate) hub: Arc<Hub>,
    /// Gives publishes their place.
    pub(crate) broker: Arc<dyn Broker>,
    /// The settings.
    pub(crate) config: Config,
    /// Renders the metrics.
    pub(crate) metrics: PrometheusHandle,
    /// Cancelled when the drain begins: new publishes and subscribes are sent away.
    pub(crate) draining: CancellationToken,
    /// Cancelled near the end of the drain: open streaming publishes end now.
    pub(crate) publishes_end: CancellationToken,
    /// Publishes in flight; each holds a token of it.
    pub(crate) publishes: TaskTracker,
    /// When the drain ends, in milliseconds since `started`; 0 while there is none.
    pub(crate) drain_ends_ms: AtomicU64,
    /// When the process started.
    pub(crate) started: Instant,
}

impl State {
    /// The time in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    /// What is left of the drain.
    pub(crate) fn drain_left(&self) -> Duration {
        let end = Duration::from_millis(self.drain_ends_ms.load(Ordering::Relaxed));
        end.saturating_sub(self.started.elapsed())
    }
}
