//! What all requests share.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Guard};
use fanfare_core::{Broker, Hub};
use fanfare_fanout::Fanout;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    budget::Budget,
    config::Config,
    drain::Drain,
    entrance::Gate,
    h2::H2,
    limit_log::Throttle,
    memory::{Budgeted, MemoryShares},
    metrics::Metrics,
    places::Places,
    process::ProcessCounts,
    trace::Tracer,
    upstream::Slots,
};

/// The hub, its settings, and how far the process is in its life.
pub(crate) struct State {
    /// Rings, feeds, marks.
    pub(crate) hub: Arc<Hub>,
    /// Gives publishes their place.
    pub(crate) broker: Arc<dyn Broker>,
    /// The settings that hold now.
    config: ArcSwap<Config>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// How the memory of the process is divided.
    shares: ArcSwap<MemoryShares>,
    /// What requests may hold in memory together.
    pub(crate) requests: Budget,
    /// What connections and streams may.
    pub(crate) sockets: Budget,
    /// Connections of the public listener.
    pub(crate) connections: Arc<Places>,
    /// What the limits on clients count.
    pub(crate) gate: Gate,
    /// The drain, if there is one: then new publishes and subscribes are sent away.
    pub(crate) drain: Drain,
    /// Publishes in flight; each holds a token of it.
    pub(crate) publishes: TaskTracker,
    /// When the process started.
    pub(crate) started: Instant,
    /// What the process counts outside of the hub.
    pub(crate) process: Arc<ProcessCounts>,
    /// Errors of accepting connections, for the log.
    pub(crate) accept_errors: Throttle,
    /// Traces publishes, if that is wanted.
    pub(crate) tracer: OnceLock<Box<dyn Tracer>>,
    /// Fetches of upstreams.
    pub(crate) upstreams: Slots,
}

/// The state, and where subscribers go.
pub(crate) struct Shared {
    /// What all requests share.
    pub(crate) state: Arc<State>,
    /// The workers of HTTP/1 subscribers.
    pub(crate) fanout: Fanout,
    /// The worker of HTTP/2 subscribers.
    pub(crate) h2: Arc<H2>,
    /// Cancelled when connections are to end with what they are doing.
    pub(crate) closing: CancellationToken,
}

impl State {
    /// The state of a hub that begins.
    pub(crate) fn new(
        config: Config,
        shares: MemoryShares,
        hub: Arc<Hub>,
        broker: Arc<dyn Broker>,
    ) -> Self {
        let started = Instant::now();
        // The budget is none of what may change while the process runs.
        let budget = Budgeted(config.memory_bytes_max as u64);
        Self {
            hub,
            broker,
            config: ArcSwap::from_pointee(config),
            metrics: Metrics::default(),
            shares: ArcSwap::from_pointee(shares),
            requests: Budget::new(shares.requests),
            sockets: Budget::new(shares.sockets),
            connections: Arc::default(),
            gate: Gate::new(budget.addresses()),
            drain: Drain::new(started),
            publishes: TaskTracker::new(),
            started,
            process: Arc::default(),
            accept_errors: Throttle::default(),
            tracer: OnceLock::new(),
            upstreams: Slots::default(),
        }
    }

    /// The settings that hold now. They may be others a moment later: what belongs together is
    /// read from one of these.
    pub(crate) fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Nanoseconds since the process started: a clock that never goes back.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time in Unix microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
    }

    /// How the memory of the process is divided now.
    pub(crate) fn shares(&self) -> MemoryShares {
        **self.shares.load()
    }

    /// Puts settings in place.
    pub(crate) fn put(&self, config: Config, shares: MemoryShares) {
        self.requests.set_bytes_max(shares.requests);
        self.sockets.set_bytes_max(shares.sockets);
        self.shares.store(Arc::new(shares));
        self.config.store(Arc::new(config));
        self.connections.look_again();
    }

    /// The time in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    /// Connections of the public listener that are open.
    pub(crate) fn connections_open(&self) -> usize {
        self.connections.taken()
    }
}
