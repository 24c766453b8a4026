//! Acks, on their way from a body of many events to its publisher.
//!
//! Policy: a publisher that does not read its acks is not read on, so that nothing piles up. One
//! that takes none of those that wait for the stall limit is given up, as its socket is over
//! HTTP/1.1: the publish breaks off and its stream is reset. Over HTTP/2 nobody asks for a body
//! whose peer gives it no window, so the publish is a task of its own, and the body only what it
//! hands acks to.

use std::{
    fmt,
    future::{poll_fn, ready},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{self, Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fanfare_core::{ChannelName, CloseReason, Placed, Refusal, Standing, Watch};
use hyper::{Response, body::Frame};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    body::{Body, BodyError},
    budget::Charge,
    h2::End,
    limits::{ACK_BYTES_MAX, ACK_CHUNKS_MAX},
    metrics::Reached,
    problem::Problem,
    producer,
    publish::push_ack,
    state::State,
};

/// Where acks go.
pub(crate) struct Acks {
    /// Those that were not handed over yet, each on its line.
    pending: Vec<u8>,
    /// Takes them to the answer's body; none if the publisher did not ask for any.
    outlet: Option<Outlet>,
}

/// What hands acks over.
struct Outlet {
    state: Arc<State>,
    sender: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    /// Tells what others make of the channel, if it is one.
    news: Option<News>,
}

/// Waits for wishes to cancel a channel, and for its end.
struct News {
    watch: Watch,
    /// How it stood before, until that was told.
    before: Option<Standing>,
}

/// Acks that were handed over, until the peer has taken them, or hyper a copy.
#[derive(Default)]
struct Waiting {
    handed: AtomicU64,
    taken: AtomicU64,
    /// Told when some were handed over.
    some: Notify,
}

/// Acks that wait, and what they are charged to.
struct Handed {
    bytes: Vec<u8>,
    /// None for the last ones, which a full budget does not hold back.
    _charge: Option<Charge>,
    waiting: Arc<Waiting>,
}

/// What ends the stream of an answer whose peer takes nothing, where there is one: it is put in
/// after the answer was made.
#[derive(Clone, Default)]
struct Reset(Arc<OnceLock<End>>);

/// The body of acks. Dropping it ends the publish.
struct AckBody {
    chunks: mpsc::Receiver<Bytes>,
    /// None when its end was told.
    publish: Option<AbortOnDropHandle<Result<(), Stalled>>>,
}

/// The publisher took none of its acks.
#[derive(Clone, Copy, Debug)]
struct Stalled;

/// An answer with the acks of what is published beside it.
pub(crate) fn answer<F>(
    state: &Arc<State>,
    channel: Option<&ChannelName>,
    is_producer: bool,
    publish: impl FnOnce(Acks) -> F,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, chunks) = mpsc::channel(ACK_CHUNKS_MAX);
    let (waiting, reset) = (Arc::<Waiting>::default(), Reset::default());
    let news = channel.and_then(|channel| News::on(state, channel, is_producer));
    let outlet = Outlet { state: Arc::clone(state), sender, waiting: Arc::clone(&waiting), news };
    let publish = publish(Acks { pending: Vec::new(), outlet: Some(outlet) });
    let (state, end) = (Arc::clone(state), reset.clone());
    let publish = async move {
        tokio::select! {
            () = publish => Ok(()),
            () = waiting.until_stalled(&state) => {
                state.metrics.reached(Reached::WriteStall);
                if let Some(end) = end.0.get() {
                    end.end();
                }
                Err(Stalled)
            }
        }
    };
    let publish = Some(AbortOnDropHandle::new(tokio::spawn(publish)));
    let mut response = Response::new(Body::stream(AckBody { chunks, publish }));
    response.extensions_mut().insert(reset);
    response
}

/// Lets an answer end its stream itself, if it has to.
pub(crate) fn ends_by(response: &Response<Body>, end: End) {
    if let Some(reset) = response.extensions().get::<Reset>() {
        // An answer has one stream.
        reset.0.set(end).unwrap_or_default();
    }
}

impl Acks {
    /// Of a publish that is not to have any.
    pub(crate) fn none() -> Self {
        Self { pending: Vec::new(), outlet: None }
    }

    pub(crate) fn push(&mut self, placed: &Placed, seq: Option<u64>) {
        if self.outlet.is_some() {
            match seq {
                Some(seq) => producer::push_ack(&mut self.pending, placed, seq),
                None => push_ack(&mut self.pending, placed),
            }
            self.pending.push(b'\n');
        }
    }

    /// Whether those that were not handed over are worth a write.
    pub(crate) fn are_many(&self) -> bool {
        self.pending.len() >= ACK_BYTES_MAX
    }

