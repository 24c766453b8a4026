//! The rows of all upstreams together; what each one needs is in the tables of the file.

use super::{KIB, MIB, whole};
use crate::settings::{
    machine::Machine,
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// In the order of `--help`.
pub(super) static ROWS: &[Row] = &[
    Row {
        flag: "--upstream-fetches-max",
        variable: "FANFARE_UPSTREAM_FETCHES_MAX",
        key: "upstream_fetches_max",
        default: Fallback::Machine {
            words: "1_000, or half of open files \u{2212} 576 if that is less",
            find: Machine::fetches_default,
        },
        value: Value::Number {
            unit: Unit::Count,
            range: 0..=1_000_000,
            set: Set::Hub(|config, count| config.upstream_fetches_max = whole(count)),
        },
        live: true,
        help: "Streams of [[upstreams]] that are fetched at once",
    },
    Row {
        flag: "--upstream-body-bytes-max",
        variable: "FANFARE_UPSTREAM_BODY_BYTES_MAX",
        key: "upstream_body_bytes_max",
        default: Fallback::Text("1MiB"),
        value: Value::Number {
            unit: Unit::Bytes,
            range: KIB..=16 * MIB,
            set: Set::Hub(|config, bytes| config.upstream_body_bytes_max = whole(bytes)),
        },
        live: true,
        help: "Bytes of a request's body that is handed on to an upstream",
    },
];
