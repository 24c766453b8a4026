//! The table of all metrics: their names, labels and meaning, and where their samples come from.
//!
//! `docs/metrics.md` is made from it, and so is the text that Prometheus scrapes: what is not here
//! is not told, and what is here always is.

mod control;
mod data;

use super::{
    figures::Figures,
    text::{Exporter, Kind, Text},
};

/// One metric, with all its labels.
pub(super) struct Family {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// What it says.
    help: &'static str,
    /// What it is bounded by, or what else it tells; only the documentation has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the documentation has it"))]
    bound: &'static str,
    /// Writes its samples.
    samples: fn(&Figures, &mut Text<'_>),
}

impl Family {
    const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        (help, bound): (&'static str, &'static str),
        samples: fn(&Figures, &mut Text<'_>),
    ) -> Self {
        Self { name, kind, labels, help, bound, samples }
    }
}

/// All metrics.
fn all() -> impl Iterator<Item = &'static Family> {
    data::FAMILIES.iter().chain(control::FAMILIES)
}

/// The text that Prometheus scrapes.
pub(super) fn render(figures: &Figures, exporter: &Exporter) -> String {
    let mut text = Text::new(exporter);
    for family in all() {
        text.family(family.name, family.kind, family.labels, family.help);
        (family.samples)(figures, &mut text);
    }
    text.into_string()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::PathBuf};

    use fanfare_core::limits::{CANCEL_WAITERS_PER_CHANNEL_MAX, CHANNELS_PER_SUBSCRIPTION_MAX};

    use super::*;
    use crate::{limits, testing};

    /// Labels whose values are not the same for every hub.
    const OPEN: [(&str, &str); 2] = [("version", "of the hub"), ("worker", "from 0 on")];

    /// The table of the documentation: each family with the values that its labels have from the
    /// start.
    fn markdown(figures: &Figures) -> String {
        let mut table = String::from("| metric | type | labels | meaning | bound, and more |\n");
        table.push_str("|---|---|---|---|---|\n");
        for Family { name, kind, labels, help, bound, samples } in all() {
            let exporter = Exporter::new();
            let mut text = Text::new(&exporter);
            text.family(name, *kind, labels, help);
            samples(figures, &mut text);
            let (text, kind) = (text.into_string(), kind.as_str());
            let labels: Vec<_> = labels.iter().map(|label| label_of(label, &text)).collect();
            let labels = labels.join("; ");
            table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} | {bound} |\n"));
        }
        table
    }

    /// A label with its values, as they are in samples.
    fn label_of(label: &str, samples: &str) -> String {
        if let Some((_, what)) = OPEN.iter().find(|(open, _)| *open == label) {
            return format!("`{label}`: {what}");
        }
        let begin = format!("{label}=\"");
        let value = |line: &str| Some(line.split_once(&begin)?.1.split_once('"')?.0.to_owned());
        let mut seen = HashSet::new();
        let mut values: Vec<_> = samples.lines().filter_map(value).collect();
        values.retain(|value| seen.insert(value.clone()));
        values.sort();
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        format!("`{label}`: {}", values.join(", "))
    }

    #[tokio::test]
    async fn the_documentation_has_the_metrics_of_the_code() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let document = fs::read_to_string(&path).unwrap();
        let (before, rest) = document.split_once("<!-- metrics -->\n").unwrap();
        let (found, after) = rest.split_once("<!-- /metrics -->\n").unwrap();
        let table = markdown(&Figures::of(&testing::shared()));
        if std::env::var_os(WRITE).is_some() {
            let document = format!("{before}<!-- metrics -->\n{table}<!-- /metrics -->\n{after}");
            return fs::write(&path, document).unwrap();
        }
        assert_eq!(found, table, "with {WRITE}=1 this test writes docs/metrics.md");
    }

    #[tokio::test]
    async fn the_documentation_says_what_each_limit_is() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let document = fs::read_to_string(path).unwrap();
        let (_, rest) = document.split_once("<!-- limits -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- /limits -->\n").unwrap();
        let name = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let documented: Vec<_> = table.lines().filter_map(name).collect();
        let figures = Figures::of(&testing::shared());
        let names: Vec<_> = figures.limits.iter().map(|limit| limit.limit).collect();
        assert_eq!(documented, names);
        let set_by = |limit: &str| {
            let row = table.lines().find(|line| line.starts_with(&format!("| `{limit}`")));
            let cell = row.unwrap().trim_end_matches(" |").rsplit(" | ").next().unwrap();
            cell.replace(',', "").replace(" s", "000")
        };
        for (limit, value) in [
            ("admin_connections", limits::ADMIN_CONNECTIONS_MAX),
            ("admin_streams", limits::ADMIN_STREAMS_MAX),
            ("body_idle", limits::BODY_IDLE_MS_MAX as usize),
            ("cancel_waiters", CANCEL_WAITERS_PER_CHANNEL_MAX),
            ("channels_per_subscription", CHANNELS_PER_SUBSCRIPTION_MAX),
            ("head_read", limits::HEAD_READ_MS_MAX as usize),
            ("producers_per_channel", fanfare_core::limits::PRODUCERS_PER_CHANNEL_MAX),
            ("query_parameters", limits::QUERY_PARAMETERS_MAX),
            ("refused_connections", limits::REFUSED_CONNECTIONS_MAX),
            ("stream_channels", limits::STREAM_CHANNELS_MAX),
        ] {
            assert_eq!(set_by(limit), value.to_string(), "{limit}");
        }
    }

    /// Set, the test of the documentation writes it.
    const WRITE: &str = "FANFARE_WRITE_DOCS";

    #[test]
    fn names_follow_the_conventions() {
        let mut names = HashSet::new();
        for Family { name, kind, labels, help, bound, .. } in all() {
            assert!(names.insert(*name), "{name} is there twice");
            assert!(name.starts_with("fanfare_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            for unit in ["_ms", "_us", "_milliseconds", "_kilobytes", "_percent"] {
                assert!(!name.ends_with(unit), "{name} is in no base unit");
            }
            assert!(help.ends_with('.') && !help.contains(['|', '\\', '\n']), "{name}: {help}");
            assert!(!bound.contains(['|', '\n']), "{name}: {bound}");
            assert!(!labels.contains(&"channel"), "{name}: channels are no labels");
        }
    }

    #[tokio::test]
    async fn every_family_has_samples_with_all_its_labels_from_the_start() {
        let text = render(&Figures::of(&testing::shared()), &Exporter::new());
        for Family { name, labels, .. } in all() {
            let is_of = |line: &&str| {
                let rest = line.strip_prefix(name).unwrap_or_default();
                ["{", " ", "_bucket"].iter().any(|next| rest.starts_with(next))
            };
            let sample = text.lines().find(is_of).unwrap_or_else(|| panic!("{name} has none"));
            assert!(labels.iter().all(|label| sample.contains(&format!("{label}=\""))), "{sample}");
        }
    }
}
