//! What the hub counts, as Prometheus reads it.
//!
//! Policy: no channel's name is ever a label. The hot path adds to integers of its own;
//! [`export`] carries those totals over once a second and before a scrape. Every label
//! value is there from the start, at 0, so that an alert can tell "never" from "not known". The
//! recorder is the hub's own and not the process's, so several hubs fit into one process.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use fanfare_core::{GapReason, Limit, Replay};
use fanfare_fanout::{Disconnect, Totals};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::state::{Shared, State};

/// Carries over what the hub and its workers have counted.
pub(crate) fn export(shared: &Shared) {
    let totals = shared.fanout.totals().plus(&shared.h2.totals());
    shared.state.metrics.export(&shared.state, &totals);
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
    /// A peer took no byte of its answer for too long.
    WriteStall,
}

impl Reached {
    pub(crate) const ALL: [Self; 23] = [
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
            Self::WriteStall => "write_stall",
        }
    }
}

/// The hub's metrics.
pub(crate) struct Metrics {
    /// Renders them.
    handle: PrometheusHandle,
    subscribers: Gauge,
    connections: Gauge,
    channels: Gauge,
    events_published: Counter,
    events_delivered: Counter,
    bytes_sent: Counter,
    /// By [`Replay`].
    replays: [Counter; Replay::ALL.len()],
    /// By [`GapReason`].
    gaps: [Counter; GapReason::ALL.len()],
    /// By [`Disconnect`].
    disconnects: [Counter; Disconnect::ALL.len()],
    /// By [`Limit`], then by [`Reached`].
    limits: [Counter; Limit::ALL.len()],
    reached: [Counter; Reached::ALL.len()],
    reached_total: [AtomicU64; Reached::ALL.len()],
    publish_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let name = Matcher::Full(PUBLISH_SECONDS.to_owned());
        let recorder = builder
            .set_buckets_for_metric(name, &PUBLISH_SECONDS_BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&recorder, || {
            describe();
            let limit = |limit: &'static str| counter!(LIMIT_REACHED, "limit" => limit);
            Self {
                handle,
                subscribers: gauge!(SUBSCRIBERS),
                connections: gauge!(CONNECTIONS),
                channels: gauge!(CHANNELS),
                events_published: counter!(EVENTS_PUBLISHED),
                events_delivered: counter!(EVENTS_DELIVERED),
                bytes_sent: counter!(BYTES_SENT),
                replays: Replay::ALL.map(|r| counter!(REPLAYS, "result" => r.as_str())),
                gaps: GapReason::ALL.map(|r| counter!(GAPS, "reason" => r.as_str())),
                disconnects: Disconnect::ALL.map(|r| counter!(DISCONNECTS, "reason" => r.as_str())),
                limits: Limit::ALL.map(|l| limit(l.as_str())),
                reached: Reached::ALL.map(|l| limit(l.as_str())),
                reached_total: Default::default(),
                publish_seconds: histogram!(PUBLISH_SECONDS),
            }
        })
    }

    /// Carries over what the hub and the fan-out have counted. Also takes in the samples of the
    /// histogram, which pile up until then.
    fn export(&self, state: &State, totals: &Totals) {
        let hub = &state.hub;
        self.subscribers.set(hub.subscribers() as f64);
        self.connections.set(state.connections_open() as f64);
        self.channels.set(hub.held().channels as f64);
        self.events_published.absolute(hub.published_total());
        self.events_delivered.absolute(totals.events_delivered);
        self.bytes_sent.absolute(totals.bytes_sent);
        for (counter, total) in self.replays.iter().zip(&state.replays) {
            counter.absolute(total.load(Relaxed));
        }
        for (counter, reason) in self.gaps.iter().zip(GapReason::ALL) {
            counter.absolute(hub.gaps_total(reason));
        }
        for (counter, total) in self.disconnects.iter().zip(totals.disconnects) {
            counter.absolute(total);
        }
        for (counter, limit) in self.limits.iter().zip(Limit::ALL) {
            counter.absolute(hub.limit_total(limit));
        }
        for (counter, total) in self.reached.iter().zip(&self.reached_total) {
            counter.absolute(total.load(Relaxed));
        }
        self.reached[Reached::Connections as usize].absolute(state.full_total.load(Relaxed));
        self.handle.run_upkeep();
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Counts that a bound of the server was reached. Full hubs are counted by the state.
    pub(crate) fn reached(&self, limit: Reached) {
        self.reached_total[limit as usize].fetch_add(1, Relaxed);
    }

    /// How often a bound of the server was reached.
    pub(crate) fn reached_total(&self, limit: Reached) -> u64 {
        self.reached_total[limit as usize].load(Relaxed)
    }

    /// Notes how long an event waited for its place.
    pub(crate) fn publish_took(&self, time: Duration) {
        self.publish_seconds.record(time.as_secs_f64());
    }
}

