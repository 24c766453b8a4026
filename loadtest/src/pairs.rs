//! Two servers measured in turns, so that what the machine does meanwhile meets both.

use std::io;

use crate::{
    endpoint::Kind,
    outcome::{Outcome, Unit},
    run::Common,
    scenario::Scenario,
};

/// One run of each of two servers, one right after the other.
pub(crate) type Pair = (Outcome, Outcome);

/// A quotient over several pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of numbers, at least one of them finite.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, least: first, greatest: last })
    }
}

/// Runs a scenario against `kind`.
pub(crate) fn run_on(common: &Common, kind: Kind, scenario: &Scenario) -> io::Result<Outcome> {
    let mut common = common.clone();
    common.server.target = kind;
    scenario.run(&common)
}

/// Runs both, so many times, in turns; who begins changes too.
pub(crate) fn alternate(
    common: &Common,
    a: (Kind, &Scenario),
    b: (Kind, &Scenario),
    runs: usize,
) -> io::Result<Vec<Pair>> {
    let pair = |index: usize| {
        if index.is_multiple_of(2) {
            let first = run_on(common, a.0, a.1)?;
            Ok((first, run_on(common, b.0, b.1)?))
        } else {
            let first = run_on(common, b.0, b.1)?;
            Ok((run_on(common, a.0, a.1)?, first))
        }
    };
    (0..runs).map(pair).collect()
}

/// The quotient of a figure, pair by pair.
pub(crate) fn ratio(pairs: &[Pair], figure: &str) -> Option<Spread> {
    Spread::of(pairs.iter().filter_map(|(a, b)| Some(a.figure(figure)? / b.figure(figure)?)))
}

/// A figure of the first or the second of each pair.
pub(crate) fn spread<'a>(
    outcomes: impl IntoIterator<Item = &'a Outcome>,
    figure: &str,
) -> Option<Spread> {
    Spread::of(outcomes.into_iter().filter_map(|outcome| outcome.figure(figure)))
}

/// Two servers in turns under the same load: the quotients of all figures, with their spread.
pub(crate) fn compare(
    common: &Common,
    a: Kind,
    b: Kind,
    scenario: &Scenario,
    runs: usize,
) -> io::Result<Vec<Outcome>> {
    let pairs = alternate(common, (a, scenario), (b, scenario), runs)?;
    let Some((first, _)) = pairs.first() else { return Ok(Vec::new()) };
    let mut quotients = Outcome {
        scenario: format!("{}, quotients", first.scenario),
        target: format!("{a} / {b}"),
        parameters: first.parameters.clone(),
        ..Outcome::default()
    };
    for figure in &first.figures {
        if let Some(found) = ratio(&pairs, &figure.name) {
            quotients.push(&figure.name, found.median, Unit::Ratio);
            quotients.push(&format!("{}, least", figure.name), found.least, Unit::Ratio);
            quotients.push(&format!("{}, greatest", figure.name), found.greatest, Unit::Ratio);
        }
    }
    let mut all = vec![quotients];
    all.extend(pairs.into_iter().flat_map(|(a, b)| [a, b]));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(value: f64) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.push("cost", value, Unit::Seconds);
        outcome
    }

    #[test]
    fn quotients_are_taken_pair_by_pair() {
        let pairs = [(2.0, 1.0), (9.0, 3.0), (4.0, 4.0)].map(|(a, b)| (outcome(a), outcome(b)));
        let expected = Spread { median: 2.0, least: 1.0, greatest: 3.0 };
        assert_eq!(ratio(&pairs, "cost"), Some(expected));
        assert_eq!(ratio(&pairs, "other"), None);
        assert_eq!(Spread::of([1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
