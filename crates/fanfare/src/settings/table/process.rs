//! The rows of the process: how it ends, and what it tells of itself.

use fanfare_server::LogFormat;

use super::{MINUTE, SECOND, half};
use crate::settings::{
    names::collector,
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// In the order of `--help`.
pub(super) static ROWS: &[Row] = &[
    Row {
        flag: "--drain-delay",
        variable: "FANFARE_DRAIN_DELAY",
        key: "drain_delay",
        default: Fallback::Text("0s"),
        value: Value::Number {
            unit: Unit::Duration,
            range: 0..=10 * MINUTE,
            set: Set::Hub(|config, number| config.drain_delay_ms = half(number)),
        },
        live: true,
        help: "How long a drain leaves load balancers to look elsewhere before anyone is sent away",
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
        live: true,
        help: "Over how long a stopping hub spreads the departures of its subscribers",
    },
    Row {
        flag: "--log",
        variable: "FANFARE_LOG",
        key: "log",
        default: Fallback::Text("info"),
        value: Value::Text {
            parse: |text| crate::log::parse(text).map(|_| text.to_owned()),
            set: |config, text| config.telemetry.log = text,
            words: "off, error, warn, info, debug, trace, or such as warn,fanfare_server=debug",
        },
        live: true,
        help: "What is logged",
    },
    Row {
        flag: "--log-format",
        variable: "FANFARE_LOG_FORMAT",
        key: "log_format",
        default: Fallback::Text("auto"),
        value: Value::Choice {
            of: &["auto", "human", "json"],
            set: Set::Hub(|config, word| {
                let format = LogFormat::ALL.into_iter().find(|format| format.as_str() == word);
                config.telemetry.log_format = format.unwrap_or_default();
            }),
        },
        live: false,
        help: "How log lines are written; auto is human on a terminal and json elsewhere",
    },
    Row {
        flag: "--otlp-endpoint",
        variable: "FANFARE_OTLP_ENDPOINT",
        key: "otlp_endpoint",
        default: Fallback::Text(""),
        value: Value::Text {
            parse: collector,
            set: |config, url| {
                config.telemetry.otlp_endpoint = Some(url).filter(|url| !url.is_empty());
            },
            words: "a URL such as http://127.0.0.1:4318",
        },
        live: false,
        help: "The OpenTelemetry collector that gets traces of publishes, over HTTP",
    },
    Row {
        flag: "--otlp-percent",
        variable: "FANFARE_OTLP_PERCENT",
        key: "otlp_percent",
        default: Fallback::Text("100"),
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=100,
            set: Set::Hub(|config, number| config.telemetry.otlp_percent = half(number)),
        },
        live: false,
        help: "Percent of publishes that are traced, unless their sender has decided",
    },
];