    /// Waits until the publisher has read enough of those before.
    pub(crate) async fn hand_over(&mut self) -> Result<(), Problem> {
        let Some(outlet) = self.outlet.as_ref().filter(|_| !self.pending.is_empty()) else {
            return Ok(());
        };
        let state = &outlet.state;
        let place = tokio::select! {
            biased;
            place = outlet.sender.reserve() => place,
            () = state.drain.publishes_end.until_on() => return Err(Problem::draining(state)),
        };
        let mut charge = state.requests.charge();
        charge.resize(self.pending.capacity())?;
        // The receiver owns the publish: when it is gone, so is this.
        if let Ok(place) = place {
            place.send(outlet.waiting.hand(mem::take(&mut self.pending), Some(charge)));
        }
        Ok(())
    }

    /// Waits for something, and tells of wishes meanwhile. The end of the channel is that of the
    /// waiting: its next event would be refused.
    pub(crate) async fn beside<T>(
        &mut self,
        awaited: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let mut awaited = pin!(awaited);
        while let Some(news) = self.outlet.as_mut().and_then(|outlet| outlet.news.as_mut()) {
            let standing = tokio::select! {
                biased;
                standing = news.next() => standing,
                done = &mut awaited => return done,
            };
            match standing {
                Standing::Cancelling => {
                    self.pending.extend_from_slice(CANCEL);
                    self.hand_over().await?;
                }
                // Without a channel the next event begins a new one.
                Standing::Open | Standing::Closed(CloseReason::Deleted) => {}
                Standing::Closed(reason) => {
                    return tokio::select! {
                        biased;
                        // What is there already is answered by itself: perhaps it is the end.
                        done = &mut awaited => done,
                        () = ready(()) => Err(Refusal::Closed(reason).into()),
                    };
                }
            }
        }
        awaited.await
    }

    /// Hands over what is left, and why there is no more.
    pub(crate) async fn end_with(mut self, problem: &Problem) {
        self.pending.extend_from_slice(&problem.json());
        self.pending.push(b'\n');
        if let Some(outlet) = self.outlet
            && let Ok(place) = outlet.sender.reserve().await
        {
            place.send(outlet.waiting.hand(self.pending, None));
        }
    }
}

impl News {
    fn on(state: &State, channel: &ChannelName, is_producer: bool) -> Option<Self> {
        // No bound counts those who publish.
        let (watch, before) = state.hub.watch(channel, false).ok()?;
        // A producer that comes back too late may send again what is there.
        let is_news = !(is_producer && matches!(before, Standing::Closed(_)));
        Some(Self { watch, before: is_news.then_some(before) })
    }

    /// Resolves when there is some.
    async fn next(&mut self) -> Standing {
        match self.before.take() {
            Some(before) => before,
            None => poll_fn(|cx| self.watch.poll(cx)).await,
        }
    }
}

impl Waiting {
    /// Acks that wait from now on until they are dropped.
    fn hand(self: &Arc<Self>, bytes: Vec<u8>, charge: Option<Charge>) -> Bytes {
        self.handed.fetch_add(1, Relaxed);
        self.some.notify_one();
        Bytes::from_owner(Handed { bytes, _charge: charge, waiting: Arc::clone(self) })
    }

    /// Resolves when some wait and none was taken for the stall limit, or up to half of it longer.
    async fn until_stalled(&self, state: &State) {
        let (mut looks, mut taken_before) = (0, 0);
        while looks < STALL_LOOKS {
            while self.taken.load(Relaxed) == self.handed.load(Relaxed) {
                self.some.notified().await;
            }
            let stall_ms = u64::from(state.config().write_stall_ms_max);
            sleep(Duration::from_millis(stall_ms.div_ceil(STALL_LOOKS))).await;
            let taken = self.taken.load(Relaxed);
            let stands = taken == taken_before && taken < self.handed.load(Relaxed);
            looks = if stands { looks + 1 } else { 0 };
            taken_before = taken;
        }
    }
}

impl AsRef<[u8]> for Handed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.waiting.taken.fetch_add(1, Relaxed);
    }
}

impl hyper::body::Body for AckBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(chunk) = task::ready!(self.chunks.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(publish) = &mut self.publish else { return Poll::Ready(None) };
        let ended = task::ready!(Pin::new(publish).poll(cx));
        self.publish = None;
        let broke_off = match ended {
            Ok(Ok(())) => None,
            Ok(Err(stalled)) => Some(stalled.into()),
            Err(panicked) => Some(panicked.into()),
        };
        Poll::Ready(broke_off.map(Err))
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the publisher takes none of its acks")
    }
}

impl std::error::Error for Stalled {}

/// What a publisher is told when somebody wishes that its channel be cancelled.
const CANCEL: &[u8] = b"{\"cancel\":true}\n";
/// Looks in a row that find the same acks waiting before their publisher is given up.
const STALL_LOOKS: u64 = 4;
