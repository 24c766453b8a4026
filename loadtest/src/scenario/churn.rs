//! Subscribers that come and go beside others that stay: what a coming costs, and whether anyone
//! misses anything for it.

use std::{collections::VecDeque, io, ops::Range, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    fleet::{Fleet, Group, GroupId, Newest},
    outcome::{Outcome, Unit},
    process::Usage,
    publisher::{Pace, Publisher},
    ranges,
    run::{Common, Run, Spent},
};

/// Subscribers that come and go beside others that stay
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Churn {
    /// How many stay from the beginning to the end
    #[arg(long, default_value_t = 2_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// Channels that all are spread over
    #[arg(long, default_value_t = 10, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
    /// Subscribers a second that come
    #[arg(long, default_value_t = 200.0, value_parser = ranges::not_negative)]
    pub(crate) churn_rate: f64,
    /// Seconds that each of them stays
    #[arg(long, default_value_t = 3.0, value_parser = ranges::not_negative)]
    pub(crate) stay: f64,
    /// Events a second, over all channels
    #[arg(long, default_value_t = 50.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Seconds for which subscribers come and go; before, it is a quarter of that without them
    #[arg(long, default_value_t = 20.0, value_parser = ranges::positive)]
    pub(crate) seconds: f64,
}

const STANDING: usize = 0;
const COMERS: usize = 1;
/// How long the hub may take to notice that the last have left.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the hub is looked at, and how long its memory may take to settle.
const LOOK: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(2);

impl Churn {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "churn")?;
        self.parameters(&mut run);
        run.stage("connecting", self.subscribers as u64);
        let channels = 0..self.channels.max(1);
        let standing = Group::new(channels.clone().cycle().take(self.subscribers).collect());
        let standing = run.join(standing).await?;
        run.fleet.expect(standing, 1).await?;
        let mut publisher = Publisher::connect(&run.server.endpoint).await?;
        let flow = Flow { channels: channels.clone(), rate: self.rate, size: self.size };
        run.stage("publishing", self.seconds as u64 / 4);
        let alone = Duration::from_secs_f64(self.seconds / 4.0);
        let alone = flow.measure(&run, &mut publisher, None, alone).await?;
        let _alone = run.fleet.latencies().await?;
        let start = run.server.usage()?;
        run.stage("coming and going", self.seconds as u64);
        let mut comers = Comers::new(COMERS, channels, self.churn_rate, self.stay);
        let time = Duration::from_secs_f64(self.seconds);
        let churn = flow.measure(&run, &mut publisher, Some(&mut comers), time).await?;
        let behind = run.fleet.caught_up(standing, publisher.log().newest.clone()).await?;
        if behind > 0 {
            run.fault(format!("{behind} subscribers that stayed did not get everything"));
        }
        comers.leave(&run.fleet).await?;
        let latencies = run.fleet.latencies().await?;
        run.latency("delivery to those that stay", &latencies[STANDING]);
        self.costs(&mut run, &alone, &churn);
        if let Some(start) = start {
            settle(&mut run, &start).await?;
        }
        run.check_undisturbed(STANDING, "those that stayed");
        comers.report(&mut run);
        run.verify(publisher.log(), false).await?;
        Ok(run.finish())
    }

    fn parameters(&self, run: &mut Run) {
        run.parameter("subscribers that stay", self.subscribers);
        run.parameter("channels", self.channels);
        run.parameter("comers a second", self.churn_rate);
        run.parameter("seconds that each stays", self.stay);
        run.parameter("rate", self.rate);
        run.parameter("size", self.size);
        run.parameter("seconds", self.seconds);
    }

    /// Adds what a delivery cost while nobody came, and from that what a coming and going cost.
    fn costs(&self, run: &mut Run, alone: &Spent, churn: &Spent) {
        run.cost("CPU per delivery", churn, churn.events);
        let (Some(before_ns), Some(cpu_ns)) = (alone.server_cpu_ns, churn.server_cpu_ns) else {
            return;
        };
        let delivery_ns = before_ns as f64 / alone.events.max(1) as f64;
        run.figure("CPU per delivery before any came", delivery_ns / 1e9, Unit::Seconds);
        let rest_ns = cpu_ns as f64 - delivery_ns * churn.events as f64;
        let connects = run.fleet.tally().of(COMERS).connects.max(1) as f64;
        run.figure("CPU per connect and leave", rest_ns / connects / 1e9, Unit::Seconds);
    }
}

/// Waits until the hub has noticed that the comers are gone, and adds its memory.
async fn settle(run: &mut Run, start: &Usage) -> io::Result<()> {
    let until = Instant::now() + LEAVE_PATIENCE;
    let mut end = *start;
    while let Some(usage) = run.server.usage()? {
        end = usage;
        if end.descriptors <= start.descriptors || Instant::now() > until {
            break;
        }
        sleep(LOOK).await;
    }
    if end.descriptors > start.descriptors {
        let open = end.descriptors - start.descriptors;
        run.fault(format!("{open} descriptors stayed open"));
    }
    sleep(SETTLE).await;
    end = run.server.usage()?.unwrap_or(end);
    run.figure("memory at the start", start.pss_bytes as f64, Unit::Bytes);
    run.figure("memory at the end", end.pss_bytes as f64, Unit::Bytes);
    Ok(())
}

