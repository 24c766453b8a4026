//! Token streams as services of language models send them: many channels, each with a streaming
//! publish of its own that closes it at the end, and few subscribers.

mod publishers;

use std::{io, time::Duration};

use tokio::time::{Instant, sleep};

use self::publishers::Publishers;
use crate::{
    endpoint::Kind,
    fleet::{Group, GroupId},
    outcome::{Outcome, Unit},
    payload, process,
    publisher::{Log, Pace},
    ranges,
    run::{Common, Run, Spent},
};

/// Token streams: a streaming publish and few subscribers each, and an end
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Streams {
    /// How many streams at once, each of them a channel
    #[arg(long, default_value_t = 2_000, value_parser = ranges::some::<u32>)]
    pub(crate) streams: u32,
    /// Tokens a second of each
    #[arg(long, default_value_t = 50.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Subscribers of each
    #[arg(long, default_value_t = 2, value_parser = ranges::some::<u32>)]
    pub(crate) subscribers: u32,
    /// Seconds that they take
    #[arg(long, default_value_t = 60.0, value_parser = ranges::positive)]
    pub(crate) seconds: f64,
    /// Over what they are published
    #[arg(long, value_enum, default_value = "per-stream")]
    pub(crate) publishers: Over,
    /// Subscribers ask the hub to merge tokens, such as openai-chat
    #[arg(long, value_name = "PRESET")]
    pub(crate) coalesce: Option<String>,
    /// Milliseconds within which it merges them live; without it only what it reads together
    #[arg(long, value_name = "MS", requires = "coalesce")]
    pub(crate) window: Option<u32>,
}

/// Over what streams are published.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Over {
    /// A request and a connection for each stream
    PerStream,
    /// One request with lines for all streams
    One,
    /// A request for each stream, 100 of them on a connection of HTTP/2
    H2,
}

/// How many times a second tokens are sent: streams take turns within the time of a token.
const TICKS_PER_SECOND: f64 = 1_000.0;
/// How long the server has between the last connect and a look at its memory.
const SETTLE: Duration = Duration::from_millis(500);
/// How long streams may take to end after the last token, and how often they are looked at.
const END_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

impl Streams {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let only_hub = self.publishers == Over::H2 || self.coalesce.is_some();
        if only_hub && common.server.target != Kind::Fanfare {
            let why = "a baseline neither speaks HTTP/2 nor merges tokens";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut run = Run::start_asking(common, "streams", &self.query())?;
        self.parameters(&mut run);
        sleep(SETTLE).await;
        let (empty, kernel_empty) = (run.server.usage()?, process::kernel_bytes()?);
        let (group, publishers) = self.connect(&run).await?;
        sleep(SETTLE).await;
        let (waiting, kernel) = (run.server.usage()?, process::kernel_bytes()?);
        let count = f64::from(self.streams);
        if let (Some(empty), Some(waiting)) = (empty, waiting) {
            let grown = waiting.pss_bytes as f64 - empty.pss_bytes as f64;
            run.figure("user memory per waiting stream", grown / count, Unit::Bytes);
        }
        let grown = kernel as f64 - kernel_empty as f64;
        run.figure("kernel memory per stream, both ends", grown / count, Unit::Bytes);

        let (meter, began_ns) = (run.meter()?, payload::now_ns());
        let (log, took) = self.publish(&run, publishers).await?;
        let behind = run.fleet.caught_up(group, log.newest.clone()).await?;
        let open = self.ended(&run).await;
        let spent = run.spent(&meter)?;
        if let (Some(empty), Some(full)) = (empty, run.server.usage()?) {
            let grown = full.pss_bytes as f64 - empty.pss_bytes as f64;
            run.figure("user memory per stream, with its events", grown / count, Unit::Bytes);
        }
        for (count, what) in [(behind, "get everything"), (open, "come to their end")] {
            if count > 0 {
                run.fault(format!("{count} subscribers did not {what}"));
            }
        }
        self.figures(&mut run, &log, &spent, (began_ns, took));
        let latencies = run.fleet.latencies().await?;
        run.latency("token", &latencies[0]);
        run.verify(&log, false).await?;
        Ok(run.finish())
    }

