//! `fanfare status`: whether a channel is open and how it ended, who is on it, what it has.

use std::time::{Duration, UNIX_EPOCH};

use hyper::Method;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    amount,
    hub::{self, ClientError, Hub},
};
use crate::{limits::ANSWER_TIME_MAX, terminal};

/// Which channel to look at.
#[derive(Debug)]
pub(crate) struct Status {
    /// The hub.
    pub(crate) hub: Hub,
    /// The channel, as typed.
    pub(crate) channel: String,
    /// Whether it is printed as the hub tells it.
    pub(crate) json: bool,
}

/// Looks once.
pub(crate) async fn run(status: Status) -> Result<(), ClientError> {
    let path = hub::path("/status", &status.channel);
    let (body, told): (_, Told) = ask(&status.hub, Method::GET, &path).await?;
    let text = if status.json { format!("{}\n", body.trim_end()) } else { words(&told) };
    terminal::out(&text).map_err(ClientError::Output)
}

/// What the public listener answers in JSON, as it came and as what it is.
pub(super) async fn ask<T: serde::de::DeserializeOwned>(
    hub: &Hub,
    method: Method,
    path: &str,
) -> Result<(String, T), ClientError> {
    let asking = timeout(ANSWER_TIME_MAX, hub.answer(method, path));
    let body = asking.await.unwrap_or(Err(ClientError::Silent))?;
    let told = serde_json::from_str(&body);
    told.map(|told| (body, told)).map_err(|_| ClientError::NoHub("what answers is not a hub"))
}

/// Whether a channel is open, and how it was closed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Standing {
    state: String,
    #[serde(default)]
    reason: Option<String>,
}

impl Standing {
    /// It in a line.
    pub(super) fn words(&self) -> String {
        let state = amount::visible(&self.state);
        match &self.reason {
            Some(reason) => format!("{state} ({})", amount::visible(reason)),
            None if state == "cancelling" => format!("{state}: its producer is asked to stop"),
            None => state,
        }
    }
}

/// What a hub tells of a channel. Times are Unix milliseconds.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(flatten)]
    standing: Standing,
    #[serde(flatten)]
    figures: Figures,
}

/// All of it that may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Figures {
    first_id: Option<String>,
    last_id: Option<String>,
    events: u64,
    bytes: u64,
    kept: Kept,
    subscribers: u64,
    publishing: u64,
    created_at: Option<u64>,
    updated_at: Option<u64>,
    closed_at: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kept {
    events: u64,
}

/// It for people, a line each.
fn words(Told { standing, figures }: &Told) -> String {
    let Figures { first_id, last_id, events, bytes, kept, .. } = figures;
    let ids = match (first_id, last_id) {
        (Some(first), Some(last)) => {
            format!(", {} to {}", amount::visible(first), amount::visible(last))
        }
        _ => String::new(),
    };
    let time = |ms: u64| {
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms))?;
        // Beyond the year 9999 it cannot be written.
        (ms < YEAR_10000_MS).then(|| humantime::format_rfc3339_seconds(time).to_string())
    };
    let rows = [
        ("events", Some(format!("{}, {}", amount::count(*events), amount::bytes(*bytes as f64)))),
        ("kept", Some(format!("{}{ids}", amount::count(kept.events)))),
        ("subscribers", Some(amount::count(figures.subscribers))),
        ("streaming", Some(amount::count(figures.publishing))),
        ("created", figures.created_at.and_then(time)),
        ("updated", figures.updated_at.and_then(time)),
        ("closed", figures.closed_at.and_then(time)),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let rows: String = rows.map(|(name, value)| format!("{name:<11}  {value}\n")).collect();
    format!("{:<11}  {}\n{rows}", "state", standing.words())
}

const YEAR_10000_MS: u64 = 253_402_300_800_000;