/// Events at a rate, to some channels in turn.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) channels: Range<u32>,
    /// Events a second, over all channels.
    pub(super) rate: f64,
    /// Bytes of data.
    pub(super) size: usize,
}

impl Flow {
    /// Publishes for a time, while comers come and go. Seconds are the steps of the stage.
    pub(super) async fn run(
        &self,
        run: &Run,
        publisher: &mut Publisher,
        mut comers: Option<&mut Comers>,
        time: Duration,
    ) -> io::Result<()> {
        let began = Instant::now();
        let mut channels = self.channels.clone().cycle();
        let (mut pace, mut turns) = (Pace::new(self.rate), Pace::new(TURNS_PER_S));
        while began.elapsed() < time {
            tokio::select! {
                stamp_ns = pace.wait() => {
                    let channel = channels.next().unwrap_or(self.channels.start);
                    publisher.publish_at(stamp_ns, channel, self.size).await?;
                }
                _ = turns.wait() => {
                    if let Some(comers) = &mut comers {
                        comers.turn(&run.fleet, &publisher.log().newest).await?;
                    }
                    run.step(began.elapsed().as_secs());
                }
            }
        }
        Ok(())
    }

    async fn measure(
        &self,
        run: &Run,
        publisher: &mut Publisher,
        comers: Option<&mut Comers>,
        time: Duration,
    ) -> io::Result<Spent> {
        let meter = run.meter()?;
        self.run(run, publisher, comers, time).await?;
        run.spent(&meter)
    }
}

/// How often some come and some leave.
const TURNS_PER_S: f64 = 10.0;
/// By when a comer has to have an event, before it leaves.
const GRACE: Duration = Duration::from_secs(1);

/// Subscribers that come at a rate and stay for a while each.
#[derive(Debug)]
pub(super) struct Comers {
    class: usize,
    channels: Range<u32>,
    per_turn: f64,
    stay: Duration,
    /// How many are due to come; less than one after each turn.
    due: f64,
    came: u64,
    /// How many left without an event that was [`GRACE`] old.
    behind: u64,
    /// Those that are here, the first to leave first.
    batches: VecDeque<Batch>,
}

/// Those that came in one turn.
#[derive(Debug)]
struct Batch {
    group: GroupId,
    came: Instant,
    /// What they must have got when they leave, known [`GRACE`] before.
    newest: Option<Arc<Newest>>,
}

impl Comers {
    pub(super) fn new(class: usize, channels: Range<u32>, rate: f64, stay: f64) -> Self {
        Self {
            class,
            channels,
            per_turn: rate / TURNS_PER_S,
            stay: Duration::from_secs_f64(stay),
            due: 0.0,
            came: 0,
            behind: 0,
            batches: VecDeque::new(),
        }
    }

    /// Lets those come whose turn it is, and leave whose time is up.
    async fn turn(&mut self, fleet: &Fleet, newest: &Newest) -> io::Result<()> {
        self.due += self.per_turn;
        let count = self.due as usize;
        self.due -= count as f64;
        if count > 0 {
            let skipped = self.came as usize % self.channels.len();
            let channels = self.channels.clone().cycle().skip(skipped).take(count);
            let mut group = Group::new(channels.collect());
            group.class = self.class;
            let group = fleet.subscribe(group).await?;
            self.came += count as u64;
            self.batches.push_back(Batch { group, came: Instant::now(), newest: None });
        }
        let last = self.stay.saturating_sub(GRACE);
        for batch in self.batches.iter_mut().take_while(|batch| batch.came.elapsed() >= last) {
            batch.newest.get_or_insert_with(|| Arc::new(newest.clone()));
        }
        while let Some(batch) = self.batches.pop_front_if(|b| b.came.elapsed() >= self.stay) {
            if let Some(newest) = &batch.newest {
                self.behind += fleet.behind(batch.group, newest).await?;
            }
            fleet.leave(batch.group).await?;
        }
        Ok(())
    }

    /// Lets all that are still here leave.
    pub(super) async fn leave(&mut self, fleet: &Fleet) -> io::Result<()> {
        for batch in self.batches.drain(..) {
            fleet.leave(batch.group).await?;
        }
        Ok(())
    }

    /// Adds how many came, and complains of what went wrong for them.
    pub(super) fn report(&self, run: &mut Run) {
        let counts = run.fleet.tally().of(self.class);
        run.figure("comers", self.came as f64, Unit::Count);
        run.figure("comers connected", counts.connects as f64, Unit::Count);
        run.figure("connects refused", counts.refused as f64, Unit::Count);
        run.check_undisturbed(self.class, "comers");
        if self.behind > 0 {
            run.fault(format!("{} comers left without an event of theirs", self.behind));
        }
    }
}
