//! What the hub did in the last seconds: percentiles, and how busy workers were.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use fanfare_fanout::DELIVERY_BOUNDS_US;
use serde::Serialize;

use crate::{
    limits::STATS_WINDOW_SAMPLES,
    metrics::{PUBLISH_BOUNDS_NS, Published},
    state::Shared,
};

/// Figures of the last seconds, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<VecDeque<Sample>>);

/// What is compared with what comes later.
#[derive(Debug)]
struct Sample {
    at: Instant,
    delivery: Vec<u64>,
    publish: Vec<u64>,
    busy_ns: Vec<u64>,
}

/// What the hub did since the oldest sample.
#[derive(Debug)]
pub(super) struct Recent {
    /// From publish to socket.
    pub(super) delivery: Percentiles,
    /// Publishes that were accepted.
    pub(super) publish: Percentiles,
    /// How much of the time each worker had work.
    pub(super) busy_percent: Vec<f64>,
}

/// Percentiles of times; none without a sample. They are as exact as the bounds of the histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    samples: u64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Window {
    /// Adds a sample, and forgets the one that has become too old.
    pub(super) fn note(&self, shared: &Shared) {
        let mut samples = self.lock();
        if samples.len() > STATS_WINDOW_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample::of(shared));
    }

    /// What happened since the oldest sample.
    pub(super) fn recent(&self, shared: &Shared) -> Recent {
        let (now, samples) = (Sample::of(shared), self.lock());
        let Some(then) = samples.front() else {
            let busy_percent = vec![0.0; now.busy_ns.len()];
            let (delivery, publish) = (Percentiles::default(), Percentiles::default());
            return Recent { delivery, publish, busy_percent };
        };
        let ns = now.at.duration_since(then.at).as_nanos() as f64;
        let busy = more(&now.busy_ns, &then.busy_ns).into_iter();
        let percent = |busy: u64| (busy as f64 / ns.max(1.0) * 100.0).min(100.0);
        Recent {
            delivery: Percentiles::of(
                &DELIVERY_BOUNDS_US,
                1e3,
                &more(&now.delivery, &then.delivery),
            ),
            publish: Percentiles::of(&PUBLISH_BOUNDS_NS, 1e6, &more(&now.publish, &then.publish)),
            busy_percent: busy.map(percent).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    fn of(shared: &Shared) -> Self {
        let totals = shared.fanout.totals().plus(&shared.h2.totals());
        let accepted = shared.state.metrics.publish_times(Published::Accepted);
        Self {
            at: Instant::now(),
            delivery: totals.delivery.counts.into(),
            publish: accepted.counts.into(),
            busy_ns: shared.fanout.loads().iter().map(|load| load.busy_ns).collect(),
        }
    }
}

impl Percentiles {
    /// Of values that fell between bounds, so many of which are a millisecond.
    fn of(bounds: &[u64], per_ms: f64, counts: &[u64]) -> Self {
        let samples = counts.iter().sum();
        let at = |share| Some(quantile(bounds, counts, share)? / per_ms);
        Self { samples, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99) }
    }
}

/// Where a share of the values is reached, as if they were spread evenly between two bounds. What
/// is above all bounds counts as the last.
fn quantile(bounds: &[u64], counts: &[u64], share: f64) -> Option<f64> {
    let rank = counts.iter().sum::<u64>() as f64 * share;
    let mut below = 0.0;
    for (cell, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if below + count >= rank {
            let Some(upper) = bounds.get(cell) else { break };
            let lower = cell.checked_sub(1).map_or(0, |before| bounds[before]) as f64;
            return Some(lower + (*upper as f64 - lower) * ((rank - below) / count));
        }
        below += count;
    }
    let any = counts.iter().any(|count| *count > 0);
    bounds.last().filter(|_| any).map(|last| *last as f64)
}

/// By how much counts have risen.
fn more(now: &[u64], then: &[u64]) -> Vec<u64> {
    now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_between_the_bounds() {
        let bounds = [10, 20, 40];
        assert_eq!(Percentiles::of(&bounds, 10.0, &[0, 0, 0, 0]), Percentiles::default());
        let even = Percentiles::of(&bounds, 10.0, &[50, 50, 0, 0]);
        assert_eq!((even.samples, even.p50_ms, even.p90_ms), (100, Some(1.0), Some(1.8)));
        let high = Percentiles::of(&bounds, 10.0, &[0, 1, 0, 9]);
        assert_eq!((high.p50_ms, high.p99_ms), (Some(4.0), Some(4.0)));
        let one = Percentiles::of(&bounds, 1.0, &[0, 0, 1, 0]);
        assert_eq!(one.p50_ms, Some(30.0));
    }
}
