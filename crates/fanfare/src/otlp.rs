//! Traces of publishes on their way to a collector: OTLP over HTTP, in the binary form.
//!
//! Policy: spans are sent a batch at a time, each on a connection of its own; a batch that the
//! collector does not take is dropped and counted, because the next one is there already.

mod protobuf;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use fanfare_server::{ProcessCounts, Span};
use http_body_util::Full;
use hyper::{Method, header};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    client::hub::{ClientError, Hub},
    limits::{SPANS_BATCH_MAX, SPANS_FLUSH_TIME_MAX, SPANS_INTERVAL, SPANS_SEND_TIME_MAX},
};

/// The task that exports.
pub(crate) struct Exporter {
    /// Dropped when what is queued is all that is to be exported.
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What the task needs.
struct Collector {
    hub: Hub,
    resource: Vec<(&'static str, String)>,
    counts: Arc<ProcessCounts>,
    /// Whether the last batch was taken; said when it changes.
    is_reached: bool,
}

impl Exporter {
    /// Exports spans to the collector at a URL, from now on. `instance` tells this hub from others.
    pub(crate) fn start(
        url: &str,
        instance: String,
        mut spans: mpsc::Receiver<Span>,
        counts: Arc<ProcessCounts>,
    ) -> Result<Self, ClientError> {
        let resource = vec![
            ("service.name", "fanfare".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance),
        ];
        let hub = Hub::parse(url, "--otlp-endpoint")?;
        let mut collector = Collector { hub, resource, counts, is_reached: true };
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(SPANS_BATCH_MAX);
            loop {
                let has_ended = tokio::select! {
                    _ended = &mut ended => true,
                    open = gather(&mut spans, &mut batch) => !open,
                };
                collector.send(&mut batch).await;
                if has_ended {
                    break;
                }
            }
            // Nothing more is waited for.
            spans.close();
            while spans.recv_many(&mut batch, SPANS_BATCH_MAX).await > 0 {
                collector.send(&mut batch).await;
            }
        });
        Ok(Self { end, task })
    }

    /// Exports what is queued, but not for ever.
    pub(crate) async fn finish(self) {
        drop(self.end);
        if timeout(SPANS_FLUSH_TIME_MAX, self.task).await.is_err() {
            tracing::warn!("the collector was too slow for the last spans");
        }
    }
}

/// Waits for spans, and then for those that come soon after, up to a batch. Those that it has are
/// in the batch also when it is dropped. Returns whether more may come.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if spans.recv_many(batch, SPANS_BATCH_MAX).await == 0 {
        return false;
    }
    let more = async {
        while batch.len() < SPANS_BATCH_MAX {
            if spans.recv_many(batch, SPANS_BATCH_MAX - batch.len()).await == 0 {
                return false;
            }
        }
        true
    };
    // Full or in time, it goes.
    timeout(SPANS_INTERVAL, more).await.unwrap_or(true)
}

impl Collector {
    /// Sends a batch, and leaves it empty.
    async fn send(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let resource: Vec<_> = self.resource.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let body = protobuf::request(&resource, batch);
        let refused = match timeout(SPANS_SEND_TIME_MAX, self.post(body)).await {
            Ok(Ok(status)) if status.is_success() => None,
            Ok(Ok(status)) => Some(status.to_string()),
            Ok(Err(ClientError::Connect { error, .. })) => Some(error.to_string()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let of = if refused.is_none() {
            &self.counts.spans_exported
        } else {
            &self.counts.spans_dropped
        };
        of.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.clear();
        match &refused {
            Some(why) if self.is_reached => {
                tracing::warn!(why, "the collector takes no spans, they are dropped");
            }
            None if !self.is_reached => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        self.is_reached = refused.is_none();
    }

    async fn post(&self, body: Vec<u8>) -> Result<hyper::StatusCode, ClientError> {
        let request = self.hub.request("/v1/traces").method(Method::POST);
        let request = request.header(header::CONTENT_TYPE, "application/x-protobuf");
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ClientError::System(io::Error::other(error)))?;
        Ok(self.hub.send(request).await?.status())
    }
}
