//! A burst to a large channel beside many small ones: whether the small ones notice.

use std::{io, time::Instant};

use crate::{
    fleet::{Fleet, Group, GroupId},
    outcome::Outcome,
    publisher::{Pace, Publisher},
    ranges,
    run::{Common, Run, too_slow},
};

/// A burst to a large channel beside small ones
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Mixed {
    /// How many subscribe to the large channel
    #[arg(long, default_value_t = 10_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// How many channels with one subscriber there are
    #[arg(long, default_value_t = 100, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
    /// Events a second to the small channels, in turn
    #[arg(long, default_value_t = 500.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// How many events the burst has
    #[arg(long, default_value_t = 400, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// In how many seconds
    #[arg(long, default_value_t = 0.8, value_parser = ranges::positive)]
    pub(crate) seconds: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
}

/// The large channel; the small ones come after it.
const LARGE: u32 = 0;

impl Mixed {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "mixed")?;
        run.parameter("subscribers of the large channel", self.subscribers);
        run.parameter("small channels", self.channels);
        run.stage("connecting", self.subscribers as u64);
        // Threads of their own, so that what they see is not the generator's own queue.
        let small = run.another_fleet(common)?;
        let small_group = small.join(Group::new((1..=self.channels).collect())).await?;
        small.expect(small_group, 1).await?;
        let large_group = run.join(Group::new(vec![LARGE; self.subscribers])).await?;
        run.fleet.expect(large_group, 1).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        publisher.publish(LARGE, self.size).await?;
        run.fleet.caught_up(large_group, publisher.log().newest.clone()).await?;
        let _warm_up = run.fleet.latencies().await?;
        self.burst(&mut run, publisher, (&small, small_group), large_group).await?;
        Ok(run.finish())
    }

    async fn burst(
        &self,
        run: &mut Run,
        mut publisher: Publisher,
        (small, small_group): (&Fleet, GroupId),
        large_group: GroupId,
    ) -> io::Result<()> {
        run.stage("publishing", self.events);
        let mut beside = Publisher::connect(&run.server.endpoint).await?;
        let (meter, began) = (run.meter()?, Instant::now());
        let burst = async {
            let mut pace = Pace::new(self.events as f64 / self.seconds);
            for _ in 0..self.events {
                let stamp_ns = pace.wait().await;
                publisher.publish_at(stamp_ns, LARGE, self.size).await?;
            }
            io::Result::Ok(())
        };
        let steady = async {
            let mut pace = Pace::new(self.rate);
            for channel in (1..=self.channels).cycle() {
                let stamp_ns = pace.wait().await;
                beside.publish_at(stamp_ns, channel, self.size).await?;
            }
            io::Result::Ok(())
        };
        tokio::select! {
            done = burst => done?,
            done = steady => done?,
        }
        let published = began.elapsed();
        // A publish that was given up in the middle may have been taken or not.
        let newest = beside.log().newest.clone();
        let mut behind = run.fleet.caught_up(large_group, publisher.log().newest.clone()).await?;
        let spent = run.spent(&meter)?;
        behind += small.caught_up(small_group, newest).await?;
        if behind > 0 {
            run.fault(format!("{behind} subscribers did not get everything"));
        }
        run.cost("CPU per delivery", &spent, spent.events + small.tally().all().events);
        run.published(self.events, self.events as f64 / self.seconds, published);
        if let Some(reached) = too_slow(beside.log().events, self.rate, published) {
            run.complain(format!(
                "small channels got {reached:.1}/s instead of {:.1}/s",
                self.rate
            ));
        }
        run.latency("small channels", &small.latencies().await?[0]);
        run.latency("large channel", &run.fleet.latencies().await?[0]);
        let mut log = publisher.into_log();
        log.merge(beside.into_log());
        run.verify_beside(small, "small channels", &log).await?;
        run.verify(&log, false).await
    }
}
