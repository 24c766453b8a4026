//! What runs found, for people and for programs: a table in the terminal, a page, JSON.

mod axis;
mod format;
mod group;
mod html;
mod markup;
pub(crate) mod plot;
mod table;
mod trace;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::outcome::{Outcome, Plot, Verdict};

/// The results of some runs, and what they say together.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was run, in a few words; the names of its files are made of it.
    pub(crate) title: String,
    /// The command line that runs it again.
    pub(crate) command: String,
    /// The machine it ran on, as name and value.
    pub(crate) machine: Vec<(String, String)>,
    /// The runs.
    pub(crate) outcomes: Vec<Outcome>,
    /// What several runs show together.
    pub(crate) plots: Vec<Plot>,
    /// How the figures stand to the bars of the project.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Report {
    /// Text for a terminal: how it stands to the bars, then the figures, outcomes of one scenario
    /// side by side. Complaints begin with `!!`.
    pub(crate) fn table(&self) -> String {
        table::text(self)
    }

    /// All of it, for programs. Numbers that are not finite are null.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }

    /// One HTML file that needs nothing else.
    pub(crate) fn html(&self) -> String {
        html::page(self)
    }

    /// Writes the JSON and the page to a directory, which is made if it is not there, and returns
    /// their paths. Files of the same title are replaced.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<(PathBuf, PathBuf)> {
        fs::create_dir_all(directory)?;
        let name = slug(&self.title);
        let json = directory.join(format!("{name}.json"));
        let html = directory.join(format!("{name}.html"));
        fs::write(&json, self.json() + "\n")?;
        fs::write(&html, self.html())?;
        Ok((json, html))
    }

    /// How many complaints there are.
    pub(crate) fn complaints(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.complaints.len()).sum()
    }

    /// How many bars hold, in words.
    fn tally(&self) -> String {
        let count = |holds| self.verdicts.iter().filter(|verdict| verdict.holds == holds).count();
        let (hold, fail, open) = (count(Some(true)), count(Some(false)), count(None));
        let words = [
            (hold, if hold == 1 { "holds" } else { "hold" }),
            (fail, if fail == 1 { "fails" } else { "fail" }),
            (open, "not measured"),
        ];
        let words = words.into_iter().filter(|(count, _)| 0 < *count);
        words.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }
}

/// The name of a file from a title: letters and digits of ASCII in lower case, joined by hyphens.
pub(crate) fn slug(title: &str) -> String {
    let words = title.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let mut slug = words.join("-").to_ascii_lowercase();
    slug.truncate(SLUG_BYTES_MAX);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "report".to_owned() } else { slug.to_owned() }
}

/// File systems take 255 bytes; this much is still read.
const SLUG_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Axis, Line, Unit};

    /// A report with something of everything.
    pub(in crate::report) fn sample() -> Report {
        let parameters = |subscribers: &str| {
            [("payload", "128 B"), ("subscribers", subscribers)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        };
        let outcome = |target: &str, subscribers| Outcome {
            scenario: "fanout".to_owned(),
            target: target.to_owned(),
            parameters: parameters(subscribers),
            ..Outcome::default()
        };
        let mut fanfare = outcome("fanfare", "1000");
        fanfare.push("latency p50", 0.001_21, Unit::Seconds);
        fanfare.push("memory", 48.5 * 1_048_576.0, Unit::Bytes);
        fanfare.push("deliveries", 1_000_000.0, Unit::Count);
        fanfare.push("cpu share", 0.415, Unit::Share);
        fanfare.plots.push(plot("Memory", Unit::Seconds, Unit::Bytes, false));
        let mut bare = outcome("bare-loop", "500");
        bare.push("latency p50", 0.000_98, Unit::Seconds);
        bare.push("deliveries", 999_997.0, Unit::Count);
        bare.complaints.push("lost 3 events of <script>".to_owned());
        let verdict = |bar: &str, found: &str, holds| Verdict {
            bar: bar.to_owned(),
            what: "CPU per delivery against the bare loop, at the largest number".to_owned(),
            found: found.to_owned(),
            asked: "≤ 1.10 ×".to_owned(),
            holds,
        };
        Report {
            title: "Fanout: fanfare & a \"bare loop\"".to_owned(),
            command: "fanfare-loadtest fanout --targets fanfare,bare-loop".to_owned(),
            machine: vec![("kernel".to_owned(), "Linux 6.1".to_owned())],
            outcomes: vec![fanfare, bare],
            plots: vec![plot("Latency", Unit::Count, Unit::Seconds, true)],
            verdicts: vec![
                verdict("P1", "1.07 ×", Some(true)),
                verdict("P2", "1.31 ×", Some(false)),
                verdict("P3", "the machine has no second core", None),
            ],
        }
    }

    /// A plot of two lines.
    fn plot(title: &str, x: Unit, y: Unit, logarithmic: bool) -> Plot {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: (1..=20).map(|x| (f64::from(x), f64::from(x * x) * factor)).collect(),
        };
        Plot {
            title: title.to_owned(),
            x: Axis { label: "across".to_owned(), unit: x, logarithmic },
            y: Axis { label: "up".to_owned(), unit: y, logarithmic: false },
            lines: vec![line("fanfare", 1e-3), line("bare-loop", 2e-3)],
        }
    }

    #[test]
    fn the_json_has_it_all() {
        let mut report = sample();
        report.outcomes[0].push("broken", f64::NAN, Unit::Ratio);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["command", "machine", "outcomes", "plots", "title", "verdicts"]);
        assert_eq!(json["title"], report.title);
        assert_eq!(json["outcomes"][0]["figures"][1]["value"], 48.5 * 1_048_576.0);
        assert_eq!(json["outcomes"][0]["figures"][4]["value"], serde_json::Value::Null);
        assert_eq!(json["verdicts"][2]["holds"], serde_json::Value::Null);
    }

    #[test]
    fn files_are_named_after_the_title() {
        for (title, name) in [
            ("Fanout: 1,000 subscribers", "fanout-1-000-subscribers"),
            ("../../etc/passwd", "etc-passwd"),
            ("", "report"),
            ("µ × …", "report"),
            ("--P1--", "p1"),
        ] {
            assert_eq!(slug(title), name);
        }
        let long = slug(&"a ".repeat(200));
        assert!(long.len() <= SLUG_BYTES_MAX && !long.ends_with('-'));
    }

    #[test]
    fn both_files_are_written() {
        let directory = std::env::temp_dir().join(format!("report-{}", std::process::id()));
        let report = sample();
        let (json, html) = report.write(&directory.join("new")).unwrap();
        assert_eq!(json.file_name().unwrap(), "fanout-fanfare-a-bare-loop.json");
        assert_eq!(fs::read_to_string(json).unwrap(), report.json() + "\n");
        assert_eq!(fs::read_to_string(html).unwrap(), report.html());
        report.write(&directory.join("new")).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }
}
