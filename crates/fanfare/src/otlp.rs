//! Traces of publishes on their way to a collector: the OpenTelemetry SDK makes, samples, queues
//! and batches spans, and its exporter sends them as OTLP over HTTP.
//!
//! Policy: the queue is bounded and no publish waits for it. A batch that the collector does not
//! take in time is dropped and counted, because the next one is there already.

mod queue;
mod spans;
mod transport;

use std::{error::Error, sync::Arc};

use fanfare_server::{ProcessCounts, Tracer};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanProcessor},
};
use tokio::{runtime::Handle, task::spawn_blocking};

use self::{
    queue::{Counted, Queue},
    spans::Publishes,
    transport::{TRACES_PATH, Transport},
};
use crate::limits::{
    SPANS_BATCH_MAX, SPANS_FLUSH_TIME_MAX, SPANS_INTERVAL, SPANS_MAX, SPANS_SEND_TIME_MAX,
};

/// What exports.
#[derive(Debug)]
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Exports spans to the collector at a URL, from now on, and so many percent of those whose
    /// sender has not decided. `instance` tells this hub from others. Within a tokio runtime only.
    pub(crate) fn start(
        url: &str,
        percent: u32,
        instance: String,
        counts: Arc<ProcessCounts>,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let transport = Transport::new(url, Handle::current())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(transport)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{TRACES_PATH}", url.trim_end_matches('/')))
            .with_timeout(SPANS_SEND_TIME_MAX)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_MAX)
            .with_max_export_batch_size(SPANS_BATCH_MAX)
            .with_scheduled_delay(SPANS_INTERVAL)
            .build();
        let queue = Queue::new(counts, |counter| {
            let exporter = Counted::new(exporter, counter);
            BatchSpanProcessor::builder(exporter).with_batch_config(batches).build()
        });
        let resource = Resource::builder().with_service_name("fanfare").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ]);
        Ok(Self(provider(queue, percent, resource.build())))
    }

    /// What the hub begins spans with.
    pub(crate) fn tracer(&self) -> Box<dyn Tracer> {
        Box::new(Publishes::new(self.0.tracer("fanfare")))
    }

    /// Exports what is queued, but not for ever.
    pub(crate) async fn finish(self) {
        // The library waits on the thread that asks.
        let flushed = spawn_blocking(move || self.0.shutdown_with_timeout(SPANS_FLUSH_TIME_MAX));
        let flushed = flushed.await.map_err(|error| error.to_string());
        if let Err(why) = flushed.and_then(|flushed| flushed.map_err(|error| error.to_string())) {
            tracing::warn!(why, "the last spans are lost");
        }
    }
}

/// The library, with spans as a hub wants them.
fn provider(
    spans: impl SpanProcessor + 'static,
    percent: u32,
    resource: Resource,
) -> SdkTracerProvider {
    let by_chance = Sampler::TraceIdRatioBased(f64::from(percent) / 100.0);
    SdkTracerProvider::builder()
        .with_span_processor(spans)
        .with_sampler(Sampler::ParentBased(Box::new(by_chance)))
        .with_resource(resource)
        .build()
}
