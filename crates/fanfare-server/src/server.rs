//! The server: bind, run, drain.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fanfare_core::{Broker, Epoch, Hub, HubLimits, MemoryBroker};
use fanfare_fanout::{Bells, Fanout, FanoutConfig};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin,
    config::Config,
    drain::{self, Drained},
    h2::H2,
    handle::Handle,
    limit_log,
    limits::{
        BROKEN_LOOK_INTERVAL_MS, CLOSE_MS_MAX, MAINTENANCE_CHANNELS_MAX, MAINTENANCE_INTERVAL_MS,
        SWEEP_INTERVAL_MS,
    },
    listener,
    memory::{MemoryShares, OverBudget},
    process::ProcessCounts,
    state::{Shared, State},
    streaming::close_if_due,
    trace::Tracer,
};

/// A hub with its listeners open.
pub struct Server {
    shared: Arc<Shared>,
    public: TcpListener,
    admin: TcpListener,
    public_addr: SocketAddr,
    admin_addr: SocketAddr,
}

impl Server {
    /// Checks the settings, opens the listeners and starts the workers. Connections wait until
    /// [`run`](Self::run). Within a tokio runtime only.
    pub fn bind(config: Config, process: Arc<ProcessCounts>) -> Result<Self, StartError> {
        config.check()?;
        let listen = |what, address| move |error| StartError::Listen { what, address, error };
        let public = listener::public(&config).map_err(listen("--listen", config.listen))?;
        let admin_at = listen("--admin-listen", config.admin_listen);
        let admin = listener::admin(&config).map_err(admin_at)?;
        let public_addr = public.local_addr().map_err(StartError::System)?;
        let admin_addr = admin.local_addr().map_err(StartError::System)?;
        let shared = start(config, process).map_err(StartError::System)?;
        Ok(Self { shared, public, admin, public_addr, admin_addr })
    }

    /// Where publishers and subscribers connect.
    pub fn public_addr(&self) -> SocketAddr {
        self.public_addr
    }

    /// Where operators connect.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Has publishes traced. Only the first tracer counts.
    pub fn trace(&self, tracer: Box<dyn Tracer>) {
        self.shared.state.tracer.get_or_init(|| tracer);
    }

    /// What the hub can be asked and told while it runs.
    pub fn handle(&self) -> Handle {
        Handle::new(&self.shared)
    }

    /// Serves until `drain` is cancelled, then sends everybody away and returns. A drain that
    /// operators ask for begins the same way, but the hub stays until `drain` is cancelled.
    ///
    /// # Panics
    ///
    /// When a part of the hub panics: the rest alone would look alive and serve only some.
    pub async fn run(self, drain: CancellationToken) -> Drained {
        let Self { shared, public, admin, .. } = self;
        let state = Arc::clone(&shared.state);
        let connections = TaskTracker::new();
        let tasks = [
            tokio::spawn(listener::accept(public, Arc::clone(&shared), connections.clone())),
            tokio::spawn(admin::run(admin, Arc::clone(&shared), connections.clone())),
            tokio::spawn(Arc::clone(&shared.h2).run()),
            tokio::spawn(maintain(Arc::clone(&state))),
            tokio::spawn(sweep(Arc::clone(&state))),
            tokio::spawn(limit_log::run(Arc::clone(&state))),
        ];
        state.process.reloaded_at_ms.store(state.now_ms(), Ordering::Relaxed);
        tracing::info!("ready");
        let stop = async {
            drain.cancelled().await;
            state.drain.stop(&state.config());
        };
        let drained = tokio::select! {
            (drained, ()) = async { tokio::join!(drain::run(&shared), stop) } => drained,
            () = until_broken(&shared, &tasks) => panic!("a part of the hub has ended"),
        };
        shared.closing.cancel();
        connections.close();
        // Requests that do not end by themselves are cut with the process.
        drop(timeout(Duration::from_millis(CLOSE_MS_MAX), connections.wait()).await);
        tasks.iter().for_each(JoinHandle::abort);
        if let Err(panic) = shared.fanout.stop().await {
            std::panic::resume_unwind(panic);
        }
        drained
    }
}

