//! The rows of what the hub holds in memory.

use fanfare_server::limits::EVENT_DATA_BYTES_SET_MAX;

use super::{DAY, KIB, MIB, MINUTE, SECOND, TIB, WORKERS_MAX, whole};
use crate::settings::{
    machine::{BUDGET_BYTES_MAX, BUDGET_BYTES_MIN},
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// In the order of `--help`.
pub(super) static ROWS: &[Row] = &[
    Row {
        flag: "--workers",
        variable: "FANFARE_WORKERS",
        key: "workers",
        default: Fallback::Machine {
            words: "the number of cores",
            find: |machine| machine.cores.clamp(1, WORKERS_MAX),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=WORKERS_MAX,
            set: Set::Hub(|config, count| config.workers = whole(count)),
        },
        live: false,
        help: "Fan-out threads that write to subscribers",
    },
    Row {
        flag: "--memory-max",
        variable: "FANFARE_MEMORY_MAX",
        key: "memory_max",
        default: Fallback::Machine {
            words: "half of the memory",
            find: |machine| machine.budget_bytes,
        },
        value: Value::Number {
            unit: Unit::Bytes,
            range: BUDGET_BYTES_MIN..=BUDGET_BYTES_MAX,
            set: Set::Hub(|config, number| config.memory_bytes_max = whole(number)),
        },
        live: false,
        help: "Bytes that the process may use; the defaults of its shares follow from it",
    },
    Row {
        flag: "--rings-bytes-max",
        variable: "FANFARE_RINGS_BYTES_MAX",
        key: "rings_bytes_max",
        default: Fallback::Machine {
            words: "half of --memory-max",
            find: |machine| machine.budgeted().rings_bytes().clamp(MIB, 16 * TIB),
        },
        value: Value::Number {
            unit: Unit::Bytes,
            range: MIB..=16 * TIB,
            set: Set::Hub(|config, bytes| config.rings_bytes_max = whole(bytes)),
        },
        live: true,
        help: "Bytes that all channels keep together; past it the hub's oldest events go",
    },
    Row {
        flag: "--journal-events-max",
        variable: "FANFARE_JOURNAL_EVENTS_MAX",
        key: "journal_events_max",
        default: Fallback::Machine {
            words: "1_048_576, or --memory-max / 512 if that is less",
            find: |machine| machine.budgeted().journal_events().clamp(1_024, 1_048_576),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1_024..=1_000_000_000,
            set: Set::Hub(|config, count| config.journal_events_max = whole(count)),
        },
        live: true,
        help: "Events that all channels keep together: how far back a pattern can resume",
    },
    Row {
        flag: "--channels-max",
        variable: "FANFARE_CHANNELS_MAX",
        key: "channels_max",
        default: Fallback::Machine {
            words: "1_000_000, or --memory-max / 4_096 if that is less",
            find: |machine| machine.budgeted().channels().clamp(1, 1_000_000),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.channels_max = whole(count)),
        },
        live: true,
        help: "Channels held at once",
    },
    Row {
        flag: "--tombstones-max",
        variable: "FANFARE_TOMBSTONES_MAX",
        key: "tombstones_max",
        default: Fallback::Machine {
            words: "1_000_000, or --memory-max / 4_096 if that is less",
            find: |machine| machine.budgeted().tombstones().clamp(1, 1_000_000),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.tombstones_max = whole(count)),
        },
        live: true,
        help: "Removed channels that are remembered, so that gaps stay exact",
    },
    Row {
        flag: "--idempotency-keys-max",
        variable: "FANFARE_IDEMPOTENCY_KEYS_MAX",
        key: "idempotency_keys_max",
        default: Fallback::Machine {
            words: "100_000, or --memory-max / 4_096 if that is less",
            find: |machine| machine.budgeted().idempotency_keys().clamp(1, 100_000),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.idempotency_keys_max = whole(count)),
        },
        live: false,
        help: "Idempotency keys remembered at once; past it publishes with a key are refused",
    },
    Row {
        flag: "--event-data-bytes-max",
        variable: "FANFARE_EVENT_DATA_BYTES_MAX",
        key: "event_data_bytes_max",
        default: Fallback::Text("256KiB"),
        value: Value::Number {
            unit: Unit::Bytes,
            range: 1..=EVENT_DATA_BYTES_SET_MAX as u64,
            set: Set::Hub(|config, bytes| config.event_data_bytes_max = whole(bytes)),
        },
        live: true,
        help: "Bytes of one event's data; many clients take no more than 64KiB",
    },
    Row {
        flag: "--ring-events",
        variable: "FANFARE_RING_EVENTS",
        key: "ring_events",
        default: Fallback::Text("4_096"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=16_777_216,
            set: Set::Channel(|kept, count| kept.ring_events_max = whole(count)),
        },
        live: true,
        help: "Events that a channel keeps for those who come back",
    },
    Row {
        flag: "--ring-bytes",
        variable: "FANFARE_RING_BYTES",
        key: "ring_bytes",
        default: Fallback::Text("4MiB"),
        value: Value::Number {
            unit: Unit::Bytes,
            range: 4 * KIB..=TIB,
            set: Set::Channel(|kept, bytes| kept.ring_bytes_max = whole(bytes)),
        },
        live: true,
        help: "Bytes that a channel keeps, overhead included",
    },
    Row {
        flag: "--ring-age",
        variable: "FANFARE_RING_AGE",
        key: "ring_age",
        default: Fallback::Text("1h"),
        value: Value::Number {
            unit: Unit::Duration,
            range: SECOND..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.ring_age_ms = ms),
        },
        live: true,
        help: "How long a channel keeps an event",
    },
    Row {
        flag: "--closed-retention",
        variable: "FANFARE_CLOSED_RETENTION",
        key: "closed_retention",
        default: Fallback::Text("10m"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 2 * MINUTE..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.closed_retention_ms = ms),
        },
        live: true,
        help: "How long a closed channel can still be replayed",
    },
    Row {
        flag: "--channel-idle-max",
        variable: "FANFARE_CHANNEL_IDLE_MAX",
        key: "channel_idle_max",
        default: Fallback::Text("0s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.channel_idle_ms_max = ms),
        },
        live: true,
        help: "Silence of publishers after which a channel is closed with `error`, 0s: never",
    },
    Row {
        flag: "--channel-age-max",
        variable: "FANFARE_CHANNEL_AGE_MAX",
        key: "channel_age_max",
        default: Fallback::Text("0s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.channel_age_ms_max = ms),
        },
        live: true,
        help: "Age at which a channel is closed with `error`, however busy it is, 0s for never",
    },
    Row {
        flag: "--producer-grace",
        variable: "FANFARE_PRODUCER_GRACE",
        key: "producer_grace",
        default: Fallback::Text("30s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.producer_grace_ms = ms),
        },
        live: true,
        help: "How long a channel waits for a `close=on-end` publish that broke off to come back",
    },
    Row {
        flag: "--unwatched-max",
        variable: "FANFARE_UNWATCHED_MAX",
        key: "unwatched_max",
        default: Fallback::Text("0s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=30 * DAY,
            set: Set::Channel(|kept, ms| kept.unwatched_ms_max = ms),
        },
        live: true,
        help: "How long a stream goes on without subscribers before it is cancelled; 0s: on",
    },
];
