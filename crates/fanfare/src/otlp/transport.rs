//! How batches reach the collector: each on a connection of its own, by the client of the
//! commands.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    client::hub::{ClientError, Hub},
    limits::{ANSWER_BYTES_MAX, SPANS_SEND_TIME_MAX},
};

/// Where a collector takes traces.
pub(super) const TRACES_PATH: &str = "/v1/traces";

/// A collector, for a thread of the library that has no runtime.
#[derive(Debug)]
pub(super) struct Transport {
    collector: Hub,
    runtime: Handle,
    /// Whether the last batch was taken; said when it changes.
    is_reached: AtomicBool,
}

impl Transport {
    /// The way to the collector at a URL.
    pub(super) fn new(url: &str, runtime: Handle) -> Result<Self, ClientError> {
        let collector = Hub::parse(url, "--otlp-endpoint")?;
        Ok(Self { collector, runtime, is_reached: AtomicBool::new(true) })
    }

    /// Says whether the collector takes spans, if that is new.
    fn tell(&self, refused: Option<String>) {
        let was_reached = self.is_reached.swap(refused.is_none(), Ordering::Relaxed);
        match refused {
            Some(why) if was_reached => {
                tracing::warn!(
                    why,
                    "the collector takes no spans; if that lasts, they are dropped"
                );
            }
            None if !was_reached => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = send_in_time(self.collector.clone(), request);
        // The runtime, and with it the task, may be at its end.
        let answer = self.runtime.spawn(sending).await?;
        self.tell(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(ClientError::Connect { error, .. }) => Some(error.to_string()),
            Err(ClientError::Silent) => Some("no answer in time".to_owned()),
            Err(error) => Some(error.to_string()),
        });
        Ok(answer?)
    }
}

async fn send_in_time(
    collector: Hub,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, ClientError> {
    let sent = timeout(SPANS_SEND_TIME_MAX, send(collector, request)).await;
    sent.unwrap_or(Err(ClientError::Silent))
}

async fn send(collector: Hub, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
    let (head, body) = request.into_parts();
    let request = collector.request(TRACES_PATH).method(head.method).body(Full::new(body));
    let mut request = request.map_err(|error| ClientError::System(io::Error::other(error)))?;
    request.headers_mut().extend(head.headers);
    let (head, body) = collector.send(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ClientError::Answer)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
