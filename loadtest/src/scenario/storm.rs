//! Everybody comes back at once and has missed events: how soon all are level again.

use std::{io, pin::pin};

use tokio::sync::Semaphore;

use crate::{
    fleet::{Fleet, Group, GroupId},
    outcome::{Outcome, Unit},
    payload,
    publisher::{Log, Pace, Publisher},
    ranges,
    run::{Common, Run},
};

/// Everybody reconnects at once, with events to replay
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Storm {
    /// How many come back
    #[arg(long, default_value_t = 10_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// How many events each has missed
    #[arg(long, default_value_t = 100, value_parser = ranges::some::<u64>)]
    pub(crate) missed: u64,
    /// How many stay, on another channel with 20 events a second
    #[arg(long, default_value_t = 100, value_parser = ranges::some::<usize>)]
    pub(crate) staying: usize,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
}

/// The channel of those who come back, and of those who stay.
const STORM: u32 = 0;
const STAYING: u32 = 1;
/// Events a second for those who stay.
const STAYING_RATE: f64 = 20.0;

impl Storm {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "storm")?;
        run.parameter("subscribers", self.subscribers);
        run.parameter("events missed", self.missed);
        run.stage("connecting", self.subscribers as u64);
        // Threads of their own, so that what they see is not the generator's own queue.
        let staying = run.another_fleet(common)?;
        let stay = staying.join(Group::new(vec![STAYING; self.staying])).await?;
        staying.expect(stay, 1).await?;
        let group = Group::new(vec![STORM; self.subscribers]);
        let group = Group { connecting_max: Semaphore::MAX_PERMITS, ..group };
        let group = run.join(group).await?;
        run.fleet.expect(group, 1).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        publisher.publish(STORM, self.size).await?;
        run.fleet.caught_up(group, publisher.log().newest.clone()).await?;
        run.fleet.cut(group).await?;
        for _ in 0..self.missed {
            publisher.publish(STORM, self.size).await?;
        }
        let mut log = publisher.into_log();
        self.come_back(&mut run, &staying, group, &mut log).await?;
        let behind = staying.caught_up(stay, log.newest.clone()).await?;
        let latencies = staying.latencies().await?;
        run.latency("delivery to those who stayed", &latencies[0]);
        if behind > 0 {
            run.fault(format!("{behind} of those who stayed did not get everything"));
        }
        run.verify_beside(&staying, "those who stayed", &log).await?;
        run.verify(&log, false).await?;
        Ok(run.finish())
    }

    /// Lets the storm begin, and publishes to those who stay until all are level.
    async fn come_back(
        &self,
        run: &mut Run,
        staying: &Fleet,
        group: GroupId,
        log: &mut Log,
    ) -> io::Result<()> {
        run.stage("storm", self.subscribers as u64);
        let _before = staying.latencies().await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        let (meter, began_ns) = (run.meter()?, payload::now_ns());
        let events = self.missed * self.subscribers as u64;
        let before = run.fleet.tally().all().events;
        run.fleet.come_back(group).await?;
        let mut pace = Pace::new(STAYING_RATE);
        let behind = {
            let mut caught_up = pin!(run.fleet.caught_up(group, log.newest.clone()));
            loop {
                tokio::select! {
                    behind = &mut caught_up => break behind?,
                    stamp_ns = pace.wait() => {
                        publisher.publish_at(stamp_ns, STAYING, self.size).await?;
                    }
                }
            }
        };
        let spent = run.spent(&meter)?;
        let counts = run.fleet.tally().all();
        if behind > 0 || counts.events - before != events {
            run.fault(format!("{behind} did not get everything: {counts:?}"));
        }
        let seconds = counts.newest_ns.saturating_sub(began_ns) as f64 / 1e9;
        run.figure("all caught up after", seconds, Unit::Seconds);
        run.cost("CPU per reconnect", &spent, self.subscribers as u64);
        log.merge(publisher.into_log());
        Ok(())
    }
}
