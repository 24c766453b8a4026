//! What all scenarios have in common: a server, a fleet, a measure of what they use, and a result.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    fleet::{Counts, Fleet},
    outcome::{Axis, Line, Outcome, Plot, Unit},
    process::{self, Usage},
    publisher::Log,
    server::{Server, ServerArgs},
};

/// What every subcommand that loads a server takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Threads that hold subscribers; one per core of --client-cpus unless given
    #[arg(long, global = true)]
    pub(crate) threads: Option<usize>,
    /// The directory for the JSON and HTML reports
    #[arg(long, value_name = "DIR", default_value = "target/loadtest", global = true)]
    pub(crate) report: PathBuf,
    /// Print the result as JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

/// Past this share of its cores the generator is what is measured, not the server.
const SATURATED_SHARE: f64 = 0.95;

/// Past this share of the machine what else runs on it may be what is measured.
const OTHERS_SHARE: f64 = 0.25;

/// A run of a scenario.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) server: Server,
    pub(crate) fleet: Fleet,
    pub(crate) outcome: Outcome,
    progress: ProgressBar,
    cpus: usize,
}

/// The beginning of a stretch that is measured.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    server: Option<Usage>,
    counts: Counts,
    generator_ns: u64,
    machine_ns: u64,
}

/// What was used and done in a stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// How long it took.
    pub(crate) wall: Duration,
    /// Nanoseconds of CPU of the server; none if its process is not known.
    pub(crate) server_cpu_ns: Option<u64>,
    /// Events that subscribers got.
    pub(crate) events: u64,
    /// Bytes that they got.
    pub(crate) bytes: u64,
    /// The part of its cores that the generator used.
    pub(crate) generator_share: f64,
    /// The part of the machine's cores that neither the server nor the generator used; none if
    /// the server's part is not known.
    pub(crate) others_share: Option<f64>,
}

impl Run {
    /// Starts the server and the fleet.
    pub(crate) fn start(common: &Common, scenario: &str) -> io::Result<Self> {
        let (_, cpus) = common.server.cpus()?;
        cpus.enter()?;
        let server = Server::start(&common.server, scenario)?;
        let threads = common.threads.unwrap_or(cpus.len());
        let fleet = Fleet::start(&server.endpoint, threads, &cpus)?;
        let progress = if common.quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let style = ProgressStyle::with_template("{prefix} {msg} {wide_bar} {pos}/{len} {elapsed}");
        progress.set_style(style.map_err(io::Error::other)?);
        let target = common.server.target.to_string();
        progress.set_prefix(format!("{scenario} {target}"));
        let outcome = Outcome { scenario: scenario.to_owned(), target, ..Outcome::default() };
        Ok(Self { server, fleet, outcome, progress, cpus: cpus.len() })
    }

    /// Another fleet on the same cores.
    pub(crate) fn another_fleet(&self, common: &Common) -> io::Result<Fleet> {
        let (_, cpus) = common.server.cpus()?;
        Fleet::start(&self.server.endpoint, 1, &cpus)
    }

    /// Notes what was asked for.
    pub(crate) fn parameter(&mut self, name: &str, value: impl std::fmt::Display) {
        self.outcome.parameters.push((name.to_owned(), value.to_string()));
    }

    /// Begins a stage of so many steps on the progress bar.
    pub(crate) fn stage(&self, name: &'static str, steps: u64) {
        self.progress.reset();
        self.progress.set_message(name);
        self.progress.set_length(steps);
    }

    /// Says how many steps of the stage are done.
    pub(crate) fn step(&self, done: u64) {
        self.progress.set_position(done);
    }

    /// Begins to measure.
    pub(crate) fn meter(&self) -> io::Result<Meter> {
        let (server, counts) = (self.server.usage()?, self.fleet.tally().all());
        let generator_ns = process::cpu_ns(std::process::id())?;
        let machine_ns = process::machine_busy_ns()?;
        Ok(Meter { began: Instant::now(), server, counts, generator_ns, machine_ns })
    }

    /// What was used and done since `meter`.
    pub(crate) fn spent(&self, meter: &Meter) -> io::Result<Spent> {
        let wall = meter.began.elapsed();
        let generator_ns = process::cpu_ns(std::process::id())? - meter.generator_ns;
        let counts = self.fleet.tally().all();
        let server_cpu_ns = match (self.server.usage()?, meter.server) {
            (Some(after), Some(before)) => Some(after.cpu_ns.saturating_sub(before.cpu_ns)),
            _ => None,
        };
        let machine_ns = process::machine_busy_ns()? - meter.machine_ns;
        let cores = process::cores();
        let others_share = server_cpu_ns.map(|server_ns| {
            let others_ns = machine_ns.saturating_sub(server_ns + generator_ns);
            others_ns as f64 / wall.as_nanos() as f64 / cores as f64
        });
        Ok(Spent {
            wall,
            others_share,
            server_cpu_ns,
            events: counts.events - meter.counts.events,
            bytes: counts.bytes - meter.counts.bytes,
            generator_share: generator_ns as f64 / wall.as_nanos() as f64 / self.cpus as f64,
        })
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: Unit) {
        self.outcome.push(name, value, unit);
    }

