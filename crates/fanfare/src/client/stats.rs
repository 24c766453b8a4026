//! What `GET /api/stats` tells. Hubs of other versions may tell less: what is missing is nothing.

use serde::Deserialize;

use super::amount;

/// The figures of a hub.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// The version of the hub.
    pub(crate) version: String,
    /// Another one means that it began anew.
    pub(crate) epoch: String,
    /// Milliseconds since its start.
    pub(crate) uptime_ms: u64,
    /// `running`, `draining` or `drained`.
    pub(crate) state: String,
    /// How far its drain is.
    pub(crate) drain: Drain,
    /// Subscriptions that are open.
    pub(crate) subscribers: ByProtocol,
    /// Connections that are open.
    pub(crate) connections: ByProtocol,
    /// Channels that it holds.
    pub(crate) channels: ChannelCounts,
    /// Events accepted.
    pub(crate) events_published_total: u64,
    /// Events written to subscribers.
    pub(crate) events_delivered_total: u64,
    /// Bytes of data accepted.
    pub(crate) bytes_published_total: u64,
    /// Bytes written to subscribers.
    pub(crate) bytes_sent_total: u64,
    /// From publish to socket.
    pub(crate) delivery: Percentiles,
    /// What publishers wait.
    pub(crate) publish: Percentiles,
    /// Its memory.
    pub(crate) memory: Memory,
    /// Time of all its threads on a core.
    pub(crate) cpu_seconds_total: f64,
    /// Files that it has open.
    pub(crate) open_files: u64,
    /// And how many it may.
    pub(crate) open_files_max: u64,
    /// Its fan-out threads.
    pub(crate) workers: Vec<Worker>,
    /// All bounds.
    pub(crate) limits: Vec<Limit>,
}

/// Counts by protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ByProtocol {
    /// Over HTTP/1.
    pub(crate) http1: u64,
    /// Over HTTP/2.
    pub(crate) http2: u64,
    /// Of subscribers, how many take no bytes right now.
    pub(crate) blocked: u64,
}

/// Counts of channels.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChannelCounts {
    /// That take events.
    pub(crate) live: u64,
    /// That only replay.
    pub(crate) closed: u64,
}

/// Latencies of the last seconds; none without samples.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Percentiles {
    /// Half were faster.
    pub(crate) p50_ms: Option<f64>,
    /// Nine of ten were.
    pub(crate) p90_ms: Option<f64>,
    /// 99 of a hundred were.
    pub(crate) p99_ms: Option<f64>,
}

/// The memory of a hub.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// Bytes of the process.
    pub(crate) resident_bytes: u64,
    /// What it may use.
    pub(crate) budget_bytes: u64,
    /// What for.
    pub(crate) shares: Vec<Share>,
}

/// A share of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Share {
    /// What it is for.
    pub(crate) share: String,
    /// Bytes that are used.
    pub(crate) used_bytes: u64,
    /// And may be.
    pub(crate) max_bytes: u64,
}

/// A fan-out thread.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    /// Its number.
    pub(crate) worker: u64,
    /// Its subscribers.
    pub(crate) subscribers: u64,
    /// How much of its time it works.
    pub(crate) busy_percent: f64,
}

/// A bound.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limit {
    /// Its name.
    pub(crate) limit: String,
    /// How much is used, where that is counted.
    pub(crate) used: Option<u64>,
    /// And how much there is.
    pub(crate) max: Option<u64>,
    /// How often it was met.
    pub(crate) reached_total: u64,
}

/// How far a drain is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Drain {
    /// What it is at.
    pub(crate) phase: Phase,
    /// Milliseconds to the end of the whole, as the hub plans it.
    pub(crate) left_ms: u64,
    /// Subscribers that were sent away.
    pub(crate) departed: u64,
    /// Those that were not yet.
    pub(crate) subscribers_left: u64,
}

/// What a drain is at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// There is none.
    #[default]
    None,
    /// Load balancers are given time.
    Delay,
    /// Publishes in flight finish.
    Publishes,
    /// Subscribers are sent away.
    Subscribers,
    /// All are gone.
    Done,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

impl Stats {
    /// All subscriptions.
    pub(crate) fn subscribers(&self) -> u64 {
        self.subscribers.http1.saturating_add(self.subscribers.http2)
    }
}

impl Limit {
    /// How much of it is used, in percent.
    pub(crate) fn percent(&self) -> Option<u64> {
        self.used.zip(self.max).map(|(used, max)| amount::percent(used, max))
    }
}
