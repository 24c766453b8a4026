//! What a running hub can be asked and told from beside it: by signals, and by who watches it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    config::Config,
    drain::{self, Phase},
    memory::MemoryShares,
    server::{StartError, fanout_config, hub_limits},
    state::Shared,
};

/// A handle to a hub that runs.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What a hub does, in a few numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Subscriptions that are open.
    pub subscribers: usize,
    /// How far its drain is.
    pub phase: Phase,
    /// Subscribers that the drain has sent away.
    pub departed: u64,
    /// What is left of the drain, in milliseconds.
    pub left_ms: u64,
}

impl Handle {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// Puts settings in place: those that a running hub can change. That the others are as they
    /// were is for the caller to see to. An error changes nothing.
    pub fn put(&self, config: Config) -> Result<(), StartError> {
        config.check()?;
        let shares = MemoryShares::of(&config).map_err(StartError::OverBudget)?;
        let Shared { state, fanout, h2, .. } = &*self.shared;
        state.hub.set_limits(&hub_limits(&config));
        fanout.set_config(fanout_config(&config, &shares));
        h2.set_stall_ms_max(config.write_stall_ms_max.into());
        state.put(config, shares);
        Ok(())
    }

    /// What the hub does.
    pub fn status(&self) -> Status {
        let drain = drain::progress(&self.shared);
        let subscribers = self.shared.state.hub.subscribers();
        let drain::Progress { phase, departed, left_ms, .. } = drain;
        Status { subscribers, phase, departed, left_ms }
    }

    /// How long the drain takes that is under way, or would if it began now.
    pub fn drain_takes(&self) -> Duration {
        let Shared { state, .. } = &*self.shared;
        if state.drain.is_on() {
            return state.drain.time_left();
        }
        let config = state.config();
        Duration::from_millis(u64::from(config.drain_delay_ms) + u64::from(config.drain_period_ms))
    }

    /// Whether all workers, and the task of HTTP/2, answer within this time.
    pub async fn answers_within(&self, time: Duration) -> bool {
        let Shared { fanout, h2, .. } = &*self.shared;
        let all = async { tokio::join!(fanout.answers(), h2.has_turned()) };
        matches!(timeout(time, all).await, Ok((true, ())))
    }
}
