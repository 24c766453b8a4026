//! The drain: load balancers get time to look elsewhere, publishes in flight finish, subscribers
//! are sent away, spread over the period. One that operators asked for can be taken back.

mod phase;

use std::time::Duration;

use fanfare_fanout::limits::DRAIN_STREAMING_FROM;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at};

use self::phase::Asked;
pub use self::phase::Phase;
pub(crate) use self::phase::{Drain, Stopping};
use crate::{
    limits::{DRAIN_LINGER_MS, DRAIN_PUBLISHES_MS_MAX, DRAIN_TOLD_INTERVAL_MS},
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

/// How far a drain is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// What is left of its delay and its period.
    pub(crate) left_ms: u64,
    /// Subscribers that it has sent away.
    pub(crate) departed: u64,
    /// Subscribers that it is yet to send away.
    pub(crate) subscribers_left: u64,
}

/// How far the drain is, if there is one.
pub(crate) fn progress(shared: &Shared) -> Progress {
    let drain = &shared.state.drain;
    let (phase, left_ms) = (drain.phase(), millis(drain.time_left()));
    let (one, two) = (shared.fanout.drain_progress(), shared.h2.drain_progress());
    match phase {
        Phase::None => Progress { phase, left_ms: 0, departed: 0, subscribers_left: 0 },
        // What the workers know is of the drain before.
        Phase::Delay | Phase::Publishes => {
            let subscribers_left = shared.state.hub.subscribers() as u64;
            Progress { phase, left_ms, departed: 0, subscribers_left }
        }
        Phase::Subscribers | Phase::Done => {
            let (departed, subscribers_left) = (one.departed + two.departed, one.left + two.left);
            Progress { phase, left_ms, departed, subscribers_left }
        }
    }
}

/// Drains whenever that is asked for, until the drain that ends the process is over.
pub(crate) async fn run(shared: &Shared) -> Drained {
    let drain = &shared.state.drain;
    loop {
        // One that is taken back before this looks is one all the same: who took it back waits.
        let by = match drain.until(&[Asked::Drain, Asked::TakeBack, Asked::Stop]).await {
            Asked::Stop => "a signal",
            _ => "operators",
        };
        tokio::select! {
            biased;
            _taken_back = drain.until(&[Asked::TakeBack]) => {}
            drained = once(shared, by) => {
                // The hub stays empty until its operators know what they want.
                if drain.until(&[Asked::TakeBack, Asked::Stop]).await == Asked::Stop {
                    return drained;
                }
            }
        }
        take_back(shared).await;
    }
}

/// Drains to the end.
async fn once(shared: &Shared, by: &str) -> Drained {
    let (state, drain) = (&shared.state, &shared.state.drain);
    let subscribers = state.hub.subscribers();
    let (delay_ms, left_ms) = (millis(drain.delay_left()), millis(drain.time_left()));
    tracing::info!(by, subscribers, delay_ms, left_ms, "the drain begins");
    let began = Instant::now();
    let drained = tokio::select! {
        drained = send_away(shared) => drained,
        never = tell(shared) => match never {},
    };
    drain.set(Phase::Done);
    let Drained { subscribers_sent_away: departed, in_time } = drained;
    let (took_ms, subscribers_left) = (millis(began.elapsed()), state.hub.subscribers());
    tracing::info!(departed, in_time, subscribers_left, took_ms, "the drain is over");
    drained
}

/// Goes through the phases.
async fn send_away(shared: &Shared) -> Drained {
    let (state, drain) = (&shared.state, &shared.state.drain);
    sleep(drain.delay_left()).await;
    drain.set(Phase::Publishes);
    let period = drain.time_left();
    let began = Instant::now();
    let deadline = began + period + Duration::from_millis(DRAIN_LINGER_MS);
    state.publishes.close();
    // Publishes of one event are done in a moment; only streams take longer. Those may go on for
    // a part of the period, and their subscribers are sent away after it.
    let moment = period.mul_f32(0.1).min(Duration::from_millis(DRAIN_PUBLISHES_MS_MAX));
    drop(timeout_at(began + moment, state.publishes.wait()).await);
    drain.set(Phase::Subscribers);
    let left = period.saturating_sub(began.elapsed());
    let streams_end = async {
        drop(timeout_at(began + period.mul_f32(STREAMS_SHARE), state.publishes.wait()).await);
        drain.publishes_end.turn_on();
    };
    let (one, two, ()) = tokio::join!(
        timeout_at(deadline, shared.fanout.drain(millis(left))),
        timeout_at(deadline, shared.h2.drain(left)),
        streams_end,
    );
    Drained {
        subscribers_sent_away: one.as_ref().unwrap_or(&0) + two.as_ref().unwrap_or(&0),
        in_time: one.is_ok() && two.is_ok(),
    }
}

/// Tells in the log how far it is, now and then.
async fn tell(shared: &Shared) -> std::convert::Infallible {
    let period = Duration::from_millis(DRAIN_TOLD_INTERVAL_MS);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Progress { phase, left_ms, departed, subscribers_left } = progress(shared);
        let phase = phase.as_str();
        tracing::info!(phase, departed, subscribers_left, left_ms, "the drain goes on");
    }
}

/// Makes the hub what it was before the drain; who was sent away comes back by itself.
async fn take_back(shared: &Shared) {
    let Progress { phase, departed, subscribers_left, .. } = progress(shared);
    let phase = phase.as_str();
    shared.fanout.drain_cancel().await;
    shared.h2.drain_cancel();
    shared.state.publishes.reopen();
    shared.state.drain.publishes_end.turn_off();
    shared.state.drain.taken_back();
    tracing::info!(phase, departed, subscribers_left, "the drain is taken back");
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The share of the period for which open streaming publishes may go on.
const STREAMS_SHARE: f32 = 0.7;
const _: () = assert!(STREAMS_SHARE < DRAIN_STREAMING_FROM);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, testing};

    #[tokio::test]
    async fn one_that_is_taken_back_before_it_was_seen_is_taken_back() {
        let shared = testing::shared();
        let drain = &shared.state.drain;
        let config = Config { drain_period_ms: 60_000, ..Config::default() };
        // On one thread the task that drains does not run in between.
        assert!(drain.begin(&config).await);
        tokio::select! {
            biased;
            taken_back = drain.take_back() => assert_eq!(taken_back, Ok(())),
            _drained = run(&shared) => panic!("the process does not end"),
        }
        assert!(!drain.is_on());
    }
}