    /// Adds the server's CPU for each of `count` things, if it is known, and what share of its
    /// cores the generator used; complains if that was all of them.
    pub(crate) fn cost(&mut self, name: &str, spent: &Spent, count: u64) {
        if let Some(cpu_ns) = spent.server_cpu_ns {
            self.figure(name, cpu_ns as f64 / 1e9 / count.max(1) as f64, Unit::Seconds);
            let share = cpu_ns as f64 / spent.wall.as_nanos() as f64;
            self.figure("server, of one core", share, Unit::Share);
        }
        self.figure("generator, of its cores", spent.generator_share, Unit::Share);
        if let Some(share) = spent.others_share {
            self.figure("all else, of all cores", share, Unit::Share);
            if share > OTHERS_SHARE {
                let share = share * 100.0;
                self.complain(format!("other processes used {share:.0} % of the machine"));
            }
        }
        if spent.generator_share > SATURATED_SHARE {
            self.complain(format!(
                "the generator used {:.0} % of its cores: this is its result, not the server's",
                spent.generator_share * 100.0
            ));
        }
    }

    /// Says what the server did wrong.
    pub(crate) fn fault(&mut self, fault: String) {
        self.outcome.faulty = true;
        self.complain(fault);
    }

    /// Says that something makes the result doubtful.
    pub(crate) fn complain(&mut self, complaint: String) {
        self.outcome.complaints.push(complaint);
    }

    /// Adds percentiles of latencies in nanoseconds, as figures and as a plot.
    pub(crate) fn latency(&mut self, name: &str, latencies: &Histogram<u64>) {
        for (percentile, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)]
        {
            let seconds = latencies.value_at_quantile(quantile) as f64 / 1e9;
            self.figure(&format!("{name} {percentile}"), seconds, Unit::Seconds);
        }
        self.figure(&format!("{name} max"), latencies.max() as f64 / 1e9, Unit::Seconds);
        let title = "Latency up to a share of the events".to_owned();
        if !self.outcome.plots.iter().any(|plot| plot.title == title) {
            let x = Axis {
                label: "1 in so many is slower".to_owned(),
                unit: Unit::Count,
                logarithmic: true,
            };
            let y = Axis { label: "latency".to_owned(), unit: Unit::Seconds, logarithmic: true };
            self.outcome.plots.push(Plot { title: title.clone(), x, y, lines: Vec::new() });
        }
        let point = |step: u32| {
            let one_in = 10f64.powf(f64::from(step) / 8.0);
            let slowest = latencies.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e9;
            (one_in, slowest)
        };
        let steps = (latencies.len().max(1) as f64).log10().min(5.0) * 8.0;
        let line = Line { name: name.to_owned(), points: (1..=steps as u32).map(point).collect() };
        let plot = self.outcome.plots.iter_mut().find(|plot| plot.title == title);
        plot.into_iter().for_each(|plot| plot.lines.push(line.clone()));
    }

    /// Compares what subscribers got with what was published, and complains of each difference.
    /// `gaps` says whether subscribers may have been told of gaps.
    pub(crate) async fn verify(&mut self, log: &Log, gaps: bool) -> io::Result<()> {
        let counts = self.fleet.tally().all();
        let differ = self.fleet.disagreements(&log.ids).await?;
        let faults = [
            (counts.lost, "events were lost without a word"),
            (counts.doubled, "events came twice or out of order"),
            (counts.wrong + differ, "events had another id or other data than elsewhere"),
            (log.refused, "publishes were refused"),
            (if gaps { 0 } else { counts.gaps }, "gaps were told"),
        ];
        for (count, what) in faults {
            if count > 0 {
                self.fault(format!("{count} {what}"));
            }
        }
        self.figure("events delivered", counts.events as f64, Unit::Count);
        self.figure("gaps told", counts.gaps as f64, Unit::Count);
        Ok(())
    }

    /// Finds fault with what must not happen to the subscribers of a class that read all they get.
    pub(crate) fn check_undisturbed(&mut self, class: usize, who: &str) {
        let counts = self.fleet.tally().of(class);
        let faults = [
            (counts.gaps, "gaps were told to"),
            (counts.ended, "streams were ended of"),
            (counts.refused, "connects were refused to"),
        ];
        for (count, what) in faults {
            if count > 0 {
                self.fault(format!("{count} {what} {who}"));
            }
        }
    }

    /// The result.
    pub(crate) fn finish(self) -> Outcome {
        self.progress.finish_and_clear();
        self.outcome
    }
}
