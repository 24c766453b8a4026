//! The view as lines: figures first, then as many channels as there is space for.

use super::{
    line::{Line, Tone, bar, spark, tone_of},
    view::View,
};
use crate::client::{
    amount,
    channels::{COLUMNS, Facts},
    drain,
    stats::{Limit, Percentiles, Phase, Worker},
    table::Table,
};

/// A screen of lines, the keys in the last one.
pub(super) fn screen(view: &View, columns: usize, rows: usize) -> Vec<Line> {
    let mut lines = figures(view, columns);
    let space = rows.saturating_sub(lines.len() + 2);
    lines.extend(channels(view, space));
    lines.truncate(rows.saturating_sub(1));
    lines.resize(rows.saturating_sub(1), Line::default());
    lines.push(keys(view));
    lines.into_iter().take(rows).map(|line| line.clipped(columns)).collect()
}

/// The same as text that stays, without keys.
pub(super) fn snapshot(view: &View, channels_max: usize) -> String {
    let mut lines = figures(view, SNAPSHOT_COLUMNS);
    lines.extend(channels(view, channels_max));
    lines.iter().map(|line| format!("{}\n", line.text())).collect()
}

fn figures(view: &View, columns: usize) -> Vec<Line> {
    let mut lines = vec![head(view)];
    lines.push(match &view.failure {
        Some(failure) => Line::of(Tone::Bad, amount::visible(failure)),
        None => Line::default(),
    });
    lines.extend(traffic(view, columns));
    lines.push(Line::default());
    lines.extend(memory_and_workers(view, columns));
    lines.push(limits(view, columns));
    if view.stats.drain.phase != Phase::None {
        let words = drain::words(&view.stats.drain);
        lines.push(Line::of(Tone::Head, format!("{:<LABEL$}", "DRAIN")).with(Tone::Warning, words));
    }
    lines.push(Line::default());
    lines
}

fn head(view: &View) -> Line {
    let stats = &view.stats;
    let state = match stats.state.as_str() {
        "running" => Tone::Good,
        _ => Tone::Warning,
    };
    let line = Line::of(Tone::Strong, format!("fanfare {}", amount::visible(&stats.version)))
        .with(Tone::Plain, format!("  {}", amount::visible(&view.authority)))
        .with(Tone::Plain, format!("  up {}", amount::time(stats.uptime_ms)))
        .with(Tone::Faint, format!("  epoch {}  ", amount::visible(&stats.epoch)))
        .with(state, amount::visible(&stats.state));
    if view.wish.is_paused { line.with(Tone::Warning, "  paused") } else { line }
}

/// Subscribers, channels, events in and out; latencies to their right.
fn traffic(view: &View, columns: usize) -> Vec<Line> {
    let (stats, last) = (&view.stats, view.last());
    let left = columns.saturating_sub(LATENCY_COLUMNS).max(LABEL + NUMBER + 2 + BYTES);
    let short = |number: u64| amount::short(number as f64);
    let of = stats.subscribers;
    let subscribers = label("subscribers", amount::count(stats.subscribers()))
        .with(Tone::Faint, format!("  http1 {}  http2 {}", short(of.http1), short(of.http2)));
    let blocked = if of.blocked == 0 { Tone::Faint } else { Tone::Warning };
    let connections = stats.connections.http1.saturating_add(stats.connections.http2);
    let details =
        format!("  closed {}  sockets {}", short(stats.channels.closed), short(connections));
    let channels = label("channels", amount::count(stats.channels.live)).with(Tone::Faint, details);
    let width = left.saturating_sub(LABEL + NUMBER + 2 + BYTES + 2);
    let flow = |name, events: f64, bytes: f64, history: String| {
        label(name, format!("{}/s", amount::rate(events)))
            .with(Tone::Good, format!("  {history}"))
            .with(Tone::Plain, format!("{:>BYTES$}", format!("{}/s", amount::bytes(bytes))))
    };
    let rates = || view.rates.iter();
    let history_in = spark(rates().map(|rates| rates.events_in), width);
    let history_out = spark(rates().map(|rates| rates.events_out), width);
    let lefts = [
        subscribers,
        channels,
        flow("events in", last.events_in, last.bytes_in, history_in),
        flow("events out", last.events_out, last.bytes_out, history_out),
    ];
    let percentiles = format!("{:<9}{:>8}{:>8}{:>8}", "LATENCY", "p50", "p90", "p99");
    let rights = [
        Line::of(Tone::Head, percentiles),
        latencies("publish", &stats.publish),
        latencies("delivery", &stats.delivery),
        Line::of(Tone::Faint, format!("{:<9}", "blocked"))
            .with(blocked, format!("{:>8}", short(of.blocked)))
            .with(Tone::Faint, format!("{:>8}", "cores"))
            .with(Tone::Plain, format!("{:>8.2}", last.cores)),
    ];
    let joined = |(line, right): (Line, Line)| line.clipped(left - 1).padded_to(left).join(right);
    lefts.into_iter().zip(rights).map(joined).collect()
}

