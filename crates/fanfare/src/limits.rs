//! Bounds of the binary, each with its reason; those of the hub are settings.

use std::time::Duration;

/// `[[channels]]` tables of a file: each new channel is compared with all of them.
pub(crate) const CHANNEL_TABLES_MAX: usize = 1_000;
/// `[[upstreams]]` tables of a file: each request for one is compared with all of them.
pub(crate) const UPSTREAM_TABLES_MAX: usize = 100;
/// Bytes of a file with one secret: a header of more is refused nearly everywhere.
pub(crate) const SECRET_FILE_BYTES_MAX: u64 = 8 * 1024;
/// Bytes of a file of certificates: all that a system trusts have a quarter of it.
pub(crate) const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Lines of the log that wait to be written: what a start and the end of a busy hub say, many
/// times over. Further ones are dropped.
pub(crate) const LOG_LINES_MAX: usize = 1_024;
/// How long the end of the process waits for them to be written.
pub(crate) const LOG_FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// How often the service manager is told how the hub is, if that has changed.
pub(crate) const NOTIFY_STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// How long the end of the process may take beyond the drain: the last peers close, requests are
/// cut, the log is written.
pub(crate) const STOP_TIME_EXTRA: Duration = Duration::from_secs(10);

/// Spans of publishes that wait for their exporter: what a busy hub traces in a moment. Further
/// ones are dropped.
pub(crate) const SPANS_MAX: usize = 4_096;
/// Spans of one request to a collector.
pub(crate) const SPANS_BATCH_MAX: usize = 512;
/// How long spans wait for others to go along.
pub(crate) const SPANS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a collector has for a batch, and how long one is tried again that it could not take.
pub(crate) const SPANS_SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans.
pub(crate) const SPANS_FLUSH_TIME_MAX: Duration = Duration::from_secs(3);

/// How long the client commands wait for a connection.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long they wait for the head of an answer after the request is sent.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long they wait for an answer of the operators' listener, which is small and made at once.
pub(crate) const ADMIN_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a health check waits: those who run it do not wait longer either.
pub(crate) const HEALTH_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer that is no stream.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How often a drain is asked how far it is.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Of how many answers one is told where the line cannot be written over: each five seconds.
pub(crate) const PROGRESS_LINES_EVERY: u32 = 10;
/// Channels that are asked for at once: with the longest names they are within
/// [`ANSWER_BYTES_MAX`].
pub(crate) const CHANNELS_PAGE: u64 = 500;

/// How often `fanfare top` looks at a hub.
pub(crate) const TOP_INTERVAL: Duration = Duration::from_secs(1);
/// Moments that it remembers, for its small charts: two minutes.
pub(crate) const TOP_HISTORY: usize = 120;
/// Channels that it asks for: more than the tallest terminal shows.
pub(crate) const TOP_CHANNELS: u64 = 200;
/// Channels of its snapshot.
pub(crate) const TOP_SNAPSHOT_CHANNELS: usize = 20;
/// Keys that wait while it looks at the hub; a person types no more.
pub(crate) const TOP_KEYS_MAX: usize = 16;

/// Bytes of standard input that are read as one event: as many as a hub can be set to take.
pub(crate) const INPUT_EVENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of a line of standard input: one event whose data grows sixfold as JSON, and the rest.
pub(crate) const INPUT_LINE_BYTES_MAX: usize = 7 * INPUT_EVENT_BYTES_MAX as usize;
/// Bytes of standard input that are sent as one piece of a stream.
pub(crate) const INPUT_PIECE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one received event. Data of nothing but line ends grows sevenfold on the wire.
pub(crate) const STREAM_EVENT_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How long a stream may be silent until it counts as cut: heartbeats are at most 60 s apart.
pub(crate) const SILENCE_TIME_MAX: Duration = Duration::from_secs(150);
/// Milliseconds until a subscriber comes back, if the hub never said: what browsers take.
pub(crate) const RETRY_MS: u64 = 3_000;
/// The most of it: the hub never says more, and more would be a mistake of someone.
pub(crate) const RETRY_MS_MAX: u64 = 86_400_000;
/// Until how many milliseconds the wait doubles while the hub cannot be reached.
pub(crate) const RETRY_BACKOFF_MS_MAX: u64 = 30_000;

const _: () = assert!(RETRY_MS <= RETRY_BACKOFF_MS_MAX && RETRY_BACKOFF_MS_MAX <= RETRY_MS_MAX);
const _: () = assert!(7 * INPUT_EVENT_BYTES_MAX <= STREAM_EVENT_BYTES_MAX as u64);
