//! All that the hub tells of itself, read at one moment: the metrics and the operators' JSON are
//! made from it.

use std::sync::atomic::Ordering::Relaxed;

use fanfare_core::{
    Channels, CloseReason, GapReason, Held, Limit, Overdue, Removal, Replay, WishedBy,
};
use fanfare_fanout::{Load, Totals};

use super::{Metrics, Published, Reached, SubscribeAnswer, counts::Took};
use crate::{
    drain::{self, Progress},
    problem,
    procfs::Process,
    socket::Protocol,
    state::{Shared, State},
    upstream::Ended,
    usage::{LimitUse, ShareUse},
};

/// The figures.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// What workers counted, that of HTTP/2 included.
    pub(crate) totals: Totals,
    /// What each worker has to do; without that of HTTP/2.
    pub(crate) workers: Vec<Load>,
    /// Open subscriptions by [`Protocol`].
    pub(crate) subscribers: [u64; Protocol::ALL.len()],
    /// Those whose sockets take no byte.
    pub(crate) blocked: u64,
    /// What they keep in memory.
    pub(crate) blocked_bytes: u64,
    /// Open connections of the public listener by [`Protocol`].
    pub(crate) connections: [u64; Protocol::ALL.len()],
    /// All that there were.
    pub(crate) opened: [u64; Protocol::ALL.len()],
    pub(crate) held: Held,
    pub(crate) channels: Channels,
    /// Channels that were removed, by [`Removal`].
    pub(crate) removed: [u64; Removal::ALL.len()],
    /// Channels that were closed, by [`CloseReason`].
    pub(crate) closed: [u64; CloseReason::ALL.len()],
    /// Channels that the hub closed itself, by [`Overdue`].
    pub(crate) overdue: [u64; Overdue::ALL.len()],
    /// Wishes to cancel a channel, by [`WishedBy`].
    pub(crate) wishes: [u64; WishedBy::ALL.len()],
    /// Who waits for such a wish.
    pub(crate) cancel_waiters: usize,
    pub(crate) events_published: u64,
    pub(crate) bytes_published: u64,
    /// Subscriptions that began, by [`Replay`].
    pub(crate) replays: [u64; Replay::ALL.len()],
    /// Gaps that were told, by [`GapReason`].
    pub(crate) gaps: [u64; GapReason::ALL.len()],
    /// Subscribes by [`SubscribeAnswer`].
    pub(crate) subscribes: [u64; SubscribeAnswer::ALL.len()],
    /// Publishes by [`Published`].
    pub(crate) publishes: [Took; Published::ALL.len()],
    /// Fetches of upstreams that are open.
    pub(crate) fetches_open: u64,
    /// Those that have ended, by [`Ended`].
    pub(crate) fetches: [u64; Ended::COUNT],
    /// Problems by their kind.
    pub(crate) problems: [u64; problem::Kind::ALL.len()],
    pub(crate) limits: Vec<LimitFigures>,
    pub(crate) memory: [ShareUse; 5],
    pub(crate) memory_bytes_max: u64,
    /// How far the drain is, if there is one.
    pub(crate) drain: Progress,
    pub(crate) own: OwnFigures,
    pub(crate) process: Process,
}

/// A limit: how often it was reached and, where that is known, how near it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitFigures {
    pub(crate) limit: &'static str,
    pub(crate) reached_total: u64,
    /// How much is used, and how much may be; 0 is no limit.
    pub(crate) used: Option<(u64, u64)>,
}

/// What the process counts outside of the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnFigures {
    pub(crate) log_lines_dropped: u64,
    pub(crate) reloads_ok: u64,
    pub(crate) reloads_failed: u64,
    pub(crate) is_reload_failed: bool,
    pub(crate) reloaded_at_ms: u64,
    pub(crate) spans_exported: u64,
    pub(crate) spans_dropped: u64,
}

