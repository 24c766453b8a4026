//! Reading the same number of 100-byte events from one channel, and merged from several.

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare_benches::hub::{Core, channels};
use fanfare_core::{Draft, HubLimits, Run, Start, limits::BATCH_BYTES_MAX};

pub(crate) fn bench(criterion: &mut Criterion) {
    let data = "x".repeat(100);
    let mut group = criterion.benchmark_group("feed");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for count in [1, 8, 64] {
        let core = Core::without_worker(HubLimits::default());
        let channels = channels(count);
        for channel in channels.iter().cycle().take(EVENTS) {
            core.publish(channel, Draft::new(None, &data));
        }
        let subscription = core.subscribe(&channels, Start::Beginning, 0).subscription;
        let (feed, cursor) = (subscription.feed(), subscription.cursor);
        let mut run = Run::default();
        feed.read(&core.hub, cursor, BATCH_BYTES_MAX, &mut run);
        assert_eq!(run.frames.len(), EVENTS, "one batch has them all");
        group.bench_function(BenchmarkId::new("merge", count), |bencher| {
            bencher.iter(|| feed.read(&core.hub, cursor, BATCH_BYTES_MAX, &mut run));
        });
    }
    group.finish();
}

/// Events of a read: a multiple of every number of channels, and below [`BATCH_BYTES_MAX`].
const EVENTS: usize = 256;
