//! What the server needs to know to start: addresses, safe defaults and bounds, already parsed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use fanfare_core::{Pattern, Retention};
use ipnet::IpNet;

use crate::upstream::Upstream;

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
    /// Bytes that the process may use; the defaults of its shares are made from it.
    pub memory_bytes_max: usize,
    /// Connections held at once, the operators' ones not counted.
    pub connections_max: usize,
    /// Connections of one address, which is a /64 of IPv6; 0 is no limit.
    pub connections_per_address_max: usize,
    /// Subscriptions that name one channel; 0 is no limit.
    pub subscribers_per_channel_max: usize,
    /// Milliseconds after which a subscriber is told to reconnect, give or take a fifth; 0 is no
    /// limit.
    pub connection_age_ms_max: u64,
    /// Subscribes a second; 0 is no limit.
    pub connect_rate_max: u32,
    /// Subscribes a second of one address; 0 is no limit.
    pub connect_rate_per_address_max: u32,
    /// Events published a second; 0 is no limit.
    pub publish_rate_max: u32,
    /// Events published a second by one address; 0 is no limit.
    pub publish_rate_per_address_max: u32,
    /// Networks of proxies whose word on a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
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
    /// Services whose streams the hub fetches.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Fetches that are open at once.
    pub upstream_fetches_max: usize,
    /// Bytes of a request's body that is handed on to an upstream.
    pub upstream_body_bytes_max: usize,
    /// Milliseconds between heartbeats, 1,000 to 60,000.
    pub heartbeat_interval_ms: u32,
    /// Milliseconds that a socket may take no byte before its connection is closed.
    pub write_stall_ms_max: u32,
    /// Bytes that the kernel may hold unsent for one subscriber.
    pub socket_unsent_bytes_max: u32,
    /// Milliseconds that a drain leaves to load balancers before it begins to send anyone away.
    pub drain_delay_ms: u32,
    /// Milliseconds over which a drain spreads the departures of subscribers.
    pub drain_period_ms: u32,
    /// What the process tells of itself while it runs.
    pub telemetry: Telemetry,
}

impl Default for Config {
    /// Addresses on loopback with a port of the system's choice, and nothing of anything else: a
    /// configuration that the settings are yet to be laid over.
    fn default() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: nowhere,
            admin_listen: nowhere,
            allowed_hosts: Vec::new(),
            insecure_open: false,
            insecure_open_admin: false,
            cors_origins: Vec::new(),
            workers: 0,
            memory_bytes_max: 0,
            connections_max: 0,
            connections_per_address_max: 0,
            subscribers_per_channel_max: 0,
            connection_age_ms_max: 0,
            connect_rate_max: 0,
            connect_rate_per_address_max: 0,
            publish_rate_max: 0,
            publish_rate_per_address_max: 0,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            listen_backlog: 0,
            channels_max: 0,
            tombstones_max: 0,
            journal_events_max: 0,
            rings_bytes_max: 0,
            idempotency_keys_max: 0,
            event_data_bytes_max: 0,
            retention: Retention::default(),
            channels: Vec::new(),
            upstreams: Vec::new(),
            upstream_fetches_max: 0,
            upstream_body_bytes_max: 0,
            heartbeat_interval_ms: 0,
            write_stall_ms_max: 0,
            socket_unsent_bytes_max: 0,
            drain_delay_ms: 0,
            drain_period_ms: 0,
            telemetry: Telemetry::default(),
        }
    }
}

/// What the process tells of itself while it runs: logs and traces.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Telemetry {
    /// What is logged, as directives such as `info,fanfare_server=debug`.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// Where traces of publishes go: the base URL of a collector that takes OTLP over HTTP.
    pub otlp_endpoint: Option<String>,
    /// Percent of the publishes that are traced when whoever sends them has not decided.
    pub otlp_percent: u32,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Human, Self::Json];

    /// The format as settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}
