//! A report as one HTML file that needs nothing else: no network, no script.

use super::{
    Report,
    group::{Group, Row, groups},
    markup::escape,
    plot::{self, Shape},
};
use crate::outcome::{Plot, Verdict};

/// A report as a page.
pub(super) fn page(report: &Report) -> String {
    let groups = groups(&report.outcomes);
    let title = escape(&report.title);
    let mut body = format!("<header>\n<h1>{title}</h1>\n");
    if !report.command.is_empty() {
        body.push_str(&command(&report.command));
    }
    body.push_str("</header>\n<main>\n");
    body.push_str(&doubts(report, &groups));
    body.push_str(&verdicts(report));
    if !report.plots.is_empty() {
        let plots: String = report.plots.iter().map(|plot| figure(plot, "")).collect();
        body.push_str(&section("", &format!("<div class=\"plots\">\n{plots}</div>\n")));
    }
    for (index, group) in groups.iter().enumerate() {
        body.push_str(&of_group(index, group));
    }
    if !report.machine.is_empty() {
        let machine = report.machine.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        body.push_str(&section("", &format!("<h2>Machine</h2>\n{}", list(machine))));
    }
    body.push_str("</main>\n");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n\
         </html>\n",
        plot::STYLE
    )
}

/// A command line that is broken between its words only.
fn command(line: &str) -> String {
    let words = line.split(' ').map(|word| format!("<span>{}</span>", escape(word)));
    format!("<pre><code>{}</code></pre>\n", words.collect::<Vec<_>>().join(" "))
}

/// Where there are complaints, before any figure is read.
fn doubts(report: &Report, groups: &[Group<'_>]) -> String {
    let count = report.complaints();
    if count == 0 {
        return String::new();
    }
    let word = if count == 1 { "complaint" } else { "complaints" };
    let mut out = format!(
        "<section class=\"card doubt\">\n<h2>{count} {word}</h2>\n\
         <p>What follows is doubtful in part.</p>\n<ul>\n"
    );
    for (index, group) in groups.iter().enumerate() {
        let scenario = escape(group.scenario);
        for (target, complaint) in group.complaints() {
            let (target, complaint) = (escape(target), escape(complaint));
            out.push_str(&format!(
                "<li><a href=\"#scenario-{index}\">{scenario}, {target}</a>: {complaint}</li>\n"
            ));
        }
    }
    out + "</ul>\n</section>\n"
}

/// How the figures stand to the bars.
fn verdicts(report: &Report) -> String {
    if report.verdicts.is_empty() {
        return String::new();
    }
    let rows: String = report.verdicts.iter().map(verdict).collect();
    let table = format!(
        "<h2>Bars</h2>\n<p>{}</p>\n<div class=\"scroll\"><table class=\"verdicts\">\n<thead><tr>\
         <th>Bar</th><th></th><th>What</th><th>Found</th><th>Asked</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(&report.tally())
    );
    section("", &table)
}

/// A row of the table of verdicts. Whether a bar holds is said in words and colour.
fn verdict(verdict: &Verdict) -> String {
    let (class, holds) = match verdict.holds {
        None => ("open", "– not measured"),
        Some(false) => ("fails", "✗ fails"),
        Some(true) => ("holds", "✓ holds"),
    };
    let [bar, what, found, asked] =
        [&verdict.bar, &verdict.what, &verdict.found, &verdict.asked].map(|text| escape(text));
    format!(
        "<tr><th>{bar}</th><td class=\"{class}\">{holds}</td><td class=\"what\">{what}</td>\
         <td class=\"found\">{found}</td>\
         <td class=\"asked\">{asked}</td></tr>\n"
    )
}

/// The outcomes of a scenario.
fn of_group(index: usize, group: &Group<'_>) -> String {
    let mut out = format!("<h2>{}</h2>\n", escape(group.scenario));
    let mut complaints = group.complaints().peekable();
    if complaints.peek().is_some() {
        let text = complaints.map(|(target, complaint)| {
            let (target, complaint) = (escape(target), escape(complaint));
            format!("<li><b>{target}</b>: {complaint}</li>\n")
        });
        out.push_str(&format!("<ul class=\"doubts\">\n{}</ul>\n", text.collect::<String>()));
    }
    if !group.common.is_empty() {
        let common = group.common.iter().map(|(name, value)| (*name, value.as_str()));
        out.push_str(&list(common));
    }
    out.push_str(&table(group));
    let is_alone = group.outcomes.len() == 1;
    let plots = group.outcomes.iter().flat_map(|outcome| {
        let target = if is_alone { "" } else { outcome.target.as_str() };
        outcome.plots.iter().map(move |plot| figure(plot, target))
    });
    let plots: String = plots.collect();
    if !plots.is_empty() {
        out.push_str(&format!("<div class=\"plots\">\n{plots}</div>\n"));
    }
    section(&format!("scenario-{index}"), &out)
}

/// The table of a scenario, a column for each outcome.
fn table(group: &Group<'_>) -> String {
    let heads = group.outcomes.iter().map(|outcome| {
        let mark = if outcome.complaints.is_empty() { "" } else { " <b class=\"fails\">!</b>" };
        format!("<th>{}{mark}</th>", escape(&outcome.target))
    });
    let heads: String = heads.collect();
    let parameters: String = group.parameters.iter().map(row).collect();
    let figures: String = group.figures.iter().map(row).collect();
    let parameters = match parameters.is_empty() {
        true => String::new(),
        false => format!("<tbody class=\"parameters\">\n{parameters}</tbody>\n"),
    };
    format!(
        "<div class=\"scroll\"><table class=\"figures\">\n\
         <thead><tr><th></th>{heads}</tr></thead>\n{parameters}<tbody>\n\
         {figures}</tbody>\n</table></div>\n"
    )
}

/// A row of the table of a scenario.
fn row(row: &Row<'_>) -> String {
    let cells = row.cells.iter().map(|cell| {
        format!("<td>{}</td>", cell.as_ref().map_or_else(|| "–".to_owned(), |cell| escape(cell)))
    });
    format!("<tr><th>{}</th>{}</tr>\n", escape(row.name), cells.collect::<String>())
}

/// A plot, drawn for a desk and for a phone: the style shows the one that fits.
fn figure(plot: &Plot, target: &str) -> String {
    let target = match target {
        "" => String::new(),
        target => format!(" <span class=\"target\">{}</span>", escape(target)),
    };
    format!(
        "<figure>\n<figcaption>{}{target}</figcaption>\n{}{}</figure>\n",
        escape(&plot.title),
        plot::svg(plot, Shape::Wide),
        plot::svg(plot, Shape::Narrow)
    )
}

/// Names with their values.
fn list<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.map(|(name, value)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
    });
    format!("<dl>\n{}</dl>\n", pairs.collect::<String>())
}

