//! What a run found: figures, plots and what has to be said about them.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The result of one run of one scenario against one target.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// The scenario's name, such as `fanout`.
    pub(crate) scenario: String,
    /// The target's name, such as `fanfare` or `bare-loop`.
    pub(crate) target: String,
    /// What was asked for, as name and value.
    pub(crate) parameters: Vec<(String, String)>,
    /// What was measured.
    pub(crate) figures: Vec<Figure>,
    /// What was measured, over time or over a parameter.
    pub(crate) plots: Vec<Plot>,
    /// What makes the result doubtful or wrong; empty for a good run.
    pub(crate) complaints: Vec<String>,
    /// Whether one of the complaints is about what the server did.
    pub(crate) faulty: bool,
    /// Whether one of them is that the generator was used up.
    pub(crate) saturated: bool,
}

/// One number with its unit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// A name that is the same in every run of a scenario, such as `cpu per delivery`.
    pub(crate) name: String,
    /// The number, in the unit.
    pub(crate) value: f64,
    /// The unit.
    pub(crate) unit: Unit,
}

/// Units of figures and axes, all of them base units.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Seconds; shown as s, ms or µs.
    Seconds,
    /// Bytes; shown as B, KiB or MiB.
    Bytes,
    /// A number of things.
    Count,
    /// Things a second.
    PerSecond,
    /// A quotient of two figures of the same unit.
    Ratio,
    /// A part of a whole, shown in percent.
    Share,
}

/// A line plot.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plot {
    /// What it shows.
    pub(crate) title: String,
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis; it begins at zero unless it is logarithmic.
    pub(crate) y: Axis,
    /// What is drawn.
    pub(crate) lines: Vec<Line>,
}

/// An axis of a plot.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Axis {
    /// What it measures.
    pub(crate) label: String,
    /// In which unit.
    pub(crate) unit: Unit,
    /// Whether equal distances are equal factors.
    pub(crate) logarithmic: bool,
}

/// One line of a plot, in the order of x.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Its name in the legend.
    pub(crate) name: String,
    /// Its points, x and y.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a figure stands to a bar of the project.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// The bar's name, such as `P1`.
    pub(crate) bar: String,
    /// What is measured.
    pub(crate) what: String,
    /// What was found, ready to read, such as `1.07 ×`.
    pub(crate) found: String,
    /// What is asked for, ready to read, such as `≤ 1.10 ×`.
    pub(crate) asked: String,
    /// Whether it holds; none if it could not be measured, and `found` says why.
    pub(crate) holds: Option<bool>,
}

impl Outcome {
    /// A figure by its name.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// Adds a figure.
    pub(crate) fn push(&mut self, name: &str, value: f64, unit: Unit) {
        self.figures.push(Figure { name: name.to_owned(), value, unit });
    }

    /// Adds how many latencies in nanoseconds there are and percentiles of them, as figures and as
    /// a plot; complains if there are none, since no event is not a fast one.
    pub(crate) fn latency(&mut self, name: &str, latencies: &Histogram<u64>) {
        if latencies.is_empty() {
            return self.complaints.push(format!("no latencies of {name}"));
        }
        self.push(&format!("{name}, events"), latencies.len() as f64, Unit::Count);
        for (percentile, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)]
        {
            let seconds = latencies.value_at_quantile(quantile) as f64 / 1e9;
            self.push(&format!("{name} {percentile}"), seconds, Unit::Seconds);
        }
        self.push(&format!("{name} max"), latencies.max() as f64 / 1e9, Unit::Seconds);
        let title = "Latency up to a share of the events".to_owned();
        if !self.plots.iter().any(|plot| plot.title == title) {
            let x = Axis {
                label: "1 in so many is slower".to_owned(),
                unit: Unit::Count,
                logarithmic: true,
            };
            let y = Axis { label: "latency".to_owned(), unit: Unit::Seconds, logarithmic: true };
            self.plots.push(Plot { title: title.clone(), x, y, lines: Vec::new() });
        }
        let point = |step: u32| {
            let one_in = 10f64.powf(f64::from(step) / 8.0);
            let slowest = latencies.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e9;
            (one_in, slowest)
        };
        let steps = (latencies.len().max(1) as f64).log10().min(5.0) * 8.0;
        let line = Line { name: name.to_owned(), points: (1..=steps as u32).map(point).collect() };
        let plot = self.plots.iter_mut().find(|plot| plot.title == title);
        plot.into_iter().for_each(|plot| plot.lines.push(line.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_latencies_are_no_figures() {
        let mut outcome = Outcome::default();
        let mut latencies = Histogram::new(2).unwrap();
        outcome.latency("delivery", &latencies);
        assert!(outcome.figures.is_empty() && outcome.plots.is_empty());
        assert_eq!(outcome.complaints, ["no latencies of delivery"]);
        latencies.record(2_000_000).unwrap();
        outcome.latency("delivery", &latencies);
        assert_eq!(outcome.figure("delivery, events"), Some(1.0));
        let p99 = outcome.figure("delivery p99").unwrap();
        assert!((p99 - 0.002).abs() < 0.000_1, "{p99}");
        assert_eq!(outcome.complaints.len(), 1);
    }
}
