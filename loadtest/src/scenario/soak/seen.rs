//! What is seen of the hub during a soak, and what follows from it.

use std::{io, time::Duration};

use hdrhistogram::Histogram;
use tokio::time::{Instant, interval};

use crate::{
    fleet::histogram,
    outcome::{Axis, Line, Plot, Unit},
    process::Usage,
    run::Run,
};

/// How often the hub is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// By what factor memory may differ between two quiet points.
const GROWTH_MAX: f64 = 1.05;
/// How many of them tell growth from chance.
const QUIET_POINTS_MIN: usize = 8;

/// What the hub uses at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Seconds since the beginning.
    pub(super) at: f64,
    pub(super) pss_bytes: u64,
    pub(super) rss_bytes: u64,
    pub(super) anonymous_bytes: u64,
    pub(super) descriptors: u64,
    /// None if the hub does not tell.
    pub(super) channels: Option<u64>,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) began: Instant,
    /// Every second, and at each quiet point: the first is before the first cycle.
    pub(super) samples: Vec<Sample>,
    pub(super) quiet: Vec<Sample>,
    /// Of the standing subscribers, by cycle, at its end in seconds.
    pub(super) p99: Vec<(f64, f64)>,
    pub(super) latencies: Histogram<u64>,
    /// Subscribers that did not get everything, over all cycles.
    pub(super) behind: u64,
    /// Events that differ among subscribers and publishers, and publishes that were refused.
    pub(super) differ: u64,
    pub(super) refused: u64,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            samples: Vec::new(),
            quiet: Vec::new(),
            p99: Vec::new(),
            latencies: histogram(),
            behind: 0,
            differ: 0,
            refused: 0,
        }
    }

    /// Looks at the hub. Files first: asking it how many channels it has takes one.
    pub(super) async fn sample(&mut self, run: &Run) -> io::Result<Sample> {
        let at = self.began.elapsed().as_secs_f64();
        let usage = run.server.usage()?.unwrap_or_default();
        let channels = run.server.metrics().await?.and_then(|all| all.value("fanfare_channels"));
        let Usage { pss_bytes, rss_bytes, anonymous_bytes, descriptors, .. } = usage;
        let sample = Sample { at, pss_bytes, rss_bytes, anonymous_bytes, descriptors, channels };
        self.samples.push(sample);
        Ok(sample)
    }

    /// Looks at the hub again and again.
    pub(super) async fn watch(&mut self, run: &Run, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        let mut looks = interval(LOOK);
        while Instant::now() < until {
            looks.tick().await;
            self.sample(run).await?;
        }
        Ok(())
    }

    /// Takes this moment as a quiet point if the hub is where it was before the first cycle, or
    /// if it has had its time; returns whether it did.
    pub(super) async fn quiet_point(&mut self, run: &Run, had_its_time: bool) -> io::Result<bool> {
        let now = self.sample(run).await?;
        let quiet = had_its_time || self.quiet.first().is_none_or(|start| now.is_back(start));
        if quiet {
            self.quiet.push(now);
        }
        Ok(quiet)
    }

    /// Adds the series and what follows from them.
    pub(super) fn report(self, run: &mut Run) {
        let counts = [
            (self.behind, "times a subscriber did not get everything in time"),
            (self.differ, "events had another id or other data than elsewhere"),
            (self.refused, "publishes to fresh channels were refused"),
        ];
        for (count, what) in counts {
            if count > 0 {
                run.fault(format!("{count} {what}"));
            }
        }
        if let [start, quiet @ ..] = &self.quiet[..] {
            compare(run, start, quiet);
            let kept = quiet.iter().filter(|sample| !sample.is_back(start)).count();
            if kept > 0 {
                let cycles = quiet.len();
                run.fault(format!(
                    "the hub was not back at its start after {kept} of {cycles} cycles"
                ));
            }
        }
        let line = |name: &str, samples: &[Sample], value: &dyn Fn(&Sample) -> Option<u64>| Line {
            name: name.to_owned(),
            points: samples.iter().filter_map(|s| Some((s.at, value(s)? as f64))).collect(),
        };
        let lines = vec![
            line("resident", &self.samples, &|sample| Some(sample.rss_bytes)),
            line("proportional", &self.samples, &|sample| Some(sample.pss_bytes)),
            line("anonymous", &self.samples, &|sample| Some(sample.anonymous_bytes)),
            line("anonymous, at quiet points", &self.quiet, &|s| Some(s.anonymous_bytes)),
        ];
        plot(run, "Memory of the hub", ("memory", Unit::Bytes), lines);
        let lines = vec![
            line("channels", &self.samples, &|sample| sample.channels),
            line("file descriptors", &self.samples, &|sample| Some(sample.descriptors)),
        ];
        plot(run, "What the hub holds", ("number", Unit::Count), lines);
        let p99 = vec![Line { name: "p99 of a cycle".to_owned(), points: self.p99 }];
        plot(run, "Delivery latency", ("latency", Unit::Seconds), p99);
    }
}

