//! A report as text for a terminal.

use super::{
    Report,
    group::{Group, Row, groups},
};

/// A report as text: how it stands to the bars, then the figures, outcomes of one scenario side by
/// side. What makes a result doubtful begins with `!!`.
pub(super) fn text(report: &Report) -> String {
    let title = printable(&report.title);
    let mut out = format!("{title}\n{}\n", "=".repeat(title.chars().count()));
    if !report.command.is_empty() {
        out.push_str(&format!("$ {}\n", printable(&report.command)));
    }
    if !report.verdicts.is_empty() {
        out.push_str(&format!("\nBars: {}\n\n{}", report.tally(), verdicts(report)));
    }
    for group in groups(&report.outcomes) {
        out.push_str(&of_group(&group));
    }
    let complaints = report.complaints();
    if 0 < complaints {
        let word = if complaints == 1 { "complaint" } else { "complaints" };
        out.push_str(&format!("\n!! {complaints} {word}, marked with !! above.\n"));
    }
    out
}

/// The table of verdicts.
fn verdicts(report: &Report) -> String {
    let heads = ["bar", "what", "found", "asked", ""].map(str::to_owned).to_vec();
    let rows = report.verdicts.iter().map(|verdict| {
        let holds = match verdict.holds {
            None => "not measured",
            Some(false) => "FAILS",
            Some(true) => "holds",
        };
        let texts = [&verdict.bar, &verdict.what, &verdict.found, &verdict.asked];
        texts.into_iter().map(|text| printable(text)).chain([holds.to_owned()]).collect()
    });
    let rows: Vec<Vec<String>> = [heads].into_iter().chain(rows).collect();
    grid(&rows, |_| Align::Left, &VERDICT_WIDTHS)
}

/// The outcomes of a scenario: as many side by side as a line holds.
fn of_group(group: &Group<'_>) -> String {
    let mut out = format!("\n{}\n", printable(group.scenario));
    let common = group.common.iter().map(|(name, value)| format!("{name} {value}"));
    for row in wrapped(&printable(&common.collect::<Vec<_>>().join(" · ")), WIDTH - INDENT.len()) {
        out.push_str(&format!("{INDENT}{row}\n"));
    }
    let rows = || group.parameters.iter().chain(&group.figures);
    let name_width = rows().map(|row| printable(row.name).chars().count()).max().unwrap_or(0);
    let mut start = 0;
    while start < group.outcomes.len() {
        let mut width = INDENT.len() + name_width;
        let fits = |index: &usize| {
            width += GAP.len() + column_width(group, *index);
            width <= WIDTH
        };
        let end = start + (start..group.outcomes.len()).take_while(fits).count().max(1);
        let heads = group.outcomes[start..end].iter().map(|outcome| printable(&outcome.target));
        let heads = [String::new()].into_iter().chain(heads).collect();
        let rows = rows().map(|row| cells(row, start, end));
        let rows: Vec<Vec<String>> = [heads].into_iter().chain(rows).collect();
        let align = |column| if column == 0 { Align::Left } else { Align::Right };
        out.push_str(&format!("\n{}", grid(&rows, align, &[])));
        start = end;
    }
    let mut complaints = group.complaints().peekable();
    if complaints.peek().is_some() {
        out.push('\n');
    }
    for (target, complaint) in complaints {
        let text = printable(&format!("{target}: {complaint}"));
        for (index, row) in wrapped(&text, WIDTH - INDENT.len() - 3).iter().enumerate() {
            let mark = if index == 0 { "!!" } else { "  " };
            out.push_str(&format!("{INDENT}{mark} {row}\n"));
        }
    }
    out
}

/// How wide the column of an outcome is.
fn column_width(group: &Group<'_>, index: usize) -> usize {
    let cells = group.parameters.iter().chain(&group.figures).filter_map(|row| {
        row.cells.get(index)?.as_ref().map(|cell| printable(cell).chars().count())
    });
    let head = group.outcomes.get(index).map_or(0, |outcome| outcome.target.chars().count());
    cells.chain([head]).max().unwrap_or(0)
}

/// A row's name and some of its cells.
fn cells(row: &Row<'_>, start: usize, end: usize) -> Vec<String> {
    let cells = row.cells[start..end].iter();
    let texts = cells.map(|cell| cell.as_ref().map_or_else(|| "–".to_owned(), |c| printable(c)));
    [printable(row.name)].into_iter().chain(texts).collect()
}

/// To which side of its column a text is put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Align {
    Left,
    Right,
}

/// Rows of cells as aligned lines. Columns that have a largest width are wrapped to it.
fn grid(rows: &[Vec<String>], align: impl Fn(usize) -> Align, widths_max: &[usize]) -> String {
    let width_max = |column: usize| widths_max.get(column).copied().unwrap_or(usize::MAX);
    let wrap = |(column, cell): (usize, &String)| wrapped(cell, width_max(column));
    let rows: Vec<Vec<Vec<String>>> =
        rows.iter().map(|row| row.iter().enumerate().map(wrap).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).flatten();
        cells.map(|line| line.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for index in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = INDENT.to_owned();
            for (column, width) in widths.iter().copied().enumerate() {
                let cell = row.get(column).and_then(|cell| cell.get(index));
                let cell = cell.map_or("", String::as_str);
                line.push_str(if column == 0 { "" } else { GAP });
                line.push_str(&match align(column) {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}

/// A text in lines of at most so many characters, where its words allow it.
fn wrapped(text: &str, width_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width_max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text without what a terminal would obey: complaints may quote what a server sent.
fn printable(text: &str) -> String {
    let plain = |character: char| match character {
        '\n' | '\t' => ' ',
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    text.chars().map(plain).collect()
}

/// Lines are kept within it where words allow.
const WIDTH: usize = 100;

/// Before each line of a table.
const INDENT: &str = "  ";

/// Between two columns.
const GAP: &str = "  ";

/// The largest widths of the columns of verdicts: together with the last they fill a line.
const VERDICT_WIDTHS: [usize; 4] = [8, 36, 22, 14];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::{Outcome, Unit},
        report::tests::sample,
    };

    #[test]
    fn a_report_is_readable() {
        let mut report = sample();
        report.command = "fanfare-loadtest fanout\n\u{1b}[31m".to_owned();
        assert_eq!(text(&report), include_str!("sample.txt"));
    }

    #[test]
    fn lines_are_kept_in_the_width() {
        let mut report = sample();
        let outcome = report.outcomes[0].clone();
        report.outcomes.extend(std::iter::repeat_n(outcome, 20));
        report.outcomes[3].complaints.push("word ".repeat(80));
        let text = text(&report);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("latency p50")).count(), 4);
        assert_eq!(text.matches("1.21 ms").count(), 21);
    }

    #[test]
    fn an_empty_report_is_its_title() {
        let mut report = Report { title: "empty".to_owned(), ..Report::default() };
        assert_eq!(text(&report), "empty\n=====\n");
        report.outcomes.push(Outcome { scenario: "idle".to_owned(), ..Outcome::default() });
        assert_eq!(text(&report), "empty\n=====\n\nidle\n\n");
        report.outcomes[0].push("p50", f64::NAN, Unit::Seconds);
        assert!(text(&report).contains("p50  no number\n"));
    }
}
