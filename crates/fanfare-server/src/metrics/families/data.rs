//! The metrics of the data plane: subscribers, events, channels, workers.

use fanfare_core::{CloseReason, GapReason, Overdue, Removal, Replay, WishedBy};
use fanfare_fanout::{
    BACKLOG_BOUNDS, DELIVERY_BOUNDS_US, Disconnect, EVENTS_PER_WRITE_BOUNDS, Histogram,
    TURN_BOUNDS_NS,
};

use super::{
    Family,
    Kind::{self, Counter, Gauge},
};
use crate::{
    metrics::{
        Published, SubscribeAnswer,
        counts::PUBLISH_BOUNDS_NS,
        text::{Buckets, Text},
    },
    socket::Protocol,
    upstream::Ended,
};

/// How channels are closed that are not deleted.
const CLOSED: [CloseReason; 3] = [CloseReason::Cancelled, CloseReason::Done, CloseReason::Error];

pub(super) const FAMILIES: &[Family] = &[
    Family::new(
        Gauge,
        "fanfare_subscribers",
        &["protocol"],
        (
            "Subscriptions that are open.",
            "`--connections-max`, `--memory-max`; operators who follow a channel count as http2",
        ),
        |f, text| text.each(Protocol::ALL.map(Protocol::as_str).into_iter().zip(f.subscribers)),
    ),
    Family::new(
        Counter,
        "fanfare_subscribes_total",
        &["result"],
        (
            "Requests to subscribe, by how they were answered.",
            "`overload` and `drain` are told to come back, `finished` got 204, `gap` 410, \
             `missing` 404, `refused` another error",
        ),
        |f, text| {
            text.each(
                SubscribeAnswer::ALL.map(SubscribeAnswer::as_str).into_iter().zip(f.subscribes),
            )
        },
    ),
    Family::new(
        Counter,
        "fanfare_disconnects_total",
        &["reason"],
        (
            "Subscriptions that ended, by why.",
            "`stalled` at `--write-stall-max`, `lagged` by the slow policy, `memory` at the share \
             `pinned`",
        ),
        |f, text| {
            text.each(
                Disconnect::ALL.map(Disconnect::as_str).into_iter().zip(f.totals.disconnects),
            );
        },
    ),
    Family::new(
        Counter,
        "fanfare_replays_total",
        &["result"],
        (
            "Subscriptions that began: exact and gap resumed from a last event id, live had none.",
            "`gap` rises when rings are shorter than absences, or after a restart",
        ),
        |f, text| text.each(Replay::ALL.map(Replay::as_str).into_iter().zip(f.replays)),
    ),
    Family::new(
        Counter,
        "fanfare_events_replayed_total",
        &[],
        ("Events delivered that were older than their subscription.", ""),
        |f, text| text.one(f.totals.events_replayed),
    ),
    Family::new(
        Counter,
        "fanfare_gaps_total",
        &["reason"],
        (
            "Gaps that subscribers were told of, by why events were lost to them.",
            "`lagged` was too slow, `evicted` came back too late, `epoch` came from another life \
             of the hub",
        ),
        |f, text| text.each(GapReason::ALL.map(GapReason::as_str).into_iter().zip(f.gaps)),
    ),
    Family::new(
        Counter,
        "fanfare_events_published_total",
        &[],
        ("Events that were accepted and got an id.", "`--publish-rate-max`"),
        |f, text| text.one(f.events_published),
    ),
    Family::new(
        Counter,
        "fanfare_bytes_published_total",
        &[],
        ("Bytes of the same as subscribers over HTTP/1.1 get them, framing included.", ""),
        |f, text| text.one(f.bytes_published),
    ),
    Family::new(
        Counter,
        "fanfare_events_delivered_total",
        &[],
        ("Events written to subscribers, replays included.", ""),
        |f, text| text.one(f.totals.events_delivered),
    ),
    Family::new(
        Counter,
        "fanfare_bytes_sent_total",
        &[],
        (
            "Bytes written to subscribers, heads, control events and heartbeats included.",
            "the network",
        ),
        |f, text| text.one(f.totals.bytes_sent),
    ),
    Family::new(
        Counter,
        "fanfare_writes_total",
        &[],
        ("Writes to subscribers that carried events.", ""),
        |f, text| text.one(f.totals.events_per_write.count()),
    ),
    Family::new(
        Kind::Histogram,
        "fanfare_events_per_write",
        &[],
        (
            "Events that one write to a subscriber carried.",
            "rises under load: many events cost one write",
        ),
        |f, text| {
            histogram(text, &EVENTS_PER_WRITE_BOUNDS, 1.0, &f.totals.events_per_write);
        },
    ),
    Family::new(
        Kind::Histogram,
        "fanfare_delivery_seconds",
        &[],
        (
            "Seconds from publish to the write to a subscriber's socket, sampled, without replays.",
            "of few writes each is sampled, of many some; over HTTP/2 the write to its stream",
        ),
        |f, text| histogram(text, &DELIVERY_BOUNDS_US, 1e6, &f.totals.delivery),
    ),
    Family::new(
        Kind::Histogram,
        "fanfare_publish_seconds",
        &["result"],
        (
            "Seconds from having an event whole to its having a place, or being refused one.",
            "of a body of many events one of each chunk is measured",
        ),
        |f, text| {
            for (result, took) in Published::ALL.into_iter().zip(&f.publishes) {
                let sum = took.sum as f64 / 1e9;
                let (bounds, counts) = (&PUBLISH_BOUNDS_NS, &took.counts);
                let buckets = Buckets { bounds, per_unit: 1e9, counts, sum };
                text.histogram([&result.as_str()], &buckets);
            }
        },
    ),
    Family::new(
        Gauge,
        "fanfare_channels",
        &["state"],
        ("Channels that exist.", "`--channels-max`"),
        |f, text| text.each([("live", f.channels.live), ("closed", f.channels.closed)]),
    ),
    Family::new(
        Counter,
        "fanfare_channels_closed_total",
        &["reason"],
        ("Channels that were closed, by how.", "deleted ones are counted as removed"),
        |f, text| text.each(CLOSED.into_iter().map(|r| (r.as_str(), f.closed[r as usize]))),
    ),
    Family::new(
        Counter,
        "fanfare_channels_overdue_total",
        &["cause"],
        (
            "Channels that the hub closed itself, by why.",
            "`grace` after `--producer-grace`, `idle` after `--channel-idle-max`, `age` after \
             `--channel-age-max`",
        ),
        |f, text| text.each(Overdue::ALL.map(Overdue::as_str).into_iter().zip(f.overdue)),
    ),
    Family::new(
        Counter,
        "fanfare_cancels_total",
        &["cause"],
        (
            "Wishes to cancel a channel that were stored.",
            "`request` was asked for, `unwatched` comes after `--unwatched-max`",
        ),
        |f, text| text.each(WishedBy::ALL.map(WishedBy::as_str).into_iter().zip(f.wishes)),
    ),
    Family::new(
        Gauge,
        "fanfare_cancel_waiters",
        &[],
        (
            "Requests and streaming publishes that wait for a wish to cancel their channel.",
            "64 requests for each channel",
        ),
        |f, text| text.one(f.cancel_waiters),
    ),
    Family::new(
        Counter,
        "fanfare_channels_removed_total",
        &["reason"],
        (
            "Channels that were removed, by why.",
            "`idle` after `--ring-age`, `closed` after `--closed-retention`, `unused` never had \
             an event",
        ),
        |f, text| text.each(Removal::ALL.map(Removal::as_str).into_iter().zip(f.removed)),
    ),
    Family::new(
        Gauge,
        "fanfare_journal_events",
        &[],
        ("Events and ends that the journal holds.", "`--journal-events-max`"),
        |f, text| text.one(f.held.journal_events),
    ),
    Family::new(
        Gauge,
        "fanfare_tombstones",
        &[],
        ("Removed channels that are remembered.", "`--tombstones-max`"),
        |f, text| text.one(f.held.tombstones),
    ),
    Family::new(
        Gauge,
        "fanfare_idempotency_keys",
        &[],
        ("Idempotency keys that are remembered.", "`--idempotency-keys-max`"),
        |f, text| text.one(f.held.idempotency_keys),
    ),
    Family::new(
        Gauge,
        "fanfare_subscribers_blocked",
        &[],
        ("Subscribers whose sockets take no more bytes.", "`--write-stall-max` each"),
        |f, text| text.one(f.blocked),
    ),
    Family::new(
        Gauge,
        "fanfare_blocked_bytes",
        &[],
        (
            "Bytes of events that subscribers have begun and so keep in memory; over HTTP/2 all on \
             their way.",
            "`fanfare_memory_max_bytes{share=\"pinned\"}`",
        ),
        |f, text| text.one(f.blocked_bytes),
    ),
    Family::new(
        Kind::Histogram,
        "fanfare_backlog_events",
        &[],
        (
            "Events that a blocked subscriber was behind when its socket took bytes again.",
            "near the events of a ring, gaps are near",
        ),
        |f, text| histogram(text, &BACKLOG_BOUNDS, 1.0, &f.totals.backlog),
    ),
    Family::new(
        Gauge,
        "fanfare_upstream_fetches",
        &[],
        ("Streams of upstreams that are being fetched.", "`--upstream-fetches-max`"),
        |f, text| text.one(f.fetches_open),
    ),
    Family::new(
        Counter,
        "fanfare_upstream_fetches_total",
        &["result"],
        (
            "Fetches of upstreams that have ended, by how.",
            "`done` at the end of the stream, `cancelled` on a wish, `closed` when somebody else \
             closed or deleted the channel; of the others the channel tells with its final event",
        ),
        |f, text| text.each(Ended::NAMES.into_iter().zip(f.fetches)),
    ),
    Family::new(
        Gauge,
        "fanfare_worker_subscribers",
        &["worker"],
        ("Subscribers over HTTP/1 of each worker.", "an even share of all"),
        |f, text| text.each(f.workers.iter().map(|load| load.subscribers).enumerate()),
    ),
    Family::new(
        Counter,
        "fanfare_worker_busy_seconds_total",
        &["worker"],
        (
            "Seconds that each worker had work.",
            "a second each second: then it is as fast as it can be",
        ),
        |f, text| text.each(f.workers.iter().map(|load| load.busy_ns as f64 / 1e9).enumerate()),
    ),
    Family::new(
        Kind::Histogram,
        "fanfare_worker_turn_seconds",
        &[],
        (
            "Seconds of each turn of a worker, over all workers.",
            "for so long a worker looks at nothing else",
        ),
        |f, text| histogram(text, &TURN_BOUNDS_NS, 1e9, &f.totals.turns),
    ),
    Family::new(
        Gauge,
        "fanfare_worker_queue",
        &["worker", "queue"],
        (
            "What waits for each worker: groups for a turn, members to be served alone, sockets \
             to be taken over.",
            "the subscribers of the worker",
        ),
        |f, text| {
            for (worker, load) in f.workers.iter().enumerate() {
                text.sample([&worker, &"groups"], load.queue_groups);
                text.sample([&worker, &"members"], load.queue_members);
                text.sample([&worker, &"attach"], load.queue_attach);
            }
        },
    ),
];

fn histogram<const CELLS: usize>(
    text: &mut Text<'_>,
    bounds: &[u64],
    per_unit: f64,
    histogram: &Histogram<CELLS>,
) {
    let Histogram { counts, sum } = histogram;
    text.histogram([], &Buckets { bounds, per_unit, counts, sum: *sum as f64 / per_unit });
}
