//! The rows of the listeners: where the hub is, and who may talk to it.

use super::half;
use crate::settings::{
    names::{host, network, origin},
    row::{Fallback, Row, Set, Value},
    unit::Unit,
};

/// In the order of `--help`.
pub(super) static ROWS: &[Row] = &[
    Row {
        flag: "--listen",
        variable: "FANFARE_LISTEN",
        key: "listen",
        default: Fallback::Text("127.0.0.1:8080"),
        value: Value::Address(|config, address| config.listen = address),
        live: false,
        help: "The public listener: publish and subscribe",
    },
    Row {
        flag: "--admin-listen",
        variable: "FANFARE_ADMIN_LISTEN",
        key: "admin_listen",
        default: Fallback::Text("127.0.0.1:8081"),
        value: Value::Address(|config, address| config.admin_listen = address),
        live: false,
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
        live: true,
        help: "Hosts that requests may name beside the loopback ones; needed off loopback",
    },
    Row {
        flag: "--insecure-open",
        variable: "FANFARE_INSECURE_OPEN",
        key: "insecure_open",
        default: Fallback::Text("false"),
        value: Value::Switch(|config, on| config.insecure_open = on),
        live: false,
        help: "Let anyone who reaches a public listener off loopback publish and subscribe",
    },
    Row {
        flag: "--insecure-open-admin",
        variable: "FANFARE_INSECURE_OPEN_ADMIN",
        key: "insecure_open_admin",
        default: Fallback::Text("false"),
        value: Value::Switch(|config, on| config.insecure_open_admin = on),
        live: false,
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
        live: true,
        help: "Origins beside the hub's own whose pages may subscribe and publish",
    },
    Row {
        flag: "--trusted-proxy",
        variable: "FANFARE_TRUSTED_PROXIES",
        key: "trusted_proxies",
        default: Fallback::Text(""),
        value: Value::Names {
            parse: network,
            set: |config, networks| {
                config.trusted_proxies = networks.iter().filter_map(|n| n.parse().ok()).collect();
            },
            words: "networks such as 10.0.0.0/8 or ::1",
        },
        live: true,
        help: "Networks of proxies whose word on the client's address is taken",
    },
    Row {
        flag: "--proxy-protocol",
        variable: "FANFARE_PROXY_PROTOCOL",
        key: "proxy_protocol",
        default: Fallback::Text("false"),
        value: Value::Switch(|config, on| config.proxy_protocol = on),
        live: true,
        help: "Whether connections of trusted proxies begin with a header of the PROXY protocol",
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
        live: false,
        help: "Connections that the kernel queues before they are accepted",
    },
];
