//! The text that Prometheus scrapes, version 0.0.4.

use std::fmt::{Display, Write};

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

/// Takes the samples of one family after the other.
pub(super) struct Text {
    out: String,
    /// The family whose samples come.
    name: &'static str,
    /// Its labels.
    labels: &'static [&'static str],
}

impl Text {
    pub(super) fn new() -> Self {
        Self { out: String::with_capacity(CAPACITY), name: "", labels: &[] }
    }

    /// Begins a family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &str,
    ) {
        (self.name, self.labels) = (name, labels);
        let kind = kind.as_str();
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// The sample of a family without labels.
    pub(super) fn one(&mut self, value: impl Display) {
        self.sample([], value);
    }

    /// The samples of a family with one label, by its value.
    pub(super) fn each<L: Display, V: Display>(
        &mut self,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        for (label, value) in samples {
            self.sample([&label], value);
        }
    }

    /// One sample, with the values of the family's labels. They are the hub's own words and need
    /// no escape.
    pub(super) fn sample<const N: usize>(
        &mut self,
        labels: [&dyn Display; N],
        value: impl Display,
    ) {
        self.line("", &labels, None, value);
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
        self.out
    }

    fn line(
        &mut self,
        suffix: &str,
        values: &[&dyn Display],
        le: Option<&str>,
        value: impl Display,
    ) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}: a value for each label", self.name);
        let name = self.name;
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
        self.out.write_fmt(what).expect("writing to memory cannot fail");
    }
}

/// Bytes that a scrape has, about.
const CAPACITY: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spelled_as_prometheus_wants() {
        let mut text = Text::new();
        text.family("a_total", Kind::Counter, &["x", "y"], "How many.");
        text.sample([&"1", &2], 3_u64);
        text.family("b", Kind::Gauge, &[], "How much.");
        text.one(0.25);
        text.family("c_seconds", Kind::Histogram, &["x"], "How long.");
        let (bounds, counts) = (&[50, 2_500_000], &[1, 0, 2]);
        text.histogram([&"z"], &Buckets { bounds, per_unit: 1e6, counts, sum: 7.5 });
        assert_eq!(
            text.into_string(),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\n\
             # HELP b How much.\n# TYPE b gauge\nb 0.25\n\
             # HELP c_seconds How long.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{x=\"z\",le=\"0.00005\"} 1\n\
             c_seconds_bucket{x=\"z\",le=\"2.5\"} 1\n\
             c_seconds_bucket{x=\"z\",le=\"+Inf\"} 3\n\
             c_seconds_sum{x=\"z\"} 7.5\nc_seconds_count{x=\"z\"} 3\n"
        );
    }
}
