//! The rows of what clients may do, how often, and for how long.

use fanfare_core::SlowPolicy;

use super::{CONNECTIONS_MAX, DAY, KIB, MIB, MINUTE, RATE_MAX, SECOND, half, whole};
use crate::settings::{
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// In the order of `--help`.
pub(super) static ROWS: &[Row] = &[
    Row {
        flag: "--connections-max",
        variable: "FANFARE_CONNECTIONS_MAX",
        key: "connections_max",
        default: Fallback::Machine {
            words: "open files \u{2212} 576, with [[upstreams]] less --upstream-fetches-max",
            find: |machine| machine.connections_max().min(CONNECTIONS_MAX),
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 1..=CONNECTIONS_MAX,
            set: Set::Hub(|config, count| config.connections_max = whole(count)),
        },
        live: true,
        help: "Connections held at once",
    },
    Row {
        flag: "--connections-per-address-max",
        variable: "FANFARE_CONNECTIONS_PER_ADDRESS_MAX",
        key: "connections_per_address_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=CONNECTIONS_MAX,
            set: Set::Hub(|config, number| config.connections_per_address_max = whole(number)),
        },
        live: true,
        help: "Connections of one address, which is a /64 of IPv6; 0 is no limit",
    },
    Row {
        flag: "--subscribers-per-channel-max",
        variable: "FANFARE_SUBSCRIBERS_PER_CHANNEL_MAX",
        key: "subscribers_per_channel_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=CONNECTIONS_MAX,
            set: Set::Hub(|config, number| config.subscribers_per_channel_max = whole(number)),
        },
        live: true,
        help: "Subscriptions that name one channel; 0 is no limit",
    },
    Row {
        flag: "--connection-age-max",
        variable: "FANFARE_CONNECTION_AGE_MAX",
        key: "connection_age_max",
        default: Fallback::Text("0s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=30 * DAY,
            set: Set::Hub(|config, number| config.connection_age_ms_max = number),
        },
        live: true,
        help: "Age at which a subscriber is told to reconnect, give or take a fifth, 0s for none",
    },
    Row {
        flag: "--connect-rate-max",
        variable: "FANFARE_CONNECT_RATE_MAX",
        key: "connect_rate_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=RATE_MAX,
            set: Set::Hub(|config, number| config.connect_rate_max = half(number)),
        },
        live: true,
        help: "Subscribes a second; past it new ones are told to come back later; 0 is no limit",
    },
    Row {
        flag: "--connect-rate-per-address-max",
        variable: "FANFARE_CONNECT_RATE_PER_ADDRESS_MAX",
        key: "connect_rate_per_address_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=RATE_MAX,
            set: Set::Hub(|config, number| config.connect_rate_per_address_max = half(number)),
        },
        live: true,
        help: "Subscribes a second of one address; 0 is no limit",
    },
    Row {
        flag: "--publish-rate-max",
        variable: "FANFARE_PUBLISH_RATE_MAX",
        key: "publish_rate_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=RATE_MAX,
            set: Set::Hub(|config, number| config.publish_rate_max = half(number)),
        },
        live: true,
        help: "Events published a second; one alone is refused past it, streams wait; 0: no limit",
    },
    Row {
        flag: "--publish-rate-per-address-max",
        variable: "FANFARE_PUBLISH_RATE_PER_ADDRESS_MAX",
        key: "publish_rate_per_address_max",
        default: Fallback::Text("0"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=RATE_MAX,
            set: Set::Hub(|config, number| config.publish_rate_per_address_max = half(number)),
        },
        live: true,
        help: "Events published a second by one address; 0 is no limit",
    },
    Row {
        flag: "--slow-policy",
        variable: "FANFARE_SLOW_POLICY",
        key: "slow_policy",
        default: Fallback::Text("gap"),
        value: Value::Choice {
            of: &["gap", "disconnect", "latest"],
            set: Set::Channel(|kept, word| {
                let policy = SlowPolicy::ALL.into_iter().find(|policy| policy.as_str() == word);
                kept.slow_policy = policy.unwrap_or_default();
            }),
        },
        live: true,
        help: "What becomes of a subscriber that lost events by being slow, after it is told",
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
        live: true,
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
        live: true,
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
        live: false,
        help: "Bytes that the kernel may hold unsent for one subscriber",
    },
];