impl Figures {
    /// The figures of this moment.
    pub(crate) fn of(shared: &Shared) -> Self {
        let state = &shared.state;
        let (hub, metrics) = (&state.hub, &state.metrics);
        let workers = shared.fanout.loads();
        let http2 = shared.h2.load();
        let (blocked, blocked_bytes) = workers
            .iter()
            .chain([&http2])
            .fold((0, 0), |(n, bytes), w| (n + w.blocked, bytes + w.blocked_bytes));
        let (process, held) = (Process::read(), hub.held());
        let subscribers = hub.subscribers() as u64;
        let on_http2 = metrics.http2_open();
        Self {
            totals: shared.fanout.totals().plus(&shared.h2.totals()),
            workers,
            subscribers: [subscribers.saturating_sub(http2.subscribers), http2.subscribers],
            blocked,
            blocked_bytes,
            connections: [(state.connections_open() as u64).saturating_sub(on_http2), on_http2],
            opened: metrics.opened.totals(),
            held,
            channels: hub.channels(),
            removed: Removal::ALL.map(|removal| hub.removed_total(removal)),
            closed: CloseReason::ALL.map(|reason| hub.closed_total(reason)),
            overdue: Overdue::ALL.map(|why| hub.overdue_total(why)),
            wishes: WishedBy::ALL.map(|by| hub.wishes_total(by)),
            cancel_waiters: hub.cancel_waiters(),
            events_published: hub.published_total(),
            bytes_published: hub.published_bytes_total(),
            replays: metrics.replays.totals(),
            gaps: GapReason::ALL.map(|reason| hub.gaps_total(reason)),
            subscribes: metrics.subscribes.totals(),
            publishes: Published::ALL.map(|result| metrics.publish_times(result)),
            fetches_open: state.upstreams.taken() as u64,
            fetches: metrics.fetched_totals(),
            problems: metrics.problems.totals(),
            limits: limits(state, &held, &process),
            memory: state.memory(blocked_bytes as usize),
            memory_bytes_max: state.config().memory_bytes_max as u64,
            drain: drain::progress(shared),
            own: OwnFigures::of(state),
            process,
        }
    }
}

impl OwnFigures {
    fn of(state: &State) -> Self {
        let counts = &state.process;
        Self {
            log_lines_dropped: counts.log_lines_dropped.load(Relaxed),
            reloads_ok: counts.reloads_ok.load(Relaxed),
            reloads_failed: counts.reloads_failed.load(Relaxed),
            is_reload_failed: counts.is_reload_failed.load(Relaxed),
            reloaded_at_ms: counts.reloaded_at_ms.load(Relaxed),
            spans_exported: counts.spans_exported.load(Relaxed),
            spans_dropped: counts.spans_dropped.load(Relaxed),
        }
    }
}

/// All limits, in the order of their names.
fn limit_names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = Limit::ALL.map(Limit::as_str).into();
    names.extend(Reached::ALL.map(Reached::as_str));
    names.push(TOMBSTONES);
    names.sort_unstable();
    names.into_iter()
}

fn limits(state: &State, held: &Held, process: &Process) -> Vec<LimitFigures> {
    let mut uses = state.limits();
    let (used, max) = (process.open_files, process.open_files_max);
    uses.push(LimitUse { limit: Reached::OpenFiles.as_str(), used, max });
    let used = |name| uses.iter().find(|found| found.limit == name).map(|u| (u.used, u.max));
    let total = |name| {
        let hub = Limit::ALL.into_iter().find(|limit| limit.as_str() == name);
        let server = Reached::ALL.into_iter().find(|limit| limit.as_str() == name);
        match (hub, server) {
            (Some(limit), _) => state.hub.limit_total(limit),
            (_, Some(limit)) => state.metrics.reached_total(limit),
            // A tombstone that is forgotten makes room for another.
            _ => held.forgotten,
        }
    };
    let told = |limit| LimitFigures { limit, reached_total: total(limit), used: used(limit) };
    limit_names().map(told).collect()
}

impl Metrics {
    fn http2_open(&self) -> u64 {
        self.http2.load(Relaxed)
    }
}

/// The limit that is neither a refusal of the hub nor of the server.
const TOMBSTONES: &str = "tombstones";
