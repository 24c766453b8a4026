//! Every bound of the data plane, with its reason. Those a hub may set differently are in
//! [`FanoutConfig`](crate::FanoutConfig); these are its defaults.

/// Sends of one turn: then the poll is looked at, so that a channel with many subscribers does
/// not hold up the others. With 64 they wait 3 to 5 ms beside a burst, with 256 twice that.
pub const TURN_SENDS_MAX: usize = 64;
/// Bytes of one turn: large events use it up before the sends.
pub const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Members that the passes of one turn look at: those whose sockets are full cost no send.
pub const TURN_LOOKS_MAX: usize = 1_024;
/// Sockets that a worker takes over, and timers that it looks at, between two polls.
pub const TURN_COMMANDS_MAX: usize = 256;
/// Readiness events that one poll reports.
pub const POLL_EVENTS_MAX: usize = 1_024;
/// Sockets that wait for a worker; past it the control plane waits.
pub const ATTACH_QUEUE_MAX: usize = 4_096;
/// Bytes that the kernel may hold unsent for one subscriber: what ten thousand stalled ones cost.
pub const SOCKET_UNSENT_BYTES_MAX: u32 = 128 * 1024;
/// Milliseconds that a socket may take no byte before its connection is closed.
pub const WRITE_STALL_MS_MAX: u32 = 30_000;
/// Milliseconds between heartbeats: below the 30 s of the strictest load balancers.
pub const HEARTBEAT_INTERVAL_MS: u32 = 15_000;
/// The longest of them that a subscriber may ask for.
pub const HEARTBEAT_INTERVAL_MS_MAX: u32 = 60_000;
/// Bytes that a subscriber may send after its request; they are read and discarded.
pub const DISCARDED_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of begun frames that slow subscribers keep in memory together, unless set otherwise: a
/// frame counts once, however many have begun it.
pub const PINNED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Milliseconds that an ended stream waits for its peer to close first: closing with unread
/// input sends RST, which destroys the final event on its way.
pub const LINGER_MS_MAX: u32 = 2_000;
/// Batches kept for reuse by a worker.
pub const SPARE_BATCHES_MAX: usize = 16;
/// Channels whose matching patterns a worker remembers.
pub const MATCHES_CACHED_MAX: usize = 65_536;
/// Milliseconds of one tick of the timing wheel, and slots of it.
pub const WHEEL_TICK_MS: u64 = 64;
/// See [`WHEEL_TICK_MS`].
pub const WHEEL_SLOTS: usize = 1_024;
/// Milliseconds between two reports of a worker's counts.
pub const REPORT_INTERVAL_MS: u64 = 250;
/// Milliseconds that a subscriber who was sent away waits beyond what is left of the drain, at
/// least and at most: they come back spread out, and not before a new hub can listen.
pub const DRAIN_RETRY_MS: std::ops::Range<u32> = 1_000..6_000;
/// Milliseconds after which a subscriber comes back whose connection was as old as it may be: the
/// hub is there, so only to spread those that were made at once.
pub const AGE_RETRY_MS: std::ops::Range<u32> = 500..3_000;
/// Writes of one report's time of which each is sampled for the time of a delivery; of more, one
/// in [`SAMPLE_STRIDE`].
pub const SAMPLED_WRITES_MAX: u32 = 256;
/// See [`SAMPLED_WRITES_MAX`]: reading the clock takes a fiftieth of a write, so one in so many
/// takes nothing that could be measured.
pub const SAMPLE_STRIDE: u32 = 64;
/// The share of a drain after which those go whose channels have an open streaming publish: the
/// publishes have ended shortly before.
pub const DRAIN_STREAMING_FROM: f32 = 0.75;

const _: () = assert!(WHEEL_TICK_MS * WHEEL_SLOTS as u64 > HEARTBEAT_INTERVAL_MS_MAX as u64);
const _: () = assert!(WHEEL_TICK_MS * WHEEL_SLOTS as u64 > WRITE_STALL_MS_MAX as u64);
const _: () = assert!(TURN_LOOKS_MAX >= TURN_SENDS_MAX);
const _: () = assert!(TURN_BYTES_MAX >= fanfare_core::limits::BATCH_BYTES_MAX);
const _: () = assert!(HEARTBEAT_INTERVAL_MS <= HEARTBEAT_INTERVAL_MS_MAX);
