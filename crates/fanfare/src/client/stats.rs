//! What `GET /api/stats` tells. Hubs of other versions may tell less: what is missing is nothing.

use serde::Deserialize;

/// How far a drain is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Drain {
    /// What it is at.
    pub(crate) phase: Phase,
    /// Milliseconds to the end of the phase or of the whole, as the hub plans it.
    pub(crate) left_ms: u64,
    /// Subscribers that were sent away.
    pub(crate) departed: u64,
    /// Those that were not yet.
    pub(crate) subscribers_left: u64,
}

/// What a drain is at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// There is none.
    #[default]
    None,
    /// Load balancers are given time.
    Delay,
    /// Publishes in flight finish.
    Publishes,
    /// Subscribers are sent away.
    Subscribers,
    /// All are gone.
    Done,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}