/// A part of the page.
fn section(id: &str, inner: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!(" id=\"{id}\"") };
    format!("<section class=\"card\"{id}>\n{inner}</section>\n")
}

/// Nothing is loaded and nothing runs, whatever a name or a complaint may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The style of the page; [`plot::STYLE`] has the colours.
const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::Outcome,
        report::{markup::tests::problem, tests::sample},
    };

    /// The page after its style, where only texts and pictures are.
    fn body_of(page: &str) -> &str {
        page.split_once("<body>").map_or("", |(_, body)| body)
    }

    #[test]
    fn a_page_is_well_formed_and_complete() {
        let page = page(&sample());
        assert_eq!(problem(&page), None);
        for text in [
            "<title>Fanout: fanfare &amp; a &quot;bare loop&quot;</title>",
            "<td class=\"holds\">✓ holds</td>",
            "<td class=\"fails\">✗ fails</td>",
            "<td class=\"open\">– not measured</td>",
            "<th>latency p50</th><td>1.21 ms</td><td>980 µs</td>",
            "<th>bare-loop <b class=\"fails\">!</b></th>",
            "<b>bare-loop</b>: lost 3 events of &lt;script&gt;",
            "<dt>payload</dt><dd>128 B</dd>",
            "<dt>kernel</dt>",
            "<code><span>fanfare-loadtest</span> <span>fanout</span> <span>--targets</span>",
        ] {
            assert!(page.contains(text), "{text}");
        }
        let plots = 2 * 2;
        assert_eq!(page.matches("<svg ").count(), plots);
        assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
    }

    #[test]
    fn a_page_loads_and_runs_nothing() {
        let page = page(&sample());
        for text in ["<script", "http://", "https://", "url(", "@import", "src=", "onload"] {
            assert!(!page.contains(text), "{text}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn all_text_is_escaped() {
        let evil = "\"><script>alert('1')</script>&\u{1b}";
        let text = || evil.to_owned();
        let mut report = sample();
        (report.title, report.command) = (text(), text());
        report.machine = vec![(text(), text())];
        for verdict in &mut report.verdicts {
            (verdict.bar, verdict.what) = (text(), text());
            (verdict.found, verdict.asked) = (text(), text());
        }
        let name_plot = |plot: &mut Plot| {
            (plot.title, plot.x.label, plot.y.label) = (text(), text(), text());
            plot.lines.iter_mut().for_each(|line| line.name = text());
        };
        report.plots.iter_mut().for_each(name_plot);
        for outcome in &mut report.outcomes {
            (outcome.scenario, outcome.target) = (text(), text());
            outcome.parameters.iter_mut().for_each(|pair| *pair = (text(), text()));
            outcome.figures.iter_mut().for_each(|figure| figure.name = text());
            outcome.complaints.push(text());
            outcome.plots.iter_mut().for_each(name_plot);
        }
        let page = page(&report);
        assert_eq!(problem(&page), None);
        assert!(!page.contains("<script") && body_of(&page).contains("&lt;script&gt;"));
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let mut report = Report::default();
        assert_eq!(problem(&page(&report)), None);
        assert!(!body_of(&page(&report)).contains("<h2>"));
        report.outcomes.push(Outcome::default());
        assert_eq!(problem(&page(&report)), None);
    }
}
