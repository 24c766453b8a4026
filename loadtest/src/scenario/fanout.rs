//! One channel, many subscribers, a steady rate: what a delivery costs and how long it takes.

use std::{io, time::Duration};

use crate::{
    fleet::{Group, GroupId, Transport},
    outcome::{Outcome, Unit},
    payload, process,
    publisher::{Pace, Publisher},
    ranges,
    run::{Common, Run},
};

/// One channel, many subscribers, a steady rate
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fanout {
    /// How many subscribe
    #[arg(long, default_value_t = 10_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Events a second
    #[arg(long, default_value_t = 4.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// How many events are published
    #[arg(long, default_value_t = 32, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// Over HTTP/2, so many streams on a connection
    #[arg(long, value_name = "STREAMS", value_parser = ranges::streams)]
    pub(crate) http2: Option<usize>,
}

/// Events before the measurement, in which buffers find their size.
const WARM_UP: u64 = 4;

impl Fanout {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        self.run_as("fanout", common).await
    }

    /// Runs it under the name of the scenario that it is a part of.
    pub(crate) async fn run_as(&self, name: &str, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, name)?;
        let group = self.connect(&mut run).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        self.publish(&run, &mut publisher, WARM_UP).await?;
        run.fleet.caught_up(group, publisher.log().newest.clone()).await?;
        let _warm_up = run.fleet.latencies().await?;
        publisher.forget_latencies();
        let (meter, began_ns) = (run.meter()?, payload::now_ns());
        self.publish(&run, &mut publisher, self.events).await?;
        let published_ns = payload::now_ns() - began_ns;
        let behind = run.fleet.caught_up(group, publisher.log().newest.clone()).await?;
        let spent = run.spent(&meter)?;
        if behind > 0 {
            run.fault(format!("{behind} subscribers did not get everything"));
        }
        run.cost("CPU per delivery", &spent, spent.events);
        let bytes = spent.bytes as f64 / spent.events.max(1) as f64;
        run.figure("bytes per delivery", bytes, Unit::Bytes);
        run.published(self.events, self.rate, Duration::from_nanos(published_ns));
        let delivered_ns = run.fleet.tally().all().newest_ns.saturating_sub(began_ns);
        run.figure("all delivered after", delivered_ns as f64 / 1e9, Unit::Seconds);
        let latencies = run.fleet.latencies().await?;
        run.latency("delivery", &latencies[0]);
        run.latency("publish", &publisher.log().latencies);
        run.verify(publisher.log(), false).await?;
        Ok(run.finish())
    }

    /// Connects the subscribers, and says what memory they take.
    async fn connect(&self, run: &mut Run) -> io::Result<GroupId> {
        run.parameter("subscribers", self.subscribers);
        run.parameter("rate", self.rate);
        run.parameter("size", self.size);
        run.parameter(
            "protocol",
            self.http2.map_or_else(
                || "HTTP/1.1".to_owned(),
                |streams| format!("HTTP/2, {streams} streams a connection"),
            ),
        );
        let before = (run.server.usage()?, process::kernel_bytes()?);
        run.stage("connecting", self.subscribers as u64);
        let mut group = Group::new(vec![0; self.subscribers]);
        group.transport = self.http2.map_or(Transport::Http1, Transport::Http2);
        let group = run.join(group).await?;
        run.fleet.expect(group, 1).await?;
        if let (Some(empty), Some(full)) = (before.0, run.server.usage()?) {
            let count = self.subscribers as f64;
            let user = full.pss_bytes as f64 - empty.pss_bytes as f64;
            run.figure("user memory per subscriber", user / count, Unit::Bytes);
            let kernel = process::kernel_bytes()? as f64 - before.1 as f64;
            run.figure("kernel memory per subscriber, both ends", kernel / count, Unit::Bytes);
        }
        Ok(group)
    }

    async fn publish(&self, run: &Run, publisher: &mut Publisher, events: u64) -> io::Result<()> {
        run.stage("publishing", events);
        let mut pace = Pace::new(self.rate);
        for done in 0..events {
            let stamp_ns = pace.wait().await;
            publisher.publish_at(stamp_ns, 0, self.size).await?;
            run.step(done + 1);
        }
        Ok(())
    }
}
