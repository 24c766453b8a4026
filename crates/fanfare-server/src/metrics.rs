//! What the hub counts, and how Prometheus reads it.
//!
//! Policy: no channel's name is ever a label, and every label value is there from the start, at 0,
//! so that an alert can tell "never" from "not known". Workers count in integers of their own and
//! requests in atomic ones; they are brought to the exporter of the `metrics` crate when it is
//! scraped, and nothing is done before. Its recorder is the hub's own and not the process's, so
//! several hubs fit into one process.

mod counts;
mod families;
mod figures;
mod text;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use fanfare_core::{Placed, Replay};

pub(crate) use self::{
    counts::PUBLISH_BOUNDS_NS,
    figures::{Figures, LimitFigures},
};
use self::{
    counts::{Counts, Times, Took},
    text::Exporter,
};
use crate::{
    problem::{self, Problem},
    socket::Protocol,
    state::Shared,
    upstream::Ended,
};

/// The text that Prometheus scrapes.
pub(crate) fn scrape(shared: &Shared) -> String {
    families::render(&Figures::of(shared), &shared.state.metrics.exporter)
}

/// A bound of the server that was reached. Those of the hub are its own [`Limit`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reached {
    /// As many addresses of clients were remembered as may be.
    Addresses,
    /// Operators held as many connections as they may; the next one waits.
    AdminConnections,
    /// Operators held as many streams as they may; the next one was told to come back.
    AdminStreams,
    /// A body paused too long.
    BodyIdle,
    /// A subscription named too many channels.
    ChannelsPerSubscription,
    /// A subscribe came too soon after others.
    ConnectRate,
    /// A subscribe came too soon after others of its address.
    ConnectRatePerAddress,
    /// A connection was refused, or answered with `fanfare.reconnect` at once.
    Connections,
    /// An address held as many connections as it may.
    ConnectionsPerAddress,
    /// An event had too much data.
    EventDataBytes,
    /// A request's head took too long.
    HeadRead,
    /// A line of a body of many events was too long.
    LineBytes,
    /// No file was left for a connection.
    OpenFiles,
    /// A connection of a trusted proxy did not begin with a header of the PROXY protocol.
    ProxyHeader,
    /// Events were published too fast.
    PublishRate,
    /// Events were published too fast by one address.
    PublishRatePerAddress,
    /// A query had too many parameters.
    QueryParameters,
    /// As many connections were being told that the hub is full as may be.
    RefusedConnections,
    /// Requests held as many bytes as they may together.
    RequestsBytes,
    /// Connections and streams held as many bytes as they may together.
    SocketsBytes,
    /// A streaming publish marked as many channels as being published to as it may.
    StreamChannels,
    /// A channel had as many subscribers as it may.
    SubscribersPerChannel,
    /// A body for an upstream was too long.
    UpstreamBodyBytes,
    /// As many upstreams were being fetched as may be.
    UpstreamFetches,
    /// As many names of upstreams were being looked up as may be.
    UpstreamLookups,
    /// A peer took no byte of its answer for too long.
    WriteStall,
}

impl Reached {
    pub(crate) const ALL: [Self; 26] = [
        Self::Addresses,
        Self::AdminConnections,
        Self::AdminStreams,
        Self::BodyIdle,
        Self::ChannelsPerSubscription,
        Self::ConnectRate,
        Self::ConnectRatePerAddress,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::EventDataBytes,
        Self::HeadRead,
        Self::LineBytes,
        Self::OpenFiles,
        Self::ProxyHeader,
        Self::PublishRate,
        Self::PublishRatePerAddress,
        Self::QueryParameters,
        Self::RefusedConnections,
        Self::RequestsBytes,
        Self::SocketsBytes,
        Self::StreamChannels,
        Self::SubscribersPerChannel,
        Self::UpstreamBodyBytes,
        Self::UpstreamFetches,
        Self::UpstreamLookups,
        Self::WriteStall,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::AdminConnections => "admin_connections",
            Self::AdminStreams => "admin_streams",
            Self::BodyIdle => "body_idle",
            Self::ChannelsPerSubscription => "channels_per_subscription",
            Self::ConnectRate => "connect_rate",
            Self::ConnectRatePerAddress => "connect_rate_per_address",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::EventDataBytes => "event_data_bytes",
            Self::HeadRead => "head_read",
            Self::LineBytes => "line_bytes",
            Self::OpenFiles => "open_files",
            Self::ProxyHeader => "proxy_header",
            Self::PublishRate => "publish_rate",
            Self::PublishRatePerAddress => "publish_rate_per_address",
            Self::QueryParameters => "query_parameters",
            Self::RefusedConnections => "refused_connections",
            Self::RequestsBytes => "requests_bytes",
            Self::SocketsBytes => "sockets_bytes",
            Self::StreamChannels => "stream_channels",
            Self::SubscribersPerChannel => "subscribers_per_channel",
            Self::UpstreamBodyBytes => "upstream_body_bytes",
            Self::UpstreamFetches => "upstream_fetches",
            Self::UpstreamLookups => "upstream_lookups",
            Self::WriteStall => "write_stall",
        }
    }
}

