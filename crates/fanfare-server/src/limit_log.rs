//! Limits that were reached, as lines of the log: whoever meets one a thousand times a second
//! makes a line of it now and then, with how often it was.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fanfare_core::Limit;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    limits::{EVICTIONS_TOLD_INTERVAL_MS, LIMITS_LOOK_INTERVAL_MS, REPEATED_TOLD_INTERVAL_MS},
    metrics::Reached,
    state::State,
};

/// Tells of them until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let mut told = Told::default();
    let mut ticks = interval(Duration::from_millis(LIMITS_LOOK_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for limit in Limit::ALL {
            let times = told.due(limit.as_str(), state.hub.limit_total(limit), pause(limit), now);
            match times {
                // Nothing is wrong with a hub that keeps no more than it is to keep.
                Some(times) if is_eviction(limit) => {
                    tracing::info!(limit = limit.as_str(), times, "the oldest was let go");
                }
                Some(times) => tell(limit.as_str(), times),
                None => {}
            }
        }
        for limit in Reached::ALL {
            let total = state.metrics.reached_total(limit);
            let pause = Duration::from_millis(REPEATED_TOLD_INTERVAL_MS);
            let times = told.due(limit.as_str(), total, pause, now);
            times.into_iter().for_each(|times| tell(limit.as_str(), times));
        }
        // Those of an upstream that dies come all at once, and only the first is told at once.
        if let Some(times) = state.upstreams.failures.rest() {
            tracing::warn!(times, "more fetches of upstreams failed");
        }
    }
}

fn tell(limit: &str, times: u64) {
    tracing::warn!(limit, times, "a limit was reached");
}

fn is_eviction(limit: Limit) -> bool {
    matches!(limit, Limit::JournalEvents | Limit::RingsBytes)
}

fn pause(limit: Limit) -> Duration {
    Duration::from_millis(if is_eviction(limit) {
        EVICTIONS_TOLD_INTERVAL_MS
    } else {
        REPEATED_TOLD_INTERVAL_MS
    })
}

/// What was told of each limit: how often it had been reached by then, and when.
#[derive(Debug, Default)]
struct Told(HashMap<&'static str, (u64, Instant)>);

impl Told {
    /// How often a limit was reached since it was told of, if that is to be told now.
    fn due(
        &mut self,
        limit: &'static str,
        total: u64,
        pause: Duration,
        now: Instant,
    ) -> Option<u64> {
        let (before, is_early) = match self.0.get(limit) {
            Some((before, at)) => (*before, now.duration_since(*at) < pause),
            None => (0, false),
        };
        if total == before || is_early {
            return None;
        }
        self.0.insert(limit, (total, now));
        Some(total - before)
    }
}

/// Lets something be told now and then, and counts it meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When it was told last, and how often it was to be since.
    told: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// How often it happened since it was told last, if it is to be told now.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.add(1)
    }

    /// How often it happened and was not told, if that is to be told now.
    pub(crate) fn rest(&self) -> Option<u64> {
        self.add(0)
    }

    fn add(&self, more: u64) -> Option<u64> {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, times) = &mut *told;
        *times += more;
        let pause = Duration::from_millis(REPEATED_TOLD_INTERVAL_MS);
        if *times == 0 || at.is_some_and(|at| now.duration_since(at) < pause) {
            return None;
        }
        *at = Some(now);
        Some(std::mem::take(times))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::yield_now, time::advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_a_line_now_and_then_with_how_often() {
        let (mut told, pause) = (Told::default(), Duration::from_secs(10));
        let mut due = |total| told.due("a", total, pause, Instant::now());
        assert_eq!((due(0), due(3), due(3), due(500)), (None, Some(3), None, None));
        advance(pause).await;
        assert_eq!((due(501), due(502)), (Some(498), None));
        advance(pause).await;
        advance(pause).await;
        assert_eq!((due(502), due(502)), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_repeats_is_counted_until_it_is_told() {
        let throttle = Throttle::default();
        assert_eq!((throttle.pass(), throttle.pass(), throttle.pass()), (Some(1), None, None));
        advance(Duration::from_millis(REPEATED_TOLD_INTERVAL_MS)).await;
        assert_eq!((throttle.pass(), throttle.pass()), (Some(3), None));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_nothing_follows_are_told_later() {
        let state = crate::testing::state();
        let failures = &state.upstreams.failures;
        assert_eq!(failures.rest(), None);
        assert_eq!((failures.pass(), failures.pass()), (Some(1), None));
        let pause = Duration::from_millis(REPEATED_TOLD_INTERVAL_MS);
        let looks = tokio::spawn(run(Arc::clone(&state)));
        yield_now().await;
        advance(2 * pause).await;
        yield_now().await;
        assert_eq!(failures.rest(), None, "it was told");
        assert_eq!(failures.pass(), None, "that was a moment ago");
        looks.abort();
        drop(looks.await);
        advance(pause).await;
        assert_eq!((failures.rest(), failures.rest()), (Some(1), None));
    }
}
