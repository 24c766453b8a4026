//! What all scenarios have in common: a server, a fleet, a measure of what they use, and a result.

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    fleet::{Counts, Fleet, Group, GroupId},
    outcome::{Outcome, Unit},
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

/// Past this share of its cores, or of one for one of its threads, the generator is what is
/// measured, not the server.
const SATURATED_SHARE: f64 = 0.95;

/// Past so many cores what else runs on the machine may be what is measured.
const OTHERS_CORES: f64 = 0.4;

/// By what factor, and by how much more, publishing may take longer than planned.
const LATE_FACTOR: f64 = 1.1;
const LATE: Duration = Duration::from_millis(20);

/// How often the progress of connecting is shown.
const SHOW: Duration = Duration::from_millis(100);

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
    threads_ns: HashMap<OsString, u64>,
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
    /// The part of one core that the busiest of its threads used.
    pub(crate) busiest_share: f64,
    /// The cores that neither the server nor the generator used; none if the server's part is not
    /// known.
    pub(crate) others_cores: Option<f64>,
}

impl Run {
    /// Starts the server and the fleet.
    pub(crate) fn start(common: &Common, scenario: &str) -> io::Result<Self> {
        Self::start_asking(common, scenario, "")
    }

    /// The same with subscribers whose requests have a query.
    pub(crate) fn start_asking(common: &Common, scenario: &str, query: &str) -> io::Result<Self> {
        let (server_cpus, cpus) = common.server.cpus()?;
        cpus.enter()?;
        let mut server = Server::start(&common.server, scenario)?;
        query.clone_into(&mut server.endpoint.query);
        let threads = common.threads.unwrap_or(cpus.len());
        let fleet = Fleet::start(&server.endpoint, threads, &cpus)?;
        let progress = if common.quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let style = ProgressStyle::with_template("{prefix} {msg} {wide_bar} {pos}/{len} {elapsed}");
        progress.set_style(style.map_err(io::Error::other)?);
        let target = common.server.target.to_string();
        progress.set_prefix(format!("{scenario} {target}"));
        let outcome = Outcome { scenario: scenario.to_owned(), target, ..Outcome::default() };
        let mut run = Self { server, fleet, outcome, progress, cpus: cpus.len() };
        if common.server.url.is_none() && server_cpus.overlap(&cpus) {
            run.complain("the server and the generator share cores".to_owned());
        }
        Ok(run)
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

    /// Subscribes a group and waits until all of it has connected, which are steps of the stage.
    pub(crate) async fn join(&self, group: Group) -> io::Result<GroupId> {
        let mut joined = pin!(self.fleet.join(group));
        loop {
            tokio::select! {
                done = &mut joined => return done,
                () = tokio::time::sleep(SHOW) => self.step(self.fleet.tally().all().connected),
            }
        }
    }

    /// Begins to measure.
    pub(crate) fn meter(&self) -> io::Result<Meter> {
        let (server, counts) = (self.server.usage()?, self.fleet.tally().all());
        let threads_ns = process::threads_ns(std::process::id())?;
        let machine_ns = process::machine_busy_ns()?;
        Ok(Meter { began: Instant::now(), server, counts, threads_ns, machine_ns })
    }

    /// What was used and done since `meter`.
    pub(crate) fn spent(&self, meter: &Meter) -> io::Result<Spent> {
        let wall = meter.began.elapsed();
        let threads_ns = process::threads_ns(std::process::id())?;
        // A thread that ended meanwhile is not in it any more, one that began counts in full.
        let before = |thread: &OsString| meter.threads_ns.get(thread).copied().unwrap_or(0);
        let used = threads_ns.iter().map(|(thread, ns)| ns.saturating_sub(before(thread)));
        let (generator_ns, busiest_ns) =
            used.fold((0, 0), |(sum, most), ns| (sum + ns, ns.max(most)));
        let counts = self.fleet.tally().all();
        let server_cpu_ns = match (self.server.usage()?, meter.server) {
            (Some(after), Some(before)) => Some(after.cpu_ns.saturating_sub(before.cpu_ns)),
            _ => None,
        };
        let machine_ns = process::machine_busy_ns()?.saturating_sub(meter.machine_ns);
        let cores = |ns: u64| ns as f64 / wall.as_nanos() as f64;
        let others = |server_ns| cores(machine_ns.saturating_sub(server_ns + generator_ns));
        Ok(Spent {
            wall,
            others_cores: server_cpu_ns.map(others),
            server_cpu_ns,
            events: counts.events - meter.counts.events,
            bytes: counts.bytes - meter.counts.bytes,
            generator_share: cores(generator_ns) / self.cpus as f64,
            busiest_share: cores(busiest_ns),
        })
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: Unit) {
        self.outcome.push(name, value, unit);
    }

    /// Adds the server's CPU for each of `count` things, if it is known, and what share of its
    /// cores the generator used; complains if that was all of them, or all that one of its threads
    /// can use.
    pub(crate) fn cost(&mut self, name: &str, spent: &Spent, count: u64) {
        if let Some(cpu_ns) = spent.server_cpu_ns {
            self.figure(name, cpu_ns as f64 / 1e9 / count.max(1) as f64, Unit::Seconds);
            let share = cpu_ns as f64 / spent.wall.as_nanos() as f64;
            self.figure("server, of one core", share, Unit::Share);
        }
        self.figure("generator, of its cores", spent.generator_share, Unit::Share);
        if let Some(cores) = spent.others_cores {
            let share = cores / process::cores() as f64;
            self.figure("all else, of all cores", share, Unit::Share);
            if cores > OTHERS_CORES {
                self.complain(format!("other processes used {cores:.1} cores"));
            }
        }
        let busiest = spent.generator_share.max(spent.busiest_share);
        self.outcome.saturated |= busiest > SATURATED_SHARE;
        if spent.generator_share > SATURATED_SHARE {
            self.complain(format!(
                "the generator used {:.0} % of its cores: this is its result, not the server's",
                spent.generator_share * 100.0
            ));
        } else if spent.busiest_share > SATURATED_SHARE {
            self.complain(format!(
                "a thread of the generator used {:.0} % of a core: this is its result, not the \
                 server's",
                spent.busiest_share * 100.0
            ));
        }
    }

    /// Adds how long it took to publish so many events; complains if that was longer than `rate`
    /// asks for, since then it is another load.
    pub(crate) fn published(&mut self, events: u64, rate: f64, took: Duration) {
        self.figure("published after", took.as_secs_f64(), Unit::Seconds);
        if let Some(reached) = too_slow(events, rate, took) {
            self.complain(format!("published {reached:.1}/s instead of {rate:.1}/s"));
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
        self.outcome.latency(name, latencies);
    }

    /// Compares what subscribers got with what was published, and complains of each difference.
    /// `gaps` says whether subscribers may have been told of gaps.
    pub(crate) async fn verify(&mut self, log: &Log, gaps: bool) -> io::Result<()> {
        let counts = self.fleet.tally().all();
        let faults = faults(&self.fleet, log, gaps).await?;
        faults.into_iter().for_each(|fault| self.fault(fault));
        if log.refused > 0 {
            let (refused, status) = (log.refused, log.refusal);
            self.fault(format!("{refused} publishes were refused, with status {status}"));
        }
        self.figure("events delivered", counts.events as f64, Unit::Count);
        self.figure("gaps told", counts.gaps as f64, Unit::Count);
        Ok(())
    }

    /// The same for another fleet, to which nothing else may have happened either.
    pub(crate) async fn verify_beside(
        &mut self,
        fleet: &Fleet,
        who: &str,
        log: &Log,
    ) -> io::Result<()> {
        for fault in faults(fleet, log, false).await? {
            self.fault(format!("{who}: {fault}"));
        }
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
    pub(crate) fn finish(mut self) -> Outcome {
        self.progress.finish_and_clear();
        if let Some(said) = self.server.said() {
            self.fault(format!("the server said: {said}"));
        }
        self.outcome
    }
}

/// How many events a second were published, if that took longer than `rate` allows for: the first
/// one is published at once.
pub(crate) fn too_slow(events: u64, rate: f64, took: Duration) -> Option<f64> {
    let planned = events.saturating_sub(1) as f64 / rate;
    let took = took.as_secs_f64();
    (took > LATE_FACTOR * planned + LATE.as_secs_f64()).then(|| events as f64 / took)
}

/// What a fleet got that differs from what was published or is not as it must be.
async fn faults(fleet: &Fleet, log: &Log, gaps: bool) -> io::Result<Vec<String>> {
    let counts = fleet.tally().all();
    let differ = fleet.disagreements(&log.ids).await?;
    let unless_gaps = |count| if gaps { 0 } else { count };
    let faults = [
        (counts.lost, "events were lost without a word"),
        (counts.doubled, "events came twice or out of order"),
        (counts.wrong + differ, "events had another id or other data than elsewhere"),
        (unless_gaps(counts.gaps), "gaps were told"),
        (unless_gaps(counts.ended), "streams were ended"),
        (unless_gaps(counts.refused), "connects were refused"),
    ];
    let said = faults.into_iter().filter(|(count, _)| *count > 0);
    Ok(said.map(|(count, what)| format!("{count} {what}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_too_slowly_is_told() {
        let took = Duration::from_millis;
        assert_eq!(too_slow(100, 50.0, took(1_980)), None);
        assert_eq!(too_slow(100, 50.0, took(2_190)), None, "a tenth and 20 ms more");
        assert_eq!(too_slow(100, 50.0, took(4_000)), Some(25.0));
        assert_eq!(too_slow(1, 50.0, took(10)), None);
        assert_eq!(too_slow(0, 50.0, took(0)), None);
    }
}
