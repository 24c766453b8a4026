//! Every bound of the HTTP side, with its reason. Those of channels and events are in
//! [`fanfare_core::limits`]; those that a hub may set differently are in [`Config`].
//!
//! [`Config`]: crate::Config

use fanfare_core::limits::{
    BATCH_BYTES_MAX, CHANNEL_NAME_BYTES_MAX, CHANNELS_PER_SUBSCRIPTION_MAX, EVENT_DATA_BYTES_MAX,
    EVENT_TYPE_BYTES_MAX, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
    LIST_CHANNELS_MAX, WORKERS_MAX,
};

/// Members of an object that may be a delta: twice what any service sends, so that a look at an
/// event costs little.
pub(crate) const DELTA_MEMBERS_MAX: usize = 32;
/// Milliseconds from the first byte of a request's head to its last: slowloris.
pub(crate) const HEAD_READ_MS_MAX: u64 = 5_000;
/// Milliseconds that a keep-alive connection may wait for its next request: longer than the 60 s
/// after which common HTTP clients and proxies let go of an idle connection themselves.
pub(crate) const KEEPALIVE_IDLE_MS_MAX: u64 = 75_000;
/// Milliseconds that a request's body may pause: slowloris again. A streaming publish that has
/// nothing to say sends an empty line or a comment.
pub(crate) const BODY_IDLE_MS_MAX: u64 = 30_000;
/// HTTP/2 streams of one connection: a proxy multiplexes all its subscribers over a few.
pub(crate) const H2_STREAMS_MAX: u32 = 1_024;
/// Bytes that one HTTP/2 stream may hold unsent: the memory of a stalled stream.
pub(crate) const H2_SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a peer may send on one HTTP/2 stream before they are read: what an upload that is not
/// read on holds. On a path of 100 ms an upload gets 640 kB a second.
pub(crate) const H2_STREAM_WINDOW_BYTES: usize = 64 * 1024;
/// The same for all streams of a connection: 16 uploads that are not read on leave the others as
/// they were.
pub(crate) const H2_CONNECTION_WINDOW_BYTES: usize = 1024 * 1024;
/// Bytes of a body that are read and thrown away after a refusal, so that a peer which sends all
/// before it reads gets to the answer: closing with unread input would reset the connection.
pub(crate) const BODY_DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Milliseconds of the same.
pub(crate) const BODY_DISCARD_MS_MAX: u64 = 2_000;
/// JSON spells one byte of a string with six at most, as in `\u001b`: so any event that is
/// allowed fits a line, however it is escaped.
const JSON_ESCAPE_FACTOR_MAX: usize = 6;
/// What a line has beside its data: channel, type and key, escaped, and punctuation.
const LINE_OVERHEAD_BYTES_MAX: usize = 8 * 1024;
/// What a line of an SSE body has beside data, and what a line without data may have.
const SSE_LINE_OVERHEAD_BYTES_MAX: usize = 1_024;
/// Bytes that all requests hold together beyond the chunks that they look at: bodies and lines
/// that are not whole yet, and histories that were not taken yet. A connection has many streams
/// and a hub many connections, so bounds of one of them are none of the sum. It is what 128
/// publishers in the middle of the longest line hold, or all that one of 16 MiB of data needs. A
/// small budget gives them less.
pub(crate) const REQUESTS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The least of it: two pages of history and what publishers send meanwhile.
pub(crate) const REQUESTS_BYTES_MIN: usize = 4 * 1024 * 1024;
/// The least that connections and streams may hold together: a few hundred of them.
pub(crate) const SOCKETS_BYTES_MIN: usize = 2 * 1024 * 1024;
/// Bytes of a connection that is in hyper. Of 3,000 each had 4.2 kB before its first byte, 13.4 kB
/// when it was kept after a publish, 21 kB in the middle of one; over HTTP/2 6.9 kB.
pub(crate) const CONNECTION_BYTES: usize = 16 * 1024;
/// Bytes of a subscriber that a worker has: twice what 15,000 idle ones have each.
pub(crate) const SUBSCRIBER_BYTES: usize = 1_024;
/// Bytes of a request over HTTP/2 until its answer is over: 6.1 kB for a subscriber's stream. One
/// with a body has as much of [`H2_STREAM_WINDOW_BYTES`] beside it as the body may fill.
pub(crate) const H2_STREAM_BYTES: usize = 6 * 1024;
/// The least that begun frames of blocked subscribers may hold together.
pub(crate) const PINNED_BYTES_MIN: usize = 1024 * 1024;
/// What one byte of data may become on the wire: a line of its own, `data: ` and its end.
pub(crate) const FRAME_FACTOR_MAX: usize = 8;
/// Bytes of one pair of the journal: 16, and as much room to grow.
pub(crate) const JOURNAL_PAIR_BYTES: usize = 32;
/// Bytes of a channel beside its events: ring, name, what each worker knows of it, the registry.
pub(crate) const CHANNEL_BYTES: usize = 512;
/// Bytes of a tombstone: a name, twice in a table.
pub(crate) const TOMBSTONE_BYTES: usize = 128;
/// Bytes of an idempotency key with its channel, twice in a table.
pub(crate) const KEY_BYTES: usize = 128;
/// Bytes of one event's data that a hub may be set to take at the most.
pub const EVENT_DATA_BYTES_SET_MAX: usize = 16 * 1024 * 1024;
/// Parameters of one query: each channel of a subscription, and as many others.
pub(crate) const QUERY_PARAMETERS_MAX: usize = 2 * CHANNELS_PER_SUBSCRIPTION_MAX;
/// Bytes of acks put together before they are sent: a chunk that costs one write.
pub(crate) const ACK_BYTES_MAX: usize = 16 * 1024;
/// Chunks of acks that wait for a publisher to read them; then its body is not read on.
pub(crate) const ACK_CHUNKS_MAX: usize = 2;
/// Channels that one streaming publish to `/events` marks as being published to, so that a drain
/// sends their subscribers away last. The subscribers of further ones are sent away in turn.
pub(crate) const STREAM_CHANNELS_MAX: usize = 1_024;
/// Seconds that a request may wait for a channel to be cancelled: what common proxies let an answer
/// take.
pub(crate) const CANCEL_WAIT_S_MAX: u64 = 60;
/// The same, if it does not say.
pub(crate) const CANCEL_WAIT_S: u64 = 30;
/// Connections of operators, their probes and scrapers, held at once.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Milliseconds that an operators' connection has from one request to the next one, its answer
/// included: whoever holds all of them silently keeps the probes out no longer.
pub(crate) const ADMIN_REQUEST_MS_MAX: u64 = 5_000;
/// Streams of operators, of figures and of channels, held at once: a few consoles, and never all
/// of their connections.
pub(crate) const ADMIN_STREAMS_MAX: usize = 64;
/// Milliseconds that a stream of operators may go without its peer taking anything: a heartbeat,
/// and half of one more.
pub(crate) const ADMIN_STREAM_MS_MAX: u64 = 90_000;
/// Bytes that their streams of figures hold unsent together: a batch of its own for each.
pub(crate) const FEED_PINNED_BYTES_MAX: usize = ADMIN_STREAMS_MAX * BATCH_BYTES_MAX;
/// Milliseconds between two events with the figures of the hub.
pub(crate) const STATS_INTERVAL_MS: u64 = 1_000;
/// Samples that percentiles look back over: ten seconds, so that a quiet hub has some and a busy
/// one shows what it does now.
pub(crate) const STATS_WINDOW_SAMPLES: usize = 10;
/// Such events that are kept: a minute, so that a console which reconnects has no hole.
pub(crate) const FEED_EVENTS_MAX: usize = 60;
/// Bytes of the same: one has a few kilobytes, with many workers some more.
pub(crate) const FEED_BYTES_MAX: usize = 1024 * 1024;
/// Files that a hub holds open beside its connections: those of peers that met a full hub and of
/// operators, a poll and a waker for each worker, and listeners, the runtime's own and a few more.
pub const FILES_RESERVED: usize =
    REFUSED_CONNECTIONS_MAX + ADMIN_CONNECTIONS_MAX + 2 * WORKERS_MAX + FILES_OTHER_MAX;
