//! Every bound of the core, with its reason. Those a hub may set differently are in
//! [`HubLimits`](crate::HubLimits); these are its defaults.

/// Bytes of a channel's name: fits a log line and a NATS subject.
pub const CHANNEL_NAME_BYTES_MAX: usize = 255;
/// Segments of a channel's name: the depth of the trie that matches patterns.
pub const CHANNEL_NAME_SEGMENTS_MAX: usize = 16;
/// Channels held at once: idle ones go when their retention has passed.
pub const CHANNELS_MAX: usize = 1_000_000;
/// Removed channels that are remembered, so that a gap stays exact.
pub const TOMBSTONES_MAX: usize = 1_000_000;
/// Channels and patterns of one subscription: the merge is linear in it.
pub const CHANNELS_PER_SUBSCRIPTION_MAX: usize = 64;
/// Bytes of one event's data: many client libraries stop at 64 KiB already.
pub const EVENT_DATA_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an event's type.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
/// Events that a ring keeps: the longest answers of language models from their first token on.
pub const RING_EVENTS_MAX: usize = 4_096;
/// Bytes that a ring keeps, [`EVENT_OVERHEAD_BYTES`] included.
pub const RING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Milliseconds that a ring keeps an event: an idle channel gives its memory back.
pub const RING_AGE_MS_MAX: u64 = 3_600_000;
/// What an event costs beside the memory of its frame: the ring's and the journal's entries, and
/// the count of those who share it. Measured: `benches/tests/memory.rs`.
pub const EVENT_OVERHEAD_BYTES: usize = 112;
/// Bytes that all rings keep together, unless set from the machine's memory.
pub const RINGS_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Pairs that the journal keeps: how far back a pattern can resume.
pub const JOURNAL_EVENTS_MAX: usize = 1_048_576;
/// Journal entries that one read walks before it lets others have the lock.
pub const JOURNAL_WALK_MAX: usize = 1_024;
/// Journal entries that `last=N` of a pattern looks back over, under the order lock.
pub const JOURNAL_LOOK_BACK_MAX: usize = 16_384;
/// Places whose times are remembered, for the times of deliveries: a worker is rarely further
/// behind, and what it then gets is not measured.
pub const STAMPS: usize = if cfg!(loom) { 2 } else { 4_096 };
/// Milliseconds over which a channel's events are counted for its rate.
pub const RATE_WINDOW_MS: u64 = 10_000;
/// Pairs, tombstones and channels that one step of a change of limits lets go or looks at:
/// publishers wait for it.
pub const SHRINK_STEPS_MAX: usize = 1_024;
/// Bytes by which one such step lowers the budget of all rings.
pub const SHRINK_BYTES_MAX: usize = 1024 * 1024;
/// Idempotency keys remembered: past it a keyed publish is refused, never forgotten early.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Milliseconds that an idempotency key is remembered.
pub const IDEMPOTENCY_KEY_AGE_MS: u64 = 300_000;
/// Milliseconds that a closed channel can be replayed.
pub const CLOSED_RETENTION_MS: u64 = 600_000;
/// The least of it: longer than twice the largest `retry` that an end carries.
pub const CLOSED_RETENTION_MS_MIN: u64 = 120_000;
/// Milliseconds that a channel waits for its producer to come back: a restart, or a new network.
pub const PRODUCER_GRACE_MS: u64 = 30_000;
/// Bytes of a producer's id: room for any identifier, and for a name with one.
pub const PRODUCER_ID_BYTES_MAX: usize = 128;
/// The largest epoch and `seq` of a producer: what JSON's numbers hold exactly everywhere.
pub const PRODUCER_NUMBER_MAX: u64 = (1 << 53) - 1;
/// Producers that one channel remembers: each event looks for its own among them.
pub const PRODUCERS_PER_CHANNEL_MAX: usize = 64;
/// Milliseconds without a sign of life after which a producer may be forgotten for a new one: no
/// retry comes that late.
pub const PRODUCER_IDLE_MS_MIN: u64 = 3_600_000;
/// What a producer costs beside its id: its entry, its id's counts, and, as if each channel had but
/// one, the box in which a channel keeps what few have, with what three allocations cost.
pub const PRODUCER_OVERHEAD_BYTES: usize = 256;
/// All producers together take at most one part in so many of the budget of all rings: the events
/// of others make room for them.
pub const PRODUCERS_SHARE: usize = 8;
/// Requests that wait for one channel to be cancelled: its producer, which asks anew before the
/// last answer is there, and some that watch over it.
pub const CANCEL_WAITERS_PER_CHANNEL_MAX: usize = 64;
/// Channels that one look finds to be closed: more are found by the next.
pub const DUE_CHANNELS_MAX: usize = 1_024;
/// Bytes of one batch: coalescing is nearly free up to here, and publishers wait for the ring's
/// lock while a worker clones this many bytes of handles.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;
/// Deltas that wait for others take at most this part of their ring, by count and by bytes: a ring
/// must not drop what only waits.
pub const HELD_SHARE_OF_RING: usize = 4;
/// The least and the most milliseconds that they wait: what a screen shows at once, and what a
/// reader does not notice.
pub const WINDOW_MS_MIN: u32 = 25;
/// See [`WINDOW_MS_MIN`].
pub const WINDOW_MS_MAX: u32 = 100;
/// Bytes of an unusable last event id that are told back in its gap.
pub const REQUESTED_BYTES_MAX: usize = 128;
/// The least and the most milliseconds of the `retry` in an end, different per subscriber.
pub const END_RETRY_MS_MIN: u32 = 5_000;
/// See [`END_RETRY_MS_MIN`].
pub const END_RETRY_MS_MAX: u32 = 60_000;
/// Fan-out workers of a hub, the one of HTTP/2 included.
pub const WORKERS_MAX: usize = 64;
/// Channels that one list answers.
pub const LIST_CHANNELS_MAX: usize = 1_000;
/// Events that one history answers.
pub const HISTORY_EVENTS_MAX: usize = 1_000;
/// Bytes of the events that one history answers, unless its first one alone has more: a page is
/// put together in memory, and JSON may spell it six times as long.
pub const HISTORY_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(CLOSED_RETENTION_MS_MIN >= 2 * END_RETRY_MS_MAX as u64);
const _: () = assert!(CLOSED_RETENTION_MS >= CLOSED_RETENTION_MS_MIN);
const _: () = assert!(RING_BYTES_MAX >= 2 * (EVENT_DATA_BYTES_MAX + EVENT_OVERHEAD_BYTES));
const _: () = assert!(RINGS_BYTES_MAX >= RING_BYTES_MAX);
const _: () = assert!(JOURNAL_EVENTS_MAX >= RING_EVENTS_MAX);
const _: () = assert!(JOURNAL_LOOK_BACK_MAX >= JOURNAL_WALK_MAX);
