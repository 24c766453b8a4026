//! The metrics of the control plane: connections, limits, memory, the drain, the process.

use fanfare_fanout::Disconnect;

use super::{
    Family,
    Kind::{Counter, Gauge},
};
use crate::{drain::Phase, metrics::LimitFigures, problem, socket::Protocol};

pub(super) const FAMILIES: &[Family] = &[
    Family::new(
        Gauge,
        "fanfare_connections",
        &["protocol"],
        (
            "Connections of the public listener that are open, those of subscribers included.",
            "`--connections-max`; one that has not said counts as http1",
        ),
        |f, text| text.each(Protocol::ALL.map(Protocol::as_str).into_iter().zip(f.connections)),
    ),
    Family::new(
        Counter,
        "fanfare_connections_opened_total",
        &["protocol"],
        ("Connections of the public listener that were let in and said something.", ""),
        |f, text| text.each(Protocol::ALL.map(Protocol::as_str).into_iter().zip(f.opened)),
    ),
    Family::new(
        Counter,
        "fanfare_problems_total",
        &["type"],
        ("Answers that were errors, by the last segment of their problem's type.", ""),
        |f, text| {
            let slugs = problem::Kind::ALL.map(problem::Kind::slug);
            text.each(slugs.into_iter().zip(f.problems));
        },
    ),
    Family::new(
        Counter,
        "fanfare_limit_reached_total",
        &["limit"],
        (
            "How often a limit was reached: something was refused, or the oldest let go.",
            "a limit of rings or of the journal is reached whenever it does its work",
        ),
        |f, text| text.each(f.limits.iter().map(|limit| (limit.limit, limit.reached_total))),
    ),
    Family::new(
        Gauge,
        "fanfare_limit_used",
        &["limit"],
        (
            "How much is used of what a limit bounds, where that is one number.",
            "`fanfare_limit_max`",
        ),
        |f, text| {
            let used = |limit: &LimitFigures| Some((limit.limit, limit.used?.0));
            text.each(f.limits.iter().filter_map(used));
        },
    ),
    Family::new(
        Gauge,
        "fanfare_limit_max",
        &["limit"],
        ("How much may be used; 0 is no limit.", "the settings"),
        |f, text| {
            let max = |limit: &LimitFigures| Some((limit.limit, limit.used?.1));
            text.each(f.limits.iter().filter_map(max));
        },
    ),
    Family::new(
        Gauge,
        "fanfare_memory_used_bytes",
        &["share"],
        ("Memory that each share of the budget holds.", "`fanfare_memory_max_bytes`"),
        |f, text| text.each(f.memory.iter().map(|share| (share.share, share.used_bytes))),
    ),
    Family::new(
        Gauge,
        "fanfare_memory_max_bytes",
        &["share"],
        ("Memory that each share of the budget may hold.", "`--memory-max` and what is set of it"),
        |f, text| text.each(f.memory.iter().map(|share| (share.share, share.max_bytes))),
    ),
    Family::new(
        Gauge,
        "fanfare_memory_budget_bytes",
        &[],
        (
            "Memory that the process may use in all.",
            "`--memory-max`; compare `process_resident_memory_bytes`",
        ),
        |f, text| text.one(f.memory_bytes_max),
    ),
    Family::new(
        Gauge,
        "fanfare_broker_info",
        &["broker"],
        ("1, with the broker that gives events their order.", ""),
        |_, text| text.sample([&"memory"], 1_u64),
    ),
    Family::new(
        Gauge,
        "fanfare_broker_ready",
        &[],
        ("1 if the broker takes events, 0 if not.", "that in memory always does"),
        |_, text| text.one(1_u64),
    ),
    Family::new(
        Gauge,
        "fanfare_draining",
        &[],
        ("1 from the beginning of a drain to its end or until it is taken back, else 0.", ""),
        |f, text| text.one(u64::from(f.drain.phase != Phase::None)),
    ),
    Family::new(
        Gauge,
        "fanfare_drain_subscribers_left",
        &[],
        ("Subscribers that a drain has still to send away, 0 without one.", "`--drain-period`"),
        |f, text| text.one(f.drain.subscribers_left),
    ),
    Family::new(
        Counter,
        "fanfare_drain_departed_total",
        &[],
        ("Subscribers that drains have sent away.", ""),
        |f, text| text.one(f.totals.disconnects[Disconnect::Drain as usize]),
    ),
    Family::new(
        Counter,
        "fanfare_config_reloads_total",
        &["result"],
        ("How often the settings were read again.", "`failed` changed nothing; the log says why"),
        |f, text| text.each([("ok", f.own.reloads_ok), ("failed", f.own.reloads_failed)]),
    ),
    Family::new(
        Gauge,
        "fanfare_config_last_reload_successful",
        &[],
        ("0 if the settings were wrong when they were last read again, else 1.", ""),
        |f, text| text.one(u64::from(!f.own.is_reload_failed)),
    ),
    Family::new(
        Gauge,
        "fanfare_config_last_reload_success_timestamp_seconds",
        &[],
        ("When the settings were last put in place; the start counts.", ""),
        |f, text| text.one(f.own.reloaded_at_ms as f64 / 1e3),
    ),
    Family::new(
        Counter,
        "fanfare_log_lines_dropped_total",
        &[],
        ("Log lines that nobody took in time.", "the log's queue"),
        |f, text| text.one(f.own.log_lines_dropped),
    ),
    Family::new(
        Counter,
        "fanfare_spans_exported_total",
        &[],
        ("Spans of publishes that a collector has taken.", ""),
        |f, text| text.one(f.own.spans_exported),
    ),
    Family::new(
        Counter,
        "fanfare_spans_dropped_total",
        &[],
        (
            "Spans that were dropped: the collector was slow, away, or refused them.",
            "the queue of spans",
        ),
        |f, text| text.one(f.own.spans_dropped),
    ),
    Family::new(
        Gauge,
        "fanfare_build_info",
        &["version"],
        ("1, with the version of the hub.", ""),
        |_, text| text.sample([&env!("CARGO_PKG_VERSION")], 1_u64),
    ),
    Family::new(
        Counter,
        "process_cpu_seconds_total",
        &[],
        ("Seconds on a processor, over all threads.", "the processors"),
        |f, text| text.one(f.process.cpu_seconds),
    ),
    Family::new(
        Gauge,
        "process_resident_memory_bytes",
        &[],
        ("Memory that is resident.", "`fanfare_memory_budget_bytes`"),
        |f, text| text.one(f.process.resident_bytes),
    ),
    Family::new(
        Gauge,
        "process_open_fds",
        &[],
        ("Files that are open, sockets included.", "`process_max_fds`"),
        |f, text| text.one(f.process.open_files),
    ),
    Family::new(
        Gauge,
        "process_max_fds",
        &[],
        ("Files that may be open.", "`ulimit -n`"),
        |f, text| text.one(f.process.open_files_max),
    ),
    Family::new(
        Gauge,
        "process_start_time_seconds",
        &[],
        ("When the process started.", ""),
        |f, text| text.one(f.process.started_at_seconds),
    ),
    Family::new(
        Gauge,
        "process_threads",
        &[],
        ("Threads of the process.", "workers, the runtime's and a few more"),
        |f, text| text.one(f.process.threads),
    ),
];
