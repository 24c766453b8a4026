//! From a publish until every subscriber has read the event: the real worker, real sockets, and
//! one thread that publishes and then reads from all of them.

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare_benches::{
    hub::channels,
    reading::{ROUND_BYTES_MAX, ROUND_END, data, read_to},
    rig::Rig,
};
use fanfare_core::HubLimits;

pub(crate) fn bench(criterion: &mut Criterion) {
    let data = data(100, true);
    let mut buffer = vec![0; ROUND_BYTES_MAX];
    let mut group = criterion.benchmark_group("delivery");
    for subscribers in [1, 100] {
        let rig = Rig::start(HubLimits::default());
        let channel = channels(1).remove(0);
        let mut sockets: Vec<_> = (0..subscribers).map(|_| rig.subscribe(&channel)).collect();
        group.throughput(Throughput::Elements(subscribers));
        group.bench_function(BenchmarkId::new("loopback", subscribers), |bencher| {
            bencher.iter(|| {
                rig.publish(&channel, &data);
                for socket in &mut sockets {
                    read_to(socket, ROUND_END, &mut buffer).unwrap();
                }
            });
        });
    }
    group.finish();
}
