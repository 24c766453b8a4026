//! What the hub holds and does, in one object: `GET /api/stats`, and each event of its stream.

use std::collections::BTreeMap;

use fanfare_core::{GapReason, Replay};
use fanfare_fanout::{Disconnect, Load};
use serde::Serialize;

use super::{
    millis,
    window::{Percentiles, Recent, Window},
};
use crate::{
    drain::{self, Phase, Progress},
    metrics::{Figures, LimitFigures},
    state::Shared,
    usage::ShareUse,
};

/// The object.
#[derive(Serialize)]
pub(super) struct Stats {
    version: &'static str,
    epoch: String,
    uptime_ms: u64,
    time_ms: u64,
    last_id: String,
    state: &'static str,
    drain: Progress,
    subscribers: Subscribers,
    connections: ByProtocol,
    channels: Channels,
    publishes_open: usize,
    events_published_total: u64,
    events_delivered_total: u64,
    bytes_sent_total: u64,
    bytes_published_total: u64,
    writes_total: u64,
    replays_total: Totals,
    gaps_total: Totals,
    disconnects_total: Totals,
    delivery: Percentiles,
    publish: Percentiles,
    memory: Memory,
    cpu_seconds_total: f64,
    open_files: u64,
    open_files_max: u64,
    threads: u64,
    workers: Vec<Worker>,
    limits: Vec<Limit>,
    journal_events: usize,
    idempotency_keys: usize,
    tombstones: usize,
    tombstones_forgotten: u64,
}

/// Totals by a label.
type Totals = BTreeMap<&'static str, u64>;

#[derive(Serialize)]
struct Subscribers {
    #[serde(flatten)]
    by_protocol: ByProtocol,
    /// Those whose sockets take no byte now.
    blocked: u64,
}

#[derive(Serialize)]
struct ByProtocol {
    http1: u64,
    http2: u64,
}

#[derive(Serialize)]
struct Channels {
    live: usize,
    closed: usize,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: u64,
    budget_bytes: u64,
    shares: Vec<Share>,
}

#[derive(Serialize)]
struct Share {
    share: &'static str,
    used_bytes: u64,
    max_bytes: u64,
}

#[derive(Serialize)]
struct Worker {
    worker: usize,
    subscribers: u64,
    busy_percent: f64,
    queue_groups: u64,
    queue_members: u64,
    queue_attach: u64,
}

#[derive(Serialize)]
struct Limit {
    limit: &'static str,
    used: Option<u64>,
    /// None if there is no limit, too.
    max: Option<u64>,
    reached_total: u64,
}

impl Stats {
    /// The figures of this moment.
    pub(super) fn of(shared: &Shared, window: &Window) -> Self {
        let figures = Figures::of(shared);
        let Recent { delivery, publish, busy_percent } = window.recent(shared);
        let (state, hub) = (&shared.state, &shared.state.hub);
        let Figures { totals, workers, limits, memory, process, held, .. } = figures;
        let [http1, http2] = figures.subscribers;
        let drain = drain::progress(shared);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            epoch: hub.epoch().as_str().to_owned(),
            uptime_ms: millis(state.started.elapsed()),
            time_ms: state.now_ms(),
            last_id: hub.id(hub.watermark()).to_string(),
            state: match drain.phase {
                Phase::None => "running",
                Phase::Done => "drained",
                Phase::Delay | Phase::Publishes | Phase::Subscribers => "draining",
            },
            drain,
            subscribers: Subscribers {
                by_protocol: ByProtocol { http1, http2 },
                blocked: figures.blocked,
            },
            connections: ByProtocol::of(figures.connections),
            channels: Channels { live: figures.channels.live, closed: figures.channels.closed },
            publishes_open: state.publishes.len(),
            events_published_total: figures.events_published,
            events_delivered_total: totals.events_delivered,
            bytes_sent_total: totals.bytes_sent,
            bytes_published_total: figures.bytes_published,
            writes_total: totals.events_per_write.count(),
            replays_total: Replay::ALL
                .map(Replay::as_str)
                .into_iter()
                .zip(figures.replays)
                .collect(),
            gaps_total: GapReason::ALL
                .map(GapReason::as_str)
                .into_iter()
                .zip(figures.gaps)
                .collect(),
            disconnects_total: Disconnect::ALL
                .map(Disconnect::as_str)
                .into_iter()
                .zip(totals.disconnects)
                .collect(),
            delivery,
            publish,
            memory: Memory {
                resident_bytes: process.resident_bytes,
                budget_bytes: figures.memory_bytes_max,
                shares: memory.map(Share::of).into(),
            },
            cpu_seconds_total: process.cpu_seconds,
            open_files: process.open_files,
            open_files_max: process.open_files_max,
            threads: process.threads,
            workers: Worker::all(&workers, &busy_percent),
            limits: limits.into_iter().map(Limit::of).collect(),
            journal_events: held.journal_events,
            idempotency_keys: held.idempotency_keys,
            tombstones: held.tombstones,
            tombstones_forgotten: held.forgotten,
        }
    }

    /// The object as JSON on one line.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl ByProtocol {
    fn of([http1, http2]: [u64; 2]) -> Self {
        Self { http1, http2 }
    }
}

impl Share {
    fn of(share: ShareUse) -> Self {
        let ShareUse { share, used_bytes, max_bytes } = share;
        Self { share, used_bytes, max_bytes }
    }
}

impl Worker {
    fn all(loads: &[Load], busy_percent: &[f64]) -> Vec<Self> {
        let of = |(worker, (load, busy_percent)): (usize, (&Load, &f64))| {
            let Load { subscribers, queue_groups, queue_members, queue_attach, .. } = *load;
            let busy_percent = (busy_percent * 10.0).round() / 10.0;
            Self { worker, subscribers, busy_percent, queue_groups, queue_members, queue_attach }
        };
        loads.iter().zip(busy_percent).enumerate().map(of).collect()
    }
}

impl Limit {
    fn of(limit: LimitFigures) -> Self {
        let LimitFigures { limit, reached_total, used } = limit;
        let max = used.map(|(_, max)| max).filter(|max| *max > 0);
        Self { limit, used: used.map(|(used, _)| used), max, reached_total }
    }
}
