//! The scenarios: each loads one server in one way and says what it found.

pub(crate) mod burst;
pub(crate) mod churn;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod memory;
pub(crate) mod mixed;
pub(crate) mod narrow;
pub(crate) mod publish;
pub(crate) mod restart;
pub(crate) mod slow;
pub(crate) mod soak;
pub(crate) mod storm;
pub(crate) mod streams;

use std::io;

use crate::{outcome::Outcome, run::Common};

/// A way to load a server.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Scenario {
    Burst(burst::Burst),
    Churn(churn::Churn),
    Fanout(fanout::Fanout),
    Idle(idle::Idle),
    Memory(memory::Memory),
    Mixed(mixed::Mixed),
    Narrow(narrow::Narrow),
    Publish(publish::Publish),
    Restart(restart::Restart),
    Slow(slow::Slow),
    Soak(soak::Soak),
    Storm(storm::Storm),
    Streams(streams::Streams),
}

impl Scenario {
    /// Runs it once.
    pub(crate) fn run(&self, common: &Common) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Burst(scenario) => scenario.run(common).await,
                Self::Churn(scenario) => scenario.run(common).await,
                Self::Fanout(scenario) => scenario.run(common).await,
                Self::Idle(scenario) => scenario.run(common).await,
                Self::Memory(scenario) => Box::pin(scenario.run(common)).await,
                Self::Mixed(scenario) => scenario.run(common).await,
                Self::Narrow(scenario) => scenario.run(common).await,
                Self::Publish(scenario) => scenario.run(common).await,
                Self::Restart(scenario) => scenario.run(common).await,
                Self::Slow(scenario) => scenario.run(common).await,
                Self::Soak(scenario) => Box::pin(scenario.run(common)).await,
                Self::Storm(scenario) => scenario.run(common).await,
                Self::Streams(scenario) => Box::pin(scenario.run(common)).await,
            }
        })
    }
}
