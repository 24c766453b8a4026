//! The one table of settings: flags, variables, TOML keys, `--help` and the README's table are
//! all made from these rows, or checked against them.

use fanfare_server::limits::EVENT_DATA_BYTES_SET_MAX;

use super::{
    names::{host, origin},
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// The row of a TOML key.
pub(crate) fn by_key(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key == key)
}

/// The row of a variable.
pub(crate) fn by_variable(variable: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.variable == variable)
}

/// All settings, in the order of `--help`.
pub(crate) static TABLE: &[Row] = &[
    Row {
        flag: "--listen",
        variable: "FANFARE_LISTEN",
        key: "listen",
        default: Fallback::Text("127.0.0.1:8080"),
        value: Value::Address(|config, address| config.listen = address),
        help: "The public listener: publish and subscribe",
    },
    Row {
        flag: "--admin-listen",
        variable: "FANFARE_ADMIN_LISTEN",
        key: "admin_listen",
        default: Fallback::Text("127.0.0.1:8081"),
        value: Value::Address(|config, address| config.admin_listen = address),
        help: "The operators' listener: metrics and health",
    },
    Row {
        flag: "--allowed-host",
        variable: "FANFARE_ALLOWED_HOSTS",
        key: "allowed_hosts",
        default: Fallback::Text(""),
        value: Value::Names {
            parse: host,
            set: |config, hosts| config.allowed_hosts = hosts,
            words: "host names without port, or *",
        },
        help: "Hosts that requests may name beside the loopback ones; needed off loopback",
    },
    Row {
        flag: "--insecure-open",
        variable: "FANFARE_INSECURE_OPEN",
        key: "insecure_open",
        default: Fallback::Text("false"),
        value: Value::Switch(|config, on| config.insecure_open = on),
        help: "Let anyone who reaches a public listener off loopback publish and subscribe",
    },
    Row {
        flag: "--insecure-open-admin",
        variable: "FANFARE_INSECURE_OPEN_ADMIN",
        key: "insecure_open_admin",
        default: Fallback::Text("false"),
        value: Value::Switch(|config, on| config.insecure_open_admin = on),
        help: "Let anyone who reaches an operators' listener off loopback use it",
    },
    Row {
        flag: "--cors-origin",
        variable: "FANFARE_CORS_ORIGINS",
        key: "cors_origins",
        default: Fallback::Text(""),
        value: Value::Names {
            parse: origin,
            set: |config, origins| config.cors_origins = origins,
            words: "origins such as https://app.example, or *",
        },
        help: "Origins beside the hub's own whose pages may subscribe and publish",
    },
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
        help: "Fan-out threads that write to subscribers",
    },
    Row {
        flag: "--connections-max",
        variable: "FANFARE_CONNECTIONS_MAX",
        key: "connections_max",
        default: Fallback::Machine {
            words: "open files \u{2212} 576",
            find: |machine| machine.connections_max().clamp(1, CONNECTIONS_MAX),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=CONNECTIONS_MAX,
            set: Set::Hub(|config, count| config.connections_max = whole(count)),
        },
        help: "Connections held at once",
    },
    Row {
        flag: "--listen-backlog",
        variable: "FANFARE_LISTEN_BACKLOG",
        key: "listen_backlog",
        default: Fallback::Text("4_096"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=65_535,
            set: Set::Hub(|config, count| config.listen_backlog = half(count)),
        },
        help: "Connections that the kernel queues before they are accepted",
    },
    Row {
        flag: "--channels-max",
        variable: "FANFARE_CHANNELS_MAX",
        key: "channels_max",
        default: Fallback::Text("1_000_000"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.channels_max = whole(count)),
        },
        help: "Channels held at once",
    },
    Row {
        flag: "--tombstones-max",
        variable: "FANFARE_TOMBSTONES_MAX",
        key: "tombstones_max",
        default: Fallback::Text("1_000_000"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.tombstones_max = whole(count)),
        },
        help: "Removed channels that are remembered, so that gaps stay exact",
    },
    Row {
        flag: "--journal-events-max",
        variable: "FANFARE_JOURNAL_EVENTS_MAX",
        key: "journal_events_max",
        default: Fallback::Text("1_048_576"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1_024..=1_000_000_000,
            set: Set::Hub(|config, count| config.journal_events_max = whole(count)),
        },
        help: "Events that all channels keep together: how far back a pattern can resume",
    },
    Row {
        flag: "--rings-bytes-max",
        variable: "FANFARE_RINGS_BYTES_MAX",
        key: "rings_bytes_max",
        default: Fallback::Machine {
            words: "a quarter of the memory",
            find: |machine| (machine.memory_bytes / 4).clamp(16 * MIB, 16 * TIB),
        },
        value: Value::Number {
            unit: Unit::Bytes,
            range: MIB..=16 * TIB,
            set: Set::Hub(|config, bytes| config.rings_bytes_max = whole(bytes)),
        },
        help: "Bytes that all channels keep together; past it the hub's oldest events go",
    },
    Row {
        flag: "--idempotency-keys-max",
        variable: "FANFARE_IDEMPOTENCY_KEYS_MAX",
        key: "idempotency_keys_max",
        default: Fallback::Text("100_000"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=100_000_000,
            set: Set::Hub(|config, count| config.idempotency_keys_max = whole(count)),
        },
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
        help: "Bytes of one event's data; many clients take no more than 64KiB",
    },
    Row {
        flag: "--ring-events",
        variable: "FANFARE_RING_EVENTS",
        key: "ring_events",
        default: Fallback::Text("1_024"),
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=16_777_216,
            set: Set::Channel(|kept, count| kept.ring_events_max = whole(count)),
        },
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
        help: "How long a closed channel can still be replayed",
    },
    Row {
        flag: "--heartbeat-interval",
        variable: "FANFARE_HEARTBEAT_INTERVAL",
        key: "heartbeat_interval",
        default: Fallback::Text("15s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: SECOND..=MINUTE,
            set: Set::Hub(|config, ms| config.heartbeat_interval_ms = half(ms)),
        },
        help: "Silence after which a subscriber is sent a heartbeat",
    },
    Row {
        flag: "--write-stall-max",
        variable: "FANFARE_WRITE_STALL_MAX",
        key: "write_stall_max",
        default: Fallback::Text("30s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: SECOND..=10 * MINUTE,
            set: Set::Hub(|config, ms| config.write_stall_ms_max = half(ms)),
        },
        help: "How long a subscriber may take no byte before its connection is closed",
    },
    Row {
        flag: "--socket-unsent-bytes-max",
        variable: "FANFARE_SOCKET_UNSENT_BYTES_MAX",
        key: "socket_unsent_bytes_max",
        default: Fallback::Text("128KiB"),
        value: Value::Number {
            unit: Unit::Bytes,
            range: 4 * KIB..=16 * MIB,
            set: Set::Hub(|config, bytes| config.socket_unsent_bytes_max = half(bytes)),
        },
        help: "Bytes that the kernel may hold unsent for one subscriber",
    },
    Row {
        flag: "--drain-period",
        variable: "FANFARE_DRAIN_PERIOD",
        key: "drain_period",
        default: Fallback::Text("20s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: SECOND / 10..=10 * MINUTE,
            set: Set::Hub(|config, ms| config.drain_period_ms = half(ms)),
        },
        help: "Over how long a stopping hub spreads the departures of its subscribers",
    },
];

