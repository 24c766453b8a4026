//! The text that Prometheus scrapes, version 0.0.4.
//!
//! Policy: the exporter of the `metrics` crate writes what its recorder can hold. What it cannot is
//! written beside it: counts below bounds that workers made, and counters of parts of a second.

use std::fmt::{Display, Write};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// A kind of metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values fell between bounds.
    Histogram,
}

impl Kind {
    /// The kind as Prometheus spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is counted below bounds, in base units.
#[derive(Clone, Debug)]
pub(super) struct Buckets<'a> {
    /// The upper bounds.
    pub(super) bounds: &'a [u64],
    /// How many of them are one base unit.
    pub(super) per_unit: f64,
    /// Values by the first bound that they do not exceed, and those above all; not cumulative.
    pub(super) counts: &'a [u64],
    /// Sum of the values, in base units.
    pub(super) sum: f64,
}

/// A value of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// With parts of a unit.
    Real(f64),
    /// Of whole units.
    Whole(u64),
}

/// Takes the samples of one family after the other.
pub(super) struct Text<'a> {
    exporter: &'a Exporter,
    /// What is written beside the exporter.
    beside: String,
    /// The family whose samples come.
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    /// Whether a sample of it is written beside the exporter.
    is_beside: bool,
}

/// Holds the values of a hub for its text.
pub(crate) struct Exporter(PrometheusRecorder);

impl Exporter {
    pub(crate) fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl<'a> Text<'a> {
    pub(super) fn new(exporter: &'a Exporter) -> Self {
        let beside = String::with_capacity(BESIDE_CAPACITY);
        let (name, help, kind) = ("", "", Kind::Counter);
        Self { exporter, beside, name, kind, labels: &[], help, is_beside: false }
    }

    /// Begins a family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        (self.name, self.kind, self.labels, self.help) = (name, kind, labels, help);
        self.is_beside = false;
        let Exporter(recorder) = self.exporter;
        match kind {
            Kind::Counter => recorder.describe_counter(KeyName::from(name), None, help.into()),
            Kind::Gauge => recorder.describe_gauge(KeyName::from(name), None, help.into()),
            Kind::Histogram => {}
        }
    }

    /// The sample of a family without labels.
    pub(super) fn one(&mut self, value: impl Into<Number>) {
        self.sample([], value);
    }

    /// The samples of a family with one label, by its value.
    pub(super) fn each<L: Display, V: Into<Number>>(
        &mut self,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        for (label, value) in samples {
            self.sample([&label], value);
        }
    }

    /// One sample, with the values of the family's labels.
    pub(super) fn sample<const N: usize>(
        &mut self,
        values: [&dyn Display; N],
        value: impl Into<Number>,
    ) {
        debug_assert_eq!(N, self.labels.len(), "{}: a value for each label", self.name);
        let Exporter(recorder) = self.exporter;
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> = labels.map(|(l, value)| Label::new(*l, value.to_string())).collect();
        let key = Key::from_parts(self.name, labels);
        match (self.kind, value.into()) {
            (Kind::Counter, Number::Whole(total)) => {
                recorder.register_counter(&key, &METADATA).absolute(total);
            }
            (Kind::Gauge, Number::Whole(value)) => {
                recorder.register_gauge(&key, &METADATA).set(value as f64);
            }
            (Kind::Gauge, Number::Real(value)) => {
                recorder.register_gauge(&key, &METADATA).set(value);
            }
            (_, Number::Real(value)) => self.line("", &values, None, value),
            (Kind::Histogram, Number::Whole(value)) => self.line("", &values, None, value),
        }
    }

    /// The samples of a histogram.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: [&dyn Display; N],
        buckets: &Buckets<'_>,
    ) {
        let mut count = 0;
        for (cell, below) in buckets.counts.iter().enumerate() {
            count += below;
            let bound = buckets.bounds.get(cell).map(|bound| *bound as f64 / buckets.per_unit);
            let le = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.line("_bucket", &labels, Some(&le), count);
        }
        self.line("_sum", &labels, None, buckets.sum);
        self.line("_count", &labels, None, count);
    }

    /// The text.
    pub(super) fn into_string(self) -> String {
        let Exporter(recorder) = self.exporter;
        let mut text = recorder.handle().render();
        text.push_str(&self.beside);
        text
    }

    /// A sample beside the exporter. Label values are the hub's own words and need no escape.
    fn line(
        &mut self,
        suffix: &str,
        values: &[&dyn Display],
        le: Option<&str>,
        value: impl Display,
    ) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}: a value for each label", self.name);
        let (name, help) = (self.name, self.help);
        if !std::mem::replace(&mut self.is_beside, true) {
            let kind = self.kind.as_str();
            self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
        self.write(format_args!("{name}{suffix}"));
        let mut before = '{';
        for (label, text) in self.labels.iter().zip(values) {
            self.write(format_args!("{before}{label}=\"{text}\""));
            before = ',';
        }
        if let Some(le) = le {
            self.write(format_args!("{before}le=\"{le}\""));
            before = ',';
        }
        let end = if before == ',' { "}" } else { "" };
        self.write(format_args!("{end} {value}\n"));
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        self.beside.write_fmt(what).expect("writing to memory cannot fail");
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

/// Of no use to this recorder: it keeps all levels.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);
/// Bytes that are written beside the exporter, about.
const BESIDE_CAPACITY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spelled_as_prometheus_wants() {
        let exporter = Exporter::new();
        let mut text = Text::new(&exporter);
        text.family("a_total", Kind::Counter, &["x", "y"], "How many.");
        text.sample([&"1", &2], 3_u64);
        text.family("b", Kind::Gauge, &[], "How much.");
        text.one(0.25);
        text.family("c_seconds", Kind::Histogram, &["x"], "How long.");
        let (bounds, counts) = (&[50, 2_500_000], &[1, 0, 2]);
        text.histogram([&"z"], &Buckets { bounds, per_unit: 1e6, counts, sum: 7.5 });
        text.family("d_seconds_total", Kind::Counter, &["x"], "How long in all.");
        text.each([("1", 1.5), ("2", 2.5)]);
        let text = text.into_string();
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            lines.join("\n"),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\n\
             # HELP b How much.\n# TYPE b gauge\nb 0.25\n\
             # HELP c_seconds How long.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{x=\"z\",le=\"0.00005\"} 1\n\
             c_seconds_bucket{x=\"z\",le=\"2.5\"} 1\n\
             c_seconds_bucket{x=\"z\",le=\"+Inf\"} 3\n\
             c_seconds_sum{x=\"z\"} 7.5\nc_seconds_count{x=\"z\"} 3\n\
             # HELP d_seconds_total How long in all.\n# TYPE d_seconds_total counter\n\
             d_seconds_total{x=\"1\"} 1.5\nd_seconds_total{x=\"2\"} 2.5"
        );
    }

    #[test]
    fn a_later_scrape_has_later_values() {
        let exporter = Exporter::new();
        for total in [1_u64, 4] {
            let mut text = Text::new(&exporter);
            text.family("a_total", Kind::Counter, &[], "How many.");
            text.one(total);
            text.family("b", Kind::Gauge, &[], "How much.");
            text.one(9 - total);
            let text = text.into_string();
            let samples: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
            assert!(samples.contains(&format!("a_total {total}").as_str()), "{text}");
            assert!(samples.contains(&format!("b {}", 9 - total).as_str()), "{text}");
        }
    }
}
