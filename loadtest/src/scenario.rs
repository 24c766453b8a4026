//! The scenarios: each loads one server in one way and says what it found.

mod fanout;

use std::io;

use crate::{outcome::Outcome, run::Common};

/// A way to load a server.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Scenario {
    Fanout(fanout::Fanout),
}

impl Scenario {
    /// Runs it once.
    pub(crate) fn run(&self, common: &Common) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Fanout(scenario) => scenario.run(common).await,
            }
        })
    }
}