    /// What subscriptions ask for.
    fn query(&self) -> String {
        let coalesce = self.coalesce.iter().map(|preset| format!("coalesce={preset}"));
        let window = self.window.map(|window_ms| format!("window={window_ms}"));
        let query = coalesce.chain(window).collect::<Vec<_>>().join("&");
        if query.is_empty() { query } else { format!("?{query}") }
    }

    fn parameters(&self, run: &mut Run) {
        run.parameter("streams", self.streams);
        run.parameter("tokens a second of each", self.rate);
        run.parameter("subscribers of each", self.subscribers);
        run.parameter("seconds", self.seconds);
        let over = match self.publishers {
            Over::PerStream => "a connection for each stream",
            Over::One => "one request",
            Over::H2 => "HTTP/2",
        };
        run.parameter("published over", over);
        if !run.server.endpoint.query.is_empty() {
            run.parameter("subscribed with", run.server.endpoint.query.clone());
        }
    }

    /// Subscribes all, and begins the publishes.
    async fn connect(&self, run: &Run) -> io::Result<(GroupId, Publishers)> {
        run.stage("connecting", u64::from(self.streams * self.subscribers));
        let channels = (0..self.streams).cycle();
        let all = channels.take((self.streams * self.subscribers) as usize).collect();
        let group = run.join(Group::new(all)).await?;
        run.fleet.expect(group, 1).await?;
        let endpoint = &run.server.endpoint;
        let publishers = Publishers::connect(endpoint, self.publishers, self.streams).await?;
        Ok((group, publishers))
    }

    /// Publishes the tokens of all streams, which take turns, and ends them. Returns what was
    /// published and how long that took, without the end.
    async fn publish(&self, run: &Run, mut all: Publishers) -> io::Result<(Log, Duration)> {
        let turns = (TICKS_PER_SECOND / self.rate).round().max(1.0) as u32;
        let tokens = (self.rate * self.seconds).round().max(1.0) as u64;
        run.stage("publishing", tokens);
        let began = Instant::now();
        let mut pace = Pace::new(self.rate * f64::from(turns));
        for number in 1..=tokens {
            for turn in 0..turns {
                let stamp_ns = pace.wait().await;
                let channels = (turn..self.streams).step_by(turns as usize);
                all.publish(stamp_ns, channels, number).await?;
            }
            run.step(number);
        }
        let took = began.elapsed();
        Ok((all.finish(&run.server.endpoint, self.streams, tokens).await?, took))
    }

    /// Waits until all streams have ended, if the server ends them; returns how many have not.
    async fn ended(&self, run: &Run) -> u64 {
        let began = Instant::now();
        loop {
            let open = run.fleet.tally().all().connected;
            if run.server.endpoint.kind != Kind::Fanfare {
                return 0;
            }
            if open == 0 || began.elapsed() > END_PATIENCE {
                return open;
            }
            sleep(LOOK).await;
        }
    }

    fn figures(&self, run: &mut Run, log: &Log, spent: &Spent, (began_ns, took): (u64, Duration)) {
        let counts = run.fleet.tally().all();
        let seconds = (counts.newest_ns - began_ns) as f64 / 1e9;
        run.published(log.events, self.rate * f64::from(self.streams), took);
        run.figure("tokens a second", log.events as f64 / seconds, Unit::PerSecond);
        run.figure("deliveries a second", spent.events as f64 / seconds, Unit::PerSecond);
        run.figure("bytes per delivery", spent.bytes as f64 / spent.events as f64, Unit::Bytes);
        let wholes = spent.events - counts.merged;
        run.figure("tokens in an event", spent.events as f64 / wholes as f64, Unit::Count);
        run.cost("CPU per token", spent, log.events);
        if let Some(cpu_ns) = spent.server_cpu_ns {
            let cost = cpu_ns as f64 / 1e9 / spent.events.max(1) as f64;
            run.figure("CPU per delivery", cost, Unit::Seconds);
        }
    }
}
