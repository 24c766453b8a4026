//! The body of a request, read with patience but not for ever.
//!
//! Policy: a body that pauses for [`BODY_IDLE_MS_MAX`] is given up, and so is one that is still
//! coming when a drain ends. A body that broke off is never taken for one that ended. One that is
//! refused before its end is read on for a while, so that its peer gets to the answer.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::{Body, Frame},
    header,
};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{
    body::BodyError,
    limits::{BODY_DISCARD_BYTES_MAX, BODY_DISCARD_MS_MAX, BODY_IDLE_MS_MAX},
    metrics::Reached,
    problem::{Kind, Problem},
    state::State,
};

/// A body that can be uploaded: hyper's, or a test's.
pub(crate) trait Incoming:
    Body<Data = Bytes, Error: Into<BodyError> + Send> + Send + Unpin + 'static
{
}

impl<B> Incoming for B where
    B: Body<Data = Bytes, Error: Into<BodyError> + Send> + Send + Unpin + 'static
{
}

/// A body that is being read. Dropped before its end, it is read on and thrown away, within bounds
/// and beside the answer: a connection that is closed with unread input is reset, and the answer
/// is lost with it.
#[derive(Debug)]
pub(crate) struct Upload<B: Incoming> {
    /// None once its end was seen.
    body: Option<B>,
    /// Whether the peer waits for `100 Continue`, which the first read sends.
    waits: bool,
}

impl<B: Incoming> Upload<B> {
    pub(crate) fn new(body: B, headers: &HeaderMap) -> Self {
        Self { body: Some(body), waits: headers.contains_key(header::EXPECT) }
    }

    /// Bytes of the whole body, if the head said so.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.size_hint().exact())
    }

    /// Whether the last chunk was read.
    pub(crate) fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The next bytes, at least one; none at the end.
    pub(crate) async fn chunk(&mut self, state: &State) -> Result<Option<Bytes>, Problem> {
        if state.drain.publishes_end.is_on() {
            return Err(Problem::draining(state));
        }
        self.waits = false;
        loop {
            let frame = match self.soon().await {
                Some(frame) => frame,
                None => Box::pin(self.later(state)).await?,
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame
                .map_err(|_| Problem::new(Kind::BodyCutOff, "the body broke off before its end"))?;
            // Trailers say nothing here.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// What was read so far and all that comes, charged for while it is held; `too_large` is said
    /// if that is over `bytes_max`.
    pub(crate) async fn rest(
        &mut self,
        state: &State,
        begun: Bytes,
        bytes_max: usize,
        too_large: impl Fn() -> Problem,
    ) -> Result<Bytes, Problem> {
        let (mut all, mut charge) = (Vec::new(), state.requests.charge());
        let mut next = Some(begun);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
            let charged = charge.resize(all.capacity());
            charged.inspect_err(|_| state.metrics.reached(Reached::RequestsBytes))?;
            next = self.chunk(state).await?;
        }
        Ok(charge.hold(all))
    }

    /// The next frame if it is as good as there. hyper hands a body over only after it was asked
    /// for, so the first look never finds one; the second spares nearly every publish a timer.
    async fn soon(&mut self) -> Option<Polled<B::Error>> {
        let mut looked = false;
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if looked => Poll::Ready(None),
            Poll::Pending => {
                looked = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }

    async fn later(&mut self, state: &State) -> Result<Polled<B::Error>, Problem> {
        tokio::select! {
            biased;
            frame = poll_fn(|cx| self.poll(cx)) => Ok(frame),
            () = state.drain.publishes_end.until_on() => Err(Problem::draining(state)),
            () = sleep(Duration::from_millis(BODY_IDLE_MS_MAX)) => {
                state.metrics.reached(Reached::BodyIdle);
                let detail = format!(
                    "the body paused for {BODY_IDLE_MS_MAX} ms, which is what is allowed; a \
                     streaming publish keeps itself open with an empty line or, in an SSE body, \
                     a comment"
                );
                let problem = Problem::new(Kind::BodyIdle, detail);
                Err(problem.with_limit("body_idle_ms_max", BODY_IDLE_MS_MAX as usize))
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Polled<B::Error>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<B: Incoming> Drop for Upload<B> {
    fn drop(&mut self) {
        if self.waits || self.is_over() {
            return;
        }
        if let (Some(body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            runtime.spawn(discard(body));
        }
    }
}

/// Refuses a body that is encoded: bodies are taken as they are.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "a body is taken as it is, without a `Content-Encoding`";
    Err(Problem::new(Kind::MediaType, detail))
}

async fn discard(mut body: impl Incoming) {
    let rest = async {
        let mut bytes = 0;
        while bytes < BODY_DISCARD_BYTES_MAX
            && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    timeout(Duration::from_millis(BODY_DISCARD_MS_MAX), rest).await.ok();
}

type Polled<E> = Option<Result<Frame<Bytes>, E>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_pauses_is_given_up() {
        let state = testing::state();
        let (sender, body) = testing::body();
        let mut upload = Upload::new(body, &HeaderMap::new());
        sender.send(Ok(Bytes::from("a"))).await.unwrap();
        assert_eq!(upload.chunk(&state).await.unwrap().unwrap(), "a");
        let problem = upload.chunk(&state).await.unwrap_err();
        assert_eq!(problem.kind(), Kind::BodyIdle);
        sender.send(Ok(Bytes::from("b"))).await.unwrap();
        assert_eq!(upload.chunk(&state).await.unwrap().unwrap(), "b");
        state.drain.publishes_end.turn_on();
        assert_eq!(upload.chunk(&state).await.unwrap_err().kind(), Kind::Draining);
    }

    #[tokio::test]
    async fn what_is_refused_is_read_on() {
        let (sender, body) = testing::body();
        drop(Upload::new(body, &HeaderMap::new()));
        let sent = async { while sender.send(Ok(Bytes::from(vec![0; 1 << 16]))).await.is_ok() {} };
        timeout(Duration::from_secs(1), sent).await.expect("it is read up to a bound");
        let (sender, body) = testing::body();
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECT, header::HeaderValue::from_static("100-continue"));
        drop(Upload::new(body, &headers));
        assert!(sender.is_closed(), "a peer that waits for 100 is not asked to go on");
    }

    #[tokio::test]
    async fn an_end_and_a_cut_differ() {
        let state = testing::state();
        let mut cut = Upload::new(testing::chunks(["a", "!cut"]), &HeaderMap::new());
        assert_eq!(cut.chunk(&state).await.unwrap().unwrap(), "a");
        assert_eq!(cut.chunk(&state).await.unwrap_err().kind(), Kind::BodyCutOff);
        let mut ended = Upload::new(testing::chunks(["a", ""]), &HeaderMap::new());
        assert_eq!(ended.chunk(&state).await.unwrap().unwrap(), "a");
        assert_eq!(ended.chunk(&state).await.unwrap(), None);
    }
}