impl Sample {
    /// Whether the hub holds what it held at the start, and no more.
    fn is_back(&self, start: &Self) -> bool {
        self.descriptors <= start.descriptors && self.channels == start.channels
    }
}

/// Adds what the hub used before the first cycle, after it, and after the last one.
fn compare(run: &mut Run, start: &Sample, quiet: &[Sample]) {
    let [first, .., last] = quiet else { return };
    if start.pss_bytes == 0 {
        return;
    }
    for (when, sample) in [("start", start), ("first quiet point", first), ("last", last)] {
        run.figure(&format!("memory (PSS), {when}"), sample.pss_bytes as f64, Unit::Bytes);
        run.figure(&format!("resident, {when}"), sample.rss_bytes as f64, Unit::Bytes);
        let bytes = sample.anonymous_bytes as f64;
        run.figure(&format!("anonymous, {when}"), bytes, Unit::Bytes);
    }
    let growth = last.pss_bytes as f64 / first.pss_bytes as f64;
    run.figure("memory (PSS), last to first", growth, Unit::Ratio);
    // Judged is what the hub allocated: its share of the binary's pages changes with others that
    // run the same binary.
    let growth = last.anonymous_bytes as f64 / first.anonymous_bytes as f64;
    run.figure("anonymous, last to first", growth, Unit::Ratio);
    let complaint = format!("memory grew by {:.1} %", (growth - 1.0) * 100.0);
    let bytes: Vec<u64> = quiet.iter().map(|sample| sample.anonymous_bytes).collect();
    if growth > GROWTH_MAX && goes_on_growing(&bytes) {
        run.fault(format!("{complaint} and goes on growing"));
    } else if growth > GROWTH_MAX {
        run.complain(complaint);
    }
    run.figure("descriptors at the start", start.descriptors as f64, Unit::Count);
    run.figure("descriptors at the end", last.descriptors as f64, Unit::Count);
    if let (Some(start), Some(last)) = (start.channels, last.channels) {
        run.figure("channels at the start", start as f64, Unit::Count);
        run.figure("channels at the end", last as f64, Unit::Count);
    }
}

/// Whether memory grows in the second half of the quiet points still. What an allocator keeps of
/// the worst moment so far comes in steps and goes again; so the least of some points counts, and
/// few points say nothing.
fn goes_on_growing(bytes: &[u64]) -> bool {
    let (_, half) = bytes.split_at(bytes.len() / 2);
    let (before, after) = half.split_at(half.len() / 2);
    let least = |bytes: &[u64]| bytes.iter().min().copied().unwrap_or(0) as f64;
    bytes.len() >= QUIET_POINTS_MIN && least(after) > GROWTH_MAX * least(before)
}

/// Adds a plot over time.
fn plot(run: &mut Run, title: &str, (label, unit): (&str, Unit), lines: Vec<Line>) {
    let axis = |label: &str, unit| Axis { label: label.to_owned(), unit, logarithmic: false };
    let (x, y) = (axis("time", Unit::Seconds), axis(label, unit));
    run.outcome.plots.push(Plot { title: title.to_owned(), x, y, lines });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_no_growth_and_a_slope_is() {
        let slope: Vec<u64> = (0..20).map(|cycle| 100 + 3 * cycle).collect();
        assert!(goes_on_growing(&slope));
        assert!(!goes_on_growing(&slope[..7]), "too few to tell");
        let step: Vec<u64> = (0..20).map(|cycle| if cycle < 2 { 100 } else { 118 }).collect();
        assert!(!goes_on_growing(&step));
        let mut peaks = vec![100; 20];
        (peaks[9], peaks[12], peaks[19]) = (130, 125, 140);
        assert!(!goes_on_growing(&peaks));
    }
}
