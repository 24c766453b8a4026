//! A full ring of 100-byte events: pushing to it, which is all of a publish but the encoding, and
//! reading from it.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use fanfare_benches::hub::{Core, channels};
use fanfare_core::{
    Draft, HubLimits, Run, Start,
    limits::{BATCH_BYTES_MAX, RING_EVENTS_MAX},
};

pub(crate) fn bench(criterion: &mut Criterion) {
    // The journal is full when the ring is, so that neither grows while it is measured.
    let limits = HubLimits { journal_events_max: RING_EVENTS_MAX, ..HubLimits::default() };
    let core = Core::without_worker(limits);
    let channel = channels(1).remove(0);
    let data = "x".repeat(100);
    let draft = || Draft::new(None, &data);
    (0..=RING_EVENTS_MAX).for_each(|_| _ = core.publish(&channel, draft()));

    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("push", |bencher| {
        let push = |draft| core.publish(&channel, draft);
        bencher.iter_batched(draft, push, BatchSize::SmallInput);
    });
    for (name, start) in [("one event", Start::Last(1)), ("one batch", Start::Beginning)] {
        let subscription = core.subscribe(std::slice::from_ref(&channel), start, 0).subscription;
        let (feed, cursor) = (subscription.feed(), subscription.cursor);
        let mut run = Run::default();
        let mut read = || {
            feed.read(&core.hub, cursor, BATCH_BYTES_MAX, &mut run);
            run.frames.len()
        };
        group.throughput(Throughput::Elements(read() as u64));
        group.bench_function(BenchmarkId::new("read", name), |bencher| bencher.iter(&mut read));
    }
    group.finish();
}
