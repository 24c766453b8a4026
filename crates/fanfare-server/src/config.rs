//! What the server needs to know to start: addresses, safe defaults and bounds, already parsed.

use std::net::SocketAddr;

use fanfare_core::{Pattern, Retention};

/// The settings of one hub process. Every value is already valid on its own; what must hold
/// between them is checked by [`Server::bind`](crate::Server::bind).
#[derive(Clone, Debug)]
pub struct Config {
    /// The public listener.
    pub listen: SocketAddr,
    /// The operators' listener.
    pub admin_listen: SocketAddr,
    /// Host names (without port) that requests may name beside the loopback ones; `*` allows all.
    pub allowed_hosts: Vec<String>,
    /// Accepts publishes from anyone although `listen` is not on loopback.
    pub insecure_open: bool,
    /// The same for `admin_listen`.
    pub insecure_open_admin: bool,
    /// Origins (`https://app.example`) whose pages may subscribe and publish; `*` allows all.
    pub cors_origins: Vec<String>,
    /// Number of fan-out worker threads, 1 to 63.
    pub workers: usize,
    /// Connections held at once, the operators' ones not counted.
    pub connections_max: usize,
    /// How many connections the kernel queues before they are accepted.
    pub listen_backlog: u32,
    /// Channels held at once.
    pub channels_max: usize,
    /// Removed channels that are remembered, so that a gap is exact.
    pub tombstones_max: usize,
    /// Events that the journal holds, so the most that all rings hold together.
    pub journal_events_max: usize,
    /// Bytes that all rings hold together, overhead included.
    pub rings_bytes_max: usize,
    /// Idempotency keys remembered at once.
    pub idempotency_keys_max: usize,
    /// Bytes of one event's data.
    pub event_data_bytes_max: usize,
    /// What a channel keeps unless a pattern of `channels` says otherwise.
    pub retention: Retention,
    /// What the channels that match a pattern keep; the first match counts.
    pub channels: Vec<(Pattern, Retention)>,
    /// Milliseconds between heartbeats, 1,000 to 60,000.
    pub heartbeat_interval_ms: u32,
    /// Milliseconds that a socket may take no byte before its connection is closed.
    pub write_stall_ms_max: u32,
    /// Bytes that the kernel may hold unsent for one subscriber.
    pub socket_unsent_bytes_max: u32,
    /// Milliseconds over which a drain spreads the departures of subscribers.
    pub drain_period_ms: u32,
}
