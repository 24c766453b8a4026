//! What the hub holds and does, in one object: `GET /api/stats`, and each event of its stream.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use fanfare_core::{GapReason, Limit, Replay};
use fanfare_fanout::Disconnect;
use serde::Serialize;

use super::millis;
use crate::{
    drain::{self, Phase, Progress},
    metrics::Reached,
    procfs::Process,
    state::{Shared, State},
    usage::{LimitUse, ShareUse},
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
    limits: Vec<LimitStats>,
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

/// Of the last seconds; none without a sample.
#[derive(Serialize)]
struct Percentiles {
    samples: u64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: u64,
    budget_bytes: usize,
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
    subscribers: usize,
    busy_percent: f64,
    queue_groups: u64,
    queue_members: u64,
    queue_attach: u64,
}

#[derive(Serialize)]
struct LimitStats {
    limit: &'static str,
    used: Option<u64>,
    max: Option<u64>,
    reached_total: u64,
}

impl Stats {
    /// The figures of this moment.
    pub(super) fn of(shared: &Shared) -> Self {
        let state = &shared.state;
        let (hub, held) = (&state.hub, state.hub.held());
        let totals = shared.fanout.totals().plus(&shared.h2.totals());
        let process = Process::read();
        let (all, http2) = (hub.subscribers() as u64, shared.h2.subscribers() as u64);
        let config = state.config();
        let worker = |(worker, subscribers)| Worker {
            worker,
            subscribers,
            busy_percent: 0.0,
            queue_groups: 0,
            queue_members: 0,
            queue_attach: 0,
        };
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
                by_protocol: ByProtocol { http1: all.saturating_sub(http2), http2 },
                blocked: 0,
            },
            connections: ByProtocol { http1: state.connections_open() as u64, http2: 0 },
            channels: Channels { live: held.channels, closed: 0 },
            publishes_open: state.publishes.len(),
            events_published_total: hub.published_total(),
            events_delivered_total: totals.events_delivered,
            bytes_sent_total: totals.bytes_sent,
            bytes_published_total: 0,
            writes_total: 0,
            replays_total: Replay::ALL
                .map(|r| (r.as_str(), state.replays[r as usize].load(Relaxed)))
                .into(),
            gaps_total: GapReason::ALL.map(|r| (r.as_str(), hub.gaps_total(r))).into(),
            disconnects_total: Disconnect::ALL
                .map(|r| (r.as_str(), totals.disconnects[r as usize]))
                .into(),
            delivery: Percentiles { samples: 0, p50_ms: None, p90_ms: None, p99_ms: None },
            publish: Percentiles { samples: 0, p50_ms: None, p90_ms: None, p99_ms: None },
            memory: Memory {
                resident_bytes: process.resident_bytes,
                budget_bytes: config.memory_bytes_max,
                shares: state.memory(0).map(Share::of).into(),
            },
            cpu_seconds_total: process.cpu_seconds,
            open_files: process.open_files,
            open_files_max: process.open_files_max,
            threads: process.threads,
            workers: shared.fanout.members().into_iter().enumerate().map(worker).collect(),
            limits: limits(state, &process),
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

impl Share {
    fn of(share: ShareUse) -> Self {
        let ShareUse { share, used_bytes, max_bytes } = share;
        Self { share, used_bytes, max_bytes }
    }
}

/// All limits, and how near those are of which it is known.
fn limits(state: &State, process: &Process) -> Vec<LimitStats> {
    let mut uses = state.limits();
    let (used, max) = (process.open_files, process.open_files_max);
    uses.push(LimitUse { limit: Reached::OpenFiles.as_str(), used, max });
    let told = |limit, reached_total| {
        let used = uses.iter().find(|found| found.limit == limit);
        let max = used.map(|found| found.max).filter(|max| *max > 0);
        LimitStats { limit, used: used.map(|found| found.used), max, reached_total }
    };
    let hub = Limit::ALL.map(|limit| told(limit.as_str(), state.hub.limit_total(limit)));
    let full = state.full_total.load(Relaxed);
    let server = Reached::ALL.map(|limit| match limit {
        Reached::Connections => told(limit.as_str(), full),
        limit => told(limit.as_str(), state.metrics.reached_total(limit)),
    });
    hub.into_iter().chain(server).collect()
}
