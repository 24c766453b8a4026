//! Everything that comes and goes, again and again: subscribers, bursts, slow and stalled readers,
//! channels. After each cycle the hub must be back where it was: nothing lost, nothing kept.

mod seen;

use std::{io, ops::Range, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use self::seen::{LOOK, Seen};
use super::churn::{Comers, Flow};
use crate::{
    fleet::{Group, GroupId, Newest, Reading},
    outcome::{Outcome, Unit},
    publisher::{Log, Pace, Publisher},
    ranges,
    run::{Common, Run},
};

/// Everything that comes and goes, again and again; memory, files and channels must come back
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Soak {
    /// Minutes that it takes; a cycle takes one, or a third of all if that is less
    #[arg(long, default_value_t = 20.0, value_parser = ranges::positive)]
    pub(crate) minutes: f64,
    /// How many are subscribed all the time to the channel that has bursts
    #[arg(long, default_value_t = 2_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Events of a burst, published in 0.8 seconds
    #[arg(long, default_value_t = 400, value_parser = ranges::some::<u64>)]
    pub(crate) burst: u64,
    /// Subscribers a second that come and go beside 500 that stay
    #[arg(long, default_value_t = 100.0, value_parser = ranges::not_negative)]
    pub(crate) churn_rate: f64,
    /// Seconds that each of them stays
    #[arg(long, default_value_t = 3.0, value_parser = ranges::not_negative)]
    pub(crate) stay: f64,
    /// Subscribers of each cycle that read 50,000 bytes a second, and as many that read nothing
    #[arg(long, default_value_t = 50)]
    pub(crate) slow: usize,
    /// Channels of each cycle that are published to and let go
    #[arg(long, default_value_t = 10_000, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
}

const STANDING: usize = 0;
const COMERS: usize = 1;
const SLOW: usize = 2;
const FRESH: usize = 3;

/// The channels: one has bursts, some have comers, one has slow readers, the rest are fresh.
const BURSTS: u32 = 0;
const STEADY: Range<u32> = 1..11;
const LARGE: u32 = 11;
const FRESH_FROM: u32 = 12;

/// Those that stay on the channels of the comers, over all.
const STEADY_SUBSCRIBERS: usize = 500;
/// Events a second on those channels, over all, and on the channel of the slow readers.
const STEADY_RATE: f64 = 50.0;
const LARGE_RATE: f64 = 100.0;
/// Events a second at a quiet point: an allocator gives nothing back to the system while nobody
/// asks it for anything.
const QUIET_RATE: f64 = 20.0;
/// Bytes of data of an event, and of one for the slow readers.
const SIZE: usize = 100;
const LARGE_SIZE: usize = 4_096;
/// What a slow reader reads, in bytes a second: an eighth of what it is sent.
const SLOW_BYTES: u32 = 50_000;
/// Bursts of a cycle, and how long one takes.
const BURSTS_PER_CYCLE: u32 = 3;
const BURST_SECONDS: f64 = 0.8;
/// Fresh channels that are published to at once; one in `FRESH_SUBSCRIBED` has two subscribers.
const SLICE: u32 = 200;
const FRESH_SUBSCRIBED: usize = 10;

/// The least number of cycles, and how long one takes at the most.
const CYCLES_MIN: f64 = 3.0;
const CYCLE_MAX: Duration = Duration::from_secs(60);
/// How much longer than its cycle the hub may take to be back: a channel whose events went while
/// it had subscribers is looked at again after 30 s.
const BACK_PATIENCE: Duration = Duration::from_secs(35);
/// How long subscribers may take to get what was published.
const PATIENCE: Duration = Duration::from_secs(20);
/// The hub's count of those that it closed because they took nothing.
const STALLED: &str = "fanfare_disconnects_total{reason=\"stalled\"}";

/// How long each part of the soak takes.
#[derive(Clone, Copy, Debug)]
struct Plan {
    cycles: u32,
    cycle: Duration,
    /// The part of a cycle in which something comes and goes; in the rest the hub settles.
    active: Duration,
    /// How long channels keep events: channels are gone well before the next cycle.
    ring_age: Duration,
    /// How long a subscriber may take nothing.
    stall: Duration,
    /// Events that the hub keeps, fewer than a cycle has: the journal is full from the first on.
    journal: u64,
}

/// Who publishes and who stays.
#[derive(Debug)]
struct Cast {
    standing: GroupId,
    bursts: Publisher,
    steady: Publisher,
    large: Publisher,
    comers: Comers,
    /// The first channel that nobody has published to.
    fresh: u32,
}

impl Soak {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let plan = self.plan();
        let server = common.server.clone();
        let server = server
            .with_setting("--ring-age", format!("{}ms", plan.ring_age.as_millis()))
            .with_setting("--write-stall-max", format!("{}ms", plan.stall.as_millis()))
            .with_setting("--tombstones-max", (self.channels / 2).max(1))
            // A ring is no larger than the journal.
            .with_setting("--ring-events", plan.journal.min(RING_EVENTS_MAX))
            .with_setting("--journal-events-max", plan.journal);
        let mut run = Run::start(&Common { server, ..common.clone() }, "soak")?;
        self.parameters(&mut run, &plan);
        let mut cast = Box::pin(self.cast(&run)).await?;
        let mut seen = Seen::new();
        let meter = run.meter()?;
        seen.quiet_point(&run, true).await?;
        for _ in 0..plan.cycles {
            run.stage("a cycle", plan.cycle.as_secs());
            let end = Instant::now() + plan.cycle;
            Box::pin(self.cycle(&run, &plan, &mut cast, &mut seen)).await?;
            settle(&run, &mut cast.steady, &mut seen, end).await?;
        }
        seen.behind += level(&run, cast.standing, cast.log().newest).await?;
        let spent = run.spent(&meter)?;
        run.cost("CPU per delivery", &spent, spent.events);
        run.latency("delivery", &seen.latencies);
        let told = run.fleet.tally().of(SLOW).gaps as f64;
        run.figure("gaps told to the slow", told, Unit::Count);
        if let Some(metrics) = run.server.metrics().await? {
            let closed = metrics.value(STALLED).unwrap_or(0) as f64;
            run.figure("never-reading ones closed by the hub", closed, Unit::Count);
        }
        run.figure("fresh channels", f64::from(cast.fresh - FRESH_FROM), Unit::Count);
        run.check_undisturbed(STANDING, "those that stayed");
        run.check_undisturbed(FRESH, "subscribers of fresh channels");
        cast.comers.report(&mut run);
        run.verify(&cast.log(), true).await?;
        seen.report(&mut run);
        Ok(run.finish())
    }

    fn plan(&self) -> Plan {
        let all = self.minutes * 60.0;
        let cycles = (all / CYCLE_MAX.as_secs_f64()).round().max(CYCLES_MIN);
        let cycle = Duration::from_secs_f64(all / cycles).max(Duration::from_secs(6));
        let active = cycle / 2;
        let steady = (STEADY_RATE + LARGE_RATE) * active.as_secs_f64();
        let bursts = u64::from(BURSTS_PER_CYCLE) * self.burst;
        let events = steady as u64 + bursts + u64::from(self.channels);
        Plan {
            cycles: cycles as u32,
            cycle,
            active,
            ring_age: (cycle / 6).max(Duration::from_secs(1)),
            stall: (cycle / 12).max(Duration::from_secs(1)),
            journal: (events * 2 / 3).max(1_024),
        }
    }

    fn parameters(&self, run: &mut Run, plan: &Plan) {
        run.parameter("minutes", self.minutes);
        run.parameter("cycles", plan.cycles);
        run.parameter("seconds of a cycle", plan.cycle.as_secs_f64());
        run.parameter("subscribers that stay", self.subscribers + STEADY_SUBSCRIBERS + 1);
        run.parameter("events of a burst", self.burst);
        run.parameter("bursts of a cycle", BURSTS_PER_CYCLE);
        run.parameter("comers a second", self.churn_rate);
        run.parameter("slow readers of a cycle", self.slow);
        run.parameter("never-reading subscribers of a cycle", self.slow);
        run.parameter("fresh channels of a cycle", self.channels);
    }

    /// Connects those that stay, and the publishers.
    async fn cast(&self, run: &Run) -> io::Result<Cast> {
        run.stage("connecting", 0);
        let steady = STEADY.cycle().take(STEADY_SUBSCRIBERS).chain([LARGE]);
        let bursts = std::iter::repeat_n(BURSTS, self.subscribers);
        let standing = run.fleet.join(Group::new(bursts.chain(steady).collect())).await?;
        run.fleet.expect(standing, 1).await?;
        // Whose publish was answered, the hub has accepted: it has all its files from here on.
        let publisher = async |channel, size| {
            let mut publisher = Publisher::connect(&run.server.endpoint).await?;
            publisher.publish(channel, size).await?;
            io::Result::Ok(publisher)
        };
        Ok(Cast {
            standing,
            bursts: publisher(BURSTS, SIZE).await?,
            steady: publisher(STEADY.start, SIZE).await?,
            large: publisher(LARGE, LARGE_SIZE).await?,
            comers: Comers::new(COMERS, STEADY, self.churn_rate, self.stay),
            fresh: FRESH_FROM,
        })
    }

    /// Lets everything come and go once, and checks what came of it.
    async fn cycle(
        &self,
        run: &Run,
        plan: &Plan,
        cast: &mut Cast,
        seen: &mut Seen,
    ) -> io::Result<()> {
        let standing = cast.standing;
        let flow = Flow { channels: STEADY, rate: STEADY_RATE, size: SIZE };
        let comers = Some(&mut cast.comers);
        let fresh = cast.fresh..cast.fresh + self.channels;
        let (_, behind, (), late, ()) = tokio::try_join!(
            flow.run(run, &mut cast.steady, comers, plan.active),
            Box::pin(self.bursts(run, plan, &mut cast.bursts, standing)),
            Box::pin(self.slow(run, plan, &mut cast.large)),
            Box::pin(self.fresh(run, plan, fresh.clone())),
            seen.watch(run, plan.active),
        )?;
        cast.fresh = fresh.end;
        cast.comers.leave(&run.fleet).await?;
        let (log, fresh_behind) = late;
        let mut all = cast.log();
        let newest = all.newest.clone();
        seen.behind += behind + fresh_behind + level(run, standing, newest).await?;
        seen.refused += log.refused;
        all.merge(log);
        seen.differ += run.fleet.disagreements(&all.ids).await?;
        let latencies = &run.fleet.latencies().await?[STANDING];
        seen.latencies.add(latencies).map_err(io::Error::other)?;
        let p99 = latencies.value_at_quantile(0.99) as f64 / 1e9;
        seen.p99.push((seen.began.elapsed().as_secs_f64(), p99));
        Ok(())
    }

    /// Bursts; returns how many subscribers did not get all of one in time.
    async fn bursts(
        &self,
        run: &Run,
        plan: &Plan,
        publisher: &mut Publisher,
        standing: GroupId,
    ) -> io::Result<u64> {
        let began = Instant::now();
        let mut behind = 0;
        for burst in 0..BURSTS_PER_CYCLE {
            let nth = (f64::from(burst) + 0.25) / f64::from(BURSTS_PER_CYCLE);
            sleep_until(began + plan.active.mul_f64(nth)).await;
            let mut pace = Pace::new(self.burst as f64 / BURST_SECONDS);
            for _ in 0..self.burst {
                let stamp_ns = pace.wait().await;
                publisher.publish_at(stamp_ns, BURSTS, SIZE).await?;
            }
            behind += level(run, standing, publisher.log().newest.clone()).await?;
        }
        Ok(behind)
    }

    /// Subscribers that do not keep up, or do not read at all, come, and leave at the end.
    async fn slow(&self, run: &Run, plan: &Plan, publisher: &mut Publisher) -> io::Result<()> {
        let began = Instant::now();
        let mut groups = Vec::new();
        for reading in [Reading::Slow(SLOW_BYTES), Reading::Never] {
            let mut group = Group::new(vec![LARGE; self.slow]);
            (group.class, group.reading) = (SLOW, reading);
            groups.push(run.fleet.join(group).await?);
        }
        let mut pace = Pace::new(LARGE_RATE);
        while began.elapsed() < plan.active {
            let stamp_ns = pace.wait().await;
            publisher.publish_at(stamp_ns, LARGE, LARGE_SIZE).await?;
        }
        for group in groups {
            run.fleet.leave(group).await?;
        }
        Ok(())
    }

    /// Publishes to channels that nobody has used before, some of which have subscribers for that
    /// moment; returns what was published and how many subscribers did not get it.
    async fn fresh(&self, run: &Run, plan: &Plan, channels: Range<u32>) -> io::Result<(Log, u64)> {
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        let mut behind = 0;
        let slices = f64::from(self.channels) / f64::from(SLICE);
        let mut pace = Pace::new((slices / plan.active.as_secs_f64() / 0.9).max(0.1));
        for first in channels.clone().step_by(SLICE as usize) {
            pace.wait().await;
            let slice = first..(first + SLICE).min(channels.end);
            let subscribed: Vec<u32> = slice.clone().step_by(FRESH_SUBSCRIBED).collect();
            let mut group = Group::new(subscribed.repeat(2));
            group.class = FRESH;
            let group = run.fleet.join(group).await?;
            run.fleet.expect(group, 1).await?;
            for channel in slice.chain(subscribed.iter().copied()) {
                publisher.publish(channel, SIZE).await?;
            }
            let newest = subscribed.iter().map(|channel| (*channel, 2)).collect();
            behind += level(run, group, newest).await?;
            run.fleet.leave(group).await?;
        }
        Ok((publisher.into_log(), behind))
    }
}

