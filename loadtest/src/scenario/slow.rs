//! One channel, most of whose subscribers are fast, while some read slowly and some not at all:
//! what these cost the fast ones and the hub, and what becomes of them.

use std::{io, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    fleet::{Group, GroupId, Reading},
    outcome::{Outcome, Unit},
    process,
    publisher::{Pace, Publisher},
    ranges,
    run::{Common, Run},
};

/// One channel, some of whose subscribers read slowly or not at all
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Slow {
    /// How many subscribe
    #[arg(long, default_value_t = 5_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Events a second
    #[arg(long, default_value_t = 50.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 4_096)]
    pub(crate) size: usize,
    /// How many events are published
    #[arg(long, default_value_t = 1_000, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// The share of the subscribers that read slowly, from 0 to 1
    #[arg(long, default_value_t = 0.02)]
    pub(crate) slow: f64,
    /// Bytes a second that each slow one reads
    #[arg(long, default_value_t = 65_536)]
    pub(crate) slow_bytes: u32,
    /// The share of the subscribers that read nothing after the head, from 0 to 1
    #[arg(long, default_value_t = 0.02)]
    pub(crate) never: f64,
    /// Events that the hub keeps, if it is started here: few, so that the slow ones miss some
    #[arg(long, default_value_t = 128)]
    pub(crate) ring_events: u32,
}

const FAST: usize = 0;
const SLOW: usize = 1;
const NEVER: usize = 2;
/// Events before the measurement, in which buffers find their size.
const WARM_UP: u64 = 4;
/// How long the slow may take to read what is left for them.
const SLOW_PATIENCE: Duration = Duration::from_secs(60);
/// How long the hub may take to close those that do not read: its stall limit and some.
const CLOSE_PATIENCE: Duration = Duration::from_secs(45);
/// How often the hub is asked whether it has.
const LOOK: Duration = Duration::from_millis(250);
/// More than the kernel holds for a subscriber, so that one who does not read stalls.
const STALL_BYTES: u64 = 1 << 20;
/// The hub's count of those that it closed because they took nothing.
const STALLED: &str = "fanfare_disconnects_total{reason=\"stalled\"}";

/// The three kinds of subscribers.
#[derive(Clone, Copy, Debug)]
struct Groups {
    fast: GroupId,
    slow: GroupId,
    never: GroupId,
}

