//! Many events in a short time to one channel with many subscribers: whether the server joins them.

use std::io;

use super::fanout::Fanout;
use crate::{outcome::Outcome, ranges, run::Common};

/// Many events in a short time to many subscribers of one channel
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Burst {
    /// How many subscribe
    #[arg(long, default_value_t = 10_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// How many events are published
    #[arg(long, default_value_t = 400, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// In how many seconds
    #[arg(long, default_value_t = 0.8, value_parser = ranges::positive)]
    pub(crate) seconds: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Over HTTP/2, so many streams on a connection
    #[arg(long, value_name = "STREAMS", value_parser = ranges::streams)]
    pub(crate) http2: Option<usize>,
}

impl Burst {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let Self { subscribers, events, size, http2, .. } = *self;
        let rate = events as f64 / self.seconds;
        Fanout { subscribers, rate, size, events, http2 }.run_as("burst", common).await
    }
}
