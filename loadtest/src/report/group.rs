//! Outcomes of one scenario side by side, as one table.

use super::format::figure;
use crate::outcome::Outcome;

/// The outcomes of one scenario, one in each column.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The scenario's name.
    pub(super) scenario: &'a str,
    /// The columns.
    pub(super) outcomes: Vec<&'a Outcome>,
    /// The parameters that are the same in all of them.
    pub(super) common: Vec<(&'a str, String)>,
    /// The other parameters.
    pub(super) parameters: Vec<Row<'a>>,
    /// The figures, in the order in which they first come.
    pub(super) figures: Vec<Row<'a>>,
}

/// A row of a group's table.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Row<'a> {
    /// What it is about.
    pub(super) name: &'a str,
    /// What each outcome has; none if it does not have it.
    pub(super) cells: Vec<Option<String>>,
}

/// A name, and the how manieth of that name it is in its outcome: nothing is left out because
/// something else has its name.
type Key<'a> = (&'a str, usize);

/// The groups of some outcomes, in the order in which their scenarios first come.
pub(super) fn groups(outcomes: &[Outcome]) -> Vec<Group<'_>> {
    let mut scenarios: Vec<&str> = Vec::new();
    for outcome in outcomes {
        if !scenarios.contains(&outcome.scenario.as_str()) {
            scenarios.push(&outcome.scenario);
        }
    }
    let group = |scenario| {
        let is_of = |outcome: &&Outcome| outcome.scenario == scenario;
        Group::new(scenario, outcomes.iter().filter(is_of).collect())
    };
    scenarios.into_iter().map(group).collect()
}

impl<'a> Group<'a> {
    fn new(scenario: &'a str, outcomes: Vec<&'a Outcome>) -> Self {
        let parameters = outcomes.iter().map(|outcome| {
            outcome.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
        });
        let figures = outcomes.iter().map(|outcome| {
            let figures = outcome.figures.iter();
            figures.map(|f| (f.name.as_str(), figure(f.value, f.unit))).collect()
        });
        let (parameters, figures) = (rows(parameters.collect()), rows(figures.collect()));
        let is_same = |row: &Row<'_>| row.cells.windows(2).all(|cells| cells[0] == cells[1]);
        let (same, parameters): (Vec<_>, Vec<_>) = parameters.into_iter().partition(is_same);
        let value = |row: Row<'a>| row.cells.into_iter().next().flatten().map(|v| (row.name, v));
        let common = same.into_iter().filter_map(value).collect();
        Self { scenario, outcomes, common, parameters, figures }
    }

    /// The complaints, each with the target that it is about.
    pub(super) fn complaints(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.outcomes.iter().flat_map(|outcome| {
            outcome.complaints.iter().map(|text| (outcome.target.as_str(), text.as_str()))
        })
    }
}

/// Columns of names and texts as rows.
fn rows<'a>(columns: Vec<Vec<(&'a str, String)>>) -> Vec<Row<'a>> {
    let width = columns.len();
    let mut keys: Vec<Key<'a>> = Vec::new();
    let mut rows: Vec<Row<'a>> = Vec::new();
    for (index, column) in columns.into_iter().enumerate() {
        let mut seen: Vec<&str> = Vec::new();
        for (name, text) in column {
            let key = (name, seen.iter().filter(|other| **other == name).count());
            seen.push(name);
            let row = keys.iter().position(|other| *other == key).unwrap_or_else(|| {
                keys.push(key);
                rows.push(Row { name, cells: vec![None; width] });
                rows.len() - 1
            });
            rows[row].cells[index] = Some(text);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Unit;

    fn outcome(scenario: &str, target: &str, parameters: &[(&str, &str)]) -> Outcome {
        let parameters = parameters.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        Outcome {
            scenario: scenario.to_owned(),
            target: target.to_owned(),
            parameters: parameters.collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn scenarios_are_grouped_in_their_order() {
        let outcomes = [outcome("b", "1", &[]), outcome("a", "1", &[]), outcome("b", "2", &[])];
        let found = groups(&outcomes);
        let names = found.iter().map(|group| {
            let targets: Vec<_> = group.outcomes.iter().map(|o| o.target.as_str()).collect();
            (group.scenario, targets.join(" "))
        });
        assert_eq!(names.collect::<Vec<_>>(), [("b", "1 2".to_owned()), ("a", "1".to_owned())]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn what_differs_is_in_the_table() {
        let mut outcomes = [
            outcome("s", "1", &[("subscribers", "10"), ("bytes", "128"), ("only", "x")]),
            outcome("s", "2", &[("bytes", "128"), ("subscribers", "20")]),
        ];
        outcomes[0].push("p50", 0.001, Unit::Seconds);
        outcomes[0].push("lost", 0.0, Unit::Count);
        outcomes[0].push("p50", 0.002, Unit::Seconds);
        outcomes[1].push("more", 5.0, Unit::Ratio);
        outcomes[1].push("p50", 0.003, Unit::Seconds);
        outcomes[1].complaints.push("lost one".to_owned());
        let group = groups(&outcomes).remove(0);
        let row = |name, a: Option<&str>, b: Option<&str>| Row {
            name,
            cells: vec![a.map(str::to_owned), b.map(str::to_owned)],
        };
        assert_eq!(group.common, [("bytes", "128".to_owned())]);
        let differ = [row("subscribers", Some("10"), Some("20")), row("only", Some("x"), None)];
        assert_eq!(group.parameters, differ);
        assert_eq!(
            group.figures,
            [
                row("p50", Some("1.00 ms"), Some("3.00 ms")),
                row("lost", Some("0"), None),
                row("p50", Some("2.00 ms"), None),
                row("more", None, Some("5.00 ×")),
            ]
        );
        assert_eq!(group.complaints().collect::<Vec<_>>(), [("2", "lost one")]);
    }

    #[test]
    fn one_outcome_has_all_parameters_in_common() {
        let outcomes = [outcome("s", "1", &[("a", "b"), ("c", "d")])];
        let group = groups(&outcomes).remove(0);
        assert_eq!(group.common, [("a", "b".to_owned()), ("c", "d".to_owned())]);
        assert!(group.parameters.is_empty());
    }
}
