//! What a run found: figures, plots and what has to be said about them.

use serde::{Deserialize, Serialize};

/// The result of one run of one scenario against one target.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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
}

/// One number with its unit.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    /// A name that is the same in every run of a scenario, such as `cpu per delivery`.
    pub(crate) name: String,
    /// The number, in the unit.
    pub(crate) value: f64,
    /// The unit.
    pub(crate) unit: Unit,
}

/// Units of figures and axes, all of them base units.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Axis {
    /// What it measures.
    pub(crate) label: String,
    /// In which unit.
    pub(crate) unit: Unit,
    /// Whether equal distances are equal factors.
    pub(crate) logarithmic: bool,
}

/// One line of a plot, in the order of x.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    /// Its name in the legend.
    pub(crate) name: String,
    /// Its points, x and y.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a figure stands to a bar of the project.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
}