const FILES_OTHER_MAX: usize = 64;
/// Events of a history that is not asked for a number of them.
pub(crate) const HISTORY_EVENTS: usize = 100;
/// Channels of a list that is not asked for a number of them.
pub(crate) const LIST_CHANNELS: usize = 100;
/// Bytes of the name of an upstream: a segment of a channel's name, with room for 128 bits.
pub(crate) const UPSTREAM_NAME_BYTES_MAX: usize = 64;
/// Bytes of a path of an upstream: those of services have a tenth of it.
pub(crate) const UPSTREAM_PATH_BYTES_MAX: usize = 1_024;
/// Addresses of an upstream's name that are tried.
pub(crate) const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// Lookups of upstreams' names that have not returned: each holds a thread, of the 512 that also
/// do what else blocks.
pub(crate) const UPSTREAM_LOOKUPS_MAX: usize = 32;
/// Bytes of an upstream's answer that are read before they are looked at: its head, or a piece.
pub(crate) const UPSTREAM_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a fetch beside its body and events: of 250 each had 30 kB, over TLS 39 kB.
pub(crate) const UPSTREAM_BYTES: usize = 48 * 1024;
/// Bytes of an answer that is an error which the channel is told.
pub(crate) const UPSTREAM_ERROR_BYTES_MAX: usize = 16 * 1024;
/// Milliseconds for the same: what has come by then is told.
pub(crate) const UPSTREAM_ERROR_MS_MAX: u64 = 5_000;
/// Bytes of the sentence that the channel is told.
pub(crate) const UPSTREAM_MESSAGE_BYTES_MAX: usize = 1_024;
/// Bytes of the event that tells how a fetch failed, beyond which it goes without what the upstream
/// said: all of that and its quotes fit, what JSON writes with six bytes each does not.
pub(crate) const UPSTREAM_TOLD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a value below which it is no secret: covering `1` would cover every number.
pub(crate) const SECRET_BYTES_MIN: usize = 4;
/// Seconds after which a publish that met a full hub may try again: channels and keys go when
/// their time has passed, not at once.
pub(crate) const RETRY_AFTER_FULL_S: u64 = 10;
/// Seconds after which a request that met what all requests may hold may try again: those that
/// hold it go on, or are given up after [`BODY_IDLE_MS_MAX`].
pub(crate) const RETRY_AFTER_REQUESTS_S: u64 = 1;
/// The least seconds after which a publish that met a drain may try again.
pub(crate) const RETRY_AFTER_DRAIN_S_MIN: u64 = 1;
/// Seconds for which a browser may remember the answer to a preflight; most cap it lower.
pub(crate) const PREFLIGHT_AGE_S: u32 = 86_400;

