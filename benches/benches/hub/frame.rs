//! Encoding an event: everything but its id and its length, which its place in the log gives.

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare_core::Draft;

pub(crate) fn bench(criterion: &mut Criterion) {
    let line = "x".repeat(63) + "\n";
    let cases =
        [("100 B", "x".repeat(100)), ("4 KiB", "x".repeat(4_096)), ("64 lines", line.repeat(64))];
    let mut group = criterion.benchmark_group("frame");
    for (name, data) in &cases {
        group.throughput(Throughput::Bytes(data.len() as u64));
        let id = BenchmarkId::new("encode", name);
        group.bench_with_input(id, data, |bencher, data| bencher.iter(|| Draft::new(None, data)));
    }
    group.finish();
}
