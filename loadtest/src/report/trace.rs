//! What of a line can be drawn: runs of points that its axes can show.

use super::axis::Scale;
use crate::outcome::Plot;

/// What of a line can be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trace {
    /// Points that are joined. A point that cannot be shown ends a run, so that the line has a gap
    /// where it is and does not claim what was not measured.
    pub(super) runs: Vec<Vec<Spot>>,
    /// How many points cannot be shown.
    pub(super) left_out: usize,
}

/// A point that can be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    /// Its value from left to right.
    pub(super) x: f64,
    /// Its value from bottom to top.
    pub(super) y: f64,
}

impl Trace {
    /// All points.
    pub(super) fn spots(&self) -> impl Iterator<Item = &Spot> {
        self.runs.iter().flatten()
    }

    /// The number of all points.
    pub(super) fn count(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }
}

/// The lines of a plot as far as they can be drawn, in the same order.
pub(super) fn traces(plot: &Plot) -> Vec<Trace> {
    let mut traces = Vec::with_capacity(plot.lines.len());
    for line in &plot.lines {
        let mut trace = Trace::default();
        let mut run = Vec::new();
        for (x, y) in line.points.iter().copied() {
            if Scale::can_show(&plot.x, x) && Scale::can_show(&plot.y, y) {
                run.push(Spot { x, y });
                continue;
            }
            trace.left_out += 1;
            trace.runs.extend(Some(std::mem::take(&mut run)).filter(|run| !run.is_empty()));
        }
        trace.runs.extend(Some(run).filter(|run| !run.is_empty()));
        traces.push(trace);
    }
    traces
}

/// The points of a run that make a difference where they are placed: of those in one column the
/// first, the lowest, the highest and the last. A line of a million points is drawn by a thousand
/// and looks the same.
pub(super) fn thinned(run: &[Spot], place: impl Fn(&Spot) -> (f64, f64)) -> Vec<Spot> {
    let column = |spot: &Spot| (place(spot).0 / COLUMN_WIDTH).floor();
    let mut kept = Vec::new();
    for spots in run.chunk_by(|a, b| column(a) == column(b)) {
        let by_y = |a: &usize, b: &usize| spots[*a].y.total_cmp(&spots[*b].y);
        let low = (0..spots.len()).min_by(by_y);
        let high = (0..spots.len()).max_by(by_y);
        let mut indices = [Some(0), low, high, Some(spots.len() - 1)];
        indices.sort_unstable();
        let mut last = None;
        for index in indices.into_iter().flatten() {
            if last != Some(index) {
                kept.push(spots[index]);
            }
            last = Some(index);
        }
    }
    kept
}

/// How wide a column is, in the picture's pixels.
const COLUMN_WIDTH: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Axis, Line, Unit};

    fn spots(points: &[(f64, f64)]) -> Vec<Spot> {
        points.iter().map(|(x, y)| Spot { x: *x, y: *y }).collect()
    }

    #[test]
    fn a_point_that_cannot_be_shown_leaves_a_gap() {
        let axis = |logarithmic| Axis { label: String::new(), unit: Unit::Count, logarithmic };
        let points = vec![(1.0, 1.0), (2.0, f64::NAN), (0.0, 4.0), (4.0, 0.0), (5.0, -1.0)];
        let line = |points| Line { name: String::new(), points };
        let plot = Plot {
            title: String::new(),
            x: axis(true),
            y: axis(false),
            lines: vec![line(points), line(Vec::new()), line(vec![(f64::INFINITY, 1.0)])],
        };
        let found = traces(&plot);
        assert_eq!(found[0].runs, [spots(&[(1.0, 1.0)]), spots(&[(4.0, 0.0), (5.0, -1.0)])]);
        assert_eq!((found[0].left_out, found[0].count()), (2, 3));
        assert_eq!(found[1], Trace::default());
        assert_eq!(found[2], Trace { runs: Vec::new(), left_out: 1 });
    }

    #[test]
    fn what_is_thinned_keeps_its_extremes() {
        let place = |spot: &Spot| (spot.x, spot.y);
        let few = spots(&[(0.0, 1.0), (2.0, 5.0), (4.0, 3.0)]);
        assert_eq!(thinned(&few, place), few);
        let many = (0..10_000).map(|i| (f64::from(i) / 1000.0, f64::from(i % 7)));
        let mut many: Vec<_> = many.collect();
        many[5004].1 = 99.0;
        many[5003].1 = -99.0;
        let thin = thinned(&spots(&many), place);
        assert!(thin.len() <= 4 * 7, "{}", thin.len());
        assert!(thin.iter().any(|spot| spot.y == 99.0) && thin.iter().any(|spot| spot.y == -99.0));
        assert!(thin.is_sorted_by(|a, b| a.x < b.x));
        assert_eq!((thin.first(), thin.last()), (spots(&many).first(), spots(&many).last()));
        assert!(thinned(&[], place).is_empty());
    }
}
