//! Every bound of the HTTP side, with its reason. Those of channels and events are in
//! [`fanfare_core::limits`]; those that a hub may set differently are in [`Config`].
//!
//! [`Config`]: crate::Config

use fanfare_core::limits::{
    CHANNEL_NAME_BYTES_MAX, CHANNELS_PER_SUBSCRIPTION_MAX, EVENT_DATA_BYTES_MAX,
    EVENT_TYPE_BYTES_MAX, HISTORY_EVENTS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, LIST_CHANNELS_MAX,
};

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
/// Parameters of one query: each channel of a subscription, and as many others.
pub(crate) const QUERY_PARAMETERS_MAX: usize = 2 * CHANNELS_PER_SUBSCRIPTION_MAX;
/// Bytes of acks put together before they are sent: a chunk that costs one write.
pub(crate) const ACK_BYTES_MAX: usize = 16 * 1024;
/// Chunks of acks that wait for a publisher to read them; then its body is not read on.
pub(crate) const ACK_CHUNKS_MAX: usize = 2;
/// Channels that one streaming publish to `/events` marks as being published to, so that a drain
/// sends their subscribers away last. The subscribers of further ones are sent away in turn.
pub(crate) const STREAM_CHANNELS_MAX: usize = 1_024;
/// Events of a history that is not asked for a number of them.
pub(crate) const HISTORY_EVENTS: usize = 100;
/// Channels of a list that is not asked for a number of them.
pub(crate) const LIST_CHANNELS: usize = 100;
/// Seconds after which a publish that met a full hub may try again: channels and keys go when
/// their time has passed, not at once.
pub(crate) const RETRY_AFTER_FULL_S: u64 = 10;
/// The least seconds after which a publish that met a drain may try again.
pub(crate) const RETRY_AFTER_DRAIN_S_MIN: u64 = 1;
/// Seconds for which a browser may remember the answer to a preflight; most cap it lower.
pub(crate) const PREFLIGHT_AGE_S: u32 = 86_400;

/// Bytes of one NDJSON line.
pub(crate) const fn ndjson_line_bytes_max(event_data_bytes_max: usize) -> usize {
    event_data_bytes_max * JSON_ESCAPE_FACTOR_MAX + LINE_OVERHEAD_BYTES_MAX
}

/// Bytes of one line of an SSE body.
pub(crate) const fn sse_line_bytes_max(event_data_bytes_max: usize) -> usize {
    event_data_bytes_max + SSE_LINE_OVERHEAD_BYTES_MAX
}

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
const _: () = assert!(HISTORY_EVENTS <= HISTORY_EVENTS_MAX);
const _: () = assert!(LIST_CHANNELS <= LIST_CHANNELS_MAX);