fn label(name: &str, number: String) -> Line {
    Line::of(Tone::Faint, format!("{name:<LABEL$}"))
        .with(Tone::Strong, format!("{number:>NUMBER$}"))
}

fn latencies(name: &str, of: &Percentiles) -> Line {
    let line = Line::of(Tone::Faint, format!("{name:<9}"));
    [of.p50_ms, of.p90_ms, of.p99_ms].into_iter().fold(line, |line, ms| {
        line.with(Tone::Plain, format!("{:>8}", ms.map_or_else(|| "-".to_owned(), amount::latency)))
    })
}

/// The shares of the memory, and the workers to their right.
fn memory_and_workers(view: &View, columns: usize) -> Vec<Line> {
    let memory = &view.stats.memory;
    let (resident, budget) = (memory.resident_bytes, memory.budget_bytes);
    let whole = amount::percent(resident, budget);
    let [used, of] = [resident, budget].map(|bytes| amount::bytes(bytes as f64));
    let mut lefts = vec![
        Line::of(Tone::Head, format!("{:<LABEL$}", "MEMORY"))
            .with(Tone::Plain, format!("{used} of {of} "))
            .with(tone_of(whole), format!("{whole}%")),
    ];
    lefts.extend(memory.shares.iter().map(|share| {
        let percent = amount::percent(share.used_bytes, share.max_bytes);
        let used = amount::bytes(share.used_bytes as f64);
        Line::of(Tone::Faint, format!("{:<LABEL$}", amount::visible(&share.share)))
            .join(bar(percent, SHARE_BAR))
            .with(Tone::Plain, format!("{percent:>4}%{used:>10}"))
    }));
    let rows = lefts.len().max(ROWS_MIN);
    lefts.resize(rows, Line::default());
    let right = columns.saturating_sub(MEMORY_COLUMNS);
    let rights = workers(&view.stats.workers, right, rows);
    let joined = |(left, right): (Line, Line)| {
        left.clipped(MEMORY_COLUMNS - 2).padded_to(MEMORY_COLUMNS).join(right)
    };
    lefts.into_iter().zip(rights).map(joined).collect()
}

/// A head, and cells in as many columns as fit, the busiest workers if not all of them do.
fn workers(workers: &[Worker], columns: usize, rows: usize) -> Vec<Line> {
    let abreast = (columns / WORKER_COLUMNS_MIN).max(1);
    let cell_columns = columns / abreast;
    let space = abreast * (rows - 1);
    let mut shown: Vec<_> = workers.iter().collect();
    let hidden = shown.len().saturating_sub(space);
    if 0 < hidden {
        shown.sort_by(|a, b| b.busy_percent.total_cmp(&a.busy_percent));
        shown.truncate(space);
    }
    let busy: f64 = workers.iter().map(|worker| worker.busy_percent).sum();
    let mean = busy / workers.len().max(1) as f64;
    let more = if 0 < hidden { format!(", {hidden} more") } else { String::new() };
    let title = format!("{:.0}% of {} busy{more}", mean, workers.len());
    let mut lines = vec![Line::of(Tone::Head, "WORKERS ").with(Tone::Plain, title)];
    let cell = |worker: &&Worker| {
        let percent = worker.busy_percent.clamp(0.0, 100.0).round() as u64;
        let bar_columns = cell_columns.saturating_sub(17).clamp(1, 20);
        Line::of(Tone::Faint, format!("{:>2} ", worker.worker))
            .join(bar(percent, bar_columns))
            .with(Tone::Plain, format!("{percent:>4}%"))
            .with(Tone::Faint, format!("{:>7}", amount::short(worker.subscribers as f64)))
    };
    let cells: Vec<_> = shown.iter().map(cell).collect();
    for row in 0..rows - 1 {
        let in_row = cells.iter().skip(row).step_by(rows - 1).enumerate();
        lines.push(in_row.fold(Line::default(), |line, (index, cell)| {
            line.padded_to(index * cell_columns).join(cell.clone())
        }));
    }
    lines
}