/// Lets the hub settle, with only those that stay and a few events, to the end of the cycle and
/// until it is where it was before the first one, but not for ever.
async fn settle(
    run: &Run,
    publisher: &mut Publisher,
    seen: &mut Seen,
    end: Instant,
) -> io::Result<()> {
    run.stage("settling", end.saturating_duration_since(Instant::now()).as_secs());
    let flow = Flow { channels: STEADY, rate: QUIET_RATE, size: SIZE };
    loop {
        let time = end.saturating_duration_since(Instant::now()).max(LOOK);
        tokio::try_join!(flow.run(run, publisher, None, time), seen.watch(run, time))?;
        if seen.quiet_point(run, end.elapsed() > BACK_PATIENCE).await? {
            return Ok(());
        }
    }
}

/// Waits until all of a group have what was published; returns how many have not in time.
async fn level(run: &Run, group: GroupId, newest: Newest) -> io::Result<u64> {
    let waited = timeout(PATIENCE, run.fleet.caught_up(group, newest.clone())).await;
    match waited {
        Ok(behind) => behind,
        Err(_) => run.fleet.behind(group, &newest.into()).await,
    }
}

impl Cast {
    /// What was published to the channels that stay.
    fn log(&self) -> Log {
        let mut log = self.bursts.log().clone();
        log.merge(self.steady.log().clone());
        log.merge(self.large.log().clone());
        log
    }
}

/// Events that a channel of the hub keeps at most.
const RING_EVENTS_MAX: u64 = 1_024;