impl Slow {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let server = common.server.clone().with_setting("--ring-events", self.ring_events);
        let mut run = Run::start(&Common { server, ..common.clone() }, "slow")?;
        self.parameters(&mut run);
        let groups = self.connect(&run).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        self.publish(&run, &mut publisher, WARM_UP).await?;
        run.fleet.caught_up(groups.fast, publisher.log().newest.clone()).await?;
        let _warm_up = run.fleet.latencies().await?;
        memory(&mut run, "before")?;
        let meter = run.meter()?;
        let began = Instant::now();
        self.publish(&run, &mut publisher, self.events).await?;
        let published = began.elapsed();
        let behind = run.fleet.caught_up(groups.fast, publisher.log().newest.clone()).await?;
        let spent = run.spent(&meter)?;
        if behind > 0 {
            run.fault(format!("{behind} fast subscribers did not get everything"));
        }
        memory(&mut run, "with stalled subscribers")?;
        run.cost("CPU per delivery", &spent, spent.events);
        run.published(self.events, self.rate, published);
        let slow = spent.wall.as_secs_f64() * self.count(SLOW).max(1) as f64;
        let slow = run.fleet.tally().of(SLOW).bytes as f64 / slow;
        run.figure("a slow one's reading per second", slow, Unit::Bytes);
        let latencies = run.fleet.latencies().await?;
        run.latency("delivery to the fast", &latencies[FAST]);
        self.await_slow(&mut run, groups.slow, &publisher).await?;
        self.await_closed(&mut run).await?;
        run.fleet.leave(groups.never).await?;
        memory(&mut run, "after")?;
        let published = publisher.log().events * self.count(FAST) as u64;
        let complete = run.fleet.tally().of(FAST).events as f64 / published.max(1) as f64;
        run.figure("fast ones' completeness", complete, Unit::Share);
        run.check_undisturbed(FAST, "fast subscribers");
        run.verify(publisher.log(), true).await?;
        Ok(run.finish())
    }

    fn parameters(&self, run: &mut Run) {
        run.parameter("subscribers", self.subscribers);
        run.parameter("of which slow", self.count(SLOW));
        run.parameter("bytes a second of each slow one", self.slow_bytes);
        run.parameter("of which never read", self.count(NEVER));
        run.parameter("rate", self.rate);
        run.parameter("size", self.size);
        run.parameter("events", self.events);
    }

    /// How many subscribers are of a kind.
    fn count(&self, class: usize) -> usize {
        let share = |share: f64| (self.subscribers as f64 * share.clamp(0.0, 0.5)).round() as usize;
        match class {
            SLOW => share(self.slow),
            NEVER => share(self.never),
            _ => self.subscribers - share(self.slow) - share(self.never),
        }
    }

    async fn connect(&self, run: &Run) -> io::Result<Groups> {
        run.stage("connecting", self.subscribers as u64);
        let kind = async |class, reading| {
            let mut group = Group::new(vec![0; self.count(class)]);
            (group.class, group.reading) = (class, reading);
            let group = run.join(group).await?;
            run.fleet.expect(group, 1).await?;
            io::Result::Ok(group)
        };
        Ok(Groups {
            fast: kind(FAST, Reading::Fast).await?,
            slow: kind(SLOW, Reading::Slow(self.slow_bytes)).await?,
            never: kind(NEVER, Reading::Never).await?,
        })
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

    /// Waits until the slow ones have read what the hub still has for them. One that the hub did
    /// not close must get to the newest event, with a gap told for whatever it missed.
    async fn await_slow(
        &self,
        run: &mut Run,
        slow: GroupId,
        publisher: &Publisher,
    ) -> io::Result<()> {
        run.stage("waiting for the slow", 0);
        let began = Instant::now();
        let newest = publisher.log().newest.clone();
        let _in_time = timeout(SLOW_PATIENCE, run.fleet.caught_up(slow, newest.clone())).await;
        let behind = run.fleet.behind(slow, &newest.into()).await?;
        let counts = run.fleet.tally().of(SLOW);
        if behind > counts.ended {
            let open = behind - counts.ended;
            run.fault(format!("{open} slow subscribers never got to the newest event"));
        }
        run.figure("slow ones, level after", began.elapsed().as_secs_f64(), Unit::Seconds);
        run.figure("gaps told to the slow", counts.gaps as f64, Unit::Count);
        let possible = publisher.log().events as f64 * self.count(SLOW).max(1) as f64;
        run.figure("slow ones' completeness", counts.events as f64 / possible, Unit::Share);
        run.figure("slow ones closed by the hub", counts.ended as f64, Unit::Count);
        Ok(())
    }

    /// Waits until the hub has closed those that do not read, if it tells.
    async fn await_closed(&self, run: &mut Run) -> io::Result<()> {
        run.stage("waiting for the hub to close those that do not read", 0);
        let (began, never) = (Instant::now(), self.count(NEVER) as u64);
        let stalls = self.size as u64 * self.events > STALL_BYTES;
        loop {
            let Some(metrics) = run.server.metrics().await? else { return Ok(()) };
            let slow = run.fleet.tally().of(SLOW).ended;
            let closed = metrics.value(STALLED).unwrap_or(0).saturating_sub(slow);
            let over = !stalls || began.elapsed() > CLOSE_PATIENCE;
            if closed < never && !over {
                sleep(LOOK).await;
                continue;
            }
            run.figure("never-reading ones closed by the hub", closed as f64, Unit::Count);
            if stalls && closed < never {
                let open = never - closed;
                run.fault(format!("{open} subscribers that took nothing were not closed"));
            }
            return Ok(());
        }
    }
}

/// Adds what memory the server and the kernel use now.
fn memory(run: &mut Run, when: &str) -> io::Result<()> {
    if let Some(usage) = run.server.usage()? {
        run.figure(&format!("memory {when}"), usage.pss_bytes as f64, Unit::Bytes);
    }
    let kernel = process::kernel_bytes()? as f64;
    run.figure(&format!("kernel memory {when}"), kernel, Unit::Bytes);
    Ok(())
}