/// The bounds that are nearest to their end, or were met.
fn limits(view: &View, columns: usize) -> Line {
    let mut near: Vec<(&Limit, u64)> = view.stats.limits.iter().map(near).collect();
    near.retain(|(limit, percent)| 0 < *percent || 0 < limit.reached_total);
    near.sort_by_key(|(limit, percent)| (*percent, limit.reached_total));
    let mut line = Line::of(Tone::Head, format!("{:<LABEL$}", "LIMITS"));
    if near.is_empty() {
        return line.with(Tone::Faint, "none is near");
    }
    for (limit, percent) in near.into_iter().rev() {
        let used = limit.percent().map(|percent| format!(" {percent}%"));
        let met = Some(limit.reached_total).filter(|total| 0 < *total);
        let met = met.map(|total| format!(" met {}×", amount::short(total as f64)));
        let words: String =
            [Some(amount::visible(&limit.limit)), used, met].into_iter().flatten().collect();
        let next = line.clone().with(tone_of(percent), format!("{words}  "));
        if columns < next.width() {
            break;
        }
        line = next;
    }
    line
}

fn near(limit: &Limit) -> (&Limit, u64) {
    (limit, limit.percent().unwrap_or_default())
}

fn channels(view: &View, space: usize) -> Vec<Line> {
    if let Some(failure) = &view.channels_failure {
        return vec![Line::of(Tone::Bad, amount::visible(failure))];
    }
    let mut table = Table::new(COLUMNS);
    let shown: Vec<_> = view.channels.iter().skip(view.offset).take(space).collect();
    let rows: Vec<_> = shown.iter().map(|facts| facts.row()).collect();
    let head = table.head(&rows);
    let page = table.page(&rows);
    let tone = |facts: &Facts| if facts.closed.is_some() { Tone::Faint } else { Tone::Plain };
    let lines = page.lines().zip(shown).map(|(line, facts)| Line::of(tone(facts), line));
    [Line::of(Tone::Head, head.trim_end())].into_iter().chain(lines).collect()
}

fn keys(view: &View) -> Line {
    let key = |line: Line, key: &str, does: String| {
        line.with(Tone::Strong, format!(" {key} ")).with(Tone::Faint, does)
    };
    let pause = if view.wish.is_paused { "resume " } else { "pause " };
    let line = key(Line::default(), "q", "quit ".to_owned());
    let line = key(line, "s", format!("sorted by {} ", view.wish.sort.as_str()));
    let line = key(line, "↑↓", "more channels ".to_owned());
    key(line, "space", pause.to_owned())
}

