//! The HTTP side of the Fanfare hub: publish, subscribe, history, admin, metrics.
//!
//! hyper parses every request. A publish is placed by the broker and answered; an HTTP/1
//! subscriber's socket leaves hyper for a fan-out worker; an HTTP/2 subscriber is a body in hyper
//! that reads the same feeds. When the hub is full or drains, a subscribe is answered 200 and told
//! to come back, because a browser stops for good at any other status.

mod acks;
mod activity;
mod address;
mod addresses;
mod admin;
mod body;
mod bucket;
mod budget;
mod cancel;
mod coalesce;
mod config;
mod connection;
mod console;
mod delete;
mod drain;
mod entrance;
mod guard;
mod h2;
mod handle;
mod history;
mod limit_log;
pub mod limits;
mod lines;
mod listener;
mod memory;
mod metrics;
mod ndjson;
mod pace;
mod page;
mod places;
mod pressure;
mod problem;
mod process;
mod procfs;
mod producer;
mod proxy_header;
mod publish;
mod publish_many;
mod query;
mod route;
mod server;
mod service;
mod socket;
mod sse_body;
mod state;
mod status;
mod streaming;
mod subscribe;
mod switch;
#[cfg(test)]
mod testing;
mod trace;
mod upload;
mod upstream;
mod usage;

pub use config::{Config, LogFormat, Telemetry};
pub use drain::{Drained, Phase};
pub use handle::{Handle, Status};
pub use memory::{Budgeted, MemoryShares, OverBudget};
pub use process::ProcessCounts;
pub use server::{Server, StartError};
pub use trace::{PublishFacts, Span, Tracer};
pub use upstream::{
    PathRule, Patience, Tls, TlsError, Upstream, UpstreamHeader, UpstreamUrl, is_upstream_header,
    is_upstream_name,
};
