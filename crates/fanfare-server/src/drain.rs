//! The drain: publishes in flight finish, subscribers are sent away, spread over the period.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    limits::{DRAIN_LINGER_MS, DRAIN_PUBLISHES_MS_MAX},
    state::Shared,
};

/// How a drain went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drained {
    /// Subscribers that were told to come back; 0 if not all could be.
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
    // Publishes of one event are done in a moment; only streams take longer. Those end for good
    // before the last subscribers, theirs among them, are sent away.
    let moment = period.mul_f32(0.1).min(Duration::from_millis(DRAIN_PUBLISHES_MS_MAX));
    drop(timeout_at(began + moment, state.publishes.wait()).await);
    let left = period.saturating_sub(began.elapsed());
    let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let departures = async {
        let end_of_publishes = async {
            sleep_until(began + period.mul_f32(STREAMS_SHARE)).await;
            state.publishes_end.cancel();
            std::future::pending::<()>().await;
        };
        let leave = async {
            let (one, two) = tokio::join!(shared.fanout.drain(ms), shared.h2.drain(left));
            one + two
        };
        tokio::select! {
            total = leave => total,
            () = end_of_publishes => unreachable!("the end of publishes only waits"),
        }
    };
    let sent_away = timeout_at(deadline, departures).await;
    state.publishes_end.cancel();
    match sent_away {
        Ok(subscribers_sent_away) => Drained { subscribers_sent_away, in_time: true },
        Err(_) => Drained { subscribers_sent_away: 0, in_time: false },
    }
}

/// The share of the period for which open streaming publishes may go on.
const STREAMS_SHARE: f32 = 0.7;