/// Resolves when a worker or one of the tasks has ended, which only panics do.
async fn until_broken(shared: &Shared, tasks: &[JoinHandle<()>]) {
    let mut ticks = interval(Duration::from_millis(BROKEN_LOOK_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.fanout.has_ended() && !tasks.iter().any(JoinHandle::is_finished) {
        ticks.tick().await;
    }
}

/// The hub and its workers, without listeners.
pub(crate) fn start(config: Config, process: Arc<ProcessCounts>) -> io::Result<Arc<Shared>> {
    let shares = MemoryShares::of(&config).map_err(io::Error::other)?;
    let bells = Bells::new(config.workers)?;
    let (h2_doorbell, h2_notify) = H2::doorbell();
    let mut doorbells = bells.doorbells();
    doorbells.push(h2_doorbell);
    let limits = hub_limits(&config);
    let epoch = Epoch::from_random(fastrand::u64(..));
    let hub = Arc::new(Hub::new(epoch, limits, doorbells));
    let fanout_config = fanout_config(&config, &shares);
    let workers = config.workers;
    let stall_ms_max = u64::from(config.write_stall_ms_max);
    let fanout = Fanout::start(Arc::clone(&hub), bells, fanout_config)?;
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&hub)));
    let mut state = State::new(config, shares, Arc::clone(&hub), broker);
    state.process = process;
    let state = Arc::new(state);
    let pinned = Arc::clone(fanout.pinned());
    let h2 = H2::new(hub, workers, h2_notify, stall_ms_max, pinned);
    Ok(Arc::new(Shared { state, fanout, h2, closing: CancellationToken::new() }))
}

/// The part of a configuration that is the workers'.
pub(crate) fn fanout_config(config: &Config, shares: &MemoryShares) -> FanoutConfig {
    FanoutConfig { write_stall_ms_max: config.write_stall_ms_max, pinned_bytes_max: shares.pinned }
}

/// The part of a configuration that is the hub's.
pub(crate) fn hub_limits(config: &Config) -> HubLimits {
    HubLimits {
        channels_max: config.channels_max,
        tombstones_max: config.tombstones_max,
        journal_events_max: config.journal_events_max,
        rings_bytes_max: config.rings_bytes_max,
        idempotency_keys_max: config.idempotency_keys_max,
        retention: config.retention,
        retentions: config.channels.clone(),
    }
}

/// Lets old events, idle channels and old keys go, and closes the channels that are due.
async fn maintain(state: Arc<State>) {
    let mut ticks = interval(Duration::from_millis(MAINTENANCE_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while state.hub.maintain(state.now_ms(), MAINTENANCE_CHANNELS_MAX) {
            tokio::task::yield_now().await;
        }
        for channel in state.hub.take_due() {
            close_if_due(&state, channel);
        }
    }
}

/// Forgets the addresses that nothing is known of any more.
async fn sweep(state: Arc<State>) {
    let mut ticks = interval(Duration::from_millis(SWEEP_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.gate.addresses.sweep(state.now_ns());
    }
}

/// Why a hub does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on; the machine or the settings are at fault.
    Listen {
        /// The setting.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A listener could be reached by anyone and nothing says that it may; the settings are.
    Unsafe {
        /// What is missing and what to do.
        advice: String,
    },
    /// What the settings ask for needs more memory than they allow; the settings are.
    OverBudget(OverBudget),
    /// The system refused something else.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { what, address, .. } => write!(f, "cannot listen on {what} {address}"),
            Self::Unsafe { advice } => f.write_str(advice),
            Self::OverBudget(_) => f.write_str("--memory-max is too little"),
            Self::System(_) => f.write_str("the system refused what the hub needs to start"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::System(error) => Some(error),
            Self::OverBudget(over) => Some(over),
            Self::Unsafe { .. } => None,
        }
    }
}

impl Config {
    /// What must hold between settings: the parts fit the budget of memory, and off loopback
    /// somebody must have said that it is meant.
    pub fn check(&self) -> Result<(), StartError> {
        MemoryShares::of(self).map_err(StartError::OverBudget)?;
        let public = ("--listen", self.listen, "--insecure-open", self.insecure_open);
        let admin = (
            "--admin-listen",
            self.admin_listen,
            "--insecure-open-admin",
            self.insecure_open_admin,
        );
        for (what, address, open, is_open) in [public, admin] {
            if address.ip().is_loopback() {
                continue;
            }
            let mut missing = Vec::new();
            if self.allowed_hosts.is_empty() {
                missing.push("--allowed-host NAME (the name that clients connect to)".to_owned());
            }
            if !is_open {
                missing.push(format!(
                    "{open} (there are no tokens: anyone who reaches it may use it)"
                ));
            }
            if !missing.is_empty() {
                let advice = format!(
                    "{what} {address} is not on loopback, so it also needs {}; or listen on \
                     127.0.0.1 behind a proxy",
                    missing.join(" and ")
                );
                return Err(StartError::Unsafe { advice });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ends_is_noticed() {
        let shared = testing::shared();
        let endless = || tokio::spawn(std::future::pending());
        let soon = Duration::from_millis(3 * BROKEN_LOOK_INTERVAL_MS);
        let is_broken = async |tasks: &[JoinHandle<()>]| {
            timeout(soon, until_broken(&shared, tasks)).await.is_ok()
        };
        assert!(!is_broken(&[endless(), endless()]).await);
        assert!(is_broken(&[endless(), tokio::spawn(async { panic!("on purpose") })]).await);
        let answers = || shared.fanout.answers();
        assert!(answers().await);
        shared.fanout.stop().await.unwrap();
        assert!(!answers().await);
        assert!(is_broken(&[endless()]).await);
    }
}