/// Columns of the names of figures.
const LABEL: usize = 12;
/// Of a figure.
const NUMBER: usize = 9;
/// Of bytes a second.
const BYTES: usize = 13;
/// Of the latencies.
const LATENCY_COLUMNS: usize = 33;
/// Of the memory, the space to the workers included.
const MEMORY_COLUMNS: usize = 42;
/// Of the bar of a share.
const SHARE_BAR: usize = 12;
/// The fewest of a worker; where there is more, they stand side by side.
const WORKER_COLUMNS_MIN: usize = 25;
/// Lines of memory and workers, although a hub may have a single worker.
const ROWS_MIN: usize = 4;
/// Columns of a snapshot, which may be read by a mail program.
const SNAPSHOT_COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{channels::Page, stats::Stats, top::feed::Moment};

    /// As a hub tells it.
    const STATS: &str = r#"{"version": "0.1.0", "epoch": "k7f2w9ma", "uptime_ms": 300000000,
        "state": "running", "drain": {"phase": "none", "left_ms": 0},
        "subscribers": {"http1": 12000, "http2": 345, "blocked": 3},
        "connections": {"http1": 12100, "http2": 45}, "channels": {"live": 1503, "closed": 12},
        "events_published_total": 1000, "events_delivered_total": 500000, "last_id": "k7f2w9ma-9",
        "bytes_sent_total": 1000000, "bytes_published_total": 100000,
        "delivery": {"samples": 9, "p50_ms": 0.31, "p90_ms": 1.1, "p99_ms": 14.2},
        "publish": {"samples": 0, "p50_ms": null, "p90_ms": null, "p99_ms": null},
        "memory": {"resident_bytes": 1288490188, "budget_bytes": 12884901888, "shares": [
            {"share": "rings", "used_bytes": 5318718976, "max_bytes": 6318718976},
            {"share": "journal", "used_bytes": 32000000, "max_bytes": 33554432},
            {"share": "requests", "used_bytes": 0, "max_bytes": 268435456}]},
        "cpu_seconds_total": 100.5, "open_files": 12200, "open_files_max": 20000, "workers": [
            {"worker": 0, "subscribers": 6000, "busy_percent": 62.4},
            {"worker": 1, "subscribers": 6345, "busy_percent": 8.0}],
        "limits": [{"limit": "channels", "used": 1503, "max": 1000000, "reached_total": 0},
            {"limit": "connections", "used": 19000, "max": 19424, "reached_total": 12},
            {"limit": "publish_rate", "used": null, "max": null, "reached_total": 4}]}"#;
    const CHANNELS: &str = r#"{"channels": [
        {"channel": "orders/1", "subscribers": 12345, "ring_events": 1024, "ring_bytes": 4194304,
         "events_total": 1000000, "rate_per_s": 1234.5, "closed": null},
        {"channel": "新聞/2", "subscribers": 1, "ring_events": 1, "ring_bytes": 120,
         "events_total": 1, "rate_per_s": 0, "closed": "done"}], "next": null, "total": 2}"#;

    fn view() -> View {
        let mut view = View::new("127.0.0.1:8081");
        let before: Stats = serde_json::from_str(STATS).unwrap();
        let mut stats = before.clone();
        stats.uptime_ms += 2_000;
        stats.events_published_total += 20;
        stats.events_delivered_total += 24_690;
        stats.bytes_sent_total += 4_194_304;
        stats.cpu_seconds_total += 2.6;
        view.take_stats(before);
        let page: Page = serde_json::from_str(CHANNELS).unwrap();
        view.take(Moment { stats: Ok(stats), channels: Ok(page.facts()) });
        view
    }

    fn text(view: &View, columns: usize, rows: usize) -> Vec<String> {
        let lines = screen(view, columns, rows);
        assert!(lines.iter().all(|line| line.width() <= columns), "{columns}x{rows}");
        assert_eq!(lines.len(), rows);
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn a_screen_of_80_by_24() {
        let expected = "\
fanfare 0.1.0  127.0.0.1:8081  up 3d 11h  epoch k7f2w9ma  running

subscribers    12,345  http1 12k  http2 345    LATENCY       p50     p90     p99
channels        1,503  closed 12  sockets 12k  publish         -       -       -
events in        10/s          █        0 B/s  delivery  0.31 ms  1.1 ms   14 ms
events out      12k/s          █    2.0 MiB/s  blocked         3   cores    1.30

MEMORY      1.2 GiB of 12 GiB 10%         WORKERS 35% of 2 busy
rings       ██████████░░  84%   5.0 GiB    0 ████████████░░░░░░░░  62%   6.0k
journal     ███████████░  95%    31 MiB    1 ██░░░░░░░░░░░░░░░░░░   8%   6.3k
requests    ░░░░░░░░░░░░   0%       0 B
LIMITS      connections 98% met 12×  publish_rate met 4×

SUBSCRIBERS  EVENTS/S     EVENTS   KEPT    BYTES  CHANNEL
     12,345      1.2k  1,000,000  1,024  4.0 MiB  orders/1
          1         0          1      1    120 B  新聞/2 (done)







 q quit  s sorted by rate  ↑↓ more channels  space pause";
        let found = text(&view(), 80, 24).join("\n");
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn every_size_has_its_screen() {
        let view = view();
        for (columns, rows) in [(0, 0), (1, 1), (20, 5), (79, 23), (120, 40), (300, 100)] {
            text(&view, columns, rows);
            text(&View::new(""), columns, rows);
        }
        assert!(text(&view, 40, 5)[4].starts_with(" q quit"));
    }

    #[test]
    fn a_drain_a_pause_and_a_failure_are_shown() {
        let mut view = view();
        view.stats.drain.phase = Phase::Subscribers;
        view.stats.drain.departed = 7;
        view.wish.is_paused = true;
        view.take(Moment { stats: Err("no hub".into()), channels: Err("no hub".into()) });
        let found = text(&view, 80, 24);
        assert!(found[0].ends_with("running  paused") && found[1] == "no hub", "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("DRAIN       7 subscribers sent away")));
        // What was known before stays.
        assert!(found.iter().any(|line| line.ends_with("orders/1")));
        assert!(found[23].ends_with("space resume"));
    }

    #[test]
    fn the_busiest_workers_are_shown_if_there_is_no_space_for_all() {
        let worker = |worker| Worker { worker, busy_percent: worker as f64, ..Worker::default() };
        let all: Vec<_> = (0..60).map(worker).collect();
        let lines = workers(&all, 80, 6);
        assert_eq!(lines[0].text(), "WORKERS 30% of 60 busy, 45 more");
        assert!(lines[1].text().starts_with("59 ") && lines[1].text().contains("54 "));
        assert_eq!(workers(&all[..2], 80, 6)[2].text().chars().next(), Some(' '));
    }

    #[test]
    fn a_snapshot_has_no_keys() {
        let text = snapshot(&view(), 1);
        assert!(text.contains("orders/1\n") && !text.contains("新聞"), "{text}");
        assert!(!text.contains(" q quit") && !text.contains('\u{1b}'));
    }
}
