//! A hub with a small budget of memory, all of whose parts are in use at once: rings that are full,
//! subscribers that take nothing, and publishers that never pause. What it then has resident, and
//! whether everybody was told the truth.

use std::{io, pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    fleet::{Group, GroupId, Reading},
    outcome::{Outcome, Unit},
    publisher::{Pace, Publisher},
    ranges,
    run::{Common, Run},
};

/// A hub with a small budget of memory, and all of it in use
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Memory {
    /// The budget, in MiB
    #[arg(long, default_value_t = 256, value_parser = ranges::some::<u64>)]
    pub(crate) budget: u64,
    /// Subscribers that read nothing after the head
    #[arg(long, default_value_t = 200)]
    pub(crate) stalled: usize,
    /// Subscribers that read, but less than they are sent
    #[arg(long, default_value_t = 20)]
    pub(crate) slow: usize,
    /// Subscribers that read all
    #[arg(long, default_value_t = 20, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Channels whose rings are filled
    #[arg(long, default_value_t = 5_000, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
    /// Bytes of data that are published a second
    #[arg(long, default_value_t = 8_000_000.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Seconds of publishing
    #[arg(long, default_value_t = 60.0, value_parser = ranges::positive)]
    pub(crate) seconds: f64,
}

const FAST: usize = 0;
const SLOW: usize = 1;
const NEVER: usize = 2;
/// Bytes that a slow one reads a second.
const SLOW_BYTES: u32 = 50_000;
/// The first channels have the subscribers; every other event is for one of them.
const BUSY: u32 = 20;
/// Bytes of data of events, one after the other: most are small, most bytes are in large ones.
const SIZES: [usize; 8] = [100, 1_000, 200, 4_000, 500, 16_000, 100, 200_000];
/// Bytes of data of the events with which rings are filled.
const FILLING: usize = 4_000;
/// What the resident memory may have over the budget: what the allocator holds and code.
const OVER: f64 = 1.25;
/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(200);
const MIB: u64 = 1024 * 1024;

impl Memory {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let server = common
            .server
            .clone()
            .with_setting("--memory-max", format!("{}MiB", self.budget))
            // So that those who take nothing do so to the end.
            .with_setting("--write-stall-max", "10m");
        let mut run = Run::start(&Common { server, ..common.clone() }, "memory")?;
        self.parameters(&mut run);
        run.stage("connecting", (self.subscribers + self.slow + self.stalled) as u64);
        let fast = join(&run, FAST, self.subscribers, Reading::Fast).await?;
        join(&run, SLOW, self.slow, Reading::Slow(SLOW_BYTES)).await?;
        join(&run, NEVER, self.stalled, Reading::Never).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        let ((), filling) = watched(&run, self.fill(&run, &mut publisher)).await?;
        let meter = run.meter()?;
        let began = Instant::now();
        let (bytes, publishing) = watched(&run, self.publish(&run, &mut publisher)).await?;
        let spent = run.spent(&meter)?;
        let rate = bytes as f64 / began.elapsed().as_secs_f64();
        run.figure("bytes published per second", rate, Unit::Bytes);
        if rate < 0.9 * self.rate {
            run.complain(format!("only {rate:.0} bytes a second were published"));
        }
        run.cost("CPU per delivery", &spent, spent.events);
        let behind = run.fleet.caught_up(fast, publisher.log().newest.clone()).await?;
        if behind > 0 {
            run.fault(format!("{behind} subscribers that read did not get to the newest event"));
        }
        self.judge(&mut run, filling.max(publishing)).await?;
        run.verify(publisher.log(), true).await?;
        Ok(run.finish())
    }

    fn parameters(&self, run: &mut Run) {
        run.parameter("budget in MiB", self.budget);
        run.parameter("subscribers that take nothing", self.stalled);
        run.parameter("slow subscribers", self.slow);
        run.parameter("subscribers", self.subscribers);
        run.parameter("channels", self.channels);
        run.parameter("bytes a second", self.rate);
        run.parameter("seconds", self.seconds);
    }

    /// Publishes to all channels in turn until they would hold more than the whole budget.
    async fn fill(&self, run: &Run, publisher: &mut Publisher) -> io::Result<()> {
        let each = (self.budget * MIB) as usize / self.channels as usize / FILLING + 1;
        run.stage("filling rings", each as u64);
        for done in 0..each {
            for channel in 0..self.channels {
                publisher.publish(channel, FILLING).await?;
            }
            run.step(done as u64 + 1);
        }
        Ok(())
    }

    /// Publishes at the rate; returns how many bytes.
    async fn publish(&self, run: &Run, publisher: &mut Publisher) -> io::Result<u64> {
        run.stage("publishing", self.seconds as u64);
        let mean = SIZES.iter().sum::<usize>() as f64 / SIZES.len() as f64;
        let mut pace = Pace::new(self.rate / mean);
        let began = Instant::now();
        let mut bytes = 0;
        for number in 0_u32.. {
            let seconds = began.elapsed().as_secs_f64();
            if seconds >= self.seconds {
                break;
            }
            let stamp_ns = pace.wait().await;
            let size = SIZES[number as usize % SIZES.len()];
            // Each size goes to either kind of channel.
            let turn = number / SIZES.len() as u32;
            let channel =
                if turn.is_multiple_of(2) { turn / 2 % BUSY } else { turn % self.channels };
            publisher.publish_at(stamp_ns, channel, size).await?;
            bytes += size as u64;
            run.step(seconds as u64);
        }
        Ok(bytes)
    }

    async fn judge(&self, run: &mut Run, most: u64) -> io::Result<()> {
        run.figure("most resident", most as f64, Unit::Bytes);
        let allowed = (self.budget * MIB) as f64 * OVER;
        if most as f64 > allowed {
            run.fault(format!("{most} bytes were resident, over {allowed:.0}"));
        }
        let Some(metrics) = run.server.metrics().await? else { return Ok(()) };
        for share in ["rings", "journal", "requests", "sockets", "pinned"] {
            let name = |what: &str| format!("fanfare_memory_{what}_bytes{{share=\"{share}\"}}");
            let used = metrics.value(&name("used")).unwrap_or(0);
            run.figure(&format!("used by {share}"), used as f64, Unit::Bytes);
            if metrics.value(&name("max")).is_some_and(|max| used > max) {
                run.fault(format!("{share} use {used} bytes, more than their share"));
            }
        }
        for reason in ["memory", "stalled"] {
            let name = format!("fanfare_disconnects_total{{reason=\"{reason}\"}}");
            let closed = metrics.value(&name).unwrap_or(0);
            run.figure(&format!("closed for {reason}"), closed as f64, Unit::Count);
        }
        run.check_undisturbed(FAST, "subscribers that read");
        Ok(())
    }
}

/// Does something; also returns the most that was resident meanwhile.
async fn watched<T>(run: &Run, work: impl Future<Output = io::Result<T>>) -> io::Result<(T, u64)> {
    let mut work = pin!(work);
    let mut most = 0;
    loop {
        let done = tokio::select! {
            done = &mut work => Some(done?),
            () = sleep(LOOK) => None,
        };
        let usage = run.server.usage()?;
        most = most.max(usage.map_or(0, |usage| usage.rss_bytes));
        if let Some(done) = done {
            return Ok((done, most));
        }
    }
}

/// Subscribers of the busy channels in turn.
async fn join(run: &Run, class: usize, count: usize, reading: Reading) -> io::Result<GroupId> {
    let mut group = Group::new((0..BUSY).cycle().take(count).collect());
    (group.class, group.reading) = (class, reading);
    run.join(group).await
}
