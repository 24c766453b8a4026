//! Subscribers to whom nothing happens: what memory they take.

use std::{io, time::Duration};

use crate::{
    fleet::{Group, Transport},
    outcome::{Outcome, Unit},
    process, ranges,
    run::{Common, Run},
};

/// Subscribers to whom nothing happens
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Idle {
    /// How many subscribe
    #[arg(long, default_value_t = 15_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Each to so many channels of its own, instead of all to one
    #[arg(long, value_name = "CHANNELS", value_parser = ranges::some::<u32>)]
    pub(crate) apart: Option<u32>,
    /// Over HTTP/2, so many streams on a connection
    #[arg(long, value_name = "STREAMS", value_parser = ranges::streams)]
    pub(crate) http2: Option<usize>,
    /// Seconds between the last connect and the look
    #[arg(long, default_value_t = 3.0, value_parser = ranges::not_negative)]
    pub(crate) settle: f64,
}

impl Idle {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "idle")?;
        run.parameter("subscribers", self.subscribers);
        run.parameter(
            "channels each",
            self.apart.map_or_else(|| "1, the same".to_owned(), |n| n.to_string()),
        );
        run.stage("connecting", self.subscribers as u64);
        let settle = Duration::from_secs_f64(self.settle);
        tokio::time::sleep(settle).await;
        let (empty, kernel_empty) = (run.server.usage()?, process::kernel_bytes()?);
        let each = self.apart.unwrap_or(0);
        let mut group = Group::new((0..self.subscribers as u32).map(|n| n * each).collect());
        group.channels_each = self.apart.unwrap_or(1);
        group.transport = self.http2.map_or(Transport::Http1, Transport::Http2);
        let meter = run.meter()?;
        run.join(group).await?;
        let spent = run.spent(&meter)?;
        tokio::time::sleep(settle).await;
        let count = self.subscribers as u64;
        run.cost("CPU per connect", &spent, count);
        if let (Some(empty), Some(full)) = (empty, run.server.usage()?) {
            let grown = full.pss_bytes as f64 - empty.pss_bytes as f64;
            run.figure("user memory per subscriber", grown / count as f64, Unit::Bytes);
            run.figure("user memory before", empty.pss_bytes as f64, Unit::Bytes);
        }
        let kernel = process::kernel_bytes()? as f64 - kernel_empty as f64;
        run.figure("kernel memory per subscriber, both ends", kernel / count as f64, Unit::Bytes);
        let connected = run.fleet.tally().all().connected;
        if connected != count {
            run.fault(format!("only {connected} of {count} were still connected"));
        }
        Ok(run.finish())
    }
}
