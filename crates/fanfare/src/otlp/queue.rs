//! The queue of spans, as the metrics see it. The library bounds it too, and drops what it has no
//! place for, but tells nobody: so the places are counted here, at both of its ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_server::ProcessCounts;
use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};

use crate::limits::SPANS_MAX;

/// What both ends count.
#[derive(Debug)]
pub(super) struct Counter {
    /// Spans that wait.
    queued: AtomicUsize,
    process: Arc<ProcessCounts>,
}

/// The end where spans go in.
#[derive(Debug)]
pub(super) struct Queue<P> {
    batches: P,
    counter: Arc<Counter>,
}

impl<P> Queue<P> {
    /// The queue in front of batches that are exported by a [`Counted`] with the same counter.
    pub(super) fn new(
        process: Arc<ProcessCounts>,
        batches: impl FnOnce(Arc<Counter>) -> P,
    ) -> Self {
        let counter = Arc::new(Counter { queued: AtomicUsize::new(0), process });
        Self { batches: batches(Arc::clone(&counter)), counter }
    }
}

impl<P: SpanProcessor> SpanProcessor for Queue<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let Counter { queued, process } = &*self.counter;
        if queued.fetch_add(1, Ordering::AcqRel) < SPANS_MAX {
            self.batches.on_end(span);
        } else {
            queued.fetch_sub(1, Ordering::AcqRel);
            process.spans_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// The end where they come out.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    counter: Arc<Counter>,
}

impl<E> Counted<E> {
    /// An exporter, and what counts its spans.
    pub(super) fn new(exporter: E, counter: Arc<Counter>) -> Self {
        Self { exporter, counter }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Counter { queued, process } = &*self.counter;
        let spans = batch.len();
        // They have left the queue.
        queued.fetch_sub(spans, Ordering::AcqRel);
        let exported = self.exporter.export(batch).await;
        let of = if exported.is_ok() { &process.spans_exported } else { &process.spans_dropped };
        of.fetch_add(spans as u64, Ordering::Relaxed);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        thread,
    };

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
    };

    use super::*;

    /// Takes each batch when it is told whether to, and says so before.
    #[derive(Debug)]
    struct Gate {
        asks: mpsc::SyncSender<usize>,
        answers: Mutex<mpsc::Receiver<bool>>,
    }

    impl SpanExporter for Gate {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.asks.send(batch.len()).unwrap();
            let taken = self.answers.lock().unwrap().recv().unwrap();
            taken.then_some(()).ok_or_else(|| OTelSdkError::InternalFailure("refused".into()))
        }
    }

    #[test]
    fn what_has_no_place_is_dropped_and_all_is_counted() {
        let (asks, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::sync_channel(SPANS_MAX);
        let gate = Gate { asks, answers: Mutex::new(answers) };
        let process = Arc::<ProcessCounts>::default();
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_MAX)
            .with_max_export_batch_size(2)
            .build();
        let queue = Queue::new(Arc::clone(&process), |counter| {
            let gate = Counted::new(gate, counter);
            BatchSpanProcessor::builder(gate).with_batch_config(config).build()
        });
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("test");
        let spans = |count| (0..count).for_each(|_| drop(tracer.start("publish")));
        let counted = || {
            let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            (of(&process.spans_exported), of(&process.spans_dropped))
        };
        spans(2);
        assert_eq!(asked.recv().unwrap(), 2, "a batch is on its way");
        spans(SPANS_MAX + 5);
        assert_eq!(counted(), (0, 5), "the queue is full, and nothing has waited");
        answer.send(false).unwrap();
        (0..SPANS_MAX).for_each(|_| answer.send(true).unwrap());
        let asks = thread::spawn(move || asked.iter().count());
        provider.shutdown().unwrap();
        drop((tracer, provider));
        assert_eq!(asks.join().unwrap(), SPANS_MAX / 2);
        assert_eq!(counted(), (SPANS_MAX as u64, 7));
    }
}
