//! One fetch: a request to an upstream, and what comes back as events of a channel.
//!
//! Policy: it goes on whoever leaves, and ends in exactly one way, which its channel tells. What
//! is read is published before more is read, so nothing piles up; each step has its time. All of it
//! goes to the life of the channel that it began on: one that is deleted is not made anew.

use std::{error::Error, future::poll_fn, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_core::{Change, Draft, Publication, Publishing, Standing, Watch};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1, header, header::HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::{
    task::coop::consume_budget,
    time::{timeout, timeout_at},
};
use tokio_util::task::{AbortOnDropHandle, task_tracker::TaskTrackerToken};

use super::{Ended, Masks, Upstream, connect::connect, ended::Said, slots::Slot};
use crate::{
    budget::Charge,
    limits::{UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_ERROR_BYTES_MAX, UPSTREAM_ERROR_MS_MAX},
    publish::{place, place_measured},
    sse_body::SseBody,
    state::State,
};

/// A fetch that is about to begin.
pub(super) struct Fetch {
    pub(super) state: Arc<State>,
    pub(super) upstream: Arc<Upstream>,
    /// What is asked of it, without the first slash.
    pub(super) path: String,
    /// What the request's body is.
    pub(super) content_type: Option<HeaderValue>,
    /// The request's body.
    pub(super) body: Bytes,
    /// The channel, and the place that the fetch has.
    pub(super) slot: Slot,
    /// What it takes beside its body and events.
    pub(super) memory: Charge,
    /// Tells of wishes and ends of the channel.
    pub(super) watch: Watch,
    /// Says that the channel is being published to.
    pub(super) publishing: Publishing,
    /// Keeps a drain waiting.
    pub(super) token: TaskTrackerToken,
}

impl Fetch {
    /// Fetches, publishes and closes the channel.
    pub(super) async fn run(mut self) {
        let masks = Masks::of(&self.upstream);
        let body = mem::take(&mut self.body);
        let state = Arc::clone(&self.state);
        let total = self.upstream.patience.total;
        let ended = tokio::select! {
            biased;
            ended = self.told() => ended,
            () = state.drain.publishes_end.until_on() => Ended::Drain,
            fetched = timeout(total, Box::pin(self.stream(body, &masks))) => match fetched {
                Ok(Ok(())) => Ended::Done,
                Ok(Err(ended)) => ended,
                Err(_) => Ended::Timeout("all of it", total),
            },
        };
        self.end(ended, &masks).await;
    }

    /// Waits until somebody wishes the end of it, or has brought it about.
    async fn told(&self) -> Ended {
        let mut standing = self.state.hub.standing(self.slot.channel());
        loop {
            match standing {
                Standing::Cancelling => return Ended::Cancelled,
                Standing::Closed(_) => return Ended::Closed,
                Standing::Open => {}
            }
            standing = poll_fn(|cx| self.watch.poll(cx)).await;
        }
    }

    /// Closes the channel and tells who wants to know.
    async fn end(self, mut ended: Ended, masks: &Masks) {
        let data_max = self.state.config().event_data_bytes_max;
        if let Some(change) = ended.change(&self.upstream.name, masks, data_max) {
            let last = self.publication(change, self.state.now_us());
            // It may have been closed or deleted meanwhile, and has ended like that then.
            if let Err(problem) = place_measured(&self.state, last).await
                && Ended::from(problem) == Ended::Closed
            {
                ended = Ended::Closed;
            }
        }
        let Self { state, upstream, slot, memory, publishing, token, watch, .. } = self;
        state.metrics.fetched(&ended);
        let (upstream, result) = (upstream.name.as_str(), ended.as_str());
        tracing::debug!(upstream, result, status = ended.status(), "a fetch has ended");
        if ended.is_failure()
            && let Some(times) = state.upstreams.failures.pass()
        {
            let status = ended.status();
            tracing::warn!(upstream, result, status, times, "a fetch of an upstream failed");
        }
        // In this order: the channel is free when nobody publishes to it any more, its place when
        // there is memory for the next one, and a drain goes on after that.
        drop((watch, publishing, memory, slot, token));
    }

    /// Publishes the whole stream, or says why not.
    async fn stream(&self, body: Bytes, masks: &Masks) -> Result<(), Ended> {
        let State { upstreams, metrics, .. } = &*self.state;
        let socket = connect(&self.upstream, &upstreams.lookups, metrics).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(UPSTREAM_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(broken)?;
        // Its error also ends the request or the body. It ends with this fetch at the latest.
        let _connection = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        let max = self.upstream.patience.first_byte;
        let answer = timeout(max, sender.send_request(self.request(body)?)).await;
        let answer = answer.map_err(|_| Ended::Timeout("the first byte", max))?;
        let body = check(answer.map_err(broken)?, masks).await?;
        self.publish(body, masks).await
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Ended> {
        let Upstream { url, headers: given, .. } = &*self.upstream;
        let mut request = Request::post(url.target(&self.path))
            .body(Full::new(body))
            .map_err(|error| Ended::Connect(error.to_string()))?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&url.authority);
        headers.insert(header::HOST, host.map_err(|e| Ended::Connect(e.to_string()))?);
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        // A connection has one stream.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        for header in given {
            headers.insert(header.name.clone(), header.value.clone());
        }
        Ok(request)
    }

    /// Publishes what comes, each event as soon as it is whole.
    async fn publish(&self, mut body: Incoming, masks: &Masks) -> Result<(), Ended> {
        let data_max = self.state.config().event_data_bytes_max;
        let mut source = SseBody::new(None, data_max).covered(masks.clone());
        let mut charge = self.state.requests.charge();
        let max = self.upstream.patience.idle;
        loop {
            let frame = timeout(max, body.frame()).await;
            let frame = frame.map_err(|_| Ended::Timeout("a pause", max))?;
            // An unfinished block is none (WHATWG HTML, section 9.2.6).
            let Some(frame) = frame else { return Ok(()) };
            let Ok(chunk) = frame.map_err(broken)?.into_data() else { continue };
            source.push(chunk);
            let now_us = self.state.now_us();
            while let Some(item) = source.next()? {
                self.place(item.draft, now_us).await?;
                // Others have a turn on this thread, however long the chunk is.
                consume_budget().await;
            }
            let charged = charge.resize(source.held_bytes());
            charged.map_err(|_| Ended::Full("requests hold too much memory".to_owned()))?;
        }
    }

    async fn place(&self, draft: Draft, now_us: u64) -> Result<(), Ended> {
        place(&self.state, self.publication(Change::Event(draft, None), now_us)).await?;
        Ok(())
    }

    /// A change of the channel in the life that the fetch began on, and in no other.
    fn publication(&self, change: Change, now_us: u64) -> Publication {
        let channel = self.publishing.channel();
        let (channel, instance) = (channel.name().clone(), Some(channel.instance()));
        Publication { channel, change, instance, producer: None, key: None, now_us }
    }
}

/// The body of an answer that is an event stream.
async fn check(answer: Response<Incoming>, masks: &Masks) -> Result<Incoming, Ended> {
    let (head, body) = answer.into_parts();
    let text = |name| {
        let value = head.headers.get(name).map(HeaderValue::as_bytes);
        value.map(|value| masks.cover(&String::from_utf8_lossy(value)).into_owned())
    };
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json");
    let coding = text(header::CONTENT_ENCODING).filter(|c| !c.eq_ignore_ascii_case("identity"));
    let is_stream = essence.eq_ignore_ascii_case("text/event-stream");
    if head.status.is_success() && is_stream && coding.is_none() {
        return Ok(body);
    }
    if head.status.is_redirection() {
        return Err(Ended::Redirect(head.status));
    }
    // What is coded is not read, so nothing is told of it.
    let said = match &coding {
        Some(_) => None,
        None => read_error(body, is_json, masks).await,
    };
    Err(match coding {
        _ if !head.status.is_success() => Ended::Status(head.status, said),
        Some(coding) => Ended::ContentEncoding(coding),
        None if essence.is_empty() => Ended::ContentType("no content type".to_owned(), said),
        None => Ended::ContentType(essence.to_owned(), said),
    })
}

/// The body of an answer that is an error, or as much of it as comes soon.
async fn read_error(mut body: Incoming, is_json: bool, masks: &Masks) -> Option<Said> {
    let (mut bytes, mut is_whole) = (Vec::new(), false);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(UPSTREAM_ERROR_MS_MAX);
    while bytes.len() <= UPSTREAM_ERROR_BYTES_MAX {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()))
            }
            Ok(None) => {
                is_whole = true;
                break;
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    is_whole &= bytes.len() <= UPSTREAM_ERROR_BYTES_MAX;
    bytes.truncate(UPSTREAM_ERROR_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes);
    let covered = if is_whole { masks.cover(&text).into_owned() } else { masks.cover_cut(&text) };
    Said::of(covered, is_json)
}

fn broken(error: hyper::Error) -> Ended {
    let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
    Ended::Broken(format!("{error}{cause}"))
}

const USER_AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
