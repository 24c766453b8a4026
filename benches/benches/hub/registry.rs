//! Finding a channel among one and among 100,000: alone, and as part of a publish that nobody
//! reads.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use fanfare_benches::hub::{Core, channels};
use fanfare_core::{Draft, HubLimits, Retention};

pub(crate) fn bench(criterion: &mut Criterion) {
    let data = "x".repeat(100);
    let draft = || Draft::new(None, &data);
    let mut group = criterion.benchmark_group("registry");
    group.throughput(Throughput::Elements(1));
    for count in [1, CHANNELS_MANY] {
        // Rings of one event and a journal of as many events, so that memory does not grow while
        // it is measured.
        let retention = Retention { ring_events_max: 1, ..Retention::default() };
        let journal_events_max = CHANNELS_MANY;
        let limits = HubLimits { retention, journal_events_max, ..HubLimits::default() };
        let core = Core::without_worker(limits);
        let channels = channels(count);
        for channel in channels.iter().cycle().take(CHANNELS_MANY) {
            core.publish(channel, draft());
        }
        let mut at = 0;
        let mut next = || {
            at = (at + STRIDE) % channels.len();
            &channels[at]
        };
        group.bench_function(BenchmarkId::new("find", count), |bencher| {
            bencher.iter(|| core.hub.channel(next()));
        });
        group.bench_function(BenchmarkId::new("publish", count), |bencher| {
            let setup = || (next(), draft());
            let publish = |(channel, draft)| core.publish(channel, draft);
            bencher.iter_batched(setup, publish, BatchSize::SmallInput);
        });
    }
    group.finish();
}

const CHANNELS_MANY: usize = 100_000;
/// From one channel to the next that is asked for: it has no divisor in common with the number of
/// channels, so that all take their turn, and neighbours in memory not one after the other.
const STRIDE: usize = 7_919;