/// Bytes of a request's head: a last event id of 5 kB is a gap, not an error.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request that are read before its protocol is known: the whole head of most.
pub(crate) const READ_AHEAD_BYTES: usize = 1_024;
/// Bytes of an answer whose pieces are joined for one write: an ack with its head. Longer ones are
/// left where they are counted.
pub(crate) const JOINED_BYTES_MAX: usize = 512;
/// Milliseconds between two HTTP/2 pings, and how long one may go unanswered: dead peers.
pub(crate) const H2_PING_INTERVAL_MS: u64 = 20_000;
/// See [`H2_PING_INTERVAL_MS`].
pub(crate) const H2_PING_MS_MAX: u64 = 20_000;
/// HTTP/2 streams that are woken before other tasks have their turn.
pub(crate) const H2_WAKES_MAX: usize = 64;
/// Reads of one HTTP/2 stream before other tasks have their turn.
pub(crate) const H2_READS_MAX: usize = 8;
/// Milliseconds between the last bytes of an HTTP/2 stream and its reset, which overtakes them.
pub(crate) const H2_ABORT_DELAY_MS: u64 = 250;
/// Milliseconds between two looks for HTTP/2 streams that are stalled.
pub(crate) const H2_SWEEP_INTERVAL_MS: u64 = 1_000;
/// Milliseconds between two looks for HTTP/2 streams that have to give room, and how long such a
/// stream has taken nothing at the least: longer than most take who take anything.
pub(crate) const H2_PRESS_INTERVAL_MS: u64 = 250;
/// HTTP/2 streams that wait for room and are woken at once when there is some: each of them may
/// need a large part of it.
pub(crate) const H2_WAITING_WAKES_MAX: usize = 8;
/// Milliseconds that a connection which met a full hub may take.
pub(crate) const REFUSED_MS_MAX: u64 = 5_000;
/// Connections that are told that the hub is full, at once.
pub(crate) const REFUSED_CONNECTIONS_MAX: usize = 128;
/// Milliseconds that the kernel waits for a dead peer beyond the stall limit.
pub(crate) const USER_TIMEOUT_EXTRA_MS: u64 = 5_000;
/// Milliseconds that accepting pauses after an error, such as no file left to open.
pub(crate) const ACCEPT_PAUSE_MS: u64 = 20;
/// Milliseconds that a subscriber who is sent away at once has to take its answer.
pub(crate) const AWAY_WRITE_MS_MAX: u64 = 2_000;
/// Milliseconds after which a subscriber of a full hub comes back, different for each, when few
/// wait for room.
pub(crate) const OVERLOAD_RETRY_MS: std::ops::Range<u32> = 5_000..30_000;
/// The most of it, however many wait: nobody watches a page that is silent for longer.
pub(crate) const OVERLOAD_RETRY_MS_MAX: u32 = 120_000;
/// Those who knock per second at a hub that lets nobody in: what it answers without noticing.
pub(crate) const KNOCKS_PER_S_MIN: u64 = 10;
/// Milliseconds of one of the two windows that tell how many wait: both are as long as the longest
/// wait, so that nobody who waits is missed.
pub(crate) const OVERLOAD_WINDOW_MS: u64 = 60_000;
/// Addresses of clients that are remembered at once, with their connections and tokens. More
/// connections from as many addresses no hub holds; a small budget has room for fewer.
pub(crate) const ADDRESSES_MAX: usize = 1 << 20;
/// Bytes of one of them in a table that has just grown.
pub(crate) const ADDRESS_BYTES: usize = 128;
/// Bytes of a header of the PROXY protocol: addresses, and what balancers add about TLS and
/// themselves.
pub(crate) const PROXY_HEADER_BYTES_MAX: usize = 4_096;
/// Milliseconds of a drain that publishes of one event may take before departures begin.
pub(crate) const DRAIN_PUBLISHES_MS_MAX: u64 = 500;
/// Milliseconds between two lines of the log about how far a drain is.
pub(crate) const DRAIN_TOLD_INTERVAL_MS: u64 = 5_000;
/// Milliseconds after the period of a drain for the last peers to close.
pub(crate) const DRAIN_LINGER_MS: u64 = 2_500;
/// Milliseconds that requests have to end at the end of the process.
pub(crate) const CLOSE_MS_MAX: u64 = 1_000;
/// Milliseconds between two looks at channels that may be old, and how many one look takes
/// before publishers have their turn.
pub(crate) const MAINTENANCE_INTERVAL_MS: u64 = 250;
/// See [`MAINTENANCE_INTERVAL_MS`].
pub(crate) const MAINTENANCE_CHANNELS_MAX: usize = 64;
/// Bytes of a path that the log repeats: the longest name of a channel, escaped, fits in.
pub(crate) const LOGGED_PATH_BYTES_MAX: usize = 1_024;
/// Milliseconds between two looks at limits for the log.
pub(crate) const LIMITS_LOOK_INTERVAL_MS: u64 = 1_000;
/// Milliseconds between two lines of the log about the same thing that repeats.
pub(crate) const REPEATED_TOLD_INTERVAL_MS: u64 = 10_000;
/// Milliseconds between two lines about the oldest events being let go: a hub that is full lets
/// one go for each that comes.
pub(crate) const EVICTIONS_TOLD_INTERVAL_MS: u64 = 600_000;
/// Milliseconds between two looks whether a part of the hub has panicked.
pub(crate) const BROKEN_LOOK_INTERVAL_MS: u64 = 500;
/// Milliseconds between two looks for addresses that nothing is known of any more.
pub(crate) const SWEEP_INTERVAL_MS: u64 = 1_000;
/// Milliseconds between two looks at something that is about to end.
pub(crate) const POLL_MS: u64 = 20;

