//! Cost and memory as curves: over subscribers, over channels, over the size of events.

use std::io;

use crate::{
    endpoint::Kind,
    outcome::{Axis, Line, Outcome, Plot, Unit},
    pairs::run_on,
    run::Common,
    scenario::{Scenario, fanout::Fanout, idle::Idle, publish::Publish},
};

/// Which curves.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    over: Vec<Over>,
    /// Whom the hub is drawn beside
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bare-loop")]
    beside: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Over {
    /// CPU per delivery and memory over the number of subscribers
    Subscribers,
    /// CPU per publish over the number of channels
    Channels,
    /// CPU per delivery over the size of events
    Size,
}

const SUBSCRIBERS: [usize; 6] = [500, 1_000, 2_000, 5_000, 10_000, 15_000];
const CHANNELS: [u32; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
const SIZES: [usize; 6] = [100, 1_000, 4_000, 16_000, 64_000, 256_000];
/// Sends a second that a sweep asks for, so that all points take as long.
const SENDS_PER_SECOND: f64 = 40_000.0;

/// Measures the curves; returns them and the runs that they are made of.
pub(crate) fn sweep(common: &Common, args: &SweepArgs) -> io::Result<(Vec<Plot>, Vec<Outcome>)> {
    let asked = |over| args.over.is_empty() || args.over.contains(&over);
    let mut sweep = Sweep { common, beside: &args.beside, outcomes: Vec::new() };
    let mut plots = Vec::new();
    if asked(Over::Subscribers) {
        let fanout = |subscribers| {
            let rate = SENDS_PER_SECOND / subscribers as f64;
            let events = (rate * 5.0).ceil() as u64;
            Scenario::Fanout(Fanout { subscribers, rate, events, size: 100, http2: None })
        };
        let idle = |subscribers| {
            Scenario::Idle(Idle { subscribers, apart: None, http2: None, settle: 2.0 })
        };
        let x = axis("subscribers", Unit::Count);
        plots.push(sweep.curve(x.clone(), "CPU per delivery", &SUBSCRIBERS, fanout)?);
        sweep.beside = &[];
        plots.push(sweep.curve(x, "user memory per subscriber", &SUBSCRIBERS, idle)?);
        sweep.beside = &args.beside;
    }
    if asked(Over::Channels) {
        let publish = |channels| {
            let (connections, events) = (16, 60_000);
            Scenario::Publish(Publish { channels, connections, events, size: 100, ndjson: false })
        };
        let x = axis("channels", Unit::Count);
        // The others do not take lines of NDJSON for channels of any name.
        sweep.beside = &[];
        plots.push(sweep.curve(x, "CPU per event", &CHANNELS, publish)?);
        sweep.beside = &args.beside;
    }
    if asked(Over::Size) {
        let fanout = |size| {
            let (subscribers, rate, events) = (1_000, 20.0, 100);
            Scenario::Fanout(Fanout { subscribers, rate, events, size, http2: None })
        };
        let x = axis("data of an event", Unit::Bytes);
        plots.push(sweep.curve(x, "CPU per delivery", &SIZES, fanout)?);
    }
    Ok((plots, sweep.outcomes))
}

struct Sweep<'a> {
    common: &'a Common,
    beside: &'a [Kind],
    outcomes: Vec<Outcome>,
}

impl Sweep<'_> {
    /// One figure of a scenario at each of `points`, of the hub and of those beside it.
    fn curve<T: Copy + Into<Point>>(
        &mut self,
        x: Axis,
        figure: &str,
        points: &[T],
        scenario: impl Fn(T) -> Scenario,
    ) -> io::Result<Plot> {
        let line = |kind: Kind| Line { name: kind.to_string(), points: Vec::new() };
        let mut lines = vec![line(Kind::Fanfare)];
        lines.extend(self.beside.iter().copied().map(line));
        for &point in points {
            let kinds = [Kind::Fanfare].into_iter().chain(self.beside.iter().copied());
            for (line, kind) in lines.iter_mut().zip(kinds) {
                let outcome = run_on(self.common, kind, &scenario(point))?;
                if let Some(value) = outcome.figure(figure) {
                    line.points.push((point.into().0, value));
                }
                self.outcomes.push(outcome);
            }
        }
        let unit = if figure.contains("memory") { Unit::Bytes } else { Unit::Seconds };
        let y = Axis { label: figure.to_owned(), unit, logarithmic: false };
        Ok(Plot { title: format!("{figure}, over {}", x.label), x, y, lines })
    }
}

/// A place on a horizontal axis.
struct Point(f64);

impl From<usize> for Point {
    fn from(value: usize) -> Self {
        Self(value as f64)
    }
}

impl From<u32> for Point {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

fn axis(label: &str, unit: Unit) -> Axis {
    Axis { label: label.to_owned(), unit, logarithmic: true }
}
