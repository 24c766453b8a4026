//! Many channels with one subscriber each: what an event costs that only one gets.

use std::io;

use crate::{
    fleet::Group,
    outcome::{Outcome, Unit},
    payload,
    publisher::{LinePublisher, Log},
    ranges,
    run::{Common, Run},
};

/// Many channels with one subscriber each, events over streaming publishes
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Narrow {
    /// How many channels, and subscribers
    #[arg(long, default_value_t = 5_000, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
    /// Over how many streaming publishes the events come
    #[arg(long, default_value_t = 1, value_parser = ranges::some::<u32>)]
    pub(crate) publishers: u32,
    /// How many events each channel gets
    #[arg(long, default_value_t = 60, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
}

/// Bytes of lines that one publisher sends at once.
const FLUSH_BYTES: usize = 16 * 1024;

impl Narrow {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "narrow")?;
        run.parameter("channels", self.channels);
        run.parameter("publishers", self.publishers);
        run.parameter("size", self.size);
        run.stage("connecting", u64::from(self.channels));
        let group = run.join(Group::new((0..self.channels).collect())).await?;
        run.fleet.expect(group, 1).await?;
        let mut publishers = Vec::new();
        for _ in 0..self.publishers {
            publishers.push(LinePublisher::connect(&run.server.endpoint).await?);
        }
        let (meter, began_ns) = (run.meter()?, payload::now_ns());
        let log = self.publish(&run, publishers).await?;
        let behind = run.fleet.caught_up(group, log.newest.clone()).await?;
        let spent = run.spent(&meter)?;
        if behind > 0 {
            run.fault(format!("{behind} subscribers did not get everything"));
        }
        let seconds = (run.fleet.tally().all().newest_ns - began_ns) as f64 / 1e9;
        run.figure("events a second", spent.events as f64 / seconds, Unit::PerSecond);
        run.cost("CPU per event", &spent, spent.events);
        let latencies = run.fleet.latencies().await?;
        run.latency("delivery", &latencies[0]);
        run.verify(&log, false).await?;
        Ok(run.finish())
    }

    /// Publishes round after round, an event to each channel in each.
    async fn publish(&self, run: &Run, mut publishers: Vec<LinePublisher>) -> io::Result<Log> {
        run.stage("publishing", self.events);
        for round in 0..self.events {
            for channel in 0..self.channels {
                let publisher = &mut publishers[(channel % self.publishers) as usize];
                publisher.add(channel, self.size);
                if self.publishers > 1 || publisher.waiting() >= FLUSH_BYTES {
                    publisher.flush().await?;
                }
            }
            run.step(round + 1);
        }
        let mut log = Log::default();
        for publisher in publishers {
            log.merge(publisher.finish().await?);
        }
        Ok(log)
    }
}
