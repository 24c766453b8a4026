//! Subscribers over HTTP/2: for the marks of the hub they are one more worker.
//!
//! A task takes the marks and wakes the streams of each feed, a bounded number at a time; a
//! publisher never wakes them itself. Each stream is a body in hyper that reads the same feeds by
//! its own cursor, and has at most one piece in hyper at a time: a slow stream falls off the ring
//! like any other, and one whose piece is not taken for the stall limit is reset.

mod body;
mod feeds;
mod held;
mod reading;
mod received;
mod stock;
mod stream;
mod sweep;
mod tasks;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Doorbell, Hub, Marks, Subscription, WorkerIndex};
use fanfare_fanout::{
    Disconnect, Load, Pinned, Progress, Sampler, Totals, limits::DRAIN_STREAMING_FROM,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    body::{AwayBody, H2Body},
    received::Received,
    tasks::{End, Tasks},
};
use self::{
    feeds::Feeds,
    held::Plan,
    reading::{Joined, Reading},
    stock::Stock,
    stream::Stream,
};
use crate::limits::{
    H2_PRESS_INTERVAL_MS, H2_SWEEP_INTERVAL_MS, H2_WAITING_WAKES_MAX, H2_WAKES_MAX, POLL_MS,
};

/// The worker of all HTTP/2 subscribers.
pub(crate) struct H2 {
    hub: Arc<Hub>,
    worker: WorkerIndex,
    /// Rung by the doorbell.
    notify: Arc<Notify>,
    /// How many turns the task that takes marks has had.
    turns: AtomicU64,
    members: Mutex<Members>,
    /// What joined frames hold.
    stock: Arc<Stock>,
    /// Subscriptions that streams hold.
    subscribers: AtomicUsize,
    /// A stream whose peer takes nothing for so long is ended.
    stall_ms_max: AtomicU64,
    /// Milliseconds count from here.
    began: Instant,
    counts: Mutex<Counts>,
    /// Streams whose peers took nothing, at the last sweep.
    blocked: AtomicU64,
    /// Streams that were sent away before the drain that is under way, or was the last.
    departed_before: AtomicU64,
}

/// The feeds, and what happens to who joins.
#[derive(Default)]
struct Members {
    feeds: Feeds,
    /// When the drain ends; who joins during it leaves at once.
    drain_ends: Option<Instant>,
    /// Cancelled when the drain is taken back.
    drain_cancelled: CancellationToken,
}

/// What is counted for all streams. Bodies run on several threads and take several locks for each
/// write anyway; one more is cheaper than an atomic for each number.
#[derive(Default)]
struct Counts {
    totals: Totals,
    sampler: Sampler,
}

/// What a stream was given: events of a batch from its cursor on.
pub(crate) struct Given<'a> {
    joined: &'a Joined,
    cursor: u64,
    events: usize,
    /// Those before this one are replayed.
    live_from: u64,
}

/// Feeds whose streams are woken.
#[derive(Default)]
struct Rounds {
    /// Those that are being woken, each once, with how many are not woken yet.
    queue: VecDeque<(Arc<Reading>, usize)>,
    /// Those that wait for the end of a window.
    plan: Plan,
}

impl H2 {
    /// A doorbell for the hub, and what it rings.
    pub(crate) fn doorbell() -> (Arc<Doorbell>, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let rung = Arc::clone(&notify);
        (Arc::new(Doorbell::new(Box::new(move || rung.notify_one()))), notify)
    }

    pub(crate) fn new(
        hub: Arc<Hub>,
        worker: WorkerIndex,
        notify: Arc<Notify>,
        stall_ms_max: u64,
        pinned: Arc<Pinned>,
    ) -> Arc<Self> {
        Arc::new(Self {
            stock: Stock::new(Arc::clone(&hub), worker, pinned),
            hub,
            worker,
            notify,
            turns: AtomicU64::new(0),
            members: Mutex::default(),
            subscribers: AtomicUsize::new(0),
            stall_ms_max: AtomicU64::new(stall_ms_max),
            began: Instant::now(),
            counts: Mutex::default(),
            blocked: AtomicU64::new(0),
            departed_before: AtomicU64::new(0),
        })
    }

    /// The worker that a subscription is for.
    pub(crate) fn worker(&self) -> WorkerIndex {
        self.worker
    }