/// Bytes of one NDJSON line.
pub(crate) const fn ndjson_line_bytes_max(event_data_bytes_max: usize) -> usize {
    event_data_bytes_max * JSON_ESCAPE_FACTOR_MAX + LINE_OVERHEAD_BYTES_MAX
}

/// Bytes of one line of an SSE body.
pub(crate) const fn sse_line_bytes_max(event_data_bytes_max: usize) -> usize {
    event_data_bytes_max + SSE_LINE_OVERHEAD_BYTES_MAX
}

const _: () = assert!("upstreams/".len() + UPSTREAM_NAME_BYTES_MAX + 33 <= CHANNEL_NAME_BYTES_MAX);
const _: () = assert!(
    UPSTREAM_TOLD_BYTES_MAX > JSON_ESCAPE_FACTOR_MAX * UPSTREAM_MESSAGE_BYTES_MAX + 1_024
        && UPSTREAM_TOLD_BYTES_MAX > UPSTREAM_ERROR_BYTES_MAX
);
const _: () = assert!(H2_CONNECTION_WINDOW_BYTES >= 2 * H2_STREAM_WINDOW_BYTES);
const _: () = assert!(SOCKETS_BYTES_MIN > 16 * (H2_STREAM_BYTES + H2_STREAM_WINDOW_BYTES));
const _: () = assert!(LOGGED_PATH_BYTES_MAX > "/channels/".len() + 3 * CHANNEL_NAME_BYTES_MAX);
const _: () = assert!(KEEPALIVE_IDLE_MS_MAX > BODY_IDLE_MS_MAX);
const _: () = assert!(BODY_IDLE_MS_MAX > HEAD_READ_MS_MAX);
const _: () = assert!(BODY_DISCARD_MS_MAX < BODY_IDLE_MS_MAX);
const _: () = assert!(BODY_DISCARD_BYTES_MAX > ndjson_line_bytes_max(EVENT_DATA_BYTES_MAX));
const _: () = assert!(
    LINE_OVERHEAD_BYTES_MAX
        > JSON_ESCAPE_FACTOR_MAX
            * (CHANNEL_NAME_BYTES_MAX + EVENT_TYPE_BYTES_MAX + IDEMPOTENCY_KEY_BYTES_MAX)
);
const _: () = assert!(SSE_LINE_OVERHEAD_BYTES_MAX > "event: ".len() + EVENT_TYPE_BYTES_MAX);
// What grows has up to twice the room that it needs.
const _: () = assert!(REQUESTS_BYTES_MAX >= 2 * ndjson_line_bytes_max(EVENT_DATA_BYTES_SET_MAX));
const _: () = assert!(
    REQUESTS_BYTES_MAX >= 16 * JSON_ESCAPE_FACTOR_MAX * (HISTORY_BYTES_MAX + EVENT_DATA_BYTES_MAX)
);
const _: () = assert!(2 * ADMIN_STREAMS_MAX <= ADMIN_CONNECTIONS_MAX);
const _: () =
    assert!(ADMIN_STREAM_MS_MAX > fanfare_fanout::limits::HEARTBEAT_INTERVAL_MS_MAX as u64);
const _: () = assert!(OVERLOAD_RETRY_MS.end < OVERLOAD_RETRY_MS_MAX);
const _: () = assert!(2 * OVERLOAD_WINDOW_MS >= OVERLOAD_RETRY_MS_MAX as u64);
const _: () = assert!(HISTORY_EVENTS <= HISTORY_EVENTS_MAX);
const _: () = assert!(LIST_CHANNELS <= LIST_CHANNELS_MAX);
const _: () = assert!(DRAIN_LINGER_MS > fanfare_fanout::limits::LINGER_MS_MAX as u64);
const _: () = assert!(HEAD_BYTES_MAX > 8 * 1024);
