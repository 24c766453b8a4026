//! The drain: publishes in flight finish, subscribers are sent away, spread over the period.

use std::time::Duration;

use fanfare_fanout::limits::DRAIN_STREAMING_FROM;
use tokio::time::{Instant, timeout_at};

use crate::{
    limits::{DRAIN_LINGER_MS, DRAIN_PUBLISHES_MS_MAX},
    state::Shared,
};

/// How a drain went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drained {
    /// Subscribers that were told to come back, on the sides where all of them were in time.
    pub subscribers_sent_away: u64,
    /// Whether the last of them was gone in time; others were cut.
    pub in_time: bool,
}

/// Runs the drain that has begun to its end.
pub(crate) async fn run(shared: &Shared) -> Drained {
    let state = &shared.state;
    let period = state.drain_left();
    let began = Instant::now();
    let deadline = began + period + Duration::from_millis(DRAIN_LINGER_MS);
    state.publishes.close();
    // Publishes of one event are done in a moment; only streams take longer. Those may go on for
    // a part of the period, and their subscribers are sent away after it.
    let moment = period.mul_f32(0.1).min(Duration::from_millis(DRAIN_PUBLISHES_MS_MAX));
    drop(timeout_at(began + moment, state.publishes.wait()).await);
    let left = period.saturating_sub(began.elapsed());
    let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let streams_end = async {
        drop(timeout_at(began + period.mul_f32(STREAMS_SHARE), state.publishes.wait()).await);
        state.publishes_end.cancel();
    };
    let (one, two, ()) = tokio::join!(
        timeout_at(deadline, shared.fanout.drain(ms)),
        timeout_at(deadline, shared.h2.drain(left)),
        streams_end,
    );
    Drained {
        subscribers_sent_away: one.as_ref().unwrap_or(&0) + two.as_ref().unwrap_or(&0),
        in_time: one.is_ok() && two.is_ok(),
    }
}

/// The share of the period for which open streaming publishes may go on.
const STREAMS_SHARE: f32 = 0.7;
const _: () = assert!(STREAMS_SHARE < DRAIN_STREAMING_FROM);