    /// Resolves when the task that takes marks has had its turn.
    pub(crate) async fn has_turned(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.hub.doorbell(self.worker).ring();
        while self.turns.load(Ordering::Relaxed) == turns {
            sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    /// Takes marks and wakes streams, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut marks = Marks::default();
        let mut rounds = Rounds::default();
        let mut walking = false;
        let mut swept = Vec::new();
        let mut sweep_at = Instant::now();
        let mut press_at = Instant::now();
        loop {
            let idle = rounds.queue.is_empty() && !walking && !self.stock.can_go_on();
            if idle && self.hub.doorbell(self.worker).sleep() {
                let look_at = if self.stock.is_full() { sweep_at.min(press_at) } else { sweep_at };
                let release_at = rounds.plan.next_ms().map(|ms| self.instant(ms));
                let look_at = release_at.map_or(look_at, |at| at.min(look_at));
                tokio::select! {
                    () = self.notify.notified() => {}
                    () = sleep_until(look_at) => {}
                }
            }
            if self.stock.is_full() && press_at <= Instant::now() {
                self.press();
                press_at = Instant::now() + Duration::from_millis(H2_PRESS_INTERVAL_MS);
            }
            // However busy it is: a stalled stream is to be found under load above all.
            if sweep_at <= Instant::now() {
                self.sweep(&mut swept);
                sweep_at = Instant::now() + Duration::from_millis(H2_SWEEP_INTERVAL_MS);
            }
            self.hub.doorbell(self.worker).take(self.worker, &mut marks);
            walking = self.mark(&marks, walking, &mut rounds);
            rounds.release(&self.hub, self.now_ms());
            rounds.turn(self.now_ms());
            self.stock.go_on(H2_WAITING_WAKES_MAX);
            self.turns.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    /// Queues the feeds that have something new; returns whether the journal goes on.
    fn mark(&self, marks: &Marks, walking: bool, rounds: &mut Rounds) -> bool {
        let mut members = lock(&self.members);
        for channel in &marks.channels {
            let readings = members.feeds.reading(channel);
            readings.for_each(|reading| rounds.mark(reading, &self.hub, self.now_ms()));
        }
        let mut found = Vec::new();
        let more = (marks.journal || walking) && !members.feeds.walk_journal(&self.hub, &mut found);
        found.iter().for_each(|reading| rounds.add(reading));
        more
    }

    /// Adds a stream to the feed that equal subscriptions share.
    fn join(&self, mut subscription: Subscription) -> (Arc<Reading>, Arc<Stream>) {
        let mut members = lock(&self.members);
        let reading = members.feeds.find_or_insert(subscription.feed(), &self.hub);
        subscription.share(&reading.feed);
        let stream = Arc::new(Stream::new(subscription, self.now_ms()));
        reading.add(&stream);
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        if let Some(ends) = members.drain_ends {
            let left = ends.saturating_duration_since(Instant::now());
            stream.leave(left.as_millis() as u64, self.now_ms());
        }
        (reading, stream)
    }

    /// Takes a stream out whose subscription has ended.
    fn leave(&self, reading: &Reading, stream: &Stream, reason: Disconnect) {
        let mut members = lock(&self.members);
        if reading.remove(stream) {
            members.feeds.remove(reading);
        }
        // In this order: who sees that nobody is left sees where they went.
        lock(&self.counts).totals.count(reason);
        self.subscribers.fetch_sub(1, Ordering::Release);
    }

    /// Counts what a stream was given: bytes, and the events that they are, if any.
    fn sent(&self, bytes: usize, given: Option<Given<'_>>) {
        let Counts { totals, sampler } = &mut *lock(&self.counts);
        totals.bytes_sent += bytes as u64;
        let Some(Given { joined, cursor, events, live_from }) = given.filter(|g| g.events > 0)
        else {
            return;
        };
        totals.events_delivered += events as u64;
        totals.events_per_write.add_by_powers(events);
        totals.events_replayed += joined.events_between(cursor, live_from).min(events) as u64;
        if sampler.is_due()
            && let Some(seq) = joined.seq_from(cursor, fastrand::usize(..events))
            && seq >= live_from
        {
            totals.note_delivery(&self.hub, seq);
        }
    }

    /// What all streams were given. The time of a delivery ends where hyper has the event.
    pub(crate) fn totals(&self) -> Totals {
        lock(&self.counts).totals
    }

    /// How many streams there are; the peers of `blocked` of them had taken nothing for a while
    /// when that was looked at last.
    pub(crate) fn load(&self) -> Load {
        Load {
            subscribers: self.subscribers.load(Ordering::Relaxed) as u64,
            blocked: self.blocked.load(Ordering::Relaxed),
            blocked_bytes: self.stock.bytes() as u64,
            ..Load::default()
        }
    }

    /// Changes the stall limit.
    pub(crate) fn set_stall_ms_max(&self, stall_ms_max: u64) {
        self.stall_ms_max.store(stall_ms_max, Ordering::Relaxed);
    }

    /// Sends all streams away, spread over a period; those with an open streaming publish last.
    /// Resolves when the last is gone, or when it is taken back, with how many it has sent away.
    pub(crate) async fn drain(&self, period: Duration) -> u64 {
        let cancelled = {
            let mut members = lock(&self.members);
            members.drain_cancelled.cancel();
            members.drain_cancelled = CancellationToken::new();
            members.drain_ends = Some(Instant::now() + period);
            self.departed_before.store(self.departed_total(), Ordering::Relaxed);
            members.drain_cancelled.clone()
        };
        cancelled.run_until_cancelled(self.send_all_away(period)).await;
        self.drain_progress().departed
    }

    /// Takes a drain back: who was not asked to leave yet stays, and who comes from now on is
    /// served as ever. Who was asked goes.
    pub(crate) fn drain_cancel(&self) {
        let mut members = lock(&self.members);
        members.drain_ends = None;
        members.drain_cancelled.cancel();
    }

    /// How far the drain is that is under way, or was the last.
    pub(crate) fn drain_progress(&self) -> Progress {
        let before = self.departed_before.load(Ordering::Relaxed);
        let left = self.subscribers.load(Ordering::Relaxed) as u64;
        Progress { departed: self.departed_total() - before, left }
    }

    fn departed_total(&self) -> u64 {
        lock(&self.counts).totals.disconnects[Disconnect::Drain as usize]
    }

    async fn send_all_away(&self, period: Duration) {
        let began = Instant::now();
        let (streaming, others) = {
            let members = lock(&self.members);
            let all = members.feeds.all();
            let (streaming, others): (Vec<_>, Vec<_>) =
                all.map(|r| (r.feed.is_publishing(), r.streams())).partition(|(is, _)| *is);
            let flat = |list: Vec<(bool, Vec<_>)>| -> Vec<_> {
                list.into_iter().flat_map(|(_, streams)| streams).collect()
            };
            (flat(streaming), flat(others))
        };
        let share = if streaming.is_empty() { 1.0 } else { DRAIN_STREAMING_FROM };
        let asked = async {
            self.send_away(&others, began, period.mul_f32(share), began + period).await;
            let from = began + period.mul_f32(share);
            self.send_away(&streaming, from, period.mul_f32(1.0 - share), began + period).await;
            pending::<Infallible>().await
        };
        // However much of the period is left: streams may have ended, and their readers with them.
        let gone = async {
            while self.subscribers.load(Ordering::Acquire) > 0 {
                sleep(Duration::from_millis(POLL_MS)).await;
            }
        };
        tokio::select! {
            never = asked => match never {},
            () = gone => {}
        }
    }

    async fn send_away(
        &self,
        streams: &[Arc<Stream>],
        from: Instant,
        over: Duration,
        ends: Instant,
    ) {
        for (index, stream) in streams.iter().enumerate() {
            sleep_until(from + over.mul_f64(index as f64 / streams.len() as f64)).await;
            let left = ends.saturating_duration_since(Instant::now());
            stream.leave(left.as_millis() as u64, self.now_ms());
        }
    }

    /// Never 0, which stands for "not".
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// When [`now_ms`](Self::now_ms) will be so much.
    fn instant(&self, now_ms: u64) -> Instant {
        self.began + Duration::from_millis(now_ms - 1)
    }
}

impl Rounds {
    /// Queues a feed that has something new, unless all of it waits.
    fn mark(&mut self, reading: &Arc<Reading>, hub: &Hub, now_ms: u64) {
        match reading.holds(hub, now_ms) {
            Some(until_ms) => self.plan.add(until_ms, reading),
            None => self.add(reading),
        }
    }

    /// Queues the feeds whose windows have ended.
    fn release(&mut self, hub: &Hub, now_ms: u64) {
        while let Some(reading) = self.plan.pop(now_ms) {
            self.mark(&reading, hub, now_ms);
        }
    }

    /// Queues a feed, at most once.
    fn add(&mut self, reading: &Arc<Reading>) {
        let unwoken = reading.mark();
        if reading.queued.swap(true, Ordering::Relaxed) {
            reading.again.store(true, Ordering::Relaxed);
        } else {
            self.queue.push_back((Arc::clone(reading), unwoken));
        }
    }

    /// Wakes a turn's worth of streams, of the feeds that waited longest.
    fn turn(&mut self, now_ms: u64) {
        let mut wakes = H2_WAKES_MAX;
        while wakes > 0
            && let Some((reading, unwoken)) = self.queue.pop_front()
        {
            let left = reading.wake(unwoken, wakes, now_ms);
            wakes -= (unwoken - left).clamp(1, wakes);
            if left > 0 {
                self.queue.push_back((reading, left));
                continue;
            }
            reading.queued.store(false, Ordering::Relaxed);
            if reading.again.swap(false, Ordering::Relaxed) {
                self.add(&reading);
            }
        }
    }
}

/// A thread that panicked leaves nothing half done here that a reader could see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