/// How a request to subscribe was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SubscribeAnswer {
    /// The hub drains: come back.
    Drain,
    /// All its channels are closed, and it has seen everything.
    Finished,
    /// Events are lost, and it wants no control events.
    Gap,
    /// A channel that must exist does not.
    Missing,
    /// A limit was met: come back.
    Overload,
    /// A parameter was wrong.
    Refused,
    /// With a stream.
    Stream,
}

impl SubscribeAnswer {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Drain,
        Self::Finished,
        Self::Gap,
        Self::Missing,
        Self::Overload,
        Self::Refused,
        Self::Stream,
    ];

    /// The result as the metrics spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Finished => "finished",
            Self::Gap => "gap",
            Self::Missing => "missing",
            Self::Overload => "overload",
            Self::Refused => "refused",
            Self::Stream => "stream",
        }
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Published {
    /// It got a place.
    Accepted,
    /// It had one already.
    Duplicate,
    /// It gets none.
    Refused,
    /// The broker does not answer.
    Unavailable,
}

impl Published {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Accepted, Self::Duplicate, Self::Refused, Self::Unavailable];

    /// What the answer to it says.
    pub(crate) fn of(answer: &Result<Placed, Problem>) -> Self {
        match answer {
            Ok(placed) if placed.duplicate => Self::Duplicate,
            Ok(_) => Self::Accepted,
            Err(problem) if problem.kind() == problem::Kind::Unavailable => Self::Unavailable,
            Err(_) => Self::Refused,
        }
    }

    /// The result as the metrics spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What requests and connections count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Writes the text.
    exporter: Exporter,
    /// By [`Reached`].
    reached: Counts<{ Reached::ALL.len() }>,
    /// By [`Replay`].
    replays: Counts<{ Replay::ALL.len() }>,
    /// By [`SubscribeAnswer`].
    subscribes: Counts<{ SubscribeAnswer::ALL.len() }>,
    /// By the kind of problem.
    problems: Counts<{ problem::Kind::ALL.len() }>,
    /// Fetches of upstreams by how they ended: [`Ended`].
    fetches: Counts<{ Ended::COUNT }>,
    /// By [`Protocol`].
    opened: Counts<{ Protocol::ALL.len() }>,
    /// Connections over HTTP/2 that are open.
    http2: AtomicU64,
    /// By [`Published`].
    publishes: [Times; Published::ALL.len()],
}

/// Counts a connection while it lives.
pub(crate) struct Open<'a>(&'a AtomicU64);

impl Metrics {
    /// Counts that a bound of the server was reached.
    pub(crate) fn reached(&self, limit: Reached) {
        self.reached.add(limit as usize);
    }

    /// How often a bound of the server was reached.
    pub(crate) fn reached_total(&self, limit: Reached) -> u64 {
        self.reached.total(limit as usize)
    }

    /// Counts a fetch of an upstream that has ended.
    pub(crate) fn fetched(&self, ended: &Ended) {
        self.fetches.add(ended.index());
    }

    /// How many have ended, in the order of their names.
    pub(crate) fn fetched_totals(&self) -> [u64; Ended::COUNT] {
        self.fetches.totals()
    }

    /// Counts how a subscription began.
    pub(crate) fn replayed(&self, replay: Replay) {
        self.replays.add(replay as usize);
    }

    /// Counts how a request to subscribe was answered.
    pub(crate) fn subscribe_answered(&self, answer: SubscribeAnswer) {
        self.subscribes.add(answer as usize);
    }

    /// Counts an answer that is an error.
    pub(crate) fn problem(&self, kind: problem::Kind) {
        self.problems.add(kind as usize);
    }

    /// Counts a connection that was let in and said what it speaks.
    pub(crate) fn opened(&self, protocol: Protocol) -> Option<Open<'_>> {
        self.opened.add(protocol as usize);
        (protocol == Protocol::Http2).then(|| {
            self.http2.fetch_add(1, Relaxed);
            Open(&self.http2)
        })
    }

    /// How long publishes with a result took.
    pub(crate) fn publish_times(&self, result: Published) -> Took {
        self.publishes[result as usize].load()
    }

    /// Notes how long an event waited for its place.
    pub(crate) fn publish_took(&self, result: Published, time: Duration) {
        self.publishes[result as usize].add(time);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
