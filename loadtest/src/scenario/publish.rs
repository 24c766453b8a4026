//! Publishes that nobody gets: what accepting an event costs.

use std::io;

use tokio::task::{JoinSet, LocalSet};

use crate::{
    outcome::{Outcome, Unit},
    payload,
    publisher::{LinePublisher, Log, Publisher},
    ranges,
    run::{Common, Run},
};

/// Publishes without subscribers
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Publish {
    /// How many channels are published to in turn; each has one event before the measurement
    #[arg(long, default_value_t = 1, value_parser = ranges::some::<u32>)]
    pub(crate) channels: u32,
    /// Over how many connections
    #[arg(long, default_value_t = 16, value_parser = ranges::some::<u32>)]
    pub(crate) connections: u32,
    /// How many events in all
    #[arg(long, default_value_t = 200_000, value_parser = ranges::some::<u64>)]
    pub(crate) events: u64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// As lines of NDJSON in one request a connection instead of an event a request
    #[arg(long)]
    pub(crate) ndjson: bool,
}

/// Bytes of lines that one publisher sends at once.
const FLUSH_BYTES: usize = 32 * 1024;
/// Events before the measurement on each connection.
const WARM_UP: u64 = 200;

impl Publish {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        let mut run = Run::start(common, "publish")?;
        run.parameter("channels", self.channels);
        run.parameter("connections", self.connections);
        run.parameter("size", self.size);
        run.parameter("form", if self.ndjson { "NDJSON" } else { "an event a request" });
        if self.channels > self.connections {
            run.stage("filling", u64::from(self.channels));
            let mut filler = LinePublisher::connect(&run.server.endpoint).await?;
            for channel in 0..self.channels {
                filler.add(channel, self.size);
                if filler.waiting() >= FLUSH_BYTES {
                    filler.flush().await?;
                    run.step(u64::from(channel));
                }
            }
            filler.finish().await?;
        }
        run.stage("publishing", 1);
        let warm_up = WARM_UP * u64::from(self.connections);
        self.publish(&run, warm_up).await?;
        let (meter, began_ns) = (run.meter()?, payload::now_ns());
        let log = self.publish(&run, self.events).await?;
        let seconds = (payload::now_ns() - began_ns) as f64 / 1e9;
        let spent = run.spent(&meter)?;
        run.figure("events a second", log.events as f64 / seconds, Unit::PerSecond);
        run.cost("CPU per event", &spent, log.events);
        if !self.ndjson {
            run.latency("publish", &log.latencies);
        }
        if log.refused > 0 {
            run.fault(format!("{} publishes got status {}", log.refused, log.refusal));
        }
        Ok(run.finish())
    }

    /// Publishes so many events over all connections at once.
    async fn publish(&self, run: &Run, events: u64) -> io::Result<Log> {
        LocalSet::new()
            .run_until(async {
                let mut tasks = JoinSet::new();
                for index in 0..self.connections {
                    let (this, endpoint) = (self.clone(), run.server.endpoint.clone());
                    let connections = u64::from(self.connections);
                    let more = u64::from(u64::from(index) < events % connections);
                    let share = events / connections + more;
                    tasks.spawn_local(async move {
                        if this.ndjson {
                            let publisher = LinePublisher::connect(&endpoint).await?;
                            this.stream(publisher, index, share).await
                        } else {
                            let publisher = Publisher::connect(&endpoint).await?;
                            this.request(publisher, index, share).await
                        }
                    });
                }
                let mut log = Log::default();
                while let Some(done) = tasks.join_next().await {
                    log.merge(done.map_err(io::Error::other)??);
                }
                Ok(log)
            })
            .await
    }

    async fn request(&self, mut publisher: Publisher, index: u32, events: u64) -> io::Result<Log> {
        for channel in self.channels_of(index).take(events as usize) {
            publisher.publish(channel, self.size).await?;
        }
        Ok(publisher.into_log())
    }

    async fn stream(&self, mut lines: LinePublisher, index: u32, events: u64) -> io::Result<Log> {
        for channel in self.channels_of(index).take(events as usize) {
            lines.add(channel, self.size);
            if lines.waiting() >= FLUSH_BYTES {
                lines.flush().await?;
            }
        }
        lines.finish().await
    }

    /// The channels of a connection, over and over, from its own on: with N connections
    /// every Nth.
    fn channels_of(&self, index: u32) -> impl Iterator<Item = u32> + use<> {
        let (channels, step) = (self.channels, self.connections);
        (0..).scan(index % channels, move |next, _: u64| {
            let channel = *next;
            *next = (*next + step) % channels;
            Some(channel)
        })
    }
}