fn describe() {
    describe_gauge!(SUBSCRIBERS, "Subscriptions that are open, over all protocols.");
    describe_gauge!(CONNECTIONS, "Connections of the public listener that are open.");
    describe_gauge!(CHANNELS, "Channels that exist.");
    describe_counter!(EVENTS_PUBLISHED, "Events that were accepted and got an id.");
    describe_counter!(EVENTS_DELIVERED, "Events written to subscribers, replays included.");
    describe_counter!(
        BYTES_SENT,
        "Bytes written to subscribers, heads, control events and heartbeats included."
    );
    describe_counter!(
        REPLAYS,
        "Subscriptions that began: exact and gap resumed from a last event id, live had none."
    );
    describe_counter!(GAPS, "Gaps that subscribers were told of, by why events were lost to them.");
    describe_counter!(DISCONNECTS, "Subscriptions that ended, by why.");
    describe_counter!(
        LIMIT_REACHED,
        "How often a limit was reached: something was refused, or the oldest let go."
    );
    describe_histogram!(
        PUBLISH_SECONDS,
        "Seconds from having an event whole to its having a place; one event of each chunk of a \
         body of many counts."
    );
}

const SUBSCRIBERS: &str = "fanfare_subscribers";
const CONNECTIONS: &str = "fanfare_connections";
const CHANNELS: &str = "fanfare_channels";
const EVENTS_PUBLISHED: &str = "fanfare_events_published_total";
const EVENTS_DELIVERED: &str = "fanfare_events_delivered_total";
const BYTES_SENT: &str = "fanfare_bytes_sent_total";
const REPLAYS: &str = "fanfare_replays_total";
const GAPS: &str = "fanfare_gaps_total";
const DISCONNECTS: &str = "fanfare_disconnects_total";
const LIMIT_REACHED: &str = "fanfare_limit_reached_total";
const PUBLISH_SECONDS: &str = "fanfare_publish_seconds";
/// From what memory takes to what no publisher waits for, about three to a decade.
const PUBLISH_SECONDS_BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn everything_is_exported_from_the_start() {
        let state = testing::state();
        let totals = Totals::default();
        state.metrics.export(&state, &totals);
        let text = state.metrics.render();
        for line in [
            "fanfare_subscribers 0",
            "fanfare_connections 0",
            "fanfare_events_published_total 0",
            "fanfare_replays_total{result=\"exact\"} 0",
            "fanfare_gaps_total{reason=\"lagged\"} 0",
            "fanfare_disconnects_total{reason=\"stalled\"} 0",
            "fanfare_limit_reached_total{limit=\"channels\"} 0",
            "fanfare_limit_reached_total{limit=\"head_read\"} 0",
            "fanfare_limit_reached_total{limit=\"write_stall\"} 0",
            "fanfare_publish_seconds_count 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        testing::publish(&state, "news", "x").await;
        state.count_replay(Replay::Gap);
        state.count_full();
        let _places: Vec<_> = (0..3).map(|_| state.connections.try_take(3).unwrap()).collect();
        state.metrics.reached(Reached::LineBytes);
        state.metrics.export(&state, &Totals { bytes_sent: 7, ..totals });
        let text = state.metrics.render();
        for line in [
            "fanfare_events_published_total 1",
            "fanfare_connections 3",
            "fanfare_bytes_sent_total 7",
            "fanfare_replays_total{result=\"gap\"} 1",
            "fanfare_limit_reached_total{limit=\"line_bytes\"} 1",
            "fanfare_limit_reached_total{limit=\"connections\"} 1",
            "fanfare_publish_seconds_count 1",
            "fanfare_publish_seconds_bucket{le=\"10\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn two_hubs_fit_into_one_process() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.reached(Reached::HeadRead);
        let total = |metrics: &Metrics| metrics.reached_total(Reached::HeadRead);
        assert_eq!((total(&one), total(&two)), (1, 0));
    }
}