/// A number as `usize`; the ranges of the table end far below what 64 bits hold.
fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number as `u32`; the ranges of the rows that use this end below 2^32.
fn half(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One less than the workers that the core counts: HTTP/2 is the last one.
const WORKERS_MAX: u64 = fanfare_core::limits::WORKERS_MAX as u64 - 1;
/// Ten million sockets: more than any kernel gives one process unless it is told to.
const CONNECTIONS_MAX: u64 = 10_000_000;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_variable_and_key_are_one_name() {
        for row in TABLE {
            let name = row.flag.strip_prefix("--").unwrap().replace('-', "_");
            let many = matches!(row.value, Value::Names { .. });
            let key = if many { format!("{name}s") } else { name };
            assert_eq!(row.key, key);
            assert_eq!(row.variable, format!("FANFARE_{}", key.to_uppercase()));
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|other| other.key != row.key), "{}", row.key);
        }
    }

    #[test]
    fn the_ranges_fit_where_the_numbers_go() {
        for row in TABLE {
            let Value::Number { range, set, .. } = &row.value else { continue };
            assert!(range.start() < range.end(), "{}", row.key);
            // The memory of a machine passes 2^32, and is `usize` where it does.
            if matches!(set, Set::Hub(_)) && row.key != "rings_bytes_max" {
                assert!(*range.end() <= u64::from(u32::MAX), "{}", row.key);
            }
        }
    }

    #[test]
    fn the_words_of_a_default_have_the_number_of_the_code() {
        let row = by_key("connections_max").unwrap();
        let Fallback::Machine { words, .. } = row.default else { panic!("it has a default") };
        assert!(words.ends_with(&format!(" {}", fanfare_server::limits::FILES_RESERVED)));
    }

    #[test]
    fn the_help_is_one_sentence_without_full_stop() {
        for row in TABLE {
            assert!(!row.help.ends_with('.') && row.help.len() <= 90, "{}", row.help);
        }
    }
}
